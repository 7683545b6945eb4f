import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import type { World } from './gateway.ts';
import type { PostgresHost } from './postgres.ts';

/** What a program said, and how it ended. */
export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** A client program with its standard input open. */
export interface LiveProgram {
  readonly child: ChildProcess;
  /** Everything that it wrote so far, standard output and errors in the order of arrival. */
  text(): string;
  /** Writes a line to its standard input. */
  say(line: string): void;
  /** Resolves with the match once the text from `from` on has it; rejects with the text after 20 s or when the program ends without it. */
  until(pattern: RegExp, from?: number): Promise<RegExpExecArray>;
  /** Closes standard input and waits for the end. */
  end(): Promise<Ran>;
  readonly ended: Promise<Ran>;
}

/** libpq's connection string for the gateway, TLS verified in full. */
export function conninfo(world: Pick<World, 'port' | 'caFile'>, more = 'dbname=postgres'): string {
  return `host=localhost hostaddr=127.0.0.1 port=${world.port} user=me sslmode=verify-full sslrootcert=${world.caFile} ${more}`;
}

/** Environment of a libpq program that goes through the gateway. */
export function libpqEnv(token: string, more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', LC_ALL: 'C', PGPASSWORD: token, PSQLRC: '/nonexistent', PAGER: 'cat', ...more };
}

/** Environment of a libpq program that goes to the server directly. */
export function directEnv(postgres: PostgresHost, database = 'postgres'): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', LC_ALL: 'C', PGHOST: postgres.host, PGPORT: String(postgres.port), PGUSER: postgres.owner, PGPASSWORD: postgres.password, PGDATABASE: database };
}

/** Runs a program to its end; `stdin` is its whole input. */
export function runClient(program: string, args: readonly string[], env: NodeJS.ProcessEnv, stdin = ''): Promise<Ran> {
  const live = startClient(program, args, env);
  live.child.stdin?.end(stdin);
  return live.ended;
}

/** Programs that still run: a test that failed leaves them. */
const running = new Set<ChildProcess>();

/** Ends what a failed test left running; for afterAll. */
export function endClients(): void {
  for (const child of running) child.kill('SIGKILL');
}

/** Starts a program and keeps it open. */
export function startClient(program: string, args: readonly string[], env: NodeJS.ProcessEnv): LiveProgram {
  const child = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  running.add(child);
  const waiting = new Set<() => void>();
  let [out, err, text, over] = ['', '', '', false];
  const collect = (to: 'out' | 'err') => (part: string): void => {
    text += part;
    if (to === 'out') out += part;
    else err += part;
    for (const check of waiting) check();
  };
  child.stdout.setEncoding('utf8').on('data', collect('out'));
  child.stderr.setEncoding('utf8').on('data', collect('err'));
  // A program that is gone does not read its input.
  child.stdin.on('error', () => undefined);
  const ended = new Promise<Ran>((resolve) => {
    child.once('close', (code) => {
      over = true;
      running.delete(child);
      resolve({ code, out, err });
      for (const check of waiting) check();
    });
  });
  const until = (pattern: RegExp, from = 0): Promise<RegExpExecArray> => new Promise((resolve, reject) => {
    const finish = (act: () => void): void => {
      clearTimeout(limit);
      waiting.delete(check);
      act();
    };
    const check = (): void => {
      const match = pattern.exec(text.slice(from));
      if (match) finish(() => resolve(match));
      else if (over) finish(() => reject(new Error(`${program} ended without ${pattern}: ${text.slice(-2_000)}`)));
    };
    const limit = setTimeout(() => finish(() => reject(new Error(`${program} did not say ${pattern} in 20 s: ${text.slice(-2_000)}`))), 20_000);
    waiting.add(check);
    check();
  });
  return {
    child, ended, until, text: () => text,
    say: (line) => void child.stdin.write(`${line}\n`),
    end: () => {
      child.stdin.end();
      return ended;
    },
  };
}

/**
 * Starts a program on a terminal of its own, as a person has it: `say('\\x03')` is Ctrl-C. What is typed is echoed, so look for what only an answer has.
 *
 * Uses `script` of util-linux.
 */
export function startOnTerminal(program: string, args: readonly string[], env: NodeJS.ProcessEnv): LiveProgram {
  const command = [program, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
  return startClient('script', ['--quiet', '--flush', '--return', '--command', `exec ${command}`, '/dev/null'], { ...env, TERM: 'dumb', SHELL: '/bin/sh' });
}

/** node-postgres through the gateway; connected. */
export async function connectPg(world: Pick<World, 'port' | 'ca'>, token: string, options: pg.ClientConfig = {}): Promise<pg.Client> {
  const client = new pg.Client({ host: 'localhost', port: world.port, user: 'me', database: 'postgres', password: token, ssl: { ca: world.ca }, ...options });
  // A session that the gateway ends must not end the tests.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** node-postgres to the server directly, as its owner. */
export async function connectDirect(postgres: PostgresHost, database = 'postgres'): Promise<pg.Client> {
  const client = new pg.Client({ host: postgres.socketDirectory, port: postgres.port, user: postgres.owner, database });
  await client.connect();
  return client;
}

/** Decides on a request through the gateway's HTTP API as the person whose token is given. */
export async function decide(world: World, token: string, request: string, decision: 'approve' | 'deny', reason = ''): Promise<void> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const shown = (await (await fetch(`${world.gateway.httpUrl}/v1/requests/${request}`, { headers })).json()) as { readonly digest: string };
  const answer = await fetch(`${world.gateway.httpUrl}/v1/requests/${request}/decision`, { method: 'POST', headers, body: JSON.stringify({ decision, reason, digest: shown.digest }) });
  if (!answer.ok) throw new Error(`the decision was refused: ${answer.status} ${await answer.text()}`);
}

/** Phase of a request, as its approver sees it. */
export async function phaseOf(world: World, token: string, request: string): Promise<string> {
  const shown = (await (await fetch(`${world.gateway.httpUrl}/v1/requests/${request}`, { headers: { authorization: `Bearer ${token}` } })).json()) as { readonly phase: string };
  return shown.phase;
}

/** Awaits a condition, asked every 20 ms for at most 10 s. */
export async function eventually<T>(what: string, ask: () => T | null | undefined | false | Promise<T | null | undefined | false>, limitMs = 10_000): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== null && answer !== undefined && answer !== false) return answer;
    if (performance.now() > deadline) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** An audit record as far as the client scenarios read it. */
export interface AuditEvent {
  readonly code: string;
  readonly session: string;
  readonly line: string;
}

/** All audit records of a data directory, in the order of the log files. */
export function auditEvents(dataDirectory: string): readonly AuditEvent[] {
  const files = readdirSync(join(dataDirectory, 'log'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ndjson')).sort();
  return files.flatMap((file) => readFileSync(join(dataDirectory, 'log', file), 'utf8').split('\n')).flatMap((line) => {
    const code = /"event_code":"([a-z.]+)"/.exec(line)?.[1];
    return code === undefined ? [] : [{ code, session: /"correlation_uid":"([0-9A-Z]{26})"/.exec(line)?.[1] ?? '', line }];
  });
}

/** Statements that the server ran for sessions of the gateway, as its own log has them; not what the gateway asked for itself. */
export function serverStatements(postgres: PostgresHost, fromByte = 0): readonly string[] {
  const statements: string[] = [];
  for (const match of postgres.log().slice(fromByte).matchAll(/ sallyport\/\S* LOG: {2}(?:statement|execute (?!sallyport_own_)[^:]*): (.*)/g)) statements.push(match[1] ?? '');
  return statements;
}
