import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { allowEverything, startWorld, type World } from '../hosts/gateway.ts';
import { type Frame, openRaw, type RawClient, readFields } from '../leaks/raw-client.ts';

// Facts of the protocol (docs/postgres.md): the same messages, sent directly and through the gateway, must be answered alike.
let world: World;

beforeAll(async () => {
  world = await startWorld({ policies: allowEverything });
});

afterAll(async () => { await world[Symbol.asyncDispose](); });

const q = write.query;
const unnamed = (text: string, portal = ''): Buffer => Buffer.concat([write.parse('', text), write.bind(portal, ''), write.execute(portal)]);
const data = (text: string): Buffer => write.frame('d', Buffer.from(text));
const copyDone = write.frame('c');
const copyFail = write.frame('f', Buffer.from('no\0'));

/** Each step is sent at once; then as many ReadyForQuery are awaited as `ready` says (default 1), or a step's type of message. */
interface Step {
  readonly send: Buffer | readonly Buffer[];
  readonly ready?: number;
  readonly until?: string;
}

const cases: readonly { readonly name: string; readonly steps: readonly Step[] }[] = [
  { name: 'an empty query and a comment', steps: [{ send: q('') }, { send: q('-- nothing') }, { send: [unnamed(''), write.sync()] }] },
  { name: 'several statements in one Query, the second fails', steps: [{ send: q('select 1; select 1/0; select 2') }, { send: q('select 3') }] },
  { name: 'pipelined Q Q S Q gives four ReadyForQuery', steps: [{ send: [q('select 1'), q('select 2'), write.sync(), q('select 3')], ready: 4 }] },
  { name: 'the unnamed statement is gone after a simple Query', steps: [{ send: [write.parse('', 'select 1'), write.sync()] }, { send: q('select 2') }, { send: [write.bind('', ''), write.execute(''), write.sync()] }] },
  { name: 'the unnamed statement is gone after a failed Parse', steps: [{ send: [write.parse('', 'select 1'), write.sync()] }, { send: [write.parse('', 'select nope'), write.sync()] }, { send: [write.bind('', ''), write.execute(''), write.sync()] }] },
  { name: 'a duplicate named Parse is 42P05 and the old one stays', steps: [{ send: [write.parse('a', 'select 1'), write.sync()] }, { send: [write.parse('a', 'select 2'), write.sync()] }, { send: [write.bind('', 'a'), write.execute(''), write.sync()] }] },
  { name: 'statements survive ROLLBACK', steps: [{ send: q('begin') }, { send: [write.parse('r', 'select 5'), write.sync()] }, { send: q('rollback') }, { send: [write.bind('', 'r'), write.execute(''), write.sync()] }] },
  { name: 'a named portal is gone after Sync outside a transaction', steps: [{ send: [write.parse('', 'select generate_series(1,5)'), write.bind('p', ''), write.execute('p', 2), write.sync()] }, { send: [write.execute('p', 2), write.sync()] }] },
  { name: 'a named portal survives Sync and simple Queries inside a transaction and goes on where it was', steps: [
    { send: q('begin') }, { send: [write.parse('', 'select generate_series(1,5)'), write.bind('p', ''), write.execute('p', 2), write.sync()] }, { send: q('select 9') }, { send: [write.execute('p', 2), write.sync()] },
    { send: [write.execute('p', 0), write.sync()] }, { send: q('commit') },
  ] },
  { name: 'SQL and protocol share statement names', steps: [
    { send: q('prepare s1 as select 41 + 1') }, { send: [write.bind('', 's1'), write.execute(''), write.sync()] }, { send: [write.parse('s2', 'select 7'), write.sync()] }, { send: q('execute s2') },
    { send: q('deallocate s2') }, { send: [write.bind('', 's2'), write.execute(''), write.sync()] },
  ] },
  { name: 'SQL and protocol share portal names', steps: [
    { send: q('begin; declare c1 cursor for select generate_series(1,3)') }, { send: [write.execute('c1', 2), write.sync()] }, { send: [write.parse('', 'select generate_series(10,13)'), write.bind('c2', ''), write.sync()] },
    { send: q('fetch 2 from c2') }, { send: q('close c1; commit') },
  ] },
  { name: 'DISCARD ALL forgets statements', steps: [{ send: [write.parse('d', 'select 1'), write.sync()] }, { send: q('discard all') }, { send: [write.bind('', 'd'), write.execute(''), write.sync()] }] },
  { name: 'an error skips everything up to Sync', steps: [{ send: [unnamed('select 1'), unnamed('select 1/0'), unnamed('select 2'), write.sync()] }, { send: q('select 3') }] },
  { name: 'an INSERT in a failed pipeline is rolled back', steps: [{ send: q('create temp table t(a int)') }, { send: [unnamed('insert into t values (1)'), unnamed('select 1/0'), write.sync()] }, { send: q('select count(*) from t') }] },
  { name: 'Query after unsynced Parse and Bind runs and gives one ReadyForQuery', steps: [{ send: [write.parse('', 'select 1'), write.bind('', ''), q('select 2')] }] },
  { name: 'Describe of a statement and of a portal', steps: [{ send: [write.parse('x', 'select $1::int4 + 1 as n, $2::text'), write.describe('S', 'x'), write.bind('', 'x', ['4', 'abc']), write.describe('P', ''), write.execute(''), write.sync()] }] },
  { name: 'COPY TO in both protocols', steps: [{ send: q("copy (select generate_series(1,3), 'a,b') to stdout (format csv)") }, { send: [unnamed('copy (select 1) to stdout'), write.sync()] }] },
  { name: 'COPY FROM in simple mode', steps: [{ send: q('create temp table c(a int, b text)') }, { send: q('copy c from stdin'), until: 'G' }, { send: [data('1\tx\n2\t'), data('y\n'), copyDone] }, { send: q('select * from c') }] },
  { name: 'COPY FROM that fails on the server: what the client still sends is dropped', steps: [
    { send: q('create temp table c(a int)') }, { send: q('copy c from stdin'), until: 'G' }, { send: [data('1\nx\n'), data('3\n'), copyDone] }, { send: q('select count(*) from c') },
  ] },
  { name: 'CopyFail', steps: [{ send: q('create temp table c(a int)') }, { send: q('copy c from stdin'), until: 'G' }, { send: [data('1\n'), copyFail] }, { send: q('select count(*) from c') }] },
  { name: 'COPY FROM in extended mode swallows Sync until one more Sync', steps: [
    { send: q('create temp table c(a int)') }, { send: [unnamed('copy c from stdin'), write.sync()], until: 'G' }, { send: [data('1\n2\n'), copyDone, write.sync()] }, { send: q('select count(*) from c') },
  ] },
  { name: 'COPY FROM in extended mode that fails, then a hundred good queries', steps: [
    { send: q('create temp table c(a int)') }, { send: [unnamed('copy c from stdin'), write.flush()], until: 'G' }, { send: [data('x\n'), copyDone, write.sync()] }, ...Array.from({ length: 100 }, (_, n) => ({ send: q(`select ${n}`) })),
  ] },
  { name: 'a failed transaction stays failed until ROLLBACK', steps: [{ send: q('begin') }, { send: q('select nope') }, { send: q('select 1') }, { send: [unnamed('select 1'), write.sync()] }, { send: q('rollback') }, { send: q('select 2') }] },
  { name: 'notices and warnings come where the server sends them', steps: [{ send: q("do $$begin raise notice 'n'; raise warning 'w'; end$$") }, { send: q('select 1; rollback') }] },
  { name: 'SET of a reported parameter is told', steps: [{ send: q("set timezone to 'Europe/Berlin'") }, { send: q('show timezone') }] },
  { name: 'savepoints', steps: [{ send: q('begin; savepoint a') }, { send: q('select 1/0') }, { send: q('rollback to a') }, { send: q('select 1; commit') }] },
  { name: 'Close of what does not exist', steps: [{ send: [write.close('S', 'nope'), write.close('P', 'nope'), write.sync()] }] },
  // Found by random sequences (make model).
  { name: 'EXECUTE of a statement that is a COPY, and of an empty one', steps: [{ send: [write.parse('c', 'copy (select 1) to stdout'), write.parse('e', ''), write.sync()] }, { send: q('execute c') }, { send: q('execute e') }] },
  { name: 'the unnamed statement survives DISCARD ALL', steps: [{ send: [write.parse('', 'select 1'), write.sync()] }, { send: [write.parse('d', 'discard all'), write.bind('', 'd'), write.execute(''), write.sync()] }, { send: [write.bind('', ''), write.execute(''), write.sync()] }] },
  { name: 'a failed Parse ends the unnamed statement', steps: [{ send: [write.parse('', 'select 1'), write.sync()] }, { send: [write.parse('', 'select nope'), write.sync()] }, { send: [write.describe('S', ''), write.sync()] }] },
  { name: 'a Query in a failed pipeline is skipped without a ReadyForQuery, also one that is refused', steps: [{ send: [write.bind('', 'nope'), q('select 1'), q('selec'), write.sync()] }, { send: q('select 2') }] },
  { name: 'an EXECUTE of nothing is prepared, and fails when it is described', steps: [{ send: [write.parse('x', 'execute nope'), write.sync()] }, { send: [write.describe('S', 'x'), write.sync()] }, { send: [write.bind('', 'x'), write.execute(''), write.sync()] }] },
  { name: 'two COPY FROM in one Query', steps: [{ send: q('create temp table c(a int)') }, { send: [q('copy c from stdin; copy c from stdin; select count(*) from c'), data('1\n'), copyDone, data('2\n'), data('3\n'), copyDone] }] },
  { name: 'LISTEN and NOTIFY', steps: [{ send: q('listen ch') }, { send: q("notify ch, 'hello'") }] },
];

describe('through the gateway', () => {
  test.each(cases)('$name: answered as the server answers', async ({ steps }) => {
    const direct = await play({ port: world.postgres.port, user: 'postgres', password: world.postgres.password, ca: world.ca }, steps);
    const proxied = await play({ port: world.port, user: 'postgres', password: await world.token('engineer'), ca: world.ca }, steps);
    expect(proxied).toEqual(direct);
  });
});

async function play(target: { readonly port: number; readonly user: string; readonly password: string; readonly ca: string }, steps: readonly Step[]): Promise<readonly string[]> {
  const client = await openScram(target);
  const seen: string[] = [];
  for (const step of steps) {
    const bytes = Buffer.isBuffer(step.send) ? step.send : Buffer.concat(step.send as readonly Buffer[]);
    const frames = await client.collect(bytes, step.until ?? 'Z', step.ready ?? 1);
    seen.push(...frames.map(describeFrame), '--');
  }
  await client.close();
  return seen;
}

interface Player {
  collect(bytes: Buffer, type: string, count: number): Promise<readonly Frame[]>;
  close(): Promise<void>;
}

async function openScram(target: { readonly port: number; readonly user: string; readonly password: string; readonly ca: string }): Promise<Player> {
  // The raw client speaks cleartext passwords only; the server directly is asked over its socket directory, which needs none.
  const isDirect = target.port === world.postgres.port;
  const { client } = await openRaw({ port: isDirect ? `${world.postgres.socketDirectory}/.s.PGSQL.${world.postgres.port}` : target.port, ca: isDirect ? null : target.ca, user: target.user, database: 'postgres', password: target.password });
  return {
    collect: async (bytes, type, count) => {
      const frames: Frame[] = [];
      let sent = bytes;
      for (let left = count; left > 0; left--) {
        frames.push(...(await client.exchangeUntil(sent, type)));
        sent = Buffer.alloc(0);
      }
      return frames;
    },
    close: () => (client as RawClient).close(),
  };
}

/** Type and what matters of the body; OIDs of temporary tables and the like differ between sessions. */
function describeFrame(frame: Frame): string {
  switch (frame.type) {
    case 'E':
    case 'N': {
      const fields = readFields(frame.body);
      return `${frame.type} ${fields.get('S')} ${fields.get('C')} ${fields.get('C') === '34000' || fields.get('C') === '26000' ? '' : fields.get('M')} ${fields.get('P') ?? ''}`;
    }
    case 'T':
      return `T ${frame.body.readInt16BE(0)} columns`;
    case 'A':
      return 'A';
    default:
      return `${frame.type} ${frame.body.toString('latin1')}`;
  }
}
