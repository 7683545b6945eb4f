import { generateKeyPairSync, sign } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { aConfig, aProvider } from '../../../tools/testkit/policies.ts';
import { certificatePrincipal, identityExtension } from '../../core/identity/ssh-identity-extension.ts';
import { createUserCaKey, readUserCa } from '../../core/identity/ssh-user-ca.ts';
import { sshString } from '../../core/identity/ssh-wire.ts';
import { judgePublicKey } from './public-key.ts';

const nowMs = Date.parse('2026-11-24T12:00:00Z');
const provider = aProvider({});
const config = { ...aConfig([]), identityProviders: [provider] };
const userCa = readUserCa(createUserCaKey(), null);
const bearer = generateKeyPairSync('ed25519');
const plain = Buffer.concat([sshString('ssh-ed25519'), sshString(Buffer.from(bearer.publicKey.export({ format: 'jwk' }).x ?? '', 'base64url'))]);
const algorithm = 'ssh-ed25519-cert-v01@openssh.com';
const blob = Buffer.from('session and request');
const signature = Buffer.concat([sshString('ssh-ed25519'), sshString(sign(null, blob, bearer.privateKey))]);

function certificate(extensions: Readonly<Record<string, string>>): Buffer {
  const issued = userCa.issue({ publicKey: plain, keyId: 'ada', serial: 7n, principal: certificatePrincipal(config.namespace), validAfter: nowMs / 1000 - 30, validBefore: nowMs / 1000 + 60, extensions, nonce: Buffer.alloc(32) });
  return Buffer.from(issued ?? []);
}

const claims = { iss: provider.issuer, aud: provider.audiences[0], sub: 'ada', email: 'ada@bank.example', exp: nowMs / 1000 + 600, [provider.usernameClaim]: 'ada' };
const good = certificate({ [identityExtension]: JSON.stringify({ v: 1, provider: provider.name, issuer: provider.issuer, claims }) });
const ask = { target: 'web-1', remote: { ip: '10.0.0.1', port: 1 } };

function judge(context: { readonly algo?: string; readonly data?: Buffer; readonly isSigned?: boolean }, over: { readonly userCa?: null; readonly current?: null } = {}): unknown {
  const key = { algo: context.algo ?? algorithm, data: context.data ?? good };
  return judgePublicKey(context.isSigned === false ? { key } : { key, blob, signature }, ask, {
    config: { current: () => (over.current === null ? null : { config, revision: 1 }), subscribe: () => () => undefined }, clock: { now: () => nowMs, monotonicMs: () => 0 }, userCa: over.userCa === null ? null : userCa,
  });
}

test('a certificate of ours with the signature of its key proves the identity', () => {
  expect(judge({})).toMatchObject({ outcome: 'proven', credentialId: 'ada serial 7', identity: { subject: 'ada', authMethod: 'Certificate' } });
});

test('the question whether it would do is answered with yes or no, and nothing else', () => {
  expect(judge({ isSigned: false })).toEqual({ outcome: 'usable' });
  expect(judge({ isSigned: false, data: good.subarray(1) })).toEqual({ outcome: 'unusable' });
  expect(judge({ isSigned: false, algo: 'ssh-ed25519', data: plain })).toEqual({ outcome: 'unusable' });
});

test.each([
  ['a plain key', { algo: 'ssh-ed25519', data: plain }, {}, 'plain key'], ['a broken certificate', { data: good.subarray(1) }, {}, 'form'], ['a certificate without an identity', { data: certificate({}) }, {}, 'identity'],
  ['a certificate of somebody unknown', { data: certificate({ [identityExtension]: '{}' }) }, {}, 'identity'], ['no authority', {}, { userCa: null }, 'no authority'], ['no config', {}, { current: null }, 'no authority'],
] as const)('%s is refused', (_name, context, over, reason) => {
  expect(judge(context, over)).toMatchObject({ outcome: 'refused', reason });
});
