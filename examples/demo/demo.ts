import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { startWorld, type World } from '../../e2e/hosts/gateway.ts';
import { chooseClient, type DemoClient, psqlLine, type Shown } from './clients.ts';
import { sshStory } from './ssh.ts';

// The main job end to end on real servers: PostgreSQL, an OIDC issuer, the gateway, and client processes. `make demo`; `make demo KEEP=1` leaves it running.
const here = fileURLToPath(new URL('.', import.meta.url));
const program = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const startedMs = performance.now();
let failures = 0;

const outDirectory = await mkdtemp(join(tmpdir(), 'sallyport-demo-'));
say('Starting PostgreSQL 18, an OIDC issuer and the gateway (directory mode) …');
const world = await startWorld({
  policies: readFileSync(join(here, 'policy.yaml'), 'utf8'), account: { username: 'sallyport', password: 'demo-only-target-password' },
  prepare: async (postgres) => {
    const client = new pg.Client({ host: postgres.socketDirectory, port: postgres.port, user: postgres.owner, database: 'postgres' });
    await client.connect();
    await client.query(readFileSync(join(here, 'schema.sql'), 'utf8'));
    await client.end();
  },
});
const client = chooseClient(world);
say(`Ready after ${seconds()}. The client is ${client.name}; nobody but the gateway knows the database's password.`);

await story(world, client);
await sshStory({ say, step, show });

say(failures === 0 ? `\nAll steps went as they should (${seconds()}).` : `\n${failures} step(s) did not go as they should (${seconds()}).`);
if (process.argv.includes('--keep')) await keep(world);
await world[Symbol.asyncDispose]();
process.exit(failures === 0 ? 0 : 1);

async function story(at: World, by: DemoClient): Promise<void> {
  const [engineer = '', approver = '', ci = ''] = await Promise.all(['engineer', 'approver', 'ci-job'].map((id) => at.token(id)));
  step('An engineer reads customers: columns with regulated data are masked, the rest is real');
  show(await by.run(engineer, 'select id, name, ssn, card, email, balance from customers'), (text) => text.includes('***-**-7841') && text.includes('Alice Meyer') && !text.includes('536-22-7841'));

  step('The same engineer tries to drop a table: denied by a rule');
  show(await by.run(engineer, 'drop table orders'), (text) => text.includes('STATEMENT_DENIED'));

  step('… to get a masked value out by an expression: hidden whole; and to ask about it in a predicate: refused');
  show(await by.run(engineer, 'select reverse(ssn) from customers where id = 1'), (text) => text.includes('****') && !text.includes('1487'));
  show(await by.run(engineer, "select name from customers where ssn like '536%'"), (text) => text.includes('MASKED_COLUMN_REFUSED'));

  step('A schema change is held on the wire until a DBA decides; the engineer may not approve it');
  await heldAlter(at, by, engineer, approver);

  step('A CI job logs in with its own OIDC token, matched by a claim expression; it reads orders and nothing else');
  show(await by.run(ci, 'select count(*) as orders, sum(amount) from orders'), (text) => text.includes('1042.50'));
  show(await by.run(ci, 'select name from customers'), (text) => text.includes('STATEMENT_NOT_ALLOWED'));

  step('An expired token');
  show(await by.run(await at.issuer.sign({ sub: 'engineer', email: 'engineer@bank.example', groups: ['sre'] }, { expiresInSeconds: -120 }), 'select 1'), (text) => text.includes('TOKEN_EXPIRED'));

  step('What happened is on record: sessions, and a replay of the held one');
  const listing = await cli(at, ['sessions', '--data', at.dataDirectory]);
  show(listing, (text) => text.includes('engineer@bank.example'));
  const altered = sessionWith(at, 'alter table');
  show(await cli(at, ['replay', altered, '--data', at.dataDirectory, '--text']), (text) => text.toLowerCase().includes('alter table'));

  step('The gateway stops; the record is verified offline and exported as an evidence pack');
  await at.gateway.stop();
  show(await cli(at, ['audit', 'verify', '--data', at.dataDirectory]), (_text, failed) => !failed);
  const pack = join(outDirectory, 'evidence.zip');
  const [from, to] = [Date.now() - 3_600_000, Date.now() + 3_600_000].map((ms) => new Date(ms).toISOString().slice(0, 19) + 'Z');
  show(await cli(at, ['evidence', 'export', '--from', from ?? '', '--to', to ?? '', '--data', at.dataDirectory, '--out', pack]), () => existsSync(pack));
  say(`  the pack: ${pack}`);

  step('Somebody edits one record afterwards: verification names it');
  tamper(at.dataDirectory);
  show(await cli(at, ['audit', 'verify', '--data', at.dataDirectory]), (_text, failed) => failed);
}

async function heldAlter(at: World, by: DemoClient, engineer: string, approver: string): Promise<void> {
  const name = Promise.withResolvers<string>();
  const running = by.run(engineer, 'alter table orders add column note text', (part) => {
    const found = /areq-[a-z0-9]+/.exec(part);
    if (found) name.resolve(found[0]);
  });
  const request = await Promise.race([name.promise, running.then((shown) => `none: ${shown.text}`)]);
  say(`  the client waits; its notice names the request ${request}`);
  show(await cli(at, ['approve', request, '--yes'], engineer), (text, failed) => failed && text.includes('APPROVAL_SELF'));
  show(await cli(at, ['approve', request, '--yes', '--reason', 'looked at it, small table'], approver), (_text, failed) => !failed);
  show(await running, (text, failed) => !failed && text.includes('ALTER TABLE'));
}

/** Runs `sallyport` as the person whose token is given. */
function cli(at: World, args: readonly string[], token = ''): Promise<Shown> {
  say(`  $ sallyport ${args.map((arg) => arg.replace(at.dataDirectory, 'DATA').replace(outDirectory, 'OUT')).join(' ')}`);
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, ...args], { env: { ...process.env, SALLYPORT_GATEWAY: at.gateway.httpUrl, SALLYPORT_TOKEN: token } });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (part: string) => { text += part; });
    child.once('exit', (code) => resolve({ text: text.trimEnd(), failed: code !== 0 }));
  });
}

/** The id of the session whose log lines hold a text. */
function sessionWith(at: World, text: string): string {
  for (const line of logLines(at.dataDirectory)) if (line.toLowerCase().includes(text) && line.includes('statement.intent')) return /"correlation_uid":"([0-9A-Z]{26})"/.exec(line)?.[1] ?? '';
  return '';
}

function logFiles(dataDirectory: string): readonly string[] {
  return readdirSync(join(dataDirectory, 'log'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ndjson')).map((name) => join(dataDirectory, 'log', name));
}

function logLines(dataDirectory: string): readonly string[] {
  return logFiles(dataDirectory).flatMap((file) => readFileSync(file, 'utf8').split('\n'));
}

/** What a person with access to the disk might do: make a denied statement look like another one. */
function tamper(dataDirectory: string): void {
  const file = logFiles(dataDirectory)[0] ?? '';
  writeFileSync(file, readFileSync(file, 'utf8').replace('drop table orders', 'view table orders'));
  say('  (in a log file, "drop table orders" was replaced by "view table orders")');
}

async function keep(at: World): Promise<void> {
  await at.restart();
  say(`\nIt stays up. Try it (the token of the engineer is in PGPASSWORD; Ctrl-C here ends everything):\n\n  export PGPASSWORD=${await at.token('engineer')}\n  ${psqlLine(at)}\n`);
  say(`An approver decides with:\n\n  export SALLYPORT_GATEWAY=${at.gateway.httpUrl} SALLYPORT_TOKEN=${await at.token('approver')}\n  node_modules/.bin/node cli/main.ts requests\n`);
  await new Promise<void>((resolve) => { process.once('SIGINT', () => resolve()); process.once('SIGTERM', () => resolve()); });
}

function step(title: string): void {
  say(`\n── ${title}`);
}

function show(shown: Shown, expected: (text: string, failed: boolean) => boolean): void {
  for (const line of shown.text.split('\n')) say(`  ${line}`);
  if (expected(shown.text, shown.failed)) return;
  failures++;
  say('  ✗ this is not what should have happened');
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function seconds(): string {
  return `${((performance.now() - startedMs) / 1000).toFixed(1)} s`;
}
