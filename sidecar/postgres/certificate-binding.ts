import { createHash } from 'node:crypto';

/**
 * The `tls-server-end-point` channel binding of a certificate: its hash with the hash of its own signature (MD5 and SHA-1 count as SHA-256).
 *
 * @param certificate DER, as the peer sent it.
 * @returns null when the signature has no hash of its own (Ed25519, Ed448, ML-DSA), is unknown, or the bytes are no certificate: then there is no binding.
 * @see RFC 5929 section 4.1; RFC 5280 section 4.1
 */
export function endPointBinding(certificate: Buffer): Buffer | null {
  const hash = signatureHash(certificate);
  return hash === null ? null : createHash(hash).update(certificate).digest();
}

function signatureHash(certificate: Buffer): string | null {
  const outer = readElement(certificate, 0);
  const tbs = outer && readElement(certificate, outer.start);
  const algorithm = tbs && readElement(certificate, tbs.end);
  const oid = algorithm && readElement(certificate, algorithm.start);
  if (!algorithm || !oid || oid.tag !== 0x06) return null;
  const name = certificate.toString('hex', oid.start, oid.end);
  if (name !== rsaPss) return hashOfSignature[name] ?? null;
  // RSASSA-PSS-params: SEQUENCE { [0] hashAlgorithm SEQUENCE { OID … } DEFAULT sha1, … }
  const parameters = readElement(certificate, oid.end);
  const tagged = parameters && parameters.start < parameters.end ? readElement(certificate, parameters.start) : null;
  if (tagged?.tag !== 0xa0) return 'sha256';
  const hashAlgorithm = readElement(certificate, tagged.start);
  const hashOid = hashAlgorithm && readElement(certificate, hashAlgorithm.start);
  return hashOid ? (hashOfDigest[certificate.toString('hex', hashOid.start, hashOid.end)] ?? null) : null;
}

/** Object identifiers as the hex of their DER content. */
const rsaPss = '2a864886f70d01010a';
const hashOfSignature: Readonly<Record<string, string>> = {
  '2a864886f70d010104': 'sha256', // md5WithRSAEncryption
  '2a864886f70d010105': 'sha256', // sha1WithRSAEncryption
  '2a864886f70d01010b': 'sha256', '2a864886f70d01010c': 'sha384', '2a864886f70d01010d': 'sha512', '2a864886f70d01010e': 'sha224', // sha…WithRSAEncryption
  '2a8648ce3d0401': 'sha256', // ecdsa-with-SHA1
  '2a8648ce3d040301': 'sha224', '2a8648ce3d040302': 'sha256', '2a8648ce3d040303': 'sha384', '2a8648ce3d040304': 'sha512', // ecdsa-with-SHA…
};
const hashOfDigest: Readonly<Record<string, string>> = {
  '2b0e03021a': 'sha256', // sha1
  '608648016503040201': 'sha256', '608648016503040202': 'sha384', '608648016503040203': 'sha512', '608648016503040204': 'sha224',
};

interface Element {
  readonly tag: number;
  readonly start: number;
  readonly end: number;
}

/** One DER element; null when it does not fit into the bytes. */
function readElement(bytes: Buffer, at: number): Element | null {
  const [tag, first] = [bytes[at], bytes[at + 1]];
  if (tag === undefined || first === undefined) return null;
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  const start = at + 2 + lengthBytes;
  if (lengthBytes > 4 || start > bytes.length) return null;
  const length = lengthBytes === 0 ? (first < 0x80 ? first : 0) : bytes.readUIntBE(at + 2, lengthBytes);
  return start + length <= bytes.length ? { tag, start, end: start + length } : null;
}
