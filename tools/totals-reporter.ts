import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Counts of one or several test runs. */
export interface Totals {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** The part of Jest's aggregated result that is counted. */
export interface JestResult {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly numRuntimeErrorTestSuites: number;
}

/** A file that does not load holds no test, so Jest counts 0 failed: each such file is one failure here. */
export function countTotals(result: JestResult): Totals {
  return { passed: result.numPassedTests, failed: result.numFailedTests + result.numRuntimeErrorTestSuites, skipped: result.numPendingTests + result.numTodoTests };
}

/**
 * The closing line of a run.
 *
 * @param runs totals of each Jest run; empty: no test was run, which is a failure.
 * @param status exit status of the run: not 0 although no test failed is one failure more.
 */
export function closingLine(runs: readonly Totals[], status: number): string {
  const sum = (pick: (totals: Totals) => number): number => runs.reduce((total, run) => total + pick(run), 0);
  const [passed, failed, skipped] = [sum((run) => run.passed), sum((run) => run.failed), sum((run) => run.skipped)];
  const noTest = passed + failed === 0;
  return `${passed} passed, ${failed === 0 && (status !== 0 || noTest) ? 1 : failed} failed, ${skipped} skipped`;
}

// biome-ignore lint/style/noDefaultExport: Jest loads a reporter by its default export
export default class TotalsReporter {
  /** Called by Jest after all projects; writes the totals to $SALLYPORT_TOTALS, if set. */
  onRunComplete(_contexts: unknown, result: JestResult): void {
    const directory = process.env['SALLYPORT_TOTALS'];
    if (!directory) return;
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, `${process.pid}.json`), JSON.stringify(countTotals(result)));
  }
}

/** `node tools/totals-reporter.ts DIRECTORY STATUS` prints the closing line and exits with the status, or 1 when something failed or nothing ran. */
function main([directory = '', statusText = '1']: readonly string[]): number {
  const status = Number(statusText);
  const runs = readdirSync(directory).map((name) => JSON.parse(readFileSync(join(directory, name), 'utf8')) as Totals);
  const line = closingLine(runs, status);
  process.stdout.write(`${line}\n`);
  return status === 0 && !line.includes(' 0 failed') ? 1 : status;
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
