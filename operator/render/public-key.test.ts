import { generateKeyPairSync } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { readHostKey } from './public-key.ts';

const field = (...parts: readonly (string | Buffer)[]): Buffer => Buffer.concat(parts.flatMap((part) => {
  const bytes = Buffer.from(part);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return [length, bytes];
}));
const line = (type: string, blob: Buffer): string => `${type} ${blob.toString('base64')}`;
const raw = (kind: 'ed25519' | 'P-256' | 'P-384' | 'P-521'): Buffer => {
  const { publicKey } = kind === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: kind });
  const { x = '', y } = publicKey.export({ format: 'jwk' });
  return y === undefined ? Buffer.from(x, 'base64url') : Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
};
const rsa = (bits: number): Buffer => Buffer.from(generateKeyPairSync('rsa', { modulusLength: bits }).publicKey.export({ format: 'jwk' }).n ?? '', 'base64url');
const ed25519 = line('ssh-ed25519', field('ssh-ed25519', raw('ed25519')));
const exponent = Buffer.from([1, 0, 1]);

test.each([
  ['ssh-ed25519', ed25519],
  ['ecdsa P-256', line('ecdsa-sha2-nistp256', field('ecdsa-sha2-nistp256', 'nistp256', raw('P-256')))],
  ['ecdsa P-384', line('ecdsa-sha2-nistp384', field('ecdsa-sha2-nistp384', 'nistp384', raw('P-384')))],
  ['ecdsa P-521', line('ecdsa-sha2-nistp521', field('ecdsa-sha2-nistp521', 'nistp521', raw('P-521')))],
  ['rsa 2048', line('ssh-rsa', field('ssh-rsa', exponent, Buffer.concat([Buffer.from([0]), rsa(2048)])))],
])('a real key of the type %s is taken, its comment is not', (_type, text) => {
  expect(readHostKey(text)).toEqual({ outcome: 'key', key: text });
  expect(readHostKey(`${text} root@web-1 again`)).toEqual({ outcome: 'key', key: text });
});

const offCurve = Buffer.concat([Buffer.from([4]), Buffer.alloc(64, 7)]);
test.each([
  ['no base64', 'ssh-ed25519 !!!!', 'not the base64'],
  ['nothing', 'ssh-ed25519', 'not the base64'],
  ['base64 that is written in another way', ed25519.replace(/=*$/, '===='), 'not the base64'],
  ['half a length', line('ssh-ed25519', Buffer.from([0, 0])), 'cut off'],
  ['a cut key', line('ssh-ed25519', field('ssh-ed25519', raw('ed25519')).subarray(0, -1)), 'cut off'],
  ['bytes behind the end', line('ssh-ed25519', Buffer.concat([field('ssh-ed25519', raw('ed25519')), Buffer.from([1])])), 'cut off'],
  ['another type inside', line('ssh-ed25519', field('ssh-rsa', exponent, rsa(2048))), 'another type'],
  ['a short ed25519 key', line('ssh-ed25519', field('ssh-ed25519', Buffer.alloc(31))), 'no ssh-ed25519 key'],
  ['one field too few', line('ssh-rsa', field('ssh-rsa', exponent)), 'no ssh-rsa key'],
  ['no field', line('ssh-rsa', field('ssh-rsa')), 'no ssh-rsa key'],
  ['one field too many', line('ssh-rsa', field('ssh-rsa', exponent, rsa(2048), 'x')), 'no ssh-rsa key'],
  ['another curve', line('ecdsa-sha2-nistp256', field('ecdsa-sha2-nistp256', 'nistp384', raw('P-384'))), 'no ecdsa-sha2-nistp256 key'],
  ['a point beside its curve', line('ecdsa-sha2-nistp256', field('ecdsa-sha2-nistp256', 'nistp256', offCurve)), 'no ecdsa-sha2-nistp256 key'],
  ['an unknown type', line('ssh-dss', field('ssh-dss', 'a', 'b')), 'no ssh-dss key'],
  ['a small RSA key', line('ssh-rsa', field('ssh-rsa', exponent, rsa(1024))), 'at least 2048 bits'],
  ['a key of a hardware token', 'sk-ssh-ed25519@openssh.com AAAA', 'a host has none'],
])('%s is no host key', (_what, text, message) => {
  expect(readHostKey(text)).toEqual({ outcome: 'refused', message: expect.stringContaining(message) });
});
