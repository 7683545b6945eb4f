import { beforeAll, describe, expect, test } from '@jest/globals';
import { findAsset } from '../../tools/e2e-assets.ts';
import { type KillsReport, killDuringPgbench } from '../kills/kill-during-pgbench.ts';

const pgbench = findAsset('pgbench');
if (!pgbench) console.log('skipped: pgbench is not installed');

/** A sample; all 200 by `make kills COUNT=200`. */
(pgbench ? describe : describe.skip)('SIGKILL of the gateway at 10 random moments of a pgbench run, simple and extended (R3)', () => {
  let report: KillsReport;
  beforeAll(async () => {
    report = await killDuringPgbench({ kills: 10, pgbench: pgbench?.path ?? '', random: Math.random });
    console.log(`${report.kills} kills: ${report.executed} statements in ${report.sessions} sessions, ends ${JSON.stringify(report.ends)}`);
  }, 120_000);

  test('every statement that the server ran has an intent record of its own', () => {
    expect(report.executed).toBeGreaterThan(100);
    expect(report.unrecorded).toEqual([]);
  });

  test('the records verify after the last restart: what the kills cut off is explained', () => {
    expect(report.verified).toEqual({ exit: 0, text: expect.stringContaining('OK: nothing was changed, added or removed') });
  });

  test('every session has an end, and those that the kills cut off are listed as ProxyLost', () => {
    expect(Object.keys(report.ends).filter((reason) => reason !== 'ProxyLost' && reason !== 'ClientClosed')).toEqual([]);
    expect(report.ends['ProxyLost']).toBeGreaterThanOrEqual(10);
  });
});
