import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import ssh2, { type Client } from 'ssh2';
import { findAsset } from '../../tools/e2e-assets.ts';
import { makeKey, type OpenSsh, runSsh, startOpenSsh } from '../hosts/openssh.ts';
import { dialOpenSsh, type RelayOptions, type SshRelay, startSshRelay } from '../hosts/ssh-relay.ts';

const assets = [findAsset('ssh-native'), findAsset('ssh'), findAsset('sshd')];

(assets.includes(null) ? describe.skip : describe)('the leg towards the user', () => {
  let host: OpenSsh;
  let relay: SshRelay;

  beforeEach(async () => {
    host = await startOpenSsh();
    relay = await start();
  });
  afterEach(async () => {
    await relay[Symbol.asyncDispose]();
    await host[Symbol.asyncDispose]();
  });

  function start(options: Partial<RelayOptions> = {}): Promise<SshRelay> {
    return startSshRelay({ hostKey: makeKey(host.folder, `ours-${randomBytes(4).toString('hex')}`).path, target: () => dialOpenSsh(host), ...options });
  }

  async function restart(options: Partial<RelayOptions>): Promise<void> {
    await relay[Symbol.asyncDispose]();
    relay = await start(options);
  }

  const served = async (): Promise<boolean> => (await runSsh(relay.port, ['x@127.0.0.1', 'echo fine'])).stdout.toString() === 'fine\n';

  test('20 MB on stdout and then 20 MB on stderr cross both legs byte for byte with the exit status, ten times in ten', async () => {
    // Different bytes from place to place, made by the target.
    const command = (descriptor: number): string => `awk 'BEGIN { for (i = 0; i < 655360; i++) printf "%031d\\n", i }' >&${descriptor}`;
    const expected = Buffer.from(Array.from({ length: 655_360 }, (_, i) => `${String(i).padStart(31, '0')}\n`).join(''));
    for (let round = 0; round < 10; round++) {
      const { stdout, stderr, status } = await runSsh(relay.port, ['x@127.0.0.1', `${command(1)}; ${command(2)}; exit 3`]);
      expect({ round, stdout: stdout.equals(expected), stderr: stderr.equals(expected), status }).toEqual({ round, stdout: true, stderr: true, status: 3 });
    }
  });

  test('a command without input and one with a piped line give exact output although the target is reached only a second later', async () => {
    await restart({ target: async () => { await new Promise((resolve) => setTimeout(resolve, 1_000)); return dialOpenSsh(host); } });
    const [none, piped] = await Promise.all([runSsh(relay.port, ['-n', 'x@127.0.0.1', 'echo done']), runSsh(relay.port, ['x@127.0.0.1', 'cat'], { input: 'a line\n' })]);
    expect([none.stdout.toString(), none.status, piped.stdout.toString(), piped.status]).toEqual(['done\n', 0, 'a line\n', 0]);
  });

  test('a text before the login is shown, a different one to each connection', async () => {
    let number = 0;
    await restart({ connected: ({ connection, authBanner }) => {
      const text = `notice ${++number}\r\n`;
      connection.once('authentication', () => authBanner(text));
    } });
    const shown = [await runSsh(relay.port, ['x@127.0.0.1', 'true'], { logLevel: 'INFO' }), await runSsh(relay.port, ['x@127.0.0.1', 'true'], { logLevel: 'INFO' })];
    expect(shown.map(({ stderr }) => /notice \d/.exec(stderr.toString())?.[0])).toEqual(['notice 1', 'notice 2']);
  });

  test('ssh -W prints why a channel was refused', async () => {
    await restart({ connected: ({ connection }) => void connection.on('tcpip', (_accept, reject) => (reject as (text: string) => void)('not granted by policy "oncall"')) });
    const { stderr } = await runSsh(relay.port, ['-W', '10.0.0.1:22', 'x@127.0.0.1'], { logLevel: 'INFO' });
    expect(stderr.toString()).toContain('administratively prohibited: not granted by policy "oncall"');
  });

  test('the first line says neither the library nor a version', async () => {
    const socket = connect(relay.port, '127.0.0.1');
    const line = await new Promise<string>((resolve) => socket.once('data', (bytes) => resolve(bytes.toString('latin1').split('\r\n')[0] ?? '')));
    socket.destroy();
    expect(line).toBe('SSH-2.0-Sallyport');
  });

  test.each([['says nothing', ''], ['says who it is and no more', 'SSH-2.0-slow\r\n'], ['sends half a packet', 'SSH-2.0-slow\r\n\0\0\x04\0\x08\x14']])('a client that %s is gone when the time for the key exchange is over, and others are served meanwhile', async (_name, bytes) => {
    await restart({ handshakeMs: 5_000 });
    const sockets = Array.from({ length: 20 }, () => connect(relay.port, '127.0.0.1'));
    const gone = Promise.all(sockets.map((socket) => new Promise((resolve) => socket.on('error', () => undefined).once('close', resolve).resume())));
    for (const socket of sockets) socket.write(bytes, 'latin1');
    const run = await runSsh(relay.port, ['x@127.0.0.1', 'echo fine']);
    expect([run.status, run.stdout.toString(), run.stderr.toString(), relay.failures]).toEqual([0, 'fine\n', '', expect.anything()]);
    await gone;
  });

  test.each<[string, (fail: (error: unknown) => void) => void | Promise<void>]>([
    ['throws', () => { throw new Error('a fault of ours'); }],
    ['throws later', async () => { await new Promise((resolve) => setTimeout(resolve, 10)); throw new Error('a fault of ours'); }],
  ])('a listener that %s ends its connection and nothing else', async (_name, fault) => {
    const { guarded } = await import('../../sidecar/ssh/leg.ts');
    let faulty = true;
    await restart({ connected: ({ connection, fail }) => void connection.on('session', guarded(fail, () => (faulty ? fault(fail) : undefined))) });
    const { status } = await runSsh(relay.port, ['x@127.0.0.1', 'sleep 30'], { limitMs: 10_000 });
    faulty = false;
    expect([status, relay.failures.map(String), await served()]).toEqual([255, ['Error: a fault of ours'], true]);
  });

  (findAsset('ssh-audit') === null ? test.skip : test).each(['ed25519', 'rsa'] as const)('ssh-audit finds nothing that fails: host key %s', async (kind) => {
    await restart({ hostKey: makeKey(host.folder, 'audited', kind).path });
    const report = await new Promise<string>((resolve) => void execFile('ssh-audit', ['-n', '-p', String(relay.port), '127.0.0.1'], (_error, out) => resolve(out)));
    const findings = report.split('\n').filter((line) => /\[(?:fail|warn)\]/.test(line)).map((line) => line.replaceAll(/\s+/g, ' '));
    // Answered in docs/ssh-audit.md: Debian's ssh-audit 2.5 is older than strict key exchange.
    expect([report.includes('(kex) curve25519-sha256'), findings.filter((line) => line !== '(kex) kex-strict-s-v00@openssh.com -- [warn] unknown algorithm')]).toEqual([true, []]);
  });

  test('an attacker who adds a message before the keys (Terrapin) ends the connection', async () => {
    // What strict key exchange is for: the client notices nothing, our side must.
    await using middle = await startInjector(relay.port, 'server');
    const { status } = await runSsh(middle.port, ['-o', 'Ciphers=chacha20-poly1305@openssh.com', 'x@127.0.0.1', 'true'], { limitMs: 8_000 });
    // The same message does no harm to a client of before, so it was none that breaks by itself.
    expect([status, middle.injected(), await strictless(middle.port, 'aes128-gcm@openssh.com')]).toEqual([255, 1, true]);
  });

  test('chacha20-poly1305 without strict key exchange is not spoken, other ciphers are', async () => {
    expect([await strictless(relay.port, 'chacha20-poly1305@openssh.com'), await strictless(relay.port, 'aes128-gcm@openssh.com')]).toEqual([false, true]);
  });

  describe('hostile packets', () => {
    /** Repeatable. */
    const bytesOf = (seed: number, length: number): Buffer => {
      let state = seed * 2_654_435_761 + 1;
      return Buffer.from(Array.from({ length }, () => (state = Math.imul(state ^ (state >>> 15), 2_246_822_519) + 3) >>> 24));
    };
    const packet = (payload: Buffer, length = payload.length + 1 + (8 - ((payload.length + 5) % 8)) + (8 - ((payload.length + 5) % 8) < 4 ? 8 : 0)): Buffer => {
      const bytes = Buffer.alloc(4 + Math.min(length, payload.length + 64));
      bytes.writeUInt32BE(length);
      bytes[4] = Math.max(4, length - payload.length - 1) & 0xff;
      payload.copy(bytes, 5, 0, Math.max(0, bytes.length - 5));
      return bytes;
    };
    const shapes: Readonly<Record<string, (seed: number) => readonly Buffer[]>> = {
      'random bytes': (seed) => [bytesOf(seed, 1 + (seed % 4_000))],
      'random bytes behind a first line': (seed) => [Buffer.from('SSH-2.0-x\r\n'), bytesOf(seed, 1 + (seed % 4_000))],
      'packets of every type before keys': (seed) => [Buffer.from('SSH-2.0-x\r\n'), packet(Buffer.concat([Buffer.of(seed & 0xff), bytesOf(seed, seed % 300)]))],
      'a KEXINIT full of noise, then any type': (seed) => [Buffer.from('SSH-2.0-x\r\n'), packet(Buffer.concat([Buffer.of(20), bytesOf(seed, 16 + (seed % 900))])), packet(Buffer.of(seed & 0xff))],
      'lengths that lie': (seed) => [Buffer.from('SSH-2.0-x\r\n'), packet(bytesOf(seed, 40), [0, 1, 4, 35_001, 2 ** 31, 2 ** 32 - 1][seed % 6]), bytesOf(seed, 70_000)],
      'a first line without end': () => [Buffer.alloc(300_000, 0x41)],
    };

    test.each(Object.entries(shapes))('%s before the keys end the connection; memory stays, others are served', async (_name, shape) => {
      await restart({ handshakeMs: 4_000 });
      const before = process.memoryUsage().rss;
      for (let batch = 0; batch < 2; batch++) {
        await Promise.all(Array.from({ length: 64 }, (_, i) => throwAt(relay.port, shape(batch * 64 + i))));
      }
      expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1_048_576);
      expect(await served()).toBe(true);
    });

    test.each([['before the login', false], ['after the login', true]])('messages of any type and content %s end the connection at most; others are served', async (_name, loggedIn) => {
      for (let seed = 0; seed < 96; seed++) await sendMessages(relay.port, loggedIn, [Buffer.concat([Buffer.of(loggedIn ? 80 + (seed % 24) : seed * 3 & 0xff), bytesOf(seed, seed * 7 % 500)]), Buffer.concat([Buffer.of(90), bytesOf(seed, 60)])]);
      expect(await served()).toBe(true);
    });
  });
});

/** Whether a client that knows no strict key exchange gets in. */
async function strictless(port: number, cipher: 'chacha20-poly1305@openssh.com' | 'aes128-gcm@openssh.com'): Promise<boolean> {
  const client = new ssh2.Client();
  const outcome = new Promise<boolean>((resolve) => client.on('error', () => undefined).once('ready', () => resolve(true)).once('close', () => resolve(false)));
  client.connect({ host: '127.0.0.1', port, username: 'x', hostVerifier: () => true, algorithms: { cipher: [cipher] } });
  withoutStrictKex(client);
  const ready = await outcome;
  client.destroy();
  return ready;
}

/** Without the marker of strict key exchange, as clients were before 2024. */
function withoutStrictKex(client: Client): void {
  const { _protocol: protocol } = client as unknown as { readonly _protocol: { _strictMode?: boolean; readonly _offer: { readonly lists: { readonly all: Uint8Array } } } };
  const { all } = protocol._offer.lists;
  const names = Buffer.from(all.buffer, all.byteOffset, all.byteLength);
  names.write('kex-nothing', names.indexOf('kex-strict-'));
  protocol._strictMode = false;
}

/** Sends, and waits until the other side ends the connection. */
function throwAt(port: number, chunks: readonly Buffer[]): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      for (const chunk of chunks) socket.write(chunk);
    });
    socket.on('error', () => undefined).once('close', () => resolve()).resume();
  });
}

/** Sends raw messages under the negotiated keys. */
async function sendMessages(port: number, loggedIn: boolean, messages: readonly Buffer[]): Promise<void> {
  const client = new ssh2.Client();
  const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
  const reached = new Promise<void>((resolve) => void (client as EventEmitter).on('error', () => undefined).once(loggedIn ? 'ready' : 'handshake', resolve));
  client.connect({ host: '127.0.0.1', port, username: 'x', hostVerifier: () => true, authHandler: (loggedIn ? ['none'] : () => undefined) as never });
  await reached;
  const { _protocol: protocol } = client as unknown as { readonly _protocol: { readonly _packetRW: { readonly write: { readonly allocStart: number; alloc(bytes: number): Buffer; finalize(packet: Buffer): Buffer } }; readonly _cipher: { encrypt(packet: Buffer): void } } };
  const { write } = protocol._packetRW;
  for (const message of messages) {
    const raw = write.alloc(message.length);
    message.copy(raw, write.allocStart);
    protocol._cipher.encrypt(write.finalize(raw));
  }
  const timer = setTimeout(() => client.destroy(), 40);
  await closed;
  clearTimeout(timer);
}

/** A man in the middle who slips one SSH_MSG_IGNORE in, in plain text, behind the KEXINIT of one side. */
async function startInjector(port: number, into: 'server' | 'client'): Promise<{ readonly port: number; readonly injected: () => number } & AsyncDisposable> {
  let injected = 0;
  const ignore = Buffer.from([0, 0, 0, 12, 6, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  const sockets: Socket[] = [];
  const server: Server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    sockets.push(near, far);
    const [source, sink] = into === 'server' ? [near, far] : [far, near];
    let head = Buffer.alloc(0);
    let done = false;
    const forward = (bytes: Buffer): void => {
      if (done) return void sink.write(bytes);
      head = Buffer.concat([head, bytes]);
      const line = head.indexOf('\n') + 1;
      const end = line === 0 || head.length < line + 4 ? Number.POSITIVE_INFINITY : line + 4 + head.readUInt32BE(line);
      if (head.length < end) return;
      done = true;
      injected++;
      sink.write(Buffer.concat([head.subarray(0, end), ignore, head.subarray(end)]));
    };
    source.on('data', forward);
    sink.on('data', (bytes) => void source.write(bytes));
    for (const [a, b] of [[near, far], [far, near]] as const) a.on('error', () => undefined).on('close', () => b.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { readonly port: number }).port, injected: () => injected,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
