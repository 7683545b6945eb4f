import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import ssh2, { type AuthHandlerMiddleware } from 'ssh2';
import { fetchCredential } from '../../cli/ssh/fetch-credential.ts';
import { knownKeys } from '../../cli/ssh/known-hosts.ts';
import { systemClock } from '../../runtime/clock.ts';
import { createUserCaKey, readUserCa } from '../../sidecar/core/identity/ssh-user-ca.ts';
import { TicketDesk } from '../../sidecar/ssh/authentication/tickets.ts';
import { findAsset } from '../../tools/e2e-assets.ts';
import { eventually } from '../hosts/gateway-process.ts';
import { type IssuerHost, startIssuer } from '../hosts/issuer.ts';
import { makeKey } from '../hosts/openssh.ts';
import { sallyport } from '../hosts/sallyport.ts';
import { type LoginDoor, type LoginDoorOptions, startLoginDoor } from '../hosts/ssh-login-door.ts';

const isPossible = findAsset('ssh-native') !== null && findAsset('ssh') !== null;
const scenario = isPossible ? describe : describe.skip;
const folder = mkdtempSync(join(tmpdir(), 'sp-credentials-'));
const hostKey = newHostKey();
/** Without ssh-keygen: it is needed before it is known which programs are there. */
function newHostKey(): { readonly path: string; readonly publicLine: string } {
  const { private: privateKey, public: publicLine } = ssh2.utils.generateKeyPairSync('ed25519');
  writeFileSync(join(folder, 'host'), privateKey, { mode: 0o600 });
  return { path: join(folder, 'host'), publicLine };
}

const userCa = readUserCa(createUserCaKey(), null);
let issuer: IssuerHost;

beforeAll(async () => {
  issuer = await startIssuer({ clients: [], device: { clientId: 'sallyport-cli', people: { ada: { email: 'ada@bank.example', groups: ['sre'] } } } });
});

afterAll(async () => {
  await issuer.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Files that the user's `ssh` and our commands read: the door's host key, and nothing of this machine. */
interface Place { readonly door: LoginDoor; readonly knownHosts: string; readonly sshConfig: string }

async function place(over: Partial<LoginDoorOptions> = {}): Promise<Place & AsyncDisposable> {
  const door = await startLoginDoor({ issuer, hostKey: hostKey.path, userCa, deviceClient: null, ...over });
  const [knownHosts, sshConfig] = [join(folder, `known-${door.port}`), join(folder, `config-${door.port}`)];
  writeFileSync(knownHosts, `[127.0.0.1]:${door.port} ${hostKey.publicLine}\n`);
  writeFileSync(sshConfig, '');
  return { door, knownHosts, sshConfig, [Symbol.asyncDispose]: () => door[Symbol.asyncDispose]() };
}

function tokenOf(over: Readonly<Record<string, unknown>> = {}, expiresInSeconds = 3_600): Promise<string> {
  return issuer.sign({ sub: 'ada', email: 'ada@bank.example', groups: ['sre'], note: 'x'.repeat(1_500), ...over }, { expiresInSeconds });
}

function to({ door, knownHosts }: Place): Parameters<typeof fetchCredential>[0] {
  return { host: '127.0.0.1', port: door.port, keys: knownKeys(readFileSync(knownHosts, 'utf8'), '127.0.0.1', door.port) };
}

async function ticketFor(at: Place, account = 'deploy'): Promise<string> {
  return (await fetchCredential(to(at), await tokenOf(), { want: 'ticket', account })).text;
}

function run(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<{ readonly status: number | null; readonly stdout: string; readonly stderr: string }> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, SSH_AUTH_SOCK: '', ...env } });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text; });
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text; });
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
  return new Promise((resolve) => child.once('close', (status) => {
    clearTimeout(timer);
    resolve({ status, stdout, stderr });
  }));
}

function sshArgs({ door, knownHosts, sshConfig }: Place): readonly string[] {
  return ['-F', sshConfig, '-o', `UserKnownHostsFile=${knownHosts}`, '-o', 'BatchMode=yes', '-p', String(door.port)];
}

/** Logs in with ssh2 and any method. @returns what the command answered, or null when the login failed. */
function login(port: number, username: string, authHandler: AuthHandlerMiddleware | readonly unknown[], then: 'exec' | 'subsystem' = 'exec'): Promise<Readonly<Record<string, unknown>> | string | null> {
  const client = new ssh2.Client();
  const { promise, resolve } = Promise.withResolvers<Readonly<Record<string, unknown>> | string | null>();
  client.on('error', () => resolve(null)).once('close', () => resolve(null));
  client.once('ready', () => {
    const answered = (error: Error | undefined, channel?: ssh2.ClientChannel): void => {
      if (error !== undefined || channel === undefined) return resolve('refused');
      let text = '';
      channel.on('data', (chunk: Buffer) => { text += chunk.toString(); }).once('close', () => resolve(JSON.parse(text) as Readonly<Record<string, unknown>>));
      if (then === 'subsystem') channel.write('{"want":"ticket","account":"deploy"}\n');
    };
    if (then === 'exec') client.exec('x', answered);
    else client.subsys('credential@sallyport.dev', answered);
  });
  client.connect({ host: '127.0.0.1', port, username, authHandler: authHandler as never, hostVerifier: () => true, readyTimeout: 20_000 });
  return promise.finally(() => client.end());
}

const withPassword = (username: string, password: string): readonly unknown[] => [{ type: 'password', username, password }];

scenario('tickets', () => {
  test('of 50 uses at once over two replicas exactly one opens, and it opens as the person of the token', async () => {
    await using second = await place();
    // In a cluster the replicas speak over a channel of their own; here they are in one process.
    await using first = await place({ peers: { redeem: async (ticket, use) => (ticket.replica === second.door.tickets.replica ? second.door.tickets.redeemOwn(ticket, use) : null) } });
    const ticket = await ticketFor(second);
    expect(ticket.length).toBeLessThanOrEqual(200);
    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => login((i % 2 === 0 ? first : second).door.port, 'deploy', withPassword('deploy', ticket))));
    const opened = answers.filter((answer) => answer !== null);
    expect(opened).toEqual([expect.objectContaining({ username: 'oidc:ada@bank.example', method: 'Ticket', account: 'deploy', credentialId: ticket.split('_')[2] })]);
    const secret = ticket.split('_').slice(3).join('_');
    expect([first.door.log(), second.door.log(), JSON.stringify(second.door.events)].join('').includes(secret)).toBe(false);
    expect(second.door.events).toEqual([{ code: 'credential.minted', facts: expect.objectContaining({ kind: 'ticket', account: 'deploy', id: ticket.split('_')[2], method: 'Token' }) }]);
  });

  test('another account, a replica that is gone or another target burns it', async () => {
    await using at = await place();
    const ticket = await ticketFor(at);
    expect(await login(at.door.port, 'root', withPassword('root', ticket))).toBeNull();
    expect(await login(at.door.port, 'deploy', withPassword('deploy', ticket))).toBeNull();
    const stranger = new TicketDesk(systemClock(), null);
    expect(await stranger.redeem(await ticketFor(at), { target: 'web-1', account: 'deploy', address: '127.0.0.1' })).toMatchObject({ outcome: 'refused', reason: 'replica gone' });
    const third = await ticketFor(at);
    expect((await at.door.tickets.redeem(third, { target: 'web-2', account: 'deploy', address: '127.0.0.1' })).outcome).toBe('refused');
    expect(await login(at.door.port, 'deploy', withPassword('deploy', third))).toBeNull();
    expect(at.door.log()).toMatch(/"code":"TICKET_INVALID","reason":"account"[^]*"reason":"unknown"/);
  });

  test('the ticket of a person is refused to a connection that wants another; twenty may wait', async () => {
    await using at = await place();
    const ticket = await ticketFor(at);
    expect(await login(at.door.port, 'credential@sallyport.dev', withPassword('credential@sallyport.dev', ticket), 'subsystem')).toBeNull();
    for (let i = 0; i < 20; i += 1) await ticketFor(at);
    await expect(ticketFor(at)).rejects.toThrow(/too many/);
  });

  test('`sallyport ssh` runs a command with a token of any length, and hands ssh a ticket in no argument', async () => {
    await using at = await place();
    const env = { HOME: folder, SALLYPORT_TOKEN: await tokenOf({ note: 'x'.repeat(4_000) }) };
    const ran = await sallyport(['ssh', '--known-hosts', at.knownHosts, '--ssh-config', at.sshConfig, `deploy@127.0.0.1:${at.door.port}`, '--', 'uptime'], env);
    expect([ran.exit, ran.text]).toEqual([0, expect.stringContaining('"method":"Ticket"')]);
    expect(readdirSync(tmpdir()).filter((name) => /^sallyport-\w{6}$/.test(name) && readdirSync(join(tmpdir(), name)).includes('askpass'))).toEqual([]);
  });

  test('no token goes to a host whose key is unknown or another', async () => {
    await using at = await place();
    const env = { HOME: folder, SALLYPORT_TOKEN: await tokenOf() };
    const unknown = await sallyport(['ssh', '--known-hosts', '/dev/null', '--ssh-config', at.sshConfig, `deploy@127.0.0.1:${at.door.port}`], env);
    expect([unknown.exit, unknown.text]).toEqual([1, expect.stringContaining('HOST_KEY_UNKNOWN')]);
    const other = join(folder, 'other-key');
    writeFileSync(other, `[127.0.0.1]:${at.door.port} ${makeKey(folder, 'stranger').publicLine}\n`);
    const changed = await sallyport(['ssh', '--known-hosts', other, '--ssh-config', at.sshConfig, `deploy@127.0.0.1:${at.door.port}`], env);
    expect([changed.exit, changed.text]).toEqual([1, expect.stringContaining('HOST_KEY_CHANGED')]);
    expect(at.door.outcomes.filter(({ outcome }) => outcome === 'authenticated')).toEqual([]);
  });
});

scenario('certificates', () => {
  test('after `sallyport login` plain ssh works in batch mode, with the names of the token', async () => {
    await using at = await place();
    const directory = join(folder, `login-${at.door.port}`);
    const logged = await sallyport(['login', '--known-hosts', at.knownHosts, '--ssh-config', at.sshConfig, `127.0.0.1:${at.door.port}`], { HOME: folder, SALLYPORT_CONFIG_DIR: directory, SALLYPORT_TOKEN: await tokenOf() });
    expect([logged.exit, logged.text]).toEqual([0, expect.stringMatching(/logged in as oidc:ada@bank\.example for namespace payments until /)]);
    expect(readdirSync(join(directory, 'ssh')).sort()).toEqual(['id_payments', 'id_payments-cert.pub', 'id_payments.pub', 'payments.conf']);
    expect(readdirSync(join(directory, 'ssh')).map((name) => statSync(join(directory, 'ssh', name)).mode & 0o777)).toEqual([0o600, 0o600, 0o600, 0o600]);
    writeFileSync(at.sshConfig, `Include "${join(directory, 'ssh', 'payments.conf')}"\n`);
    const { status, stdout } = await run('ssh', [...sshArgs(at), 'deploy@127.0.0.1', 'uptime']);
    expect([status, JSON.parse(stdout)]).toEqual([0, expect.objectContaining({ username: 'oidc:ada@bank.example', groups: ['sre'], method: 'Certificate', credentialId: expect.stringMatching(/^oidc:ada@bank\.example serial \d+$/) })]);
    expect(execFileSync('ssh-keygen', ['-L', '-f', join(directory, 'ssh', 'id_payments-cert.pub')], { encoding: 'utf8' })).toMatch(/Principals: \n\s+sallyport\.dev\/payments\n\s+Critical Options: \(none\)/);
    expect(at.door.events).toEqual([{ code: 'credential.minted', facts: expect.objectContaining({ kind: 'certificate' }) }]);
  });

  test.each([['ed25519', []], ['ecdsa', ['-b', '256']], ['rsa', ['-b', '3072']]] as const)('a certificate for a key of ssh-keygen, %s, logs in by OpenSSH, and the question before it leaves no trace', async (type, more) => {
    await using at = await place();
    const key = join(folder, `user-${type}`);
    execFileSync('ssh-keygen', ['-q', '-t', type, ...more, '-N', '', '-C', 'me', '-f', key]);
    const given = await fetchCredential(to(at), await tokenOf(), { want: 'certificate', publicKey: readFileSync(`${key}.pub`, 'utf8').trim() });
    writeFileSync(`${key}-cert.pub`, `${given.text}\n`);
    await eventually('the connection that fetched it is over', () => at.door.undecided === 0);
    const before = at.door.log();
    const { status, stdout, stderr } = await run('ssh', ['-v', ...sshArgs(at), '-i', key, '-o', 'IdentitiesOnly=yes', 'deploy@127.0.0.1', 'x']);
    expect([status, stdout]).toEqual([0, expect.stringContaining('"method":"Certificate"')]);
    expect(stderr).toMatch(/Server accepts key: \S+ \S+-CERT/);
    expect(at.door.log()).toBe(before);
    // The plain key beside it proves nothing.
    const plain = join(folder, `plain-${type}`);
    copyFileSync(key, plain);
    copyFileSync(`${key}.pub`, `${plain}.pub`);
    expect((await run('ssh', [...sshArgs(at), '-i', plain, '-o', 'IdentitiesOnly=yes', 'deploy@127.0.0.1', 'x'])).status).toBe(255);
  });

  test('a certificate that ssh-keygen made with another authority does not log in', async () => {
    await using at = await place();
    const [key, other] = [makeKey(folder, 'mallory'), makeKey(folder, 'other-ca')];
    execFileSync('ssh-keygen', ['-q', '-s', other.path, '-I', 'x', '-n', 'sallyport.dev/payments', `${key.path}.pub`]);
    expect((await run('ssh', [...sshArgs(at), '-i', key.path, '-o', 'IdentitiesOnly=yes', 'deploy@127.0.0.1', 'x'])).status).toBe(255);
    expect(at.door.outcomes.at(-1)?.outcome).toBe('failed');
  });

  test('it never outlives its token, and a token that has ended gives none', async () => {
    await using at = await place();
    const key = makeKey(folder, 'short');
    const given = await fetchCredential(to(at), await tokenOf({}, 120), { want: 'certificate', publicKey: key.publicLine });
    expect(Date.parse(given.expiresAt) - Date.now()).toBeLessThanOrEqual(120_000);
    await expect(fetchCredential(to(at), await tokenOf({}, -5), { want: 'certificate', publicKey: key.publicLine })).rejects.toThrow(/the token has expired/);
  });

  test('a connection made with a certificate gets neither ticket nor certificate: nothing renews itself', async () => {
    await using at = await place();
    const key = makeKey(folder, 'renew');
    writeFileSync(`${key.path}-cert.pub`, `${(await fetchCredential(to(at), await tokenOf(), { want: 'certificate', publicKey: key.publicLine })).text}\n`);
    const child = await run('sh', ['-c', `echo '{"want":"ticket","account":"deploy"}' | ssh ${sshArgs(at).join(' ')} -i ${key.path} -o IdentitiesOnly=yes -l credential@sallyport.dev -s 127.0.0.1 credential@sallyport.dev`]);
    expect([child.status, child.stdout]).toEqual([1, expect.stringContaining('AUTH_METHOD_REFUSED')]);
    expect(at.door.events.filter(({ facts }) => facts['kind'] === 'ticket')).toEqual([]);
  });

  test('the place for credentials runs nothing, and an account does not reach it', async () => {
    await using at = await place();
    const token = await tokenOf();
    expect(await login(at.door.port, 'credential@sallyport.dev', withPassword('credential@sallyport.dev', token))).toBe('refused');
    expect(await login(at.door.port, 'deploy', withPassword('deploy', token), 'subsystem')).toBe('refused');
    expect(await login(at.door.port, 'credential@sallyport.dev', withPassword('credential@sallyport.dev', token), 'subsystem')).toMatchObject({ ticket: expect.stringMatching(/^sp1_/) });
  });
});

scenario('what never authenticates', () => {
  test.each([
    ['none', [{ type: 'none', username: 'deploy' }]],
    ['an empty password', withPassword('deploy', '')],
    ['a password of blanks', withPassword('deploy', '   ')],
    ['zero answers', [{ type: 'keyboard-interactive', username: 'deploy', prompt: (_n: string, _i: string, _l: string, _p: unknown, finish: (answers: readonly string[]) => void) => finish([]) }]],
    ['an empty answer', [{ type: 'keyboard-interactive', username: 'deploy', prompt: (_n: string, _i: string, _l: string, _p: unknown, finish: (answers: readonly string[]) => void) => finish(['']) }]],
    ['more answers than questions', [{ type: 'keyboard-interactive', username: 'deploy', prompt: (_n: string, _i: string, _l: string, _p: unknown, finish: (answers: readonly string[]) => void) => finish(['', 'x', 'y']) }]],
    ['a plain key', [{ type: 'publickey', username: 'deploy', key: readFileSync(hostKey.path) }]],
    ['a host that vouches', [{ type: 'hostbased', username: 'deploy', localHostname: 'localhost', localUsername: 'root', key: readFileSync(hostKey.path) }]],
    ['a ticket that nobody minted', withPassword('deploy', `sp1_abcdefgh_0123456789abcdef_${'A'.repeat(43)}`)],
  ])('%s', async (_name, methods) => {
    await using at = await place();
    expect(await login(at.door.port, 'deploy', methods)).toBeNull();
    await eventually('the login is over', () => at.door.undecided === 0);
    expect(at.door.outcomes.map(({ outcome }) => outcome)).toEqual(['failed']);
    expect(at.door.log()).not.toContain('"level":"error"');
  });
});

scenario('limits', () => {
  test('the seventh credential after six that failed is not judged: the connection ends', async () => {
    await using at = await place();
    let sent = 0;
    await login(at.door.port, 'deploy', ((_left: unknown, _partial: unknown, next: (method: unknown) => void) => {
      sent += 1;
      next({ type: 'password', username: 'deploy', password: `wrong-${sent}` });
    }) as unknown as AuthHandlerMiddleware);
    await eventually('the login is over', () => at.door.undecided === 0);
    expect([sent, at.door.log().split('credential refused').length - 1]).toEqual([7, 6]);
  });

  test('the thirty-third question about a key ends the connection', async () => {
    await using at = await place();
    const keys = Array.from({ length: 40 }, () => ssh2.utils.generateKeyPairSync('ed25519').private);
    let sent = 0;
    await login(at.door.port, 'deploy', ((_left: unknown, _partial: unknown, next: (method: unknown) => void) => {
      const key = keys[sent];
      sent += 1;
      next(key === undefined ? false : { type: 'publickey', username: 'deploy', key });
    }) as unknown as AuthHandlerMiddleware);
    await eventually('the login is over', () => at.door.undecided === 0);
    expect([sent, at.door.log()]).toEqual([33, '']);
  });

  test('a packet that promises thirty million answers takes no memory for them, and ends the connection', async () => {
    await using at = await place();
    const before = process.resourceUsage().maxRSS;
    const client = new ssh2.Client();
    client.on('handshake', () => {
      // Below ssh2's own interface: the number in USERAUTH_INFO_RESPONSE, just before it is encrypted.
      const { write } = (client as unknown as { readonly _protocol: { readonly _packetRW: { readonly write: { allocStart: number; finalize(packet: Buffer): Buffer } } } })._protocol._packetRW;
      const finalize = write.finalize.bind(write);
      write.finalize = (packet) => {
        if (packet[write.allocStart] === 61) packet.writeUInt32BE(30_000_000, write.allocStart + 1);
        return finalize(packet);
      };
    });
    const closed = new Promise<void>((resolve) => void client.on('error', () => undefined).once('close', () => resolve()));
    const answer = (_n: string, _i: string, _l: string, _p: unknown, finish: (answers: string[]) => void): void => finish(['x']);
    client.connect({ host: '127.0.0.1', port: at.door.port, username: 'deploy', authHandler: [{ type: 'keyboard-interactive', username: 'deploy', prompt: answer }] as never, hostVerifier: () => true });
    await closed;
    await eventually('the login is over', () => at.door.undecided === 0);
    expect(process.resourceUsage().maxRSS - before).toBeLessThan(65_536);
  });

  test('the end of grace ends a login that says nothing', async () => {
    await using at = await place({ timing: { graceMs: 300 } });
    const socket = connect(at.door.port, '127.0.0.1');
    socket.on('error', () => undefined).resume().write('SSH-2.0-silent\r\n');
    await new Promise((resolve) => socket.once('close', resolve));
    expect(at.door.outcomes).toEqual([expect.objectContaining({ outcome: 'failed', denial: expect.objectContaining({ code: 'STARTUP_TIMEOUT' }) })]);
  });

  test('sockets that say nothing are gone when their time is over, and slow no login meanwhile', async () => {
    await using at = await place({ handshakeMs: 4_000 });
    const ticketed = async (): Promise<number> => {
      const ticket = await ticketFor(at);
      const started = performance.now();
      expect(await login(at.door.port, 'deploy', withPassword('deploy', ticket))).not.toBeNull();
      return performance.now() - started;
    };
    const median = (times: readonly number[]): number => [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0;
    const timed = async (): Promise<readonly number[]> => {
      const times: number[] = [];
      for (let i = 0; i < 15; i += 1) times.push(await ticketed());
      return times;
    };
    await timed();
    const alone = await timed();
    const silent = Array.from({ length: 50 }, () => connect(at.door.port, '127.0.0.1').on('error', () => undefined).resume());
    const gone = Promise.all(silent.map((socket) => new Promise<void>((resolve) => void socket.once('close', () => resolve()))));
    const beside = await timed();
    process.stdout.write(`login: median ${median(alone).toFixed(1)} ms alone, ${median(beside).toFixed(1)} ms beside 50 silent sockets; slowest ${Math.max(...alone).toFixed(1)} and ${Math.max(...beside).toFixed(1)} ms\n`);
    expect(median(beside)).toBeLessThan(median(alone) * 1.5 + 5);
    await gone;
  });

  test('a user name that is a token is written down nowhere', async () => {
    await using at = await place();
    const token = await tokenOf();
    expect(await login(at.door.port, token, withPassword(token, 'wrong'))).toBeNull();
    await eventually('the login is over', () => at.door.undecided === 0);
    expect([at.door.outcomes.at(-1)?.requestedUser, at.door.log().includes(token.slice(0, 60))]).toEqual(['', false]);
  });
});
