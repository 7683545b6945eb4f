import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { allowEverything, startWorld, type World } from '../e2e/hosts/gateway.ts';
import { freePort, type PostgresHost, startPostgres } from '../e2e/hosts/postgres.ts';

/** One way to the same server. */
export interface Variant {
  readonly name: string;
  readonly port: number;
  readonly password: string;
  readonly user: string;
  /** The proxy's process; null for the direct way. */
  readonly pid: number | null;
}

export interface Bench extends AsyncDisposable {
  readonly variants: readonly Variant[];
  /** What could not be measured here and why. */
  readonly missing: readonly string[];
  readonly postgres: PostgresHost;
}

const maskedPolicy = `${allowEverything}  masking:
  - {columns: [public.pgbench_accounts.filler, public.people.ssn, public.people.email], style: Partial, keepLast: 4}
  - {detectors: [us-ssn, payment-card, email], style: Redact}
`;

/** Starts one server and every way to it. Plain TCP on loopback on all legs, so that the proxies are compared and not the ciphers. */
export async function startBench(): Promise<Bench> {
  const missing: string[] = [];
  const postgres = await startPostgres({ settings: { log_statement: "'none'", log_connections: 'off', max_connections: '200' } });
  const stops: (() => Promise<void> | void)[] = [() => postgres.stop()];
  const variants: Variant[] = [{ name: 'direct', port: postgres.port, password: postgres.password, user: postgres.owner, pid: null }];
  const bouncer = await startBouncer(postgres);
  if (bouncer) {
    variants.push(bouncer.variant);
    stops.push(bouncer.stop);
  } else missing.push('pgbouncer is not installed (apt-get install pgbouncer)');
  const pipe = await startPipe(postgres);
  variants.push(pipe.variant);
  stops.push(pipe.stop);
  for (const [name, policies] of [['gateway', allowEverything], ['gateway, masking', maskedPolicy]] as const) {
    const world = await startWorld({ policies, sharedPostgres: postgres, targetTls: '{mode: Disable}', serve: ['--allow-plaintext-loopback'] });
    variants.push(await gatewayVariant(name, world));
    stops.push(async () => { await world[Symbol.asyncDispose](); });
  }
  return { variants, missing, postgres, [Symbol.asyncDispose]: async () => { for (const stop of stops.reverse()) await stop(); } };
}

async function gatewayVariant(name: string, world: World): Promise<Variant> {
  return { name, port: world.port, password: await world.token('engineer'), user: 'bench', pid: world.gateway.child.pid ?? null };
}

async function startPipe(postgres: PostgresHost): Promise<{ readonly variant: Variant; readonly stop: () => void }> {
  const port = await freePort();
  const child = spawn(process.execPath, [fileURLToPath(new URL('pipe.ts', import.meta.url)), String(port), String(postgres.port)], { stdio: ['ignore', 'ignore', 'pipe'] });
  await ready(child);
  return { variant: { name: 'Node pipe', port, password: postgres.password, user: postgres.owner, pid: child.pid ?? null }, stop: () => void child.kill() };
}

async function startBouncer(postgres: PostgresHost): Promise<{ readonly variant: Variant; readonly stop: () => void } | null> {
  if (spawnSync('pgbouncer', ['--version']).status !== 0) return null;
  const directory = mkdtempSync(join(tmpdir(), 'sp-bouncer-'));
  const port = await freePort();
  writeFileSync(join(directory, 'users.txt'), `"${postgres.owner}" "${postgres.password}"\n`);
  writeFileSync(join(directory, 'pgbouncer.ini'), `[databases]
postgres = host=127.0.0.1 port=${postgres.port} dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${directory}/users.txt
pool_mode = session
max_client_conn = 200
default_pool_size = 100
ignore_startup_parameters = extra_float_digits
logfile = ${directory}/log
`);
  spawnSync('chown', ['-R', 'nobody', directory]);
  const child = spawn('pgbouncer', ['-q', ...(process.getuid?.() === 0 ? ['-u', 'nobody'] : []), join(directory, 'pgbouncer.ini')], { stdio: 'ignore' });
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  return { variant: { name: 'PgBouncer', port, password: postgres.password, user: postgres.owner, pid: child.pid ?? null }, stop: () => { child.kill(); rmSync(directory, { recursive: true, force: true }); } };
}

function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stderr?.on('data', (text: Buffer) => { if (text.includes('ready')) resolve(); });
    child.once('exit', () => reject(new Error('the pipe ended')));
  });
}
