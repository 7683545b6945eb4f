import { describe, expect, test } from '@jest/globals';
import { closingLine, countTotals } from './totals-reporter.ts';

const clean = { numPassedTests: 3, numFailedTests: 0, numPendingTests: 1, numTodoTests: 1, numRuntimeErrorTestSuites: 0 };

describe('totals', () => {
  test('count a file that does not load as one failure', () => {
    expect(countTotals({ ...clean, numRuntimeErrorTestSuites: 2 })).toEqual({ passed: 3, failed: 2, skipped: 2 });
  });

  test('are summed over all runs', () => {
    expect(closingLine([countTotals(clean), { passed: 4, failed: 1, skipped: 0 }], 1)).toBe('7 passed, 1 failed, 2 skipped');
  });

  test('are a failure when the run failed although no test did', () => {
    expect(closingLine([countTotals(clean)], 2)).toBe('3 passed, 1 failed, 2 skipped');
  });

  test('are a failure when no test ran', () => {
    expect(closingLine([], 0)).toBe('0 passed, 1 failed, 0 skipped');
    expect(closingLine([{ passed: 0, failed: 0, skipped: 9 }], 0)).toBe('0 passed, 1 failed, 9 skipped');
  });
});
