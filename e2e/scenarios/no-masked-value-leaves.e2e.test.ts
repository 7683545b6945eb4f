import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { systemBinDirectory } from '../hosts/postgres.ts';
import { type LeakBench, type LeakOutcome, startLeakBench } from '../leaks/leak-bench.ts';
import { type LeakCase, readCases, splitSetup } from '../leaks/leak-case.ts';

const directory = join(import.meta.dirname, '..', 'leaks');
const cases = [...readCases(join(directory, 'leak_channels.json')), ...readCases(join(directory, 'more_channels.json'))];
const prepared = cases.filter((item) => splitSetup(item.setup_sql ?? []) !== null);

describe('on PostgreSQL 18', () => suite('embedded', new Set()));

// On an older server the catalog, the functions and the messages differ: the cases must hold there too.
(systemBinDirectory() ? describe : describe.skip)('on the PostgreSQL of the machine', () => suite('system', new Set()));

/** @param quiet cases that are known not to leak on this server without the gateway, with the reason beside the id. */
function suite(version: 'embedded' | 'system', quiet: ReadonlySet<string>): void {
  let bench: LeakBench;
  const applies = (item: LeakCase): boolean => (item.since ?? 0) <= bench.world.postgres.major && !quiet.has(item.id);

  beforeAll(async () => {
    bench = await startLeakBench(version);
  }, 60_000);
  afterAll(async () => bench[Symbol.asyncDispose]());

  test.each(ids(cases))('%s leaks without the gateway, else the bench is wrong', async (_id, item) => {
    if (!applies(item)) return;
    const { revealed, problem } = await bench.runDirect(item);
    expect({ leaks: revealed.length > 0, problem }).toEqual({ leaks: true, problem: null });
  }, 30_000);

  test.each(ids(cases))('%s ends masked or refused', async (_id, item) => {
    if (applies(item)) expect(await bench.runProxied(item, 'Redact')).toEqual(expected(item));
  }, 30_000);

  test.each(ids(cases))('%s shows at most the last four characters with a partial mask', async (_id, item) => {
    if (applies(item)) expect(await bench.runProxied(item, 'Partial')).toEqual(expected(item));
  }, 30_000);

  test.each(ids(prepared))('%s ends masked or refused when its preparation goes through the gateway', async (_id, item) => {
    if (applies(item)) expect(await bench.runProxied(item, 'Redact', 'proxied')).toEqual(expected(item));
  }, 30_000);

  test('nothing sensitive stands in any record, recording or log of the whole run', () => {
    expect(bench.sweep()).toEqual([]);
  });
}

/** An inference must be refused; everything else may be masked. */
function expected(item: LeakCase): LeakOutcome {
  const refused = { verdict: 'refused', code: expect.any(String) };
  return (item.kind === 'inference' ? refused : expect.objectContaining({ verdict: expect.stringMatching(/^(?:masked|refused)$/) })) as LeakOutcome;
}

function ids(list: readonly LeakCase[]): [string, LeakCase][] {
  return list.map((item) => [item.id, item]);
}
