import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import ssh2, { type AuthContext, type KeyboardAuthContext, type PasswordAuthContext } from 'ssh2';
import type { SshTarget } from '../../contract/proxy-config.ts';
import { SallyportError } from '../../sidecar/core/errors.ts';
import { connectSshTarget, type SshUpstream } from '../../sidecar/ssh/upstream.ts';
import { findAsset } from '../../tools/e2e-assets.ts';
import { aLog } from '../../tools/testkit/cluster-config.ts';
import { certify, type KeyFile, makeKey, type OpenSsh, startOpenSsh } from '../hosts/openssh.ts';
import { aTargetPermit, secretsOf } from '../hosts/ssh-relay.ts';

const assets = [findAsset('ssh-native'), findAsset('ssh'), findAsset('sshd')];
type Secret = Readonly<Record<string, string | Buffer>>;

(assets.includes(null) ? describe.skip : describe)('the leg towards the target', () => {
  let host: OpenSsh;
  let pins: string[];

  beforeAll(async () => {
    host = await startOpenSsh({ hostKeys: ['ed25519', 'ecdsa', 'rsa'] });
    pins = host.hostKeys.map((key) => key.publicLine);
  });
  afterAll(async () => {
    await host[Symbol.asyncDispose]();
  });

  interface Dial {
    readonly ssh?: Partial<SshTarget['ssh']>;
    readonly secret: () => Secret;
    readonly account?: string;
    readonly reread?: () => Promise<boolean>;
    readonly log?: ReturnType<typeof aLog>;
    readonly deadlineMs?: number;
    readonly signal?: AbortSignal;
  }

  /** @returns 'in', or the code of the failure. */
  async function dial({ ssh = {}, secret, account = host.account, reread, log, deadlineMs = 8_000, signal = new AbortController().signal }: Dial): Promise<string> {
    const permit = aTargetPermit({ port: host.port, hostKeys: pins, accounts: [account], ...ssh });
    const secrets = { ...secretsOf(secret), ...(reread === undefined ? {} : { reread }) };
    try {
      await using upstream = await connectSshTarget(permit, { account, sessionId: 'ses-1' }, { secrets, clock: { now: () => Date.now(), monotonicMs: () => performance.now() }, signal, deadlineMs, ...(log === undefined ? {} : { log }) });
      return (await output(upstream, 'echo in')).trim();
    } catch (error) {
      return error instanceof SallyportError ? error.code : String(error);
    }
  }

  const own = (): Secret => ({ privateKey: readFileSync(host.userKey.path) });

  describe('credentials', () => {
    test('a private key logs in; a Secret that was replaced serves the next dial', async () => {
      const other = makeKey(host.folder, 'stranger');
      let secret: Secret = own();
      const outcomes = [await dial({ secret: () => secret })];
      secret = { privateKey: readFileSync(other.path) };
      outcomes.push(await dial({ secret: () => secret }));
      expect(outcomes).toEqual(['in', 'TARGET_LOGIN_FAILED']);
    });

    test('a private key with a passphrase logs in with it, and is no credential without', async () => {
      const key = makeKey(host.folder, 'locked', 'ed25519', 'correct horse');
      writeFileSync(`${host.folder}/authorized_keys`, `${host.userKey.publicLine}\n${key.publicLine}\n`);
      const privateKey = readFileSync(key.path);
      expect([await dial({ secret: () => ({ privateKey, passphrase: 'correct horse\n' }) }), await dial({ secret: () => ({ privateKey }) }), await dial({ secret: () => ({ privateKey, passphrase: 'wrong' }) })]).toEqual(['in', 'SECRET_UNAVAILABLE', 'SECRET_UNAVAILABLE']);
    });

    test.each(['ed25519', 'ecdsa', 'rsa'] as const)('a certificate of the target\'s user CA logs in with a key that nobody authorized: %s', async (kind) => {
      const key = makeKey(host.folder, `certified-${kind}`, kind);
      const certificate = certify(host.userAuthority, key, host.account);
      const privateKey = readFileSync(key.path);
      expect([await dial({ secret: () => ({ privateKey, certificate }) }), await dial({ secret: () => ({ privateKey }) })]).toEqual(['in', 'TARGET_LOGIN_FAILED']);
    });

    test.each<[string, (own: KeyFile, other: KeyFile) => Secret]>([
      ['both a key and a password', (key) => ({ privateKey: readFileSync(key.path), password: 'x' })],
      ['neither', () => ({ note: 'x' })],
      ['a certificate beside a password', () => ({ password: 'x', certificate: 'y' })],
      ['a certificate of another key', (key, other) => ({ privateKey: readFileSync(key.path), certificate: certify(host.userAuthority, other, host.account) })],
      ['a certificate that is a plain key', (key) => ({ privateKey: readFileSync(key.path), certificate: key.publicLine })],
      ['a public key in the place of the private one', (key) => ({ privateKey: key.publicLine })],
      ['bytes that are no key', () => ({ privateKey: 'nonsense' })],
    ])('a Secret with %s is none, and the target hears nothing', async (_name, secret) => {
      const [key, other] = [makeKey(host.folder, `a${Math.random()}`), makeKey(host.folder, `b${Math.random()}`)];
      const before = host.log().length;
      expect([await dial({ secret: () => secret(key, other) }), host.log().slice(before)]).toEqual(['SECRET_UNAVAILABLE', '']);
    });

    test('a login that sshd refuses is tried once', async () => {
      const stranger = makeKey(host.folder, 'tries');
      const before = host.log().length;
      expect(await dial({ secret: () => ({ privateKey: readFileSync(stranger.path) }) })).toBe('TARGET_LOGIN_FAILED');
      await until(() => host.log().slice(before).includes('Connection closed') || host.log().slice(before).includes('disconnect'));
      expect(host.log().slice(before).match(/Failed publickey|Connection from/g)).toEqual(['Connection from', 'Failed publickey']);
    });

    test('a login that was refused is tried once more when the Secret holds other values by now, and only then', async () => {
      const stranger = makeKey(host.folder, 'rotating');
      let secret: Secret = { privateKey: readFileSync(stranger.path) };
      const rotated = await dial({ secret: () => secret, reread: async () => { secret = own(); return true; } });
      let asked = 0;
      secret = { privateKey: readFileSync(stranger.path) };
      const unchanged = await dial({ secret: () => secret, reread: async () => { asked++; return false; } });
      expect([rotated, unchanged, asked]).toEqual(['in', 'TARGET_LOGIN_FAILED', 1]);
    });

    describe('a password', () => {
      const scripted = async (answer: (context: AuthContext) => void, methods: readonly string[] = ['password', 'keyboard-interactive']): Promise<{ readonly outcome: string; readonly attempts: readonly string[] }> => {
        const attempts: string[] = [];
        const server = new ssh2.Server({ hostKeys: [readFileSync(host.hostKeys[0]?.path ?? '')] }, (connection) => {
          connection.on('error', () => undefined);
          connection.on('authentication', (context) => {
            if (context.method === 'none') return context.reject(methods as never);
            attempts.push(context.method);
            answer(context);
          });
          connection.on('session', (accept) => accept().on('exec', (take) => {
            const channel = take();
            channel.write('in\n');
            channel.exit(0);
            channel.end();
          }));
        });
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
        const outcome = await dial({ secret: () => ({ password: 'pa55\n' }), ssh: { port: (server.address() as { readonly port: number }).port } });
        server.close();
        return { outcome, attempts };
      };
      const question = (prompts: { prompt: string; echo: boolean }[], then: (answers: readonly string[], context: KeyboardAuthContext) => void) => (context: AuthContext): void => {
        const keyboard = context as KeyboardAuthContext;
        keyboard.prompt(prompts, (answers) => then(answers as unknown as readonly string[], keyboard));
      };

      test('is sent once, without the newline of its file', async () => {
        expect(await scripted((context) => ((context as PasswordAuthContext).password === 'pa55' ? context.accept() : context.reject()))).toEqual({ outcome: 'in', attempts: ['password'] });
      });
      test('that is refused is not tried by another way', async () => {
        expect(await scripted((context) => context.reject(['password', 'keyboard-interactive']))).toEqual({ outcome: 'TARGET_LOGIN_FAILED', attempts: ['password'] });
      });
      test('answers one question whose answer is not shown, where the target asks so', async () => {
        const answer = question([{ prompt: 'Password: ', echo: false }], (answers, context) => (answers[0] === 'pa55' && answers.length === 1 ? context.accept() : context.reject()));
        expect(await scripted(answer, ['keyboard-interactive'])).toEqual({ outcome: 'in', attempts: ['keyboard-interactive'] });
      });
      test.each<[string, { prompt: string; echo: boolean }[]]>([
        ['whose answer would be shown', [{ prompt: 'Name: ', echo: true }]],
        ['among others', [{ prompt: 'Password: ', echo: false }, { prompt: 'Code: ', echo: false }]],
      ])('does not answer a question %s', async (_name, prompts) => {
        let told = 0;
        expect([await scripted(question(prompts, () => told++), ['keyboard-interactive']), told]).toEqual([{ outcome: 'TARGET_LOGIN_FAILED', attempts: ['keyboard-interactive'] }, 0]);
      });
      test('does not answer a second question', async () => {
        let told = 0;
        const twice = question([{ prompt: 'Password: ', echo: false }], (_answers, context) => question([{ prompt: 'Again: ', echo: false }], () => told++)(context));
        expect([await scripted(twice, ['keyboard-interactive']), told]).toEqual([{ outcome: 'TARGET_LOGIN_FAILED', attempts: ['keyboard-interactive'] }, 0]);
      });
      test('that the target wants changed is a failed login', async () => {
        expect((await scripted((context) => (context as PasswordAuthContext).requestChange('new one:', () => undefined))).outcome).toBe('TARGET_LOGIN_FAILED');
      });
      test('is not sent to a target that takes keys only', async () => {
        expect(await scripted((context) => context.reject(), ['publickey'])).toEqual({ outcome: 'TARGET_LOGIN_FAILED', attempts: [] });
      });
    });
  });

  describe('host keys', () => {
    test.each([0, 1, 2])('a pinned key of any type is enough by itself (%i)', async (i) => expect(await dial({ secret: own, ssh: { hostKeys: [pins[i] ?? ''] } })).toBe('in'));

    test.each<[string, () => Partial<SshTarget['ssh']>]>([
      ['no pin at all', () => ({ hostKeys: [] })],
      ['the pin of another host', () => ({ hostKeys: [makeKey(host.folder, `elsewhere${Math.random()}`).publicLine] })],
      ['a pin of a type that the host has not', () => ({ hostKeys: ['ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBA=='] })],
      ['an authority, and a host without a certificate', () => ({ hostKeys: [], hostCertificateAuthorities: [makeKey(host.folder, `ca${Math.random()}`).publicLine] })],
    ])('%s: no credential is sent, once and for all', async (_name, ssh) => {
      const before = host.log().length;
      let reads = 0;
      expect(await dial({ secret: own, ssh: ssh(), reread: async () => { reads++; return true; } })).toBe('TARGET_HOST_KEY');
      expect([host.log().slice(before).includes('Accepted'), host.log().slice(before).includes('publickey'), reads]).toEqual([false, false, 0]);
    });

    test('the log says which key was shown and which were pinned', async () => {
      const log = aLog();
      await dial({ secret: own, ssh: { hostKeys: [makeKey(host.folder, 'pinned').publicLine] }, log });
      expect(log.lines.join('\n')).toMatch(/"shown":"SHA256:[A-Za-z0-9+/]{43}".*"pinned":\["SHA256:[A-Za-z0-9+/]{43}"\]/);
    });

    test('a target without any key is never dialled blindly: a Target of another protocol is a fault of ours', async () => {
      const permit = { target: { postgres: {} } } as never;
      await expect(connectSshTarget(permit, { account: 'root', sessionId: 's' }, { secrets: secretsOf(own), clock: { now: Date.now, monotonicMs: () => 0 }, signal: new AbortController().signal, deadlineMs: 1_000 })).rejects.toThrow(TypeError);
    });
  });

  describe('host certificates', () => {
    let certified: OpenSsh;
    let authority: KeyFile;

    beforeAll(() => void (authority = makeKey(host.folder, 'host_ca')));

    const hostWith = async (kind: 'ed25519' | 'ecdsa' | 'rsa', principals: string, options: readonly string[] = ['-V', '-1m:+10m'], by: KeyFile = authority): Promise<OpenSsh> => {
      const key = makeKey(host.folder, `hostkey${Math.random()}`, kind);
      certify(by, key, principals, ['-h', ...options]);
      return await startOpenSsh({ config: [`HostKey ${key.path}`, `HostCertificate ${key.path}-cert.pub`] });
    };
    const reach = async (started: Promise<OpenSsh>, pinnedHost = '127.0.0.1'): Promise<string> => {
      certified = await started;
      try {
        const secret = { privateKey: readFileSync(certified.userKey.path) };
        // `host` is what is dialled too: localhost is this machine under a name.
        return await dial({ secret: () => secret, ssh: { port: certified.port, host: pinnedHost, hostKeys: [], hostCertificateAuthorities: [authority.publicLine] } });
      } finally {
        await certified[Symbol.asyncDispose]();
      }
    };

    test.each(['ed25519', 'ecdsa', 'rsa'] as const)('one of the Target\'s authority for the Target\'s host passes: %s', async (kind) => expect(await reach(hostWith(kind, 'other.example,127.0.0.1'))).toBe('in'));
    test('names are compared without case', async () => expect(await reach(hostWith('ed25519', 'LOCALHOST'), 'localhost')).toBe('in'));
    test.each<[string, () => Promise<OpenSsh>]>([
      ['for another host', () => hostWith('ed25519', 'web-2')],
      ['for no host in particular', () => hostWith('ed25519', '')],
      ['that is over', () => hostWith('ed25519', '127.0.0.1', ['-V', '-2h:-1h'])],
      ['that is not valid yet', () => hostWith('ed25519', '127.0.0.1', ['-V', '+1h:+2h'])],
      ['of another authority', () => hostWith('ed25519', '127.0.0.1', ['-V', '-1m:+10m'], makeKey(host.folder, `other_ca${Math.random()}`))],
    ])('one %s does not', async (_name, started) => expect(await reach(started())).toBe('TARGET_HOST_KEY'));
  });

  describe('a hostile or broken target', () => {
    const served = async (onSocket: (socket: Socket) => void): Promise<{ readonly outcome: string; readonly ms: number }> => {
      const sockets: Socket[] = [];
      const server = createServer((socket) => {
        sockets.push(socket.on('error', () => undefined));
        onSocket(socket);
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const began = performance.now();
      const outcome = await dial({ secret: own, ssh: { port: (server.address() as { readonly port: number }).port }, deadlineMs: 700 });
      for (const socket of sockets) socket.destroy();
      server.close();
      return { outcome, ms: performance.now() - began };
    };

    test.each<[string, (socket: Socket) => void]>([
      ['says nothing', () => undefined],
      ['hangs up', (socket) => socket.destroy()],
      ['speaks HTTP', (socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')],
      ['talks for ever before its first line', (socket) => { const timer = setInterval(() => socket.write('hello\r\n'.repeat(2_000)), 5); socket.once('close', () => clearInterval(timer)); }],
      ['sends a line without end', (socket) => void socket.write(Buffer.alloc(4_000_000, 0x41))],
      ['sends a packet of 4 GiB', (socket) => void socket.write(Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), Buffer.alloc(4, 0xff), Buffer.alloc(100_000)]))],
      ['sends noise', (socket) => void socket.write(Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), Buffer.from(Array.from({ length: 50_000 }, (_, i) => (i * 7_919) & 0xff))]))],
    ])('that %s is unreachable within the deadline', async (_name, onSocket) => {
      const { outcome, ms } = await served(onSocket);
      expect([outcome, ms < 2_000]).toEqual(['TARGET_UNREACHABLE', true]);
    });

    test('an attacker who adds a message before the keys (Terrapin) ends the connection', async () => {
      const ignore = Buffer.from([0, 0, 0, 12, 6, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
      const { outcome } = await served((near) => {
        const far = connect(host.port, '127.0.0.1');
        let head: Buffer | null = Buffer.alloc(0);
        far.on('error', () => undefined).on('data', (bytes) => {
          if (head === null) return void near.write(bytes);
          head = Buffer.concat([head, bytes]);
          const line = head.indexOf('\n') + 1;
          if (line === 0 || head.length < line + 4 || head.length < line + 4 + head.readUInt32BE(line)) return;
          near.write(Buffer.concat([head.subarray(0, line), ignore, head.subarray(line)]));
          head = null;
        });
        near.on('data', (bytes) => void far.write(bytes)).once('close', () => far.destroy());
      });
      expect(outcome).toBe('TARGET_UNREACHABLE');
    });

    test('the reason of the caller\'s signal is what it gets', async () => {
      const ended = AbortSignal.timeout(50);
      const abort = new AbortController();
      ended.addEventListener('abort', () => abort.abort(new SallyportError('DRAINING')));
      const silent = createServer(() => undefined);
      await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
      expect(await dial({ secret: own, ssh: { port: (silent.address() as { readonly port: number }).port }, signal: abort.signal })).toBe('DRAINING');
      silent.close();
    });
  });
});

function output(upstream: SshUpstream, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    upstream.client.exec(command, (error, stream) => {
      if (error) return reject(error);
      let text = '';
      stream.on('data', (bytes: Buffer) => void (text += bytes.toString())).on('close', () => resolve(text));
      stream.stderr.resume();
    });
  });
}

async function until(isSo: () => boolean): Promise<void> {
  for (const end = Date.now() + 3_000; !isSo(); await new Promise((resolve) => setTimeout(resolve, 10))) if (Date.now() > end) throw new Error('did not come to be');
}
