import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { findAsset } from '../../../tools/e2e-assets.ts';
import { auditEvents, connectDirect, conninfo, directEnv, endClients, eventually, libpqEnv, type Ran, runClient, serverStatements } from '../../hosts/clients.ts';
import { startWorld, type World } from '../../hosts/gateway.ts';

jest.setTimeout(60_000);
const pgbench = findAsset('pgbench')?.path ?? '';
let world: World;
let engineer = '';

beforeAll(async () => {
  world = await startWorld();
  engineer = await world.token('engineer');
  if (pgbench) await runClient(pgbench, ['-i', '-q', '-s', '1', 'postgres'], directEnv(world.postgres));
}, 60_000);

afterAll(async () => {
  endClients();
  await world[Symbol.asyncDispose]();
});

function bench(...args: readonly string[]): Promise<Ran> {
  return runClient(pgbench, ['-n', '-c', '4', '-j', '2', ...args, conninfo(world)], libpqEnv(engineer));
}

/** Transactions processed and failed, from pgbench's own report. */
function report(ran: Ran): { readonly processed: number; readonly failed: number } {
  return { processed: Number(/transactions actually processed: (\d+)/.exec(ran.out)?.[1] ?? Number.NaN), failed: Number(/failed transactions: (\d+)/.exec(ran.out)?.[1] ?? Number.NaN) };
}

/** Intents and results with their outcomes, of the log from an event on. */
function recordedFrom(first: number): { readonly intents: number; readonly results: number; readonly completed: number } {
  const events = auditEvents(world.dataDirectory).slice(first);
  const results = events.filter((event) => event.code === 'statement.result');
  return { intents: events.filter((event) => event.code === 'statement.intent').length, results: results.length, completed: results.filter((event) => event.line.includes('"outcome":"Completed"')).length };
}

/** pgbench counts the branches and looks for partitions first. */
const asksAtStart = 2;

const whenHere = pgbench ? describe : describe.skip;

whenHere.each(['simple', 'extended', 'prepared'] as const)('pgbench in mode %s', (mode) => {
  test('-S: no transaction fails, and each statement of the server has its intent', async () => {
    const [events, log] = [auditEvents(world.dataDirectory).length, world.postgres.log().length];
    const { processed, failed } = report(await bench('-S', '-M', mode, '-T', '2'));
    expect(failed).toBe(0);
    expect(processed).toBeGreaterThan(5);
    const statements = serverStatements(world.postgres, log).length;
    expect(statements).toBe(processed + asksAtStart);
    await eventually('all results are recorded', () => recordedFrom(events).results === statements);
    expect(recordedFrom(events)).toEqual({ intents: statements, results: statements, completed: statements });
  });

  test('TPC-B: no transaction fails, the sums agree, and each statement of the server has its intent', async () => {
    const direct = await connectDirect(world.postgres);
    await direct.query('truncate pgbench_history; update pgbench_accounts set abalance = 0 where abalance <> 0; update pgbench_tellers set tbalance = 0; update pgbench_branches set bbalance = 0');
    const [events, log] = [auditEvents(world.dataDirectory).length, world.postgres.log().length];
    const { processed, failed } = report(await bench('-M', mode, '-T', '3'));
    expect(failed).toBe(0);
    expect(processed).toBeGreaterThan(5);
    const { rows } = await direct.query('select (select sum(abalance) from pgbench_accounts) a, (select sum(tbalance) from pgbench_tellers) t, (select sum(bbalance) from pgbench_branches) b, (select coalesce(sum(delta), 0) from pgbench_history) h, (select count(*) from pgbench_history) n');
    const [sums] = rows as [{ a: string; t: string; b: string; h: string; n: string }];
    await direct.end();
    expect({ ...sums, n: Number(sums.n) }).toEqual({ a: sums.h, t: sums.h, b: sums.h, h: sums.h, n: processed });
    const statements = serverStatements(world.postgres, log).length;
    expect(statements).toBe(processed * 7 + asksAtStart);
    await eventually('all results are recorded', () => recordedFrom(events).results === statements);
    expect(recordedFrom(events)).toEqual({ intents: statements, results: statements, completed: statements });
  });
});

whenHere('pgbench with pipelines', () => {
  test('sends its statements without waiting, and none fails', async () => {
    const file = `${world.dataDirectory}/pipeline.sql`;
    writeFileSync(file, '\\set aid random(1, 100000)\n\\startpipeline\nselect abalance from pgbench_accounts where aid = :aid;\nselect 1;\nselect abalance from pgbench_accounts where aid = :aid;\n\\endpipeline\n');
    const { processed, failed } = report(await bench('-M', 'extended', '-T', '1', '-f', file));
    expect(failed).toBe(0);
    expect(processed).toBeGreaterThan(5);
  });
});
