import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { findAsset } from '../../tools/e2e-assets.ts';
import { makeKey, type OpenSsh, runSsh, sshOptions, startOpenSsh } from '../hosts/openssh.ts';
import { dialOpenSsh, type SshRelay, startSshRelay } from '../hosts/ssh-relay.ts';

const assets = [findAsset('ssh-native'), findAsset('ssh'), findAsset('sshd')];
const bytes = 200 * 1_048_576;
const limit = { bytes: 8 * 1_048_576, ms: 3_600_000 };

(assets.includes(null) ? describe.skip : describe)('keys are changed during a transfer of 200 MB', () => {
  let host: OpenSsh;
  let restless: OpenSsh;

  beforeAll(async () => {
    host = await startOpenSsh();
    restless = await startOpenSsh({ config: ['RekeyLimit 8M'] });
  });
  afterAll(async () => {
    await host[Symbol.asyncDispose]();
    await restless[Symbol.asyncDispose]();
  });

  interface Who {
    readonly user?: boolean;
    readonly target?: boolean;
    readonly us?: boolean;
  }

  async function withRelay<T>(who: Who, use: (relay: SshRelay, exchanges: () => { readonly user: number; readonly target: number }) => Promise<T>): Promise<T> {
    const machine = who.target ? restless : host;
    const count = { user: 0, target: 0 };
    await using relay = await startSshRelay({
      hostKey: makeKey(machine.folder, `ours${Math.random()}`).path, ...(who.us ? { rekey: limit } : {}),
      connected: ({ connection }) => void connection.on('handshake', () => count.user++),
      target: async () => {
        const upstream = await dialOpenSsh(machine, who.us ? { rekey: limit } : {});
        upstream.client.on('handshake', () => count.target++);
        return upstream;
      },
    });
    return await use(relay, () => count);
  }

  const zeroes = createHash('sha256').update(Buffer.alloc(bytes)).digest('hex');
  const rekeying = (who: Who): readonly string[] => (who.user ? ['-o', 'RekeyLimit=8M'] : []);

  const cases: readonly [string, Who, { readonly user: number; readonly target: number }][] = [
    ['by the user', { user: true }, { user: 10, target: 0 }],
    ['by the target', { target: true }, { user: 0, target: 10 }],
    ['by the gateway', { us: true }, { user: 10, target: 10 }],
    ['by all at once', { user: true, target: true, us: true }, { user: 10, target: 10 }],
  ];

  test.each(cases)('%s, and no byte towards the user is lost', async (_name, who, least) => {
    await withRelay(who, async (relay, exchanges) => {
      const digest = createHash('sha256');
      const status = await new Promise<number | null>((resolve) => {
        const child = spawn('ssh', [...sshOptions(relay.port), ...rekeying(who), '-c', 'aes128-gcm@openssh.com', 'x@127.0.0.1', `head -c ${bytes} /dev/zero`], { stdio: ['ignore', 'pipe', 'inherit'] });
        child.stdout.on('data', (chunk: Buffer) => void digest.update(chunk));
        child.once('close', resolve);
      });
      expect([status, digest.digest('hex'), exchanges().user >= least.user, exchanges().target >= least.target, relay.failures]).toEqual([0, zeroes, true, true, []]);
    });
  });

  test.each(cases)('%s, and no byte towards the target is lost', async (_name, who, least) => {
    await withRelay(who, async (relay, exchanges) => {
      const { status, stdout } = await runSsh(relay.port, [...rekeying(who), '-c', 'aes128-gcm@openssh.com', 'x@127.0.0.1', 'sha256sum'], { input: Buffer.alloc(bytes), limitMs: 50_000 });
      expect([status, stdout.toString().slice(0, 64), exchanges().user >= least.user, exchanges().target >= least.target, relay.failures]).toEqual([0, zeroes, true, true, []]);
    });
  });

  test('after a time without much traffic too, both legs', async () => {
    const count = { user: 0, target: 0 };
    const often = { bytes: 2 ** 30, ms: 150 };
    await using relay = await startSshRelay({
      hostKey: makeKey(host.folder, `ours${Math.random()}`).path, rekey: often,
      connected: ({ connection }) => void connection.on('handshake', () => count.user++),
      target: async () => {
        const upstream = await dialOpenSsh(host, { rekey: often });
        upstream.client.on('handshake', () => count.target++);
        return upstream;
      },
    });
    const { stdout } = await runSsh(relay.port, ['x@127.0.0.1', 'sleep 1; echo still here']);
    expect([stdout.toString(), count.user >= 3, count.target >= 3]).toEqual(['still here\n', true, true]);
  });
});
