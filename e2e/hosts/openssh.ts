import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

/** A kind of key that ssh-keygen makes. */
export type KeyKind = 'ed25519' | 'ecdsa' | 'rsa';

/** A key on disk; `publicLine` is `TYPE BASE64`. */
export interface KeyFile {
  readonly path: string;
  readonly publicLine: string;
}

/** Makes a key without a passphrase unless one is given. */
export function makeKey(folder: string, name: string, kind: KeyKind = 'ed25519', passphrase = ''): KeyFile {
  const path = join(folder, name);
  execFileSync('ssh-keygen', ['-q', '-t', kind, ...(kind === 'rsa' ? ['-b', '3072'] : []), '-N', passphrase, '-C', '', '-f', path]);
  return { path, publicLine: readFileSync(`${path}.pub`, 'utf8').trim() };
}

/** Certifies a key; `principals` separated by commas. @returns the certificate's line. */
export function certify(authority: KeyFile, key: KeyFile, principals: string, options: readonly string[] = []): string {
  execFileSync('ssh-keygen', ['-q', '-s', authority.path, '-I', 'test', ...(principals === '' ? [] : ['-n', principals]), ...options, `${key.path}.pub`]);
  return readFileSync(`${key.path}-cert.pub`, 'utf8').trim();
}

export interface OpenSshOptions {
  /** Host keys; the first is also `hostKey`. */
  readonly hostKeys?: readonly KeyKind[];
  /** Lines of sshd_config that stand before ours; the first value of a keyword counts. */
  readonly config?: readonly string[];
  /** Where root runs the tests: an ordinary account of this name, that only this sshd knows (a mount namespace of its own). */
  readonly ordinaryAccount?: string;
}

/** A real sshd on a private loopback port, with authorized keys of its own. */
export interface OpenSsh extends AsyncDisposable {
  readonly port: number;
  readonly folder: string;
  /** The account that it serves: whoever runs the tests. */
  readonly account: string;
  readonly hostKeys: readonly KeyFile[];
  /** Authorized for `account`. */
  readonly userKey: KeyFile;
  /** Its CA is trusted for the principal `account`. */
  readonly userAuthority: KeyFile;
  /** What it logged, at VERBOSE. */
  log(): string;
}

/** Starts sshd; `openssh-server` must be installed (asset `sshd`). */
export async function startOpenSsh(options: OpenSshOptions = {}): Promise<OpenSsh> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-sshd-'));
  const account = userInfo().username;
  const hostKeys = (options.hostKeys ?? ['ed25519']).map((kind) => makeKey(folder, `host_${kind}`, kind));
  const userKey = makeKey(folder, 'user');
  const userAuthority = makeKey(folder, 'user_ca');
  writeFileSync(join(folder, 'authorized_keys'), `${userKey.publicLine}\n`);
  const port = await freePort();
  writeFileSync(join(folder, 'sshd_config'), [
    ...(options.config ?? []), `Port ${port}`, 'ListenAddress 127.0.0.1', ...hostKeys.map((key) => `HostKey ${key.path}`), 'PidFile none', `AuthorizedKeysFile ${folder}/authorized_keys`,
    `TrustedUserCAKeys ${userAuthority.path}.pub`, 'StrictModes no', 'UsePAM no', 'PermitRootLogin yes', 'PasswordAuthentication no', 'KbdInteractiveAuthentication no',
    'LogLevel VERBOSE', 'MaxStartups 200', 'MaxSessions 200', 'Subsystem sftp internal-sftp', 'AcceptEnv LANG LC_*', '',
  ].join('\n'));
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true });
  const sshd = ['/usr/sbin/sshd', '-D', '-e', '-f', join(folder, 'sshd_config')];
  const [program = '', ...args] = options.ordinaryAccount === undefined ? sshd : withAccount(folder, options.ordinaryAccount, sshd);
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (log += text));
  await untilListening(port, child, () => log);
  return {
    port, folder, account, hostKeys, userKey, userAuthority, log: () => log,
    [Symbol.asyncDispose]: async () => {
      child.kill();
      if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once('exit', resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A command in a mount namespace whose passwd and shadow know one account more, which logs in with the same keys. */
function withAccount(folder: string, name: string, command: readonly string[]): readonly string[] {
  // It reads its authorized keys there.
  chmodSync(folder, 0o755);
  writeFileSync(join(folder, 'passwd'), `${readFileSync('/etc/passwd', 'utf8')}${name}:x:48231:48231::/tmp:/bin/bash\n`);
  writeFileSync(join(folder, 'shadow'), `${readFileSync('/etc/shadow', 'utf8')}${name}:*:20000::::::\n`, { mode: 0o600 });
  return ['unshare', '-m', 'sh', '-c', 'mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/shadow" /etc/shadow && exec "$@"', folder, ...command];
}

/** A port that nobody listens on now, out of those that the system takes for outgoing connections, so that none of these takes it before its server does. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true)));
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

async function untilListening(port: number, child: ChildProcess, log: () => string): Promise<void> {
  for (const end = Date.now() + 10_000; Date.now() < end;) {
    if (child.exitCode !== null) throw new Error(`sshd ended: ${log()}`);
    const socket = connect(port, '127.0.0.1');
    const open = await new Promise<boolean>((resolve) => socket.once('connect', () => resolve(true)).once('error', () => resolve(false)));
    socket.destroy();
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`sshd does not listen: ${log()}`);
}

/** What a run of a client left. */
export interface SshRun {
  /** Null when it was killed at its limit. */
  readonly status: number | null;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

/** Runs the system's `ssh` against a loopback port. No configuration, no agent, no known hosts: what it checks is not what is tested here. */
export async function runSsh(port: number, args: readonly string[], options: { readonly input?: Buffer | string; readonly limitMs?: number; readonly logLevel?: string; readonly environment?: Readonly<Record<string, string>> } = {}): Promise<SshRun> {
  const child = spawn('ssh', ['-o', `LogLevel=${options.logLevel ?? 'ERROR'}`, ...sshOptions(port), ...args], { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, SSH_AUTH_SOCK: '', ...options.environment } });
  const [out, err]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  child.stdin.on('error', () => undefined).end(options.input);
  const timer = setTimeout(() => child.kill('SIGKILL'), options.limitMs ?? 90_000);
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  clearTimeout(timer);
  return { status, stdout: Buffer.concat(out), stderr: Buffer.concat(err) };
}

/** Options that make `ssh` (and `scp`, with -P for the port) independent of the machine's configuration. */
export function sshOptions(port: number): readonly string[] {
  return ['-F', 'none', '-p', String(port), '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'GlobalKnownHostsFile=/dev/null', '-o', 'LogLevel=ERROR', '-o', 'IdentitiesOnly=yes'];
}
