import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from '@jest/globals';
import { openDirectory } from '../../sidecar/adapters/evidence-source.ts';
import { verifyEvidence } from '../../sidecar/adapters/evidence-verify.ts';
import { openRecorder } from '../../sidecar/adapters/session-recorder.ts';
import { exitCode } from '../../sidecar/core/recording/findings.ts';
import { aBackend, anIntent, aResult, aRow, aSubject, aWholeSession } from '../../tools/testkit/audit.ts';

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
let data: string;
const mounted = mount();
const onTinyDisk = mounted === null ? test : test.skip;
if (mounted !== null) console.log(`skipped: a size-limited file system cannot be mounted here (${mounted})`);

beforeEach(() => {
  if (mounted === null) for (const name of fs.readdirSync(data)) fs.rmSync(join(data, name), { recursive: true });
});

afterAll(() => {
  if (mounted === null) execFileSync('umount', ['-l', data]);
  fs.rmdirSync(data);
});

/** Null when a 4 MiB tmpfs stands at `data`, else why not. */
function mount(): string | null {
  data = fs.mkdtempSync(join(os.tmpdir(), 'sallyport-full-'));
  if (process.getuid?.() !== 0) return 'not root';
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', data], { stdio: 'pipe' });
  } catch (error) {
    return String(error).slice(0, 200);
  }
  return null;
}

onTinyDisk.each([['the log', false], ['a recording', true]])('a disk that fills up while %s is written: nothing is forwarded unrecorded, everything is closed, and space alone brings it back', async (_name, rows) => {
  fs.writeFileSync(join(data, 'filler'), Buffer.alloc(1_500_000, 7));
  const recorder = await openRecorder({ dataDirectory: data, namespace: 'disk', clock, reserveBytes: 524_288, minFreeBytes: 0, minFreeShare: 0 });
  const heard: string[] = [];
  const ends: Promise<void>[] = [];
  const sessions = ['01A', '01B'].map((id) => recorder.open(id));
  recorder.onFailure((code) => {
    heard.push(code);
    for (const session of sessions) ends.push(session.end('RecorderFailed', { rows: 0, bytes: 0, denied: 0 }));
  });
  for (const session of sessions) await session.start(aSubject(session.sessionId), aBackend());
  const forwarded: number[] = [];
  const [session] = sessions;
  let refusal = '';
  try {
    for (let n = 0; n < 100_000; n += 1) {
      const numbers = await session?.recordIntents([anIntent({ text: `SELECT ${n}` })]) ?? [];
      forwarded.push(...numbers);
      if (rows) for (let row = 0; row < 20; row += 1) session?.row(numbers[0] ?? 0, aRow(['x'.repeat(1000)]));
      session?.flush();
      session?.recordResult(aResult(numbers[0] ?? 0));
    }
  } catch (error) {
    refusal = (error as { code: string }).code;
  }
  await Promise.all(ends);
  expect([refusal, heard, recorder.unavailable()]).toEqual(['STORAGE_FULL', ['STORAGE_FULL'], 'STORAGE_FULL']);
  fs.rmSync(join(data, 'filler'));
  for (const deadline = Date.now() + 20_000; recorder.unavailable() !== null && Date.now() < deadline;) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(recorder.unavailable()).toBeNull();
  await aWholeSession(recorder, '01C');
  await recorder.close();
  const source = openDirectory(data);
  const report = await verifyEvidence(source, null);
  expect(report.findings.list).toEqual([]);
  expect(exitCode(report.findings.counts)).toBe(0);
  const log = (await source.read(source.paths.find((p) => p.endsWith('.ndjson')) ?? '', 1e9))?.toString('utf8') ?? '';
  const intents = new Set([...log.matchAll(/"event_code":"statement\.intent","correlation_uid":"01A".*?"query_info":\{"uid":"(\d+)"/g)].map((match) => Number(match[1])));
  expect(forwarded.filter((statement) => !intents.has(statement))).toEqual([]);
  expect(log.match(/"event_code":"audit\.(failed|restored)"/g)).toEqual(['"event_code":"audit.failed"', '"event_code":"audit.restored"']);
}, 60_000);
