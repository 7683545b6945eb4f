import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { cstring, int16, int32, message } from '../leaks/raw-client.ts';
import type { Random } from './random.ts';

/** One frontend message and how it is shown in a finding. */
export interface Step {
  readonly shown: string;
  readonly bytes: Buffer;
}

/** Small on purpose: few names and few texts meet each other often. */
const texts: readonly (readonly [number, string])[] = [
  [6, 'select 1'], [4, 'select generate_series(1,5)'], [4, 'select $1::int4 + 1'], [2, 'select $1::text, $2::int4'], [3, 'select a, b from t order by a'], [3, 'insert into t values (7, \'x\')'],
  [2, 'insert into t values ($1, $2) returning a'], [2, 'update t set a = a + 1 returning a'], [2, 'delete from t where a = 7'], [3, 'select 1/0'], [2, 'selec 1'], [2, 'select nope'], [2, ''], [1, '-- nothing'], [1, ';'],
  [6, 'begin'], [5, 'commit'], [5, 'rollback'], [2, 'savepoint a'], [2, 'rollback to a'], [1, 'release a'], [1, 'start transaction isolation level serializable'], [1, 'commit and chain'],
  [3, 'prepare s1 as select 41'], [2, 'prepare s2 (int4) as select $1 + 1'], [2, 'execute s1'], [2, 'execute s2(4)'], [1, 'deallocate s1'], [1, 'deallocate s2'], [1, 'deallocate all'], [1, 'discard all'], [1, 'discard plans'],
  [3, 'declare p1 cursor for select generate_series(1,4)'], [1, 'declare p2 cursor with hold for select generate_series(1,4)'], [2, 'fetch 2 from p1'], [1, 'fetch all from p2'], [1, 'move 1 in p1'], [1, 'close p1'], [1, 'close all'],
  [3, 'select 1; select 2'], [2, 'select 1; select 1/0; select 3'], [2, 'begin; select 1'], [2, 'select 1; commit'], [1, 'insert into t values (8, \'y\'); select 1/0'], [1, 'begin; insert into t values (9, \'z\'); rollback; select count(*) from t'],
  [4, 'copy t from stdin'], [2, 'copy t from stdin (format csv)'], [2, 'copy t to stdout'], [2, 'copy (select generate_series(1,3)) to stdout'], [1, 'copy t from stdin; select 5'], [1, 'copy nope from stdin'], [1, 'select 4; copy t from stdin'],
  [1, 'set timezone to \'Europe/Berlin\''], [1, 'show timezone'], [1, 'set search_path to pg_catalog'], [1, 'reset search_path'], [1, 'set nope.x to 1'], [1, 'do $$begin raise notice \'n\'; end$$'], [1, 'do $$begin perform 1/0; end$$'],
  [1, 'create temp table u (a int)'], [1, 'drop table u'], [1, 'select a from u'], [1, 'explain (costs off) select 1'], [1, 'select pg_catalog.set_config(\'DateStyle\', \'ISO, DMY\', false)'], [1, 'listen ch'], [1, 'values (1, null), (2, \'b\')'],
  [1, 'create table if not exists pg_temp.t (a int)'], [1, 'lock table t'], [1, 'truncate t'], [1, 'select a from t for update'],
];

const statementNames = ['', '', 's1', 's2'] as const;
const portalNames = ['', '', 'p1', 'p2'] as const;

/** A random sequence of frontend messages, legal and illegal, that share a few names. No two runs of a sequence depend on each other: tables are temporary. */
export function randomSequence(random: Random): readonly Step[] {
  const steps: Step[] = [];
  const length = 3 + random.int(22);
  while (steps.length < length) steps.push(...random.weighted(groups)(random));
  return withoutSyncAmongRows(steps);
}

/**
 * Sync and Flush between rows of a COPY FROM STDIN are left out: when a row before them has made the COPY fail, the server answers the Sync, else it ignores it,
 * and the gateway cannot know which (docs/postgres.md, "Differences").
 */
function withoutSyncAmongRows(steps: readonly Step[]): readonly Step[] {
  let rows = false;
  let copy = false;
  return steps.filter(({ shown }) => {
    if (shown.includes('copy') && shown.includes('from stdin')) copy = true;
    if (shown === 'c' || shown === 'f') copy = rows = false;
    if (shown.startsWith('d ')) rows = copy;
    return !(rows && (shown === 'S' || shown === 'H'));
  });
}

type Group = (random: Random) => readonly Step[];

const groups: readonly (readonly [number, Group])[] = [
  [10, (random) => [simple(random.weighted(texts))]],
  [4, (random) => [parse(random)]], [4, (random) => [bind(random)]], [4, (random) => [execute(random)]], [3, (random) => [describe(random)]], [2, (random) => [close(random)]],
  [5, () => [sync]], [1, () => [flush]],
  // Whole rounds that mean something, so that deep states are reached.
  [8, (random) => wholeRound(random)],
  [2, (random) => [copyData(random)]], [1, () => [copyDone]], [1, () => [copyFail]], [5, (random) => copyRound(random)],
  [1, (random) => [functionCall(random)]], [0.15, () => [{ shown: 'X', bytes: write.terminate() }]],
];

const sync: Step = { shown: 'S', bytes: write.sync() };
const flush: Step = { shown: 'H', bytes: write.flush() };
const copyDone: Step = { shown: 'c', bytes: write.frame('c') };
const copyFail: Step = { shown: 'f', bytes: write.frame('f', cstring('no')) };

function simple(text: string): Step {
  return { shown: `Q ${text}`, bytes: write.query(text) };
}

function parse(random: Random, name: string = random.pick(statementNames), text: string = random.weighted(texts)): Step {
  return { shown: `P ${name || '-'} ${text}`, bytes: write.parse(name, text) };
}

function bind(random: Random, portal: string = random.pick(portalNames), statement: string = random.pick(statementNames), text: string | null = null): Step {
  const wanted = text === null ? random.weighted([[6, 0], [2, 1], [2, 2]]) : (text.match(/\$2/) ? 2 : text.match(/\$1/) ? 1 : 0);
  const values = Array.from({ length: wanted }, () => random.weighted([[8, '5'], [1, 'x'], [1, null]]));
  const results = random.weighted<readonly number[]>([[8, []], [2, [1]], [1, [0]], [1, [0, 1]]]);
  const cells = values.map((value) => (value === null ? int32(-1) : Buffer.concat([int32(value.length), Buffer.from(value)])));
  const body = Buffer.concat([cstring(portal), cstring(statement), int16(0), int16(cells.length), ...cells, int16(results.length), ...results.map(int16)]);
  return { shown: `B ${portal || '-'} ${statement || '-'} (${values.join(',')}) results ${results.join(',') || '-'}`, bytes: message('B', body) };
}

function execute(random: Random, portal: string = random.pick(portalNames)): Step {
  const rows = random.weighted([[6, 0], [2, 1], [2, 2], [1, 100]]);
  return { shown: `E ${portal || '-'} ${rows}`, bytes: write.execute(portal, rows) };
}

function describe(random: Random): Step {
  const [kind, name] = random.chance(0.5) ? ['S', random.pick(statementNames)] as const : ['P', random.pick(portalNames)] as const;
  return { shown: `D ${kind} ${name || '-'}`, bytes: write.describe(kind, name) };
}

function close(random: Random): Step {
  const [kind, name] = random.chance(0.5) ? ['S', random.pick(statementNames)] as const : ['P', random.pick(portalNames)] as const;
  return { shown: `C ${kind} ${name || '-'}`, bytes: write.close(kind, name) };
}

function wholeRound(random: Random): readonly Step[] {
  const [statement, portal, text] = [random.pick(statementNames), random.pick(portalNames), random.weighted(texts)];
  const steps = [parse(random, statement, text)];
  if (random.chance(0.4)) steps.push(describe(random));
  steps.push(bind(random, portal, statement, text));
  if (random.chance(0.4)) steps.push({ shown: `D P ${portal || '-'}`, bytes: write.describe('P', portal) });
  for (let count = 1 + random.int(2); count > 0; count--) steps.push(execute(random, portal));
  if (random.chance(0.7)) steps.push(sync);
  return steps;
}

function copyRound(random: Random): readonly Step[] {
  const text = random.pick(['copy t from stdin', 'copy t from stdin (format csv)', 'copy t from stdin; select 5', 'copy t (a) from stdin']);
  const start = random.chance(0.5) ? [simple(text)] : [parse(random, '', text), bind(random, '', '', text), execute(random, ''), ...(random.chance(0.6) ? [sync] : [])];
  const rows = Array.from({ length: random.int(4) }, () => copyData(random));
  return [...start, ...rows, random.chance(0.8) ? copyDone : copyFail, ...(random.chance(0.7) ? [sync] : [])];
}

function copyData(random: Random): Step {
  const text = random.weighted([[6, '1\tx\n2\ty\n'], [2, '3,"z"\n'], [2, '4\t'], [1, 'bad\trow\n'], [2, '5\n'], [1, '\\.\n'], [1, '']]);
  return { shown: `d ${JSON.stringify(text)}`, bytes: write.frame('d', Buffer.from(text)) };
}

/** int4pl(4, 5), with a share of wrong OIDs. */
function functionCall(random: Random): Step {
  const oid = random.weighted([[8, 177], [1, 99_999_999], [1, 154]]);
  const argument = (value: number): Buffer => Buffer.concat([int32(4), int32(value)]);
  return { shown: `F ${oid}`, bytes: message('F', Buffer.concat([int32(oid), int16(1), int16(1), int16(2), argument(4), argument(oid === 154 ? 0 : 5), int16(1)])) };
}
