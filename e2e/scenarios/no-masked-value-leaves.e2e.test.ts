import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { systemBinDirectory } from '../hosts/postgres.ts';
import { type LeakBench, type LeakOutcome, startLeakBench } from '../leaks/leak-bench.ts';
import { isAnsweredByCells, type LeakCase, readCases, splitSetup } from '../leaks/leak-case.ts';

const directory = join(import.meta.dirname, '..', 'leaks');
const given = readCases(join(directory, 'leak_channels.json'));
const cases = [...given, ...readCases(join(directory, 'more_channels.json'))];
const prepared = cases.filter((item) => splitSetup(item.setup_sql ?? []) !== null);

/** By case, of the first server. What is refused there is refused before any server matters: of our own cases only the others run again. */
const verdicts = new Map<string, LeakOutcome['verdict']>();
const runsAgain = (item: LeakCase): boolean => given.includes(item) || verdicts.get(item.id) !== 'refused';

describe('on PostgreSQL 18', () => suite('embedded'));

// On an older server the catalog, the functions and the messages differ: the cases must hold there too.
(systemBinDirectory() ? describe : describe.skip)('on the PostgreSQL of the machine', () => suite('system'));

function suite(version: 'embedded' | 'system'): void {
  let bench: LeakBench;
  const applies = (item: LeakCase): boolean => (item.since ?? 0) <= bench.world.postgres.major && !quietCases[item.id]?.includes(bench.world.postgres.major);

  beforeAll(async () => {
    bench = await startLeakBench(version);
  }, 60_000);
  afterAll(async () => bench[Symbol.asyncDispose]());

  test.each(ids(cases))('%s leaks without the gateway, and ends masked or refused through it', async (_id, item) => {
    if (!applies(item) || (version === 'system' && !runsAgain(item))) return;
    if (version === 'embedded' || given.includes(item)) {
      const { revealed, problem } = await bench.runDirect(item);
      expect({ leaks: revealed.length > 0, problem }).toEqual({ leaks: true, problem: null });
    }
    const outcome = await bench.runProxied(item, 'Redact');
    if (version === 'embedded') verdicts.set(item.id, outcome.verdict);
    expect(outcome).toEqual(expected(item));
  }, 30_000);

  if (version === 'embedded') {
    test.each(ids(cases))('%s shows at most the last four characters with a partial mask', async (_id, item) => {
      if (applies(item) && runsAgain(item)) expect(await bench.runProxied(item, 'Partial')).toEqual(expected(item));
    }, 30_000);

    test.each(ids(prepared))('%s ends masked or refused when its preparation goes through the gateway', async (_id, item) => {
      if (applies(item)) expect(await bench.runProxied(item, 'Redact', 'proxied')).toEqual(expected(item));
    }, 30_000);
  }

  test('nothing sensitive stands in any record, recording or log of the whole run', () => {
    expect(bench.sweep()).toEqual([]);
  });
}

/** Major versions on which a case does not leak even without the gateway. */
const quietCases: Readonly<Record<string, readonly number[]>> = {
  err_cast_regproc: [14, 15], // the error names the part before the dot only
};

/** An inference must be refused, unless its answer is a cell; everything else may be masked. */
function expected(item: LeakCase): LeakOutcome {
  const refused = { verdict: 'refused', code: expect.any(String) };
  return (item.kind === 'inference' && !isAnsweredByCells(item) ? refused : expect.objectContaining({ verdict: expect.stringMatching(/^(?:masked|refused)$/) })) as LeakOutcome;
}

function ids(list: readonly LeakCase[]): [string, LeakCase][] {
  return list.map((item) => [item.id, item]);
}
