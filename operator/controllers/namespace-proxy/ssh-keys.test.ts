import { execFileSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import ssh2 from 'ssh2';
import { readHostKey } from '../../render/public-key.ts';
import { makeSshHostKey, makeSshUserCa, sshFingerprint } from './ssh-keys.ts';

test('a host key is one that ssh2 and ssh-keygen read, and its public part belongs to it', () => {
  for (let round = 0; round < 20; round += 1) {
    const { privateKey, publicKey } = makeSshHostKey();
    const parsed = ssh2.utils.parseKey(privateKey);
    if (parsed instanceof Error) throw parsed;
    expect([parsed.type, `ssh-ed25519 ${parsed.getPublicSSH().toString('base64')}`, readHostKey(publicKey)]).toEqual(['ssh-ed25519', publicKey, { outcome: 'key', key: publicKey }]);
    const signature = parsed.sign('x') as Buffer;
    expect(parsed.verify('x', signature)).toBe(true);
  }
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-host-key-'));
  try {
    const { privateKey, publicKey } = makeSshHostKey();
    writeFileSync(join(directory, 'key'), privateKey, { mode: 0o600 });
    expect(execFileSync('ssh-keygen', ['-y', '-f', join(directory, 'key')], { encoding: 'utf8' }).trim()).toBe(publicKey);
    writeFileSync(join(directory, 'key.pub'), `${publicKey}\n`);
    expect(execFileSync('ssh-keygen', ['-l', '-f', join(directory, 'key.pub')], { encoding: 'utf8' })).toContain(sshFingerprint(publicKey));
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('no two keys are the same, and the authority for users is an Ed25519 key', () => {
  expect(new Set(Array.from({ length: 5 }, () => makeSshHostKey().publicKey)).size).toBe(5);
  expect(createPrivateKey(makeSshUserCa()).asymmetricKeyType).toBe('ed25519');
});
