import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ssh2, { type Client, type ServerChannel } from 'ssh2';
import { findAsset } from '../../tools/e2e-assets.ts';
import { stockSsh2 } from '../../tools/native/build-native.ts';
import { makeKey, runSsh } from '../hosts/openssh.ts';
import { numbered } from '../hosts/ssh-victim.ts';

const assets = [findAsset('ssh-native'), findAsset('ssh')];
const patched = fileURLToPath(new URL('../../node_modules/ssh2', import.meta.url));

/** Why each hunk of the patch exists: what ssh2 does with it, and that the published one does not. A new version that passes as published needs the hunk no more. */
(assets.includes(null) ? describe.skip : describe)('ssh2 with our patch, and as published', () => {
  let folder: string;
  let hostKey: string;
  let stock: string;
  const children = new Set<ChildProcess>();

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'sallyport-patch-'));
    hostKey = makeKey(folder, 'host').path;
    stock = stockSsh2();
  });
  afterAll(() => {
    for (const child of children) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  /** Starts the bare ssh2. @returns its first line of output, and what it says later. */
  async function victim(module: string, role: 'server' | 'client', argument: string): Promise<Victim> {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', fileURLToPath(new URL('../hosts/ssh-victim.ts', import.meta.url)), module, role, argument], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.add(child);
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => void (said += text));
    await until(() => said.includes('\n'), 10_000);
    return { child, first: said.split('\n')[0] ?? '', closes: () => said.split('closed').length - 1, residentMiB: () => residentMiB(child.pid ?? 0) };
  }

  async function login(port: string): Promise<Client> {
    const client = new ssh2.Client();
    client.on('error', () => undefined);
    await new Promise<void>((resolve, reject) => client.once('ready', resolve).once('close', reject).connect({ host: '127.0.0.1', port: Number(port), username: 'x', hostVerifier: () => true }));
    return client;
  }

  describe('P1: 20 MB on stdout, then 20 MB on stderr', () => {
    const bytes = 20 * 1_048_576;
    const expected = (): Buffer => Buffer.concat(Array.from({ length: bytes / 32_768 }, (_, i) => numbered(i * 32_768)));
    const run = async (module: string): Promise<{ readonly exact: boolean; readonly status: number | null }> => {
      const server = await victim(module, 'server', hostKey);
      const { stdout, stderr, status } = await runSsh(Number(server.first), ['x@127.0.0.1', `both ${bytes}`], { limitMs: 12_000 });
      server.child.kill();
      return { exact: stdout.equals(expected()) && stderr.equals(expected()), status };
    };

    test('arrive byte for byte with the patch', async () => expect(await run(patched)).toEqual({ exact: true, status: 0 }));
    test('hang or are repeated as published', async () => expect(await run(stock)).not.toEqual({ exact: true, status: 0 }));
  });

  describe('P2: a peer that ignores the window', () => {
    const surplus = 64 * 1_048_576;
    const asClient = async (module: string): Promise<Attack> => {
      const server = await victim(module, 'server', hostKey);
      // Warm: code that is loaded and compiled for the first session is no buffer.
      await runSsh(Number(server.first), ['x@127.0.0.1', 'both 4194304']);
      await until(() => server.closes() === 1, 3_000);
      const client = await login(server.first);
      const before = server.residentMiB();
      client.exec('swallow', (error, stream) => void (error ?? ignoreWindow(stream as unknown as ServerChannel, surplus)));
      return await watch(server, before, 1);
    };
    const asServer = async (module: string): Promise<Attack> => {
      const server = new ssh2.Server({ hostKeys: [readFileSync(hostKey)] }, (connection) => {
        connection.on('error', () => undefined).on('authentication', (context) => context.accept());
        connection.on('session', (accept) => accept().on('exec', (take) => void ignoreWindow(take(), surplus)));
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const client = await victim(module, 'client', String((server.address() as { readonly port: number }).port));
      const attack = await watch(client, client.residentMiB(), 0);
      server.close();
      return attack;
    };

    test('is disconnected as a client, and memory stays', async () => expect(await asClient(patched)).toEqual({ closed: true, grewUnder16MiB: true }));
    test('is disconnected as a target, and memory stays', async () => expect(await asServer(patched)).toEqual({ closed: true, grewUnder16MiB: true }));
    test('fills the memory of ssh2 as published', async () => expect(await asClient(stock)).toEqual({ closed: false, grewUnder16MiB: false }));
  });

  describe('P3: server-sig-algs', () => {
    const listed = async (module: string): Promise<readonly string[]> => {
      const server = await victim(module, 'server', hostKey);
      const { stderr } = await runSsh(Number(server.first), ['-vv', 'x@127.0.0.1', 'both 0'], { logLevel: 'DEBUG2' });
      server.child.kill();
      return (/server-sig-algs=<([^>]*)>/.exec(stderr.toString())?.[1] ?? '').split(',');
    };

    test('lists rsa-sha2-512, and nothing with SHA-1', async () => {
      expect(await listed(patched)).toEqual(['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'rsa-sha2-512', 'rsa-sha2-256']);
    });
    test('lacks rsa-sha2-512 as published', async () => expect(await listed(stock)).not.toContain('rsa-sha2-512'));
  });

  describe('P8: a peer that takes no byte per packet', () => {
    const answersAfter = async (module: string): Promise<boolean> => {
      const server = await victim(module, 'server', hostKey);
      const client = await login(server.first);
      const { _protocol: protocol } = client as unknown as { readonly _protocol: { session(channel: number, window: number, packet: number): void } };
      const open = protocol.session.bind(protocol);
      protocol.session = (channel, window) => open(channel, window, 0);
      client.exec('both 32768', () => undefined);
      await new Promise((resolve) => setTimeout(resolve, 500));
      const { status } = await runSsh(Number(server.first), ['x@127.0.0.1', 'both 0'], { limitMs: 4_000 });
      client.destroy();
      server.child.kill('SIGKILL');
      return status === 0;
    };

    test('is disconnected, and others are served', async () => expect(await answersAfter(patched)).toBe(true));
    test('stops everything as published', async () => expect(await answersAfter(stock)).toBe(false));
  });

  describe('P9: a peer with a window of 4 GiB that', () => {
    const flooded = async (module: string, stall: (client: Client) => void): Promise<boolean> => {
      const server = await victim(module, 'server', hostKey);
      const client = await login(server.first);
      const { _protocol: protocol } = client as unknown as { readonly _protocol: { session(channel: number, window: number, packet: number): void } };
      const open = protocol.session.bind(protocol);
      protocol.session = (channel, _window, packet) => open(channel, 2 ** 32 - 1, packet);
      client.exec('flood', (_error, stream) => {
        // Our own side takes what the window that it promised allows.
        Object.assign((stream as unknown as { readonly incoming: { window: number } }).incoming, { window: 2 ** 40 });
        stream.resume();
        stall(client);
      });
      // What flowed before the stall leaves its garbage; after it nothing may be added.
      await new Promise((resolve) => setTimeout(resolve, 400));
      const before = server.residentMiB();
      let most = 0;
      await until(() => (most = Math.max(most, server.residentMiB() - before)) > 200, 2_000).catch(() => undefined);
      client.destroy();
      server.child.kill('SIGKILL');
      return most < 16;
    };
    const stops = {
      'reads nothing': (client: Client) => void (client as unknown as { readonly _sock: { pause(): void } })._sock.pause(),
      'never finishes a change of keys': (client: Client) => {
        const { _protocol: protocol, _sock: socket } = client as unknown as { readonly _protocol: { rekey(): void }; readonly _sock: { write(): boolean } };
        protocol.rekey();
        socket.write = () => true;
      },
    };

    test.each(Object.entries(stops))('%s holds up the writer and not our memory', async (_name, stall) => expect(await flooded(patched, stall)).toBe(true));
    test.each(Object.entries(stops))('%s fills the memory of ssh2 as published', async (_name, stall) => expect(await flooded(stock, stall)).toBe(false));
  });

  test('the published copy is the published one', () => {
    expect([dirname(stock).endsWith('node_modules'), (ssh2 as unknown as { readonly sallyportPatch: string }).sallyportPatch, readFileSync(join(stock, 'lib/index.js'), 'utf8').includes('sallyportPatch')]).toEqual([true, 'sallyport-1', false]);
  });
});

interface Victim {
  readonly child: ChildProcess;
  readonly first: string;
  /** How many connections have ended. */
  readonly closes: () => number;
  readonly residentMiB: () => number;
}

interface Attack {
  readonly closed: boolean;
  readonly grewUnder16MiB: boolean;
}

async function watch(target: Victim, before: number, closes: number): Promise<Attack> {
  let most = 0;
  await until(() => {
    most = Math.max(most, target.residentMiB() - before);
    return target.closes() > closes;
  }, 3_000).catch(() => undefined);
  const attack = { closed: target.closes() > closes, grewUnder16MiB: most < 16 };
  target.child.kill('SIGKILL');
  return attack;
}

/** Sends without asking: the window that ssh2 keeps for the other side is set aside. */
async function ignoreWindow(channel: ServerChannel, bytes: number): Promise<void> {
  const { outgoing } = channel as unknown as { readonly outgoing: { window: number } };
  channel.on('error', () => undefined);
  for (let sent = 0; sent < bytes && !channel.destroyed; sent += 65_536) {
    outgoing.window = 2 ** 31;
    await new Promise<void>((resolve) => void channel.write(Buffer.alloc(65_536), () => resolve()));
  }
}

function residentMiB(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1_024;
  } catch {
    return 0;
  }
}

async function until(isSo: () => boolean, limitMs: number): Promise<void> {
  for (const end = Date.now() + limitMs; !isSo(); await new Promise((resolve) => setTimeout(resolve, 10))) if (Date.now() > end) throw new Error('did not come to be');
}
