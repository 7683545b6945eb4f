import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { openDirectory } from '../../sidecar/adapters/evidence-source.ts';
import { verifyEvidence } from '../../sidecar/adapters/evidence-verify.ts';
import { openRecorder } from '../../sidecar/adapters/session-recorder.ts';
import { exitCode } from '../../sidecar/core/recording/findings.ts';

let data: string;
let child: ChildProcess | null;
const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
/** CRASHES=1000 for the long run. */
const crashes = Number(process.env['CRASHES'] ?? 12);

beforeEach(() => {
  data = fs.mkdtempSync(join(os.tmpdir(), 'sallyport-crash-'));
  child = null;
});

afterEach(() => {
  child?.kill('SIGKILL');
  fs.rmSync(data, { recursive: true, force: true });
});

test.each(['Write', 'Fsync'])('SIGKILL at any instant loses no record of a forwarded statement, and every next process closes what was open (%s)', async (durability) => {
  const forwarded: string[] = [];
  for (let round = 0; round < crashes; round += 1) forwarded.push(...(await forwardedUntilKilled(durability, String(round), 1 + (round * 7919) % 300)));
  const recorder = await openRecorder({ dataDirectory: data, namespace: 'crash', clock, reserveBytes: 65_536, minFreeBytes: 0, minFreeShare: 0 });
  await recorder.close();
  const source = openDirectory(data);
  const log = (await Promise.all(source.paths.filter((p) => p.endsWith('.ndjson')).map(async (p) => (await source.read(p, 1e9))?.toString('utf8') ?? ''))).join('');
  const intents = new Set([...log.matchAll(/"event_code":"statement\.intent".*?"query_string":"SELECT '(\d+-\d+)'"/g)].map((match) => match[1]));
  expect(forwarded.length).toBeGreaterThan(crashes);
  expect(forwarded.filter((text) => !intents.has(text))).toEqual([]);
  const report = await verifyEvidence(source, null);
  expect(report.findings.list.filter((f) => f.kind !== 'note')).toEqual([]);
  expect(exitCode(report.findings.counts)).toBe(0);
  expect(report.ledger.counts.sessions).toBe(report.ledger.counts.ended);
}, 600_000);

/** Lines that the child forwarded before it was killed, some ms after its first one. */
async function forwardedUntilKilled(durability: string, label: string, afterMs: number): Promise<readonly string[]> {
  const process_ = spawn(process.execPath, [join(import.meta.dirname, '../hosts/recording-child.ts'), data, durability, label], { stdio: ['ignore', 'pipe', 'inherit'] });
  child = process_;
  let output = '';
  let killed = false;
  process_.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString('latin1');
    if (killed) return;
    killed = true;
    setTimeout(() => process_.kill('SIGKILL'), afterMs);
  });
  await once(process_, 'close');
  return output.split('\n').slice(0, -1);
}
