import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';

import { endPointBinding } from './certificate-binding.ts';

/** Self-signed certificates made for this test, DER as base64. */
const certificates = {
  ed: 'MIIBLDCB36ADAgECAhQPzl7pWDwgJjar7EZpTXBVop4vRzAFBgMrZXAwDDEKMAgGA1UEAwwBYTAeFw0yNjExMjQxMTEwMDNaFw0zNjExMjExMTEwMDNaMAwxCjAIBgNVBAMMAWEwKjAFBgMrZXADIQC1jI7THuSpihDKAnXoCFKksPy2+TuwEcsz3cWJ//EoiqNTMFEwHQYDVR0OBBYEFIXcEKE3yxLAf0dOu/vKnCADNjePMB8GA1UdIwQYMBaAFIXcEKE3yxLAf0dOu/vKnCADNjePMA8GA1UdEwEB/wQFMAMBAf8wBQYDK2VwA0EA2Tl8b/ZGT7ak1loub9xeCgtYqwUYJxeTaYbbXtO/CD8k6hSK6CBfLCoyV0ETstxXIEC28gEmoCi01nxcpoFLAw==',
  ec384: 'MIIBbDCCAROgAwIBAgIUZECw4mxqUCGPnFBxRfjzsR7qSI8wCgYIKoZIzj0EAwMwDDEKMAgGA1UEAwwBYTAeFw0yNjExMjQxMTEwMDNaFw0zNjExMjExMTEwMDNaMAwxCjAIBgNVBAMMAWEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAS7FL1p52xRHWXBHDfvML2Tcfc1nj4nXmKdcG1DQMekcEuORfD3dIJAARCDLDSzzux+uV7KxqlsgMwjYRn/7CMKo1MwUTAdBgNVHQ4EFgQUabEO0MO7eDlG90X55pTiJzdBRDQwHwYDVR0jBBgwFoAUabEO0MO7eDlG90X55pTiJzdBRDQwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAwNHADBEAiBXdUGt5aEbFVvBbnYUUklyyFwT3LSgQrzKk3/DKXPsOAIgETAk4/4HiIbvgmMJ4NwjwK4MtXaIDjgtF+SRryxY6aQ=',
  ecsha1: 'MIIBazCCARKgAwIBAgIUJO/5cj2AFKFkq089y7ahLdtWmoEwCQYHKoZIzj0EATAMMQowCAYDVQQDDAFhMB4XDTI2MTEyNDExMTAwM1oXDTM2MTEyMTExMTAwM1owDDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABLsUvWnnbFEdZcEcN+8wvZNx9zWePideYp1wbUNAx6RwS45F8Pd0gkABEIMsNLPO7H65XsrGqWyAzCNhGf/sIwqjUzBRMB0GA1UdDgQWBBRpsQ7Qw7t4OUb3RfnmlOInN0FENDAfBgNVHSMEGDAWgBRpsQ7Qw7t4OUb3RfnmlOInN0FENDAPBgNVHRMBAf8EBTADAQH/MAkGByqGSM49BAEDSAAwRQIhALLdkJiYtutPZGb6au2cBaVTnVNcy/XhJWkH5wqaaq8SAiA1ZSHlfk5Ay1EyPguiabUBapUyrVYbI8/tEuS/m7+VAw==',
  pss512: 'MIICXDCCAZGgAwIBAgIUYnQkDaB2Rj9O3zolTBXW3mzux6owQQYJKoZIhvcNAQEKMDSgDzANBglghkgBZQMEAgMFAKEcMBoGCSqGSIb3DQEBCDANBglghkgBZQMEAgMFAKIDAgEgMAwxCjAIBgNVBAMMAWEwHhcNMjYxMTI0MTExMDAzWhcNMzYxMTIxMTExMDAzWjAMMQowCAYDVQQDDAFhMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDuLOOqy2IUuIge7QP09wdhQzG4lkSkL6pyUqEBJLXWLjE3kojG7HiBf6n62/2Zs0+zKRJa6/ItM4qbYDBxo4s9odnCL2aKLHFeRcyUVPOmLuINeLPrqMBS3W65I7CnosW2eBx1heWuCOhND/d1s8JQHz1A+iWr1qSqzqzpwO+sZQIDAQABo1MwUTAdBgNVHQ4EFgQUGmlL8r2nAXHp/j71BHelwxIt5mMwHwYDVR0jBBgwFoAUGmlL8r2nAXHp/j71BHelwxIt5mMwDwYDVR0TAQH/BAUwAwEB/zBBBgkqhkiG9w0BAQowNKAPMA0GCWCGSAFlAwQCAwUAoRwwGgYJKoZIhvcNAQEIMA0GCWCGSAFlAwQCAwUAogMCASADgYEAzuQmhxdwxhllxd72QcLPpSyai7G3Kvg8bKL7Y26sxqnD/Cfev+k6mCOmdwjCPPapycd3qn+FF6hkh2V44z9c/jT7I7PAy4+GKI+nQnUHVBypmSDm+z+amOukuNDIAVRcHvn52d7TbJvVA0YTprlxMdco8Kk3NZPsEQXdzIclvSI=',
};

describe('the channel binding of a certificate', () => {
  test.each([
    ['ec384', 'sha384'], // ecdsa-with-SHA384
    ['ecsha1', 'sha256'], // ecdsa-with-SHA1 counts as SHA-256
    ['pss512', 'sha512'], // RSASSA-PSS: the hash stands in the parameters
  ] as const)('of a certificate signed as %s is its %s', (name, hash) => {
    const certificate = Buffer.from(certificates[name], 'base64');
    expect(endPointBinding(certificate)).toEqual(createHash(hash).update(certificate).digest());
  });

  test('does not exist for a certificate that is signed with Ed25519', () => {
    expect(endPointBinding(Buffer.from(certificates.ed, 'base64'))).toBeNull();
  });

  test('does not exist for bytes that end early, at any place before the signature algorithm is complete', () => {
    const certificate = Buffer.from(certificates.ec384, 'base64');
    for (let length = 0; length < certificate.length; length++) expect(endPointBinding(certificate.subarray(0, length))).toBeNull();
  });
});
