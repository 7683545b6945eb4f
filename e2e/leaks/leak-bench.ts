import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import pg from 'pg';
import { startWorld, type World } from '../hosts/gateway.ts';
import { freePort } from '../hosts/postgres.ts';
import { fillCase, isAnsweredByCells, type LeakCase, splitSetup } from './leak-case.ts';
import { type Answer, openRaw, type RawClient, type RawTarget, readFields } from './raw-client.ts';
import { searchReceived, searchStored } from './reveals.ts';

export type MaskStyle = 'Redact' | 'Partial';

/** Who prepares what the case's `app` owns: the owner directly, or a session through the gateway. */
export type Preparation = 'direct' | 'proxied';

/** What became of a case. `refused` names our code; `leaked` and `error` say what was seen. */
export type LeakOutcome =
  | { readonly verdict: 'masked' }
  | { readonly verdict: 'refused'; readonly code: string }
  | { readonly verdict: 'leaked'; readonly what: string }
  | { readonly verdict: 'error'; readonly what: string };

/** One server and one gateway for all cases: per account and style a Target of its own. */
export interface LeakBench extends AsyncDisposable {
  readonly world: World;
  /** Resets the base and runs the case against the server itself: what it reveals there, or why the bench is broken. */
  runDirect(item: LeakCase): Promise<{ readonly revealed: readonly string[]; readonly problem: string | null }>;
  /** Resets the base and runs the case through the gateway. */
  runProxied(item: LeakCase, style: MaskStyle, preparation?: Preparation): Promise<LeakOutcome>;
  /** Makes the base as it is before every case. */
  reset(): Promise<void>;
  /** A session through the gateway; the caller closes it. */
  open(role: LeakCase['role'], style: MaskStyle): Promise<RawClient>;
  /** The port of a Target. */
  port(role: LeakCase['role'], style: MaskStyle): number;
  /** Searches all that was ever stored or logged once more. */
  sweep(): readonly string[];
}

const here = import.meta.dirname;
const masked = 'public.people.ssn, public.people.card, public.people.email, public.people.acct, public.people.salary, public.people.dob';
const statements = 'Select, Insert, Update, Delete, Merge, CopyOut, CopyIn, Explain, Call, Do, FunctionCall, Truncate, Create, Alter, Drop, Comment, Function, Extension, Grant, Role, Maintenance, Lock, Notify, Set, SetRole, Show, Transaction, TwoPhase, ServerFile, System, Other';
const baseSql = readFileSync(join(here, 'leak_base.sql'), 'utf8');
const appPassword = 'app-of-the-leak-suite';

/** Starts server, issuer and gateway. @param version `embedded` (18) or `system` (Debian's). */
export async function startLeakBench(version: 'embedded' | 'system' = 'embedded'): Promise<LeakBench> {
  const world = await startWorld({
    policies: policies(),
    // fsync off makes a checkpoint nearly free; every CREATE DATABASE-like step of the base would wait for one otherwise.
    postgres: { version, settings: { wal_level: 'logical', shared_preload_libraries: "'pg_stat_statements'", max_prepared_transactions: '5', autovacuum: 'off' } },
    prepare: async (postgres) => {
      const client = new pg.Client({ host: postgres.socketDirectory, port: postgres.port, user: postgres.owner, database: 'postgres' });
      await client.connect();
      await client.query(`create role app login password '${appPassword}'`);
      await client.end();
    },
  });
  const owner = new pg.Client({ host: world.postgres.socketDirectory, port: world.postgres.port, user: world.postgres.owner, database: 'postgres' });
  await owner.connect();
  owner.on('error', () => undefined);
  const ports = await addTargets(world);
  const token = await world.token('engineer');
  const witness = await openRaw({ port: ports.get('witness') as number, ca: world.ca, user: 'me', database: 'postgres', password: token });
  return new Bench(world, owner, ports, token, witness.client);
}

class Bench implements LeakBench {
  readonly world: World;
  readonly #owner: pg.Client;
  readonly #ports: ReadonlyMap<string, number>;
  readonly #token: string;
  readonly #witness: RawClient;
  readonly #marks = new Map<string, number>();
  readonly #sealed = new Set<string>();

  constructor(world: World, owner: pg.Client, ports: ReadonlyMap<string, number>, token: string, witness: RawClient) {
    this.world = world;
    this.#owner = owner;
    this.#ports = ports;
    this.#token = token;
    this.#witness = witness;
  }

  async runDirect(raw: LeakCase): Promise<{ readonly revealed: readonly string[]; readonly problem: string | null }> {
    const item = this.#fill(raw);
    const sessions: RawClient[] = [];
    try {
      await this.#prepare(item.setup_sql ?? []);
      const oid = await this.#functionOid(item);
      const direct = (parameters?: Readonly<Record<string, string>>): RawTarget => ({
        port: join(this.world.postgres.socketDirectory, `.s.PGSQL.${this.world.postgres.port}`), ca: null, user: item.role === 'app' ? 'app' : 'postgres', database: 'postgres', password: '', ...(parameters ? { parameters } : {}),
      });
      if (item.other_session_sql) {
        const other = (await openRaw(direct())).client;
        sessions.push(other);
        for (const sql of item.other_session_sql) await other.query(sql);
      }
      const { client } = await openRaw(direct(startupOf(item)));
      sessions.push(client);
      for (const sql of item.session_sql ?? []) {
        const problem = errorOf(await client.query(sql));
        if (problem) return { revealed: [], problem: `session_sql: ${problem.get('M')}` };
      }
      const started = performance.now();
      const answer = await client.run(item, oid);
      const elapsedMs = performance.now() - started;
      const failed = errorOf(answer);
      // What the client sends itself is no matter of its answers: that it is taken suffices.
      const revealed = item.protocol_message.startsWith('frontend') ? (failed ? [] : ['sent']) : searchReceived({ bytes: client.received, frames: client.frames, binary: isBinary(item), elapsedMs }, item.reveals, false);
      return { revealed, problem: revealed.length === 0 && failed ? `${failed.get('C')} ${failed.get('M')}` : null };
    } catch (error) {
      return { revealed: [], problem: text(error) };
    } finally {
      for (const session of sessions) await session.close();
      await this.#cleanUp(item);
    }
  }

  async runProxied(raw: LeakCase, style: MaskStyle, preparation: Preparation = 'direct'): Promise<LeakOutcome> {
    const item = this.#fill(raw);
    const setup = item.setup_sql ?? [];
    const parts = preparation === 'proxied' ? splitSetup(setup) : null;
    const sessions: RawClient[] = [];
    const run: Run = { refused: null, problem: null };
    let received: Buffer = Buffer.alloc(0);
    const found: string[] = [];
    try {
      await this.#prepare(parts ? parts.before : setup);
      // A function that `app` was not allowed to make has no OID: the call is refused whatever it names.
      const oid = await this.#functionOid(item).catch((error: unknown) => (parts ? 1 : Promise.reject(error as Error)));
      this.#mark();
      const serverLog = item.kind === 'inference' ? this.world.postgres.log().length : 0;
      if (parts) {
        const preparing = await this.open('app', style);
        sessions.push(preparing);
        for (const sql of parts.asApp) note(run, await preparing.query(sql));
        await preparing.close();
        for (const sql of parts.after) await this.#owner.query(sql).catch(() => undefined);
      }
      const started = performance.now();
      const client = await this.#attack(item, style, oid, sessions, run, preparation);
      const elapsedMs = performance.now() - started;
      for (const session of sessions) await session.close();
      for (const session of sessions) {
        const isAttack = session === client;
        const frontend = item.protocol_message.startsWith('frontend');
        const reveals = item.kind === 'inference' ? (isAnsweredByCells(item) && this.#reachedServer(serverLog, item) ? item.reveals : []) : frontend ? [] : item.reveals;
        if (!frontend) found.push(...searchReceived({ bytes: session.received, frames: session.frames, binary: isBinary(item), elapsedMs }, reveals, item.kind !== 'inference' || isAttack).map((what) => `client: ${what}`));
        received = Buffer.concat([received, session.received]);
      }
      found.push(...searchStored(await this.#storedSince(), item).map((what) => `stored: ${what}`));
      if (item.kind === 'inference' && !isAnsweredByCells(item) && this.#reachedServer(serverLog, item)) found.push('inference: the statement reached the server');
      if (received.includes(appPassword) || received.includes(this.world.postgres.password)) found.push('client: the password of the account');
      await this.#checkWitness();
    } catch (error) {
      run.problem ??= text(error);
    } finally {
      for (const session of sessions) await session.close().catch(() => undefined);
      await this.#cleanUp(item);
    }
    if (found.length > 0) return { verdict: 'leaked', what: found.join('; ') };
    if (run.problem !== null) return { verdict: 'error', what: run.problem };
    return run.refused === null ? { verdict: 'masked' } : { verdict: 'refused', code: run.refused };
  }

  reset(): Promise<void> {
    return this.#prepare([]);
  }

  async open(role: LeakCase['role'], style: MaskStyle): Promise<RawClient> {
    const { client, login } = await openRaw(this.#target(role, style));
    const failed = errorOf(login);
    if (failed) throw new Error(`login: ${failed.get('M')}`);
    return client;
  }

  port(role: LeakCase['role'], style: MaskStyle): number {
    return this.#ports.get(`${role}-${style}`.toLowerCase()) as number;
  }

  sweep(): readonly string[] {
    this.#marks.clear();
    this.#sealed.clear();
    return searchStored(this.#storedText(), { kind: 'inference' } as LeakCase);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#witness.close();
    await this.#owner.end();
    await this.world[Symbol.asyncDispose]();
  }

  /** Other session, session statements and the attack, each refusal noted. The first refusal ends what a client would do; we go on as a stubborn one would. */
  async #attack(item: LeakCase, style: MaskStyle, oid: number, sessions: RawClient[], run: Run, preparation: Preparation): Promise<RawClient> {
    if (item.other_session_sql) {
      const other = await this.open(item.role, style);
      sessions.push(other);
      for (const sql of item.other_session_sql) note(run, await other.query(sql));
    }
    const { client, login } = await openRaw({ ...this.#target(item.role, style), ...(startupOf(item) ? { parameters: startupOf(item) as Record<string, string> } : {}) });
    sessions.push(client);
    note(run, login);
    if (client.closed) return client;
    for (const sql of item.session_sql ?? []) {
      const answer = await client.query(sql);
      note(run, answer);
      if (preparation === 'direct' && run.refused === null && errorOf(answer)) run.problem ??= `session_sql failed on the server: ${errorOf(answer)?.get('M')}`;
    }
    note(run, await client.run(item, oid));
    if (!client.closed) await checkSession(client, run);
    return client;
  }

  #target(role: LeakCase['role'], style: MaskStyle): RawTarget {
    return { port: this.port(role, style), ca: this.world.ca, user: 'me', database: 'postgres', password: this.#token };
  }

  async #prepare(setup: readonly string[]): Promise<void> {
    await this.#owner.query('rollback; reset role; set client_min_messages = error');
    await this.#owner.query(baseSql);
    for (const sql of setup) {
      await this.#owner.query(sql).catch((error: unknown) => {
        throw new Error(`setup_sql: ${text(error)}: ${sql}`);
      });
    }
    await this.#owner.query('reset role');
  }

  async #cleanUp(item: LeakCase): Promise<void> {
    await this.#owner.query('rollback; reset role').catch(() => undefined);
    for (const sql of item.cleanup_sql ?? []) {
      // A slot or a lock is free as soon as the session's server process has gone.
      for (let tries = 0; tries < 40; tries++) {
        const done = await this.#owner.query(sql).then(() => true, (error: { code?: string }) => error.code !== '55006');
        if (done) break;
        await pause(25);
      }
    }
  }

  async #functionOid(item: LeakCase): Promise<number> {
    if (!item.function) return 0;
    const { rows } = await this.#owner.query('select $1::regprocedure::oid::int as oid', [item.function]);
    return (rows[0] as { oid: number }).oid;
  }

  #fill(item: LeakCase): LeakCase {
    const { postgres } = this.world;
    return fillCase(item, { DATA_DIR: postgres.dataDirectory, SOCKET_DIR: postgres.socketDirectory, PORT: String(postgres.port), DATABASE: 'postgres', OWNER: postgres.owner });
  }

  /** The server's log names each statement that reached it and, by application name, that it came from the gateway. */
  #reachedServer(from: number, item: LeakCase): boolean {
    return this.world.postgres.log().slice(from).split('\n').some((line) => line.includes('sallyport/') && !line.includes('sallyport-catalog') && line.includes(item.leak_sql.split('\n')[0] as string));
  }

  async #checkWitness(): Promise<void> {
    const answer = await this.#witness.query('select 1');
    if (errorOf(answer) || answer.closed) throw new Error('another session of the gateway broke');
  }

  /** All files but recordings that were sealed before the mark: there are thousands, and they do not change. */
  #files(): readonly string[] {
    const directory = this.world.dataDirectory;
    return readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.endsWith('.key') && !entry.name.startsWith('reserve'))
      .map((entry) => join(entry.parentPath, entry.name)).filter((file) => !this.#sealed.has(file));
  }

  #mark(): void {
    this.#marks.clear();
    for (const file of this.#files()) {
      // A recording that was sealed since the listing is found under its new name next time.
      const size = statSync(file, { throwIfNoEntry: false })?.size;
      if (file.endsWith('.gz')) this.#sealed.add(file);
      else if (size !== undefined) this.#marks.set(file, size);
    }
    this.#marks.set('stderr', this.world.gateway.stderr().length);
    this.#marks.set('stdout', this.world.gateway.stdout().length);
  }

  /** Records, recordings and logs since the mark, once the sessions' recordings are sealed. */
  async #storedSince(): Promise<string> {
    const recordings = join(this.world.dataDirectory, 'recordings');
    const open = (): readonly string[] => readdirSync(recordings).filter((name) => name.endsWith('.sqlrec') && !this.#marks.has(join(recordings, name)));
    for (let tries = 0; tries < 400 && open().length > 0; tries++) await pause(5);
    if (open().length > 0) throw new Error('a recording was not sealed within 2 s');
    return this.#storedText();
  }

  #storedText(): string {
    const files = this.#files().map((file) => {
      const from = this.#marks.get(file) ?? 0;
      if (!existsSync(file) || statSync(file).size === from) return '';
      const bytes = readFileSync(file).subarray(file.endsWith('.gz') ? 0 : from);
      return (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('latin1');
    });
    return [...files, this.world.gateway.stderr().slice(this.#marks.get('stderr') ?? 0), this.world.gateway.stdout().slice(this.#marks.get('stdout') ?? 0)].join('\n');
  }
}

interface Run {
  refused: string | null;
  problem: string | null;
}

/** Notes a refusal of ours; an error of ours without a code, or a close without a word, is a problem. */
function note(run: Run, answer: Answer): void {
  const failed = errorOf(answer);
  const code = failed?.get('M')?.match(/\[([A-Z_]+)\]$/)?.[1];
  if (failed && code !== undefined) {
    run.refused ??= code;
    if (!/^[0-9A-Z]{5}$/.test(failed.get('C') ?? '')) run.problem ??= 'a refusal without SQLSTATE';
    if (code === 'INTERNAL' || code === 'TARGET_PROTOCOL_VIOLATION' || code === 'PROTOCOL_VIOLATION') run.problem ??= `the gateway answered ${code}`;
  }
  if (answer.closed && !failed) run.problem ??= 'the connection was closed without a word';
}

/** After the attack an open session still works. */
async function checkSession(client: RawClient, run: Run): Promise<void> {
  await client.query('rollback');
  const after = await client.query('select id, name from people where id = 1');
  const failed = errorOf(after);
  if (after.closed || failed?.get('V') === 'FATAL') run.problem ??= 'the session did not go on';
}

function errorOf(answer: Answer): ReadonlyMap<string, string> | null {
  const frame = answer.frames.find(({ type }) => type === 'E');
  return frame ? readFields(frame.body) : null;
}

function startupOf(item: LeakCase): Readonly<Record<string, string>> | undefined {
  return item.mode === 'replication' ? { replication: 'database' } : item.mode === 'basebackup' ? { replication: 'true' } : undefined;
}

function isBinary(item: LeakCase): boolean {
  return item.mode === 'extended_binary' || item.mode.startsWith('fastpath') || /format\s+'?binary|\bbinary\b/i.test(item.leak_sql);
}

async function addTargets(world: World): Promise<ReadonlyMap<string, number>> {
  const ports = new Map<string, number>();
  const documents: string[] = [];
  for (const name of ['app-redact', 'app-partial', 'superuser-redact', 'superuser-partial', 'witness']) {
    const port = await freePort();
    ports.set(name, port);
    documents.push(target(world, name, port, name.startsWith('app') ? 'app-account' : 'db-account'));
  }
  documents.push(`apiVersion: v1\nkind: Secret\nmetadata: {name: app-account}\nstringData: {username: app, password: ${appPassword}}\n`);
  world.writeConfig('leak-targets.yaml', documents.join('---\n'));
  const deadline = Date.now() + 10_000;
  while (![...ports.keys()].every((name) => world.gateway.stderr().includes(`"target":"${name}"`))) {
    if (Date.now() > deadline) throw new Error(`the gateway does not serve the targets: ${world.gateway.stderr()}`);
    await pause(20);
  }
  return ports;
}

function target(world: World, name: string, port: number, account: string): string {
  return `apiVersion: sallyport.dev/v1alpha1
kind: Target
metadata: {name: ${name}, annotations: {sallyport.dev/listen-port: "${port}"}}
spec:
  postgres:
    host: 127.0.0.1
    port: ${world.postgres.port}
    tls: {mode: VerifyFull, caSecretRef: {name: ca, key: ca.crt}}
    credentials: {secretRef: {name: ${account}}}
    databases: [postgres]
`;
}

function policies(): string {
  return [policy('redact', ['app-redact', 'superuser-redact', 'witness'], 'style: Redact'), policy('partial', ['app-partial', 'superuser-partial'], 'style: Partial, keepLast: 4')].join('---\n');
}

function policy(name: string, targets: readonly string[], style: string): string {
  return `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: ${name}}
spec:
  subjects: [{kind: Group, name: sre}]
  targets: {names: [${targets.join(', ')}]}
  rules:
  - name: all
    action: Allow
    postgres: {statements: [${statements}]}
  masking:
  - {columns: [${masked}], ${style}, predicates: Deny}
  - {detectors: [us-ssn, payment-card, email], style: Redact}
`;
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
