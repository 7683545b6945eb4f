import { writeSync } from 'node:fs';
import { openRecorder } from '../../sidecar/adapters/session-recorder.ts';
import { aBackend, anIntent, aResult, aRow, aSubject } from '../../tools/testkit/audit.ts';

/**
 * A process that records statements without end and "forwards" each by writing its text to stdout right after recordIntents returned.
 * Started by the crash scenario, which kills it. Arguments: data directory, Write or Fsync, label.
 */
const [dataDirectory = '', durability = 'Write', label = ''] = process.argv.slice(2);
const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const recorder = await openRecorder({ dataDirectory, namespace: 'crash', clock, reserveBytes: 65_536, minFreeBytes: 0, minFreeShare: 0, segmentBytes: 65_536 });
const sessionId = `S${label}`;
const session = recorder.open(sessionId);
await session.start(aSubject(sessionId, { recording: { content: 'Full', durability: durability === 'Fsync' ? 'Fsync' : 'Write' } }), aBackend());
for (let n = 0; ; n += 1) {
  const text = `SELECT '${label}-${n}'`;
  const numbers = await session.recordIntents([anIntent({ text })]);
  writeSync(1, `${label}-${n}\n`);
  const statement = numbers[0] ?? 0;
  session.row(statement, aRow([text]));
  session.flush();
  session.recordResult(aResult(statement, { rows: 1 }));
  if (n % 50 === 0) await new Promise(setImmediate);
}
