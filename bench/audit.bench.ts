import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { openDirectory } from '../sidecar/adapters/evidence-source.ts';
import { verifyEvidence } from '../sidecar/adapters/evidence-verify.ts';
import { openRecorder } from '../sidecar/adapters/session-recorder.ts';
import { LogEncoder, newChain } from '../sidecar/core/recording/encode.ts';
import { SessionEvents } from '../sidecar/core/recording/ocsf.ts';
import { aBackend, anIntent, aResult, aRow, aSubject } from '../tools/testkit/audit.ts';

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const pgbench = anIntent({ protocol: 'simple', text: 'SELECT abalance FROM pgbench_accounts WHERE aid = 48211;', objects: ['public.pgbench_accounts'], parameters: [], textRedacted: false });
const answer = { commandTag: 'SELECT 1', rows: 1, bytesToClient: 40, bytesFromServer: 40, maskedCells: [] } as const;

/** Prints what a record costs: built and hashed, then with the writes, then verified. Figures, no assertions. */
function encodeOnly(count: number): void {
  const events = new SessionEvents(aSubject(), aBackend());
  const encoder = new LogEncoder({ origin: 'local/bench/01BENCH', logId: '01BENCH', namespace: 'bench', version: '0.1.0' });
  const chain = newChain('01SESSION');
  let bytes = 0;
  const times = { intent: 0, result: 0 };
  for (let round = 0; round < 2; round += 1) {
    times.intent = 0;
    times.result = 0;
    bytes = 0;
    for (let from = 0; from < count; from += 1000) {
      const marks = [];
      let started = performance.now();
      for (let n = 0; n < 1000; n += 1) {
        const made = events.intent(Date.now(), n, encoder.size, pgbench);
        bytes += encoder.next('statement.intent', made.body, chain).length;
        marks.push(made.mark);
      }
      times.intent += performance.now() - started;
      started = performance.now();
      for (const mark of marks) bytes += encoder.next('statement.result', events.result(Date.now(), mark, aResult(mark.statement, answer)), chain).length;
      times.result += performance.now() - started;
    }
  }
  console.log(`build + hash + chain + tree: intent ${(times.intent * 1000 / count).toFixed(2)} us, result ${(times.result * 1000 / count).toFixed(2)} us, ${Math.round(bytes / count / 2)} bytes a line`);
}

async function withFiles(count: number, directory: string): Promise<void> {
  const recorder = await openRecorder({ dataDirectory: directory, namespace: 'bench', clock, reserveBytes: 1_048_576, minFreeBytes: 0, minFreeShare: 0 });
  const session = recorder.open('01BENCHSESSION');
  await session.start(aSubject('01BENCHSESSION'), aBackend());
  const row = aRow(['12345']);
  const cpu = process.cpuUsage();
  const started = performance.now();
  for (let done = 0; done < count; done += 1) {
    const numbers = session.recordIntents([pgbench]);
    const statement = Array.isArray(numbers) ? (numbers as readonly number[])[0] ?? 0 : 0;
    session.describe(statement, [{ name: 'abalance', typeOid: 23, style: null, format: 0 }]);
    session.row(statement, row);
    session.flush();
    session.recordResult(aResult(statement, answer));
    if (done % 500 === 0) await new Promise(setImmediate);
  }
  const wall = performance.now() - started;
  const used = process.cpuUsage(cpu);
  await session.end('ClientClosed', { rows: count, bytes: 0, denied: 0 });
  await recorder.close();
  console.log(`one statement with a row, everything written: ${(wall * 1000 / count).toFixed(2)} us wall, ${((used.user + used.system) / count).toFixed(2)} us CPU; ${Math.round(count * 2 / wall * 1000)} chained records/s`);
}

/** Many records in few writes, then the offline verification of all of them. */
async function verifyMany(records: number, dataDirectory: string): Promise<void> {
  const recorder = await openRecorder({ dataDirectory, namespace: 'bench', clock, reserveBytes: 1_048_576, minFreeBytes: 0, minFreeShare: 0 });
  const session = recorder.open('01BENCHMANY');
  await session.start(aSubject('01BENCHMANY', { recording: { content: 'Metadata', durability: 'Write' } }), aBackend());
  const chunk = Array.from({ length: 50 }, () => pgbench);
  const started = performance.now();
  for (let done = 0; done < records / 2; done += chunk.length) {
    const numbers = await session.recordIntents(chunk);
    for (const statement of numbers) session.recordResult(aResult(statement, answer));
  }
  await session.end('ClientClosed', { rows: records / 2, bytes: 0, denied: 0 });
  await recorder.close();
  const wall = performance.now() - started;
  console.log(`${records} records in chunks of 50: ${Math.round(records / wall * 1000)} chained records/s written (target 40,000: ratio ${(records / wall / 40).toFixed(1)})`);
  const cpu = process.cpuUsage();
  const before = performance.now();
  const report = await verifyEvidence(openDirectory(dataDirectory), null);
  const seconds = (performance.now() - before) / 1000;
  const used = process.cpuUsage(cpu);
  console.log(`verify: ${report.records} records in ${seconds.toFixed(1)} s (${((used.user + used.system) / 1e6).toFixed(1)} s CPU), ${JSON.stringify(report.findings.counts)}; 1 million would take ${(seconds / report.records * 1e6).toFixed(1)} s (target 60: ratio ${(60 / (seconds / report.records * 1e6)).toFixed(1)})`);
}

const directory = fs.mkdtempSync(join(os.tmpdir(), 'sallyport-bench-'));
try {
  encodeOnly(100_000);
  await withFiles(100_000, join(directory, 'one'));
  await verifyMany(Number(process.argv[2] ?? 200_000), join(directory, 'many'));
} finally {
  fs.rmSync(directory, { recursive: true, force: true });
}
