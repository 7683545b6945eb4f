import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { maxCertificateBytes, type PresentedCertificate, verifyUserCertificate, wrappedText } from './ssh-certificate.ts';
import { sshString, sshUint32, sshUint64 } from './ssh-wire.ts';

const principal = 'sallyport.dev/payments';
const nowMs = Date.parse('2026-11-24T12:00:00Z');
const data = Buffer.from('session id and request');

interface TestKey {
  readonly type: string;
  readonly fields: Buffer;
  readonly sign: (bytes: Uint8Array, hash?: 'sha256' | 'sha512') => Buffer;
  readonly algorithm: string;
}

function ed25519(): TestKey & { readonly blob: Buffer } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const fields = sshString(jwk(publicKey, 'x'));
  return { type: 'ssh-ed25519', algorithm: 'ssh-ed25519-cert-v01@openssh.com', fields, blob: Buffer.concat([sshString('ssh-ed25519'), fields]), sign: (bytes) => Buffer.concat([sshString('ssh-ed25519'), sshString(sign(null, bytes, privateKey))]) };
}

function p256(): TestKey {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const point = Buffer.concat([Buffer.from([4]), jwk(publicKey, 'x'), jwk(publicKey, 'y')]);
  return {
    type: 'ecdsa-sha2-nistp256', algorithm: 'ecdsa-sha2-nistp256-cert-v01@openssh.com', fields: Buffer.concat([sshString('nistp256'), sshString(point)]),
    sign: (bytes) => {
      const pair = sign('sha256', bytes, { key: privateKey, dsaEncoding: 'ieee-p1363' });
      return Buffer.concat([sshString('ecdsa-sha2-nistp256'), sshString(Buffer.concat([mpint(pair.subarray(0, 32)), mpint(pair.subarray(32))]))]);
    },
  };
}

function rsa(bits: number, exponent = 65_537): TestKey {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: bits, publicExponent: exponent });
  return {
    type: 'ssh-rsa', algorithm: 'rsa-sha2-512-cert-v01@openssh.com', fields: Buffer.concat([mpint(jwk(publicKey, 'e')), mpint(jwk(publicKey, 'n'))]),
    sign: (bytes, hash = 'sha512') => Buffer.concat([sshString(hash === 'sha512' ? 'rsa-sha2-512' : 'rsa-sha2-256'), sshString(sign(hash, bytes, privateKey))]),
  };
}

function jwk(key: KeyObject, name: 'x' | 'y' | 'n' | 'e'): Buffer {
  return Buffer.from(key.export({ format: 'jwk' })[name] ?? '', 'base64url');
}

function mpint(bytes: Uint8Array): Buffer {
  let at = 0;
  while (bytes[at] === 0) at += 1;
  const short = bytes.subarray(at);
  return sshString((short[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), short]) : short);
}

const authority = ed25519();
const user = ed25519();

interface Shape {
  readonly key: TestKey;
  readonly blobType: string;
  readonly fields: Buffer;
  readonly kind: number;
  readonly principals: readonly string[];
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  readonly critical: readonly (readonly [string, Uint8Array])[];
  readonly extensions: readonly (readonly [string, Uint8Array])[];
  readonly signingKey: Buffer;
  readonly signature: (body: Buffer) => Buffer;
  readonly trailing: Buffer;
}

/** A certificate by hand: what `issue` would never write can be written too. */
function build(over: Partial<Shape> = {}): Buffer {
  const key = over.key ?? user;
  const pairs = (list: readonly (readonly [string, Uint8Array])[]): Buffer => sshString(Buffer.concat(list.map(([name, value]) => Buffer.concat([sshString(name), sshString(value)]))));
  const body = Buffer.concat([
    sshString(over.blobType ?? `${key.type}-cert-v01@openssh.com`), sshString(Buffer.alloc(32, 7)), over.fields ?? key.fields, sshUint64(42n), sshUint32(over.kind ?? 1), sshString('oidc:ada'),
    sshString(Buffer.concat((over.principals ?? [principal]).map((name) => sshString(name)))), sshUint64(over.validAfter ?? 1n), sshUint64(over.validBefore ?? 0xffff_ffff_ffff_ffffn),
    pairs(over.critical ?? []), pairs(over.extensions ?? [['identity@sallyport.dev', sshString('{}')]]), sshString(''), sshString(over.signingKey ?? authority.blob),
  ]);
  return Buffer.concat([body, sshString((over.signature ?? authority.sign)(body)), over.trailing ?? Buffer.alloc(0)]);
}

function judge(certificate: Uint8Array, over: Partial<PresentedCertificate> = {}, more: { readonly authorities?: readonly Uint8Array[]; readonly clientAddress?: string } = {}): string {
  const outcome = verifyUserCertificate({ algorithm: user.algorithm, certificate, proof: { data, signature: user.sign(data) }, ...over }, { authorities: [authority.blob], principal, nowMs, clientAddress: '10.1.2.3', ...more });
  return outcome.outcome === 'refused' ? outcome.defect : outcome.outcome;
}

describe('what ssh-keygen made', () => {
  const vectors = JSON.parse(readFileSync(new URL('testdata/ssh-certificates.json', import.meta.url), 'utf8')) as { readonly authority: string; readonly certificates: readonly { readonly name: string; readonly algorithm: string; readonly certificate: string; readonly outcome: string }[] };

  test.each(vectors.certificates.map((vector) => [vector.name, vector] as const))('%s is judged as it should be', (_name, { algorithm, certificate, outcome }) => {
    expect(judge(Buffer.from(certificate, 'base64'), { algorithm, proof: null }, { authorities: [Buffer.from(vectors.authority, 'base64')] })).toBe(outcome);
  });
});

describe('certificates made here', () => {
  const keys = [ed25519(), p256(), rsa(3_072)];

  test.each(keys.map((key) => [key.algorithm, key] as const))('%s passes with the signature of its key', (algorithm, key) => {
    expect(judge(build({ key }), { algorithm, proof: { data, signature: key.sign(data) } })).toBe('verified');
  });

  test('RSA passes with SHA-256 as well, when the algorithm says so', () => {
    const key = keys[2] as TestKey;
    expect(judge(build({ key }), { algorithm: 'rsa-sha2-256-cert-v01@openssh.com', proof: { data, signature: key.sign(data, 'sha256') } })).toBe('verified');
  });

  test('key id, serial and extensions are handed over', () => {
    const outcome = verifyUserCertificate({ algorithm: user.algorithm, certificate: build(), proof: { data, signature: user.sign(data) } }, { authorities: [ed25519().blob, authority.blob], principal, nowMs, clientAddress: '' });
    expect(outcome).toEqual({ outcome: 'verified', certificate: { keyId: 'oidc:ada', serial: 42n, extensions: new Map([['identity@sallyport.dev', new Uint8Array(sshString('{}'))]]) } });
  });

  test('a question without a signature is answered, and names nobody', () => {
    expect(verifyUserCertificate({ algorithm: user.algorithm, certificate: build(), proof: null }, { authorities: [authority.blob], principal, nowMs, clientAddress: '' })).toEqual({ outcome: 'unsigned' });
  });
});

describe('each single defect is refused', () => {
  const seconds = BigInt(nowMs / 1000);
  const notOnCurve = Buffer.concat([sshString('nistp256'), sshString(Buffer.concat([Buffer.from([4]), Buffer.alloc(64, 9)]))]);
  const other = ed25519();
  const table: readonly (readonly [string, string, () => string])[] = [
    ['an algorithm that is not in the list', 'algorithm', () => judge(build(), { algorithm: 'ecdsa-sha2-nistp521-cert-v01@openssh.com' })],
    ['RSA with SHA-1', 'algorithm', () => judge(build({ key: rsa(3_072) }), { algorithm: 'ssh-rsa-cert-v01@openssh.com' })],
    ['the name of an object\'s own method', 'algorithm', () => judge(build(), { algorithm: 'toString' })],
    ['a certificate of another type than the algorithm', 'form', () => judge(build({ key: p256() }))],
    ['a certificate that names another type, its fields being right', 'form', () => judge(build({ blobType: 'ssh-ed25519-cert-v02@openssh.com' }))],
    ['RSA of 2048 bits', 'form', () => { const key = rsa(2_048); return judge(build({ key }), { algorithm: key.algorithm, proof: { data, signature: key.sign(data) } }); }],
    ['an RSA exponent of 40 bits', 'form', () => { const key = rsa(3_072); return judge(build({ key, fields: Buffer.concat([sshString(Buffer.from([1, 0, 0, 0, 1])), key.fields.subarray(7)]) }), { algorithm: key.algorithm }); }],
    ['an RSA number that is negative', 'form', () => judge(build({ key: rsa(3_072), fields: Buffer.concat([sshString(Buffer.from([3])), sshString(Buffer.alloc(384, 0xff))]) }), { algorithm: 'rsa-sha2-512-cert-v01@openssh.com' })],
    ['an Ed25519 key of 31 bytes', 'form', () => judge(build({ fields: sshString(Buffer.alloc(31)) }))],
    ['a point that is not on the curve', 'form', () => judge(build({ key: p256(), fields: notOnCurve }), { algorithm: 'ecdsa-sha2-nistp256-cert-v01@openssh.com' })],
    ['the name of another curve', 'form', () => judge(build({ key: p256(), fields: Buffer.concat([sshString('nistp384'), sshString(Buffer.alloc(65, 4))]) }), { algorithm: 'ecdsa-sha2-nistp256-cert-v01@openssh.com' })],
    ['a trailing byte', 'form', () => judge(build({ trailing: Buffer.from([0]) }))],
    ['options in the wrong order', 'form', () => judge(build({ extensions: [['b', sshString('')], ['a', sshString('')]] }))],
    ['an option that stands twice', 'form', () => judge(build({ critical: [['source-address', sshString('10.0.0.0/8')], ['source-address', sshString('0.0.0.0/0')]] }))],
    ['more principals than anyone has', 'form', () => judge(build({ principals: Array.from({ length: 65 }, () => principal) }))],
    ['more extensions than anyone has', 'form', () => judge(build({ extensions: Array.from({ length: 65 }, (_, i) => [`x${String(i).padStart(2, '0')}`, sshString('')] as const) }))],
    ['a principal that is not UTF-8', 'form', () => judge(build({ principals: [Buffer.from([0xff]) as unknown as string] }))],
    ['more than 32 KiB', 'form', () => judge(build({ extensions: [['identity@sallyport.dev', Buffer.alloc(maxCertificateBytes)]] }))],
    ['a host certificate', 'not a user certificate', () => judge(build({ kind: 2 }))],
    ['an authority that is not ours', 'unknown authority', () => judge(build({ signingKey: other.blob, signature: other.sign }))],
    ['a certificate in the place of the authority', 'unknown authority', () => judge(build({ signingKey: build({ key: authority }) }))],
    ['an authority that is configured as a certificate', 'unknown authority', () => { const ca = build({ key: authority }); return judge(build({ signingKey: ca }), {}, { authorities: [ca] }); }],
    ['no authority configured', 'unknown authority', () => judge(build(), {}, { authorities: [] })],
    ['our authority\'s name under another\'s signature', 'authority signature', () => judge(build({ signature: other.sign }))],
    ['a signature of the authority with bytes after it', 'authority signature', () => judge(build({ signature: (body) => Buffer.concat([authority.sign(body), Buffer.from([0])]) }))],
    ['a signature of the authority of another type', 'authority signature', () => judge(build({ signature: (body) => Buffer.concat([sshString('rsa-sha2-512'), authority.sign(body).subarray(15)]) }))],
    ['an empty signature of the authority', 'authority signature', () => judge(build({ signature: () => Buffer.alloc(0) }))],
    ['a second too early', 'not yet valid', () => judge(build({ validAfter: seconds + 1n }))],
    ['the second of its end', 'expired', () => judge(build({ validBefore: seconds }))],
    ['no principal', 'principal', () => judge(build({ principals: [] }))],
    ['another namespace', 'principal', () => judge(build({ principals: ['sallyport.dev/orders'] }))],
    ['a principal that begins like ours', 'principal', () => judge(build({ principals: [`${principal}-2`] }))],
    ['force-command', 'critical option', () => judge(build({ critical: [['force-command', sshString('true')]] }))],
    ['a critical option nobody knows', 'critical option', () => judge(build({ critical: [['verify-required', Buffer.alloc(0)]] }))],
    ['another source address', 'source address', () => judge(build({ critical: [['source-address', sshString('192.168.0.0/16')]] }))],
    ['a source address that cannot be read', 'source address', () => judge(build({ critical: [['source-address', Buffer.from('10.0.0.0/8')]] }))],
    ['an empty signature of the bearer', 'signature', () => judge(build(), { proof: { data, signature: Buffer.alloc(0) } })],
    ['the signature of another key', 'signature', () => judge(build(), { proof: { data, signature: other.sign(data) } })],
    ['a signature over something else', 'signature', () => judge(build(), { proof: { data, signature: user.sign(Buffer.from('another session')) } })],
    ['a signature that ssh2 has unwrapped', 'signature', () => judge(build(), { proof: { data, signature: user.sign(data).subarray(15 + 4) } })],
    ['an RSA signature with another hash than the algorithm', 'signature', () => { const key = rsa(3_072); return judge(build({ key }), { algorithm: key.algorithm, proof: { data, signature: key.sign(data, 'sha256') } }); }],
    ['an ECDSA signature whose numbers are too long', 'signature', () => { const key = p256(); return judge(build({ key }), { algorithm: key.algorithm, proof: { data, signature: Buffer.concat([sshString('ecdsa-sha2-nistp256'), sshString(Buffer.concat([mpint(Buffer.alloc(40, 1)), mpint(Buffer.alloc(32, 1))]))]) } }); }],
    ['an ECDSA signature with a number too many', 'signature', () => { const key = p256(); return judge(build({ key }), { algorithm: key.algorithm, proof: { data, signature: Buffer.concat([sshString('ecdsa-sha2-nistp256'), sshString(Buffer.concat([mpint(Buffer.alloc(32, 1)), mpint(Buffer.alloc(32, 1)), mpint(Buffer.alloc(1, 1))]))]) } }); }],
  ];

  test.each(table)('%s', (_name, defect, run) => {
    expect(run()).toBe(defect);
  });
});

test('a source address within the list passes', () => {
  expect(judge(build({ critical: [['source-address', sshString('192.168.0.0/16,10.0.0.0/8')]] }))).toBe('verified');
});

test('a value that is no text in a string, or has bytes after it, is no text', () => {
  expect([wrappedText(sshString('x')), wrappedText(Buffer.concat([sshString('x'), Buffer.from([0])])), wrappedText(Buffer.from([0, 0, 0, 9]))]).toEqual(['x', null, null]);
});

describe('whatever bytes come', () => {
  const good = build();
  const proof = { data, signature: user.sign(data) };
  const outcomeOf = (certificate: Uint8Array): string => judge(certificate, { proof });

  test('a certificate in which any bit is another is refused', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: good.length * 8 - 1 }), (bit) => {
      const changed = Buffer.from(good);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(['verified', 'unsigned']).not.toContain(outcomeOf(changed));
    }), { numRuns: 400 });
  });

  test('a certificate that ends anywhere is refused', () => {
    for (let length = 0; length < good.length; length += 1) expect(outcomeOf(good.subarray(0, length))).toBe('form');
  });

  test('a length that promises more than there is takes no memory and is refused', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: good.length - 4 }), fc.integer({ min: 0x0001_0000, max: 0xffff_ffff }), (at, length) => {
      const changed = Buffer.from(good);
      changed.writeUInt32BE(length, at);
      const before = process.memoryUsage().arrayBuffers;
      expect(['verified', 'unsigned']).not.toContain(outcomeOf(changed));
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_048_576);
    }), { numRuns: 400 });
  });

  test('arbitrary bytes end in a refusal', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), fc.uint8Array({ maxLength: 80 }), (certificate, signature) => {
      expect(['verified', 'unsigned']).not.toContain(judge(Buffer.concat([sshString(user.algorithm), certificate]), { proof: { data, signature } }));
    }), { numRuns: 400 });
  });

  test('arbitrary signatures of a good certificate are refused', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), (signature) => {
      expect(judge(good, { proof: { data, signature } })).toBe('signature');
      expect(judge(good, { proof: { data, signature: Buffer.concat([sshString('ssh-ed25519'), sshString(signature)]) } })).toBe('signature');
    }));
  });
});
