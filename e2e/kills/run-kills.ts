import { findAsset } from '../../tools/e2e-assets.ts';
import { killDuringPgbench } from './kill-during-pgbench.ts';

/** `make kills COUNT=200`: prints what the kills left behind; exit 1 when a statement that the server ran has no intent record, or the records do not verify. */
async function main(count: number): Promise<number> {
  const pgbench = findAsset('pgbench');
  if (!pgbench) {
    console.error('pgbench is missing: install PostgreSQL\'s contrib programs');
    return 1;
  }
  const started = performance.now();
  const report = await killDuringPgbench({ kills: count, pgbench: pgbench.path, random: Math.random, onKill: (done) => { if (done % 10 === 0) console.log(`${done} kills, ${((performance.now() - started) / 1000).toFixed(0)} s`); } });
  const { executed, sessions, unrecorded, verified, ends } = report;
  console.log(`${count} kills in ${((performance.now() - started) / 1000).toFixed(0)} s: ${sessions} sessions, ${executed} statements executed by the server, ${unrecorded.length} without an intent record`);
  console.log(`ends of sessions: ${JSON.stringify(ends)}`);
  for (const one of unrecorded.slice(0, 20)) console.log(`  no intent: ${one}`);
  console.log(verified.text.trimEnd().split('\n').slice(-4).join('\n'));
  const isKept = unrecorded.length === 0 && verified.exit === 0 && executed > 0;
  console.log(isKept ? 'OK: every statement that the server ran has its intent record, and the records verify' : `FAILED: verify exit ${verified.exit}`);
  return isKept ? 0 : 1;
}

process.exitCode = await main(Number(process.argv[2] ?? 200));
