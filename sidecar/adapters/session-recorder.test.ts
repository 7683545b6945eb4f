import { hash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { aBackend, aDecision, anIntent, aResult, aRow, aSubject, aWholeSession, FakeClock, FakeTimers } from '../../tools/testkit/audit.ts';
import { exitCode } from '../core/recording/findings.ts';
import { openDirectory } from './evidence-source.ts';
import { verifyEvidence, type VerifyReport } from './evidence-verify.ts';
import { type FileLayer, nodeFiles } from './file-layer.ts';
import { openRecorder, type Recorder, type RecorderOptions } from './session-recorder.ts';

let data: string;
let clock: FakeClock;
let timers: FakeTimers;

beforeEach(() => {
  data = fs.mkdtempSync(join(os.tmpdir(), 'sallyport-audit-'));
  clock = new FakeClock();
  timers = new FakeTimers();
});

afterEach(() => fs.rmSync(data, { recursive: true, force: true }));

describe('a recorded session', () => {
  test('verifies, and its lines tell who ran what and what came of it', async () => {
    const recorder = await open();
    await aWholeSession(recorder, '01A');
    await recorder.close();
    const report = await verify();
    expect(report.findings.list).toEqual([]);
    expect(report.ledger.counts).toEqual({ sessions: 1, ended: 1, intents: 2, results: 2, denied: 1, approvals: 0 });
    const lines = records();
    expect(lines.map((line) => line.metadata.event_code)).toEqual([
      'log.opened', 'session.start', 'statement.intent', 'statement.result', 'statement.denied', 'statement.intent', 'statement.result', 'session.end', 'log.closed',
    ]);
    const intent = lines[2];
    expect(intent).toMatchObject({
      class_uid: 6005, activity_id: 4, type_uid: 600504, actor: { user: { name: 'oidc:asmith@bank.example' }, session: { uid: '01A', is_mfa: true } }, database: { name: 'orders', type_id: 1 },
      query_info: { uid: '1', query_string: anIntent().text }, policy: { uid: '7d0e6c1a', version: '42' },
      evidence: { phase: 'intent', target: { name: 'orders-db', environment: 'prod' }, decision: { effect: 'Allow', rule: 'reads' }, statement: { params: [{ n: 1, value: '118' }] }, integrity: { session_seq: '1' } },
    });
    expect(lines[3]).toMatchObject({ action: 'Modified', disposition: 'Masked', evidence: { phase: 'result', intent_seq: '2', result: { outcome: 'Completed', rows: '50' }, masking: { columns: [{ name: 'ssn', cells: 50 }] } } });
  });

  test('is recorded as what the client saw, in its order and with its counts', async () => {
    const recorder = await open();
    await aWholeSession(recorder, '01A');
    await recorder.close();
    const lines = recording('01A').map((line) => JSON.parse(line) as unknown);
    expect(lines[0]).toMatchObject({ version: 1, kind: 'sqlrec', session: '01A', user: 'oidc:asmith@bank.example', limits: { rows: 1000 } });
    expect(lines.slice(1).map((line) => (Array.isArray(line) ? line.slice(1, 3) : line))).toEqual([
      ['q', 1], ['p', 1], ['a', 1], ['d', 1], ['r', 1], ['c', 1], ['q', 2], ['p', 2], ['a', 2], ['m', 2], ['q', 3], ['p', 3], ['a', 3], ['e', 3], ['c', 3], ['x', 0],
    ]);
    expect(lines[5]).toEqual([0, 'r', 1, { rows: [['1', null, '***-**-6789']] }]);
  });

  test('has its intent in the file before recordIntents returns', async () => {
    const recorder = await open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    session.recordIntents([anIntent({ text: 'SELECT 4711' })]);
    expect(rawLog()).toContain('SELECT 4711');
    await recorder.close();
  });

  test('has its rows in the recording before flush returns', async () => {
    const recorder = await open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    session.recordIntents([anIntent()]);
    session.row(1, aRow(['seen-by-user']));
    session.flush();
    expect(fs.readFileSync(join(data, 'recordings', '01A.sqlrec'), 'utf8')).toContain('seen-by-user');
    await recorder.close();
  });

  test('gets an Unknown result for a statement that never answered', async () => {
    const recorder = await open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    session.recordIntents([anIntent()]);
    await session.end('TargetClosed', { rows: 0, bytes: 0, denied: 0 });
    await recorder.close();
    expect(records().find((line) => line.metadata.event_code === 'statement.result')).toMatchObject({ evidence: { result: { outcome: 'Unknown' } } });
    expect((await verify()).findings.list).toEqual([]);
  });

  test('writes results within the 50 ms timer when nothing else is written', async () => {
    const recorder = await open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    session.recordIntents([anIntent()]);
    session.recordResult(aResult(1));
    expect(rawLog()).not.toContain('statement.result');
    timers.run(50);
    expect(rawLog()).toContain('statement.result');
    await recorder.close();
  });

  test('stores 1,000 of 5,000 rows, says so once, and counts them all', async () => {
    const recorder = await open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    session.recordIntents([anIntent()]);
    for (let n = 0; n < 5000; n += 1) session.row(1, aRow([String(n)]));
    session.recordResult(aResult(1, { rows: 5000 }));
    await session.end('ClientClosed', { rows: 5000, bytes: 0, denied: 0 });
    await recorder.close();
    const lines = recording('01A').slice(1).map((line) => JSON.parse(line) as [number, string, number, { rows: unknown; rows_stored?: number }]);
    expect(lines.filter((line) => line[1] === 'r').flatMap((line) => line[3].rows).length).toBe(1000);
    expect(lines.filter((line) => line[1] === 't').map((line) => line[3])).toEqual([{ what: 'rows', limit: 1000, stored: 1000, reason: 'limit of one statement' }]);
    expect(lines.find((line) => line[1] === 'c')?.[3]).toMatchObject({ rows: 5000, rows_stored: 1000 });
  });

  test('never stores what a client copies in', async () => {
    const recorder = await open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    session.recordIntents([anIntent({ kind: 'CopyIn', text: 'COPY customers FROM STDIN', parameters: [] })]);
    session.copy(1, 'in', Buffer.from('canary-078-05-1123\n'));
    session.recordResult(aResult(1));
    await session.end('ClientClosed', { rows: 0, bytes: 0, denied: 0 });
    await recorder.close();
    const stored = allBytes();
    expect(stored.includes('canary-078-05-1123')).toBe(false);
    expect(recording('01A').find((line) => line.includes('"y"'))).toContain('"bytes":19,"chunks":1');
  });

  test('keeps every line within 64 KiB, says what was cut, and has the whole text in the recording', async () => {
    const recorder = await open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    const text = `SELECT '${'\u0001é'.repeat(60_000)}'`;
    session.recordIntents([anIntent({ text, parameters: Array.from({ length: 300 }, (_, n) => ({ n: n + 1, type: 'text', format: 'text', value: '\u0000'.repeat(400), hmac: null, redacted: false, bytes: 400 })), objects: Array.from({ length: 900 }, (_, n) => `public.table_${n}`) })]);
    session.recordResult(aResult(1));
    await session.end('ClientClosed', { rows: 0, bytes: 0, denied: 0 });
    await recorder.close();
    expect(Math.max(...rawLog().split('\n').map((line) => Buffer.byteLength(line)))).toBeLessThanOrEqual(65_536);
    expect(records().find((line) => line.metadata.event_code === 'statement.intent')?.metadata).toMatchObject({ is_truncated: true });
    expect(recording('01A').some((line) => line.includes(JSON.stringify(text)))).toBe(true);
  });

  test('shows a hidden parameter as its keyed hash only', async () => {
    const recorder = await open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    session.recordIntents([anIntent({ textRedacted: true, parameters: [{ n: 1, type: 'text', format: 'text', value: null, hmac: 'hmac:k1:aaaaaaaaaaaaaaaaaaaaaaaaaa', redacted: true, bytes: 11 }] })]);
    await session.end('ClientClosed', { rows: 0, bytes: 0, denied: 0 });
    await recorder.close();
    expect(records().find((line) => line.metadata.event_code === 'statement.intent')).toMatchObject({ evidence: { statement: { params: [{ value: null, hmac: 'hmac:k1:aaaaaaaaaaaaaaaaaaaaaaaaaa', redacted: true }] } } });
    expect(recording('01A').find((line) => line.includes('"p"'))).toContain('"hmac":"hmac:k1:aaaaaaaaaaaaaaaaaaaaaaaaaa"');
  });
});

describe('what goes wrong with the disk', () => {
  test.each(['EIO', 'EROFS'])('%s at an intent refuses it and every later one, and tells the proxy', async (code) => {
    const faults = new Faults();
    const recorder = await open({ files: faults.layer });
    const heard: string[] = [];
    recorder.onFailure((failure) => heard.push(failure));
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    faults.failWrites(code);
    expect(() => session.recordIntents([anIntent()])).toThrow('RECORDER_FAILED');
    expect(() => session.recordIntents([anIntent()])).toThrow('RECORDER_FAILED');
    expect(() => session.flush()).toThrow('RECORDER_FAILED');
    expect(heard).toEqual(['RECORDER_FAILED']);
    expect(recorder.unavailable()).toBe('RECORDER_FAILED');
    expect(() => recorder.open('01B')).toThrow('RECORDER_FAILED');
    await recorder.close();
  });

  test('a short write is completed, and the record is whole', async () => {
    const faults = new Faults();
    const recorder = await open({ files: faults.layer });
    faults.shortWrites = true;
    await aWholeSession(recorder, '01A');
    await recorder.close();
    expect((await verify()).findings.list).toEqual([]);
  });

  test('a full disk uses the reserve to close everything, refuses new work, and recovers when space is there again', async () => {
    const faults = new Faults();
    const recorder = await open({ files: faults.layer });
    const heard: string[] = [];
    const session = recorder.open('01A');
    recorder.onFailure((failure) => {
      heard.push(failure);
      void session.end('RecorderFailed', { rows: 0, bytes: 0, denied: 0 });
    });
    await session.start(aSubject('01A'), aBackend());
    faults.fillUntilRemoved(join(data, 'reserve.bin'));
    expect(() => session.recordIntents([anIntent({ text: 'SELECT 4711' })])).toThrow('STORAGE_FULL');
    expect(heard).toEqual(['STORAGE_FULL']);
    expect(recorder.unavailable()).toBe('STORAGE_FULL');
    await session.end('RecorderFailed', { rows: 0, bytes: 0, denied: 0 });
    await restored(recorder);
    await aWholeSession(recorder, '01B');
    await recorder.close();
    const report = await verify();
    expect(report.findings.list).toEqual([]);
    const codes = records().map((line) => line.metadata.event_code);
    expect(codes.slice(0, 8)).toEqual(['log.opened', 'session.start', 'statement.intent', 'statement.result', 'audit.failed', 'session.end', 'audit.restored', 'session.start']);
    expect(records()[3]).toMatchObject({ evidence: { result: { outcome: 'NotForwarded' } } });
  });

  test('a failed log is closed by its successor once the disk works again', async () => {
    const faults = new Faults();
    const recorder = await open({ files: faults.layer });
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    session.recordIntents([anIntent()]);
    faults.failWrites('EIO');
    expect(() => session.recordIntents([anIntent()])).toThrow('RECORDER_FAILED');
    await session.end('RecorderFailed', { rows: 0, bytes: 0, denied: 0 });
    faults.failWrites(null);
    await restored(recorder);
    await aWholeSession(recorder, '01B');
    await recorder.close();
    const report = await verify();
    expect(report.findings.counts).toMatchObject({ tampering: 0, incomplete: 0, key: 0 });
    expect(records().filter((line) => line.metadata.correlation_uid === '01A').map((line) => line.metadata.event_code)).toEqual(['session.start', 'statement.intent', 'statement.result', 'session.end']);
  });

  test('a failed fdatasync is final for the log: the intent is refused', async () => {
    const faults = new Faults();
    const recorder = await open({ files: faults.layer });
    const session = recorder.open('01A');
    await session.start(aSubject('01A', { recording: { content: 'Full', durability: 'Fsync' } }), aBackend());
    faults.syncError = 'EIO';
    await expect(session.recordIntents([anIntent()])).rejects.toThrow('RECORDER_FAILED');
    faults.syncError = null;
    expect(recorder.unavailable()).toBe('RECORDER_FAILED');
    await recorder.close();
  });

  test('100 statements that wait for the disk at once share few fdatasync calls', async () => {
    const faults = new Faults();
    const recorder = await open({ files: faults.layer });
    const session = recorder.open('01A');
    await session.start(aSubject('01A', { recording: { content: 'Full', durability: 'Fsync' } }), aBackend());
    faults.syncs = 0;
    await Promise.all(Array.from({ length: 100 }, () => session.recordIntents([anIntent()])));
    expect(faults.syncs).toBeLessThanOrEqual(2);
    await recorder.close();
  });

  test('too little free space refuses new sessions', async () => {
    const recorder = await open({ files: { ...nodeFiles, space: () => ({ freeBytes: 100, totalBytes: 1000 }) }, minFreeBytes: 512, minFreeShare: 0 });
    expect(recorder.unavailable()).toBe('STORAGE_FULL');
    await recorder.close();
  });
});

describe('after a crash', () => {
  test.each([
    ['after the start', 1], ['after an intent', 2], ['after a result', 3], ['after an end', 4],
  ])('%s the next process closes what was open and everything verifies', async (_name, steps) => {
    await crashedSession(steps);
    const next = await open();
    await aWholeSession(next, '01B');
    await next.close();
    const report = await verify();
    expect(report.findings.counts).toMatchObject({ tampering: 0, incomplete: 0, key: 0 });
    expect(report.ledger.counts).toMatchObject({ sessions: 2, ended: 2 });
  });

  test('an open statement reads Unknown and its session ProxyLost, in the session\'s own chain', async () => {
    await crashedSession(2);
    await (await open()).close();
    const lines = records().filter((line) => line.metadata.correlation_uid === '01A');
    expect(lines.map((line) => [line.metadata.event_code, line.metadata.sequence])).toEqual([['session.start', 0], ['statement.intent', 1], ['statement.result', 2], ['session.end', 3]]);
    expect(lines[2]).toMatchObject({ evidence: { result: { outcome: 'Unknown' } } });
    expect(lines[3]).toMatchObject({ evidence: { end: { reason: 'ProxyLost' } }, actor: { session: { expiration_reason: 'ProxyLost' } } });
  });

  test('a torn last line is dropped and counted', async () => {
    await crashedSession(2);
    fs.appendFileSync(segments()[0] ?? '', '{"metadata":{"vers');
    await (await open()).close();
    expect(records().find((line) => line.metadata.event_code === 'log.recovered')).toMatchObject({ evidence: { log: { torn_bytes: 18, size: 3 } } });
    expect((await verify()).findings.counts).toMatchObject({ tampering: 0, incomplete: 0 });
  });

  test('two crashes in a row, the second during recovery, still end every session once', async () => {
    await crashedSession(2);
    await open();
    forget();
    await (await open()).close();
    const report = await verify();
    expect(report.findings.counts).toMatchObject({ tampering: 0, incomplete: 0 });
    expect(records().filter((line) => line.metadata.event_code === 'session.end').length).toBe(1);
  });

  test('a second gateway on a directory in use is refused', async () => {
    const recorder = await open();
    const owner = fs.readdirSync(join(data, 'log')).filter((name) => name !== 'keys').map((name) => join(data, 'log', name, 'owner.json'))[0] ?? '';
    fs.writeFileSync(owner, JSON.stringify({ pid: 1, started: startOf(1) }));
    await expect(open()).rejects.toThrow('CONFIG_INVALID');
    await recorder.close();
  });
});

describe('verify', () => {
  test('explains an open log and exits 0', async () => {
    const recorder = await open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    session.recordIntents([anIntent()]);
    const report = await verify();
    expect(exitCode(report.findings.counts)).toBe(0);
    expect(report.findings.list.map((f) => f.code)).toEqual(['log-open', 'session-open', 'statement-open', 'recording-open']);
    await recorder.close();
  });

  test('names the record that was changed, and blames no other record', async () => {
    await twoSessions();
    const file = segments()[0] ?? '';
    fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('LIMIT 50', 'LIMIT 51'));
    const report = await verify();
    expect(exitCode(report.findings.counts)).toBe(1);
    expect(report.findings.list.filter((f) => f.code === 'record-changed').map((f) => [f.line, f.session])).toEqual([[3, '01A']]);
  });

  test('finds any edit, removal or move of any record', async () => {
    await twoSessions();
    const file = segments()[0] ?? '';
    const original = fs.readFileSync(file, 'utf8').split('\n').slice(0, -1);
    await fc.assert(fc.asyncProperty(fc.nat(original.length - 1), fc.nat(original.length - 1), fc.nat(3000), fc.constantFrom('edit', 'remove', 'move', 'double', 'cut'), async (at, to, position, how) => {
      const lines = [...original];
      const line = lines[at] ?? '';
      if (how === 'edit') lines[at] = flip(line, position % line.length);
      if (how === 'remove') lines.splice(at, 1);
      if (how === 'double') lines.splice(to, 0, line);
      if (how === 'cut') lines.length = at;
      if (how === 'move') {
        fc.pre(at !== to);
        lines.splice(at, 1);
        lines.splice(to, 0, line);
      }
      fs.writeFileSync(file, lines.map((l) => `${l}\n`).join(''));
      const report = await verify();
      expect(exitCode(report.findings.counts)).not.toBe(0);
    }), { numRuns: 150 });
  });

  test('finds records and leaves that were changed together, by the signed root', async () => {
    await twoSessions();
    const file = segments()[0] ?? '';
    const text = fs.readFileSync(file, 'utf8').replace('LIMIT 50', 'LIMIT 51');
    fs.writeFileSync(file, text);
    fs.writeFileSync(join(file, '..', 'leaves.bin'), Buffer.concat(text.split('\n').slice(0, -1).map((line) => hash('sha256', line, 'buffer'))));
    expect((await verify()).findings.list.map((f) => f.code)).toContain('root-differs');
  });

  test('reports a cut tail as incomplete', async () => {
    await twoSessions();
    const file = segments()[0] ?? '';
    const lines = fs.readFileSync(file, 'utf8').split('\n').slice(0, -1);
    fs.writeFileSync(file, `${lines.slice(0, -1).join('\n')}\n`);
    const report = await verify();
    expect(exitCode(report.findings.counts)).toBe(2);
    expect(report.findings.list.map((f) => f.code)).toContain('records-missing');
  });

  test('reports a missing log that its successor names as incomplete', async () => {
    await twoSessions();
    clock.nowMs += 1000;
    await twoSessions('02');
    fs.rmSync(join(segments()[0] ?? '', '..'), { recursive: true });
    expect(exitCode((await verify()).findings.counts)).toBe(2);
  });

  test('reports a changed recording, a missing one, and an unknown key', async () => {
    await twoSessions();
    fs.appendFileSync(join(data, 'recordings', '01A.sqlrec.gz'), '\0');
    fs.rmSync(join(data, 'recordings', '01B.sqlrec.gz'));
    const report = await verifyEvidence(openDirectory(data), ['other+00000000+AAAA']);
    expect(report.findings.list.filter((f) => f.kind !== 'note').map((f) => [f.kind, f.code])).toEqual([['key', 'key-unknown'], ['tampering', 'recording-changed'], ['incomplete', 'recording-missing']]);
  });

  test.each([
    ['approved-later', { timeMs: Date.UTC(2027, 0, 1) }], ['self-approval', { approver: { key: '["https://idp.bank.example","00u8f2c"]', username: 'oidc:asmith@bank.example' } }], [null, {}],
  ])('judges an approval: %s', async (code, changes) => {
    const recorder = await open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    const approval = { request: 'areq-1', requestUid: 'r1', scope: 'Statement', approver: { key: '["https://idp.bank.example","00u1a90"]', username: 'oidc:bjones' }, decisionUid: 'd1', timeMs: clock.nowMs - 1000, method: 'oidc', boundDigest: 'sha256:aa', ...changes };
    session.recordIntents([anIntent({ approvals: [approval], decision: aDecision({ effect: 'RequireApproval' }) })]);
    await session.end('ClientClosed', { rows: 0, bytes: 0, denied: 0 });
    await recorder.close();
    expect((await verify()).findings.list.map((f) => f.code)).toEqual(code === null ? [] : [code]);
  });
});

async function open(changes: Partial<RecorderOptions> = {}): Promise<Recorder> {
  const recorder = await openRecorder({ dataDirectory: data, namespace: 'payments', clock, timers, reserveBytes: 65_536, minFreeBytes: 0, minFreeShare: 0, ...changes });
  clock.nowMs += 1;
  return recorder;
}

async function twoSessions(prefix: string = '01'): Promise<void> {
  const recorder = await open();
  await aWholeSession(recorder, `${prefix}A`);
  await aWholeSession(recorder, `${prefix}B`);
  await recorder.close();
}

/** A process that dies after that many steps: nothing of it runs on, its files stay. */
async function crashedSession(steps: number): Promise<void> {
  const recorder = await open();
  const session = recorder.open('01A');
  await session.start(aSubject('01A'), aBackend());
  if (steps > 1) session.recordIntents([anIntent()]);
  if (steps > 2) session.recordResult(aResult(1));
  if (steps > 2) timers.run(50);
  if (steps > 3) await session.end('ClientClosed', { rows: 50, bytes: 0, denied: 0 });
  forget();
}

function forget(): void {
  timers = new FakeTimers();
  for (const name of fs.readdirSync(join(data, 'log'))) fs.rmSync(join(data, 'log', name, 'owner.json'), { force: true });
}

/** Runs the retry timer until the recorder takes sessions again. */
async function restored(recorder: Recorder): Promise<void> {
  for (const deadline = Date.now() + 10_000; recorder.unavailable() !== null && Date.now() < deadline;) {
    timers.run(60_000);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  expect(recorder.unavailable()).toBeNull();
}

function verify(): Promise<VerifyReport> {
  return verifyEvidence(openDirectory(data), null);
}

interface Line {
  readonly metadata: { readonly event_code: string; readonly correlation_uid?: string; readonly sequence?: number };
}

function segments(): readonly string[] {
  return openDirectory(data).paths.filter((path) => path.endsWith('.ndjson')).map((path) => join(data, path));
}

function rawLog(): string {
  return segments().map((path) => fs.readFileSync(path, 'utf8')).join('');
}

function records(): readonly Line[] {
  return rawLog().split('\n').filter((line) => line.startsWith('{"metadata":{"version":"1.8.0"') && line.endsWith('}')).map((line) => JSON.parse(line) as Line);
}

function recording(id: string): readonly string[] {
  return gunzipSync(fs.readFileSync(join(data, 'recordings', `${id}.sqlrec.gz`))).toString('utf8').split('\n').slice(0, -1);
}

function allBytes(): Buffer {
  return Buffer.concat([Buffer.from(rawLog()), ...fs.readdirSync(join(data, 'recordings')).map((name) => gunzipSync(fs.readFileSync(join(data, 'recordings', name))))]);
}

function flip(line: string, at: number): string {
  const bytes = Buffer.from(line);
  const index = at % bytes.length;
  bytes[index] = bytes[index] === 0x61 ? 0x62 : 0x61;
  return bytes.toString('latin1') === line ? `${line} ` : bytes.toString('utf8');
}

function startOf(pid: number): string {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

class Faults {
  shortWrites = false;
  syncError: string | null = null;
  syncs = 0;
  #error: string | null = null;
  #reserve: string | null = null;

  readonly layer: FileLayer = {
    ...nodeFiles,
    write: (fd, bytes) => {
      const error = this.#error ?? (this.#reserve !== null && fs.existsSync(this.#reserve) ? 'ENOSPC' : null);
      if (error !== null) throw Object.assign(new Error(error), { code: error });
      const data = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
      return nodeFiles.write(fd, this.shortWrites && data.length > 1 ? data.subarray(0, Math.ceil(data.length / 2)) : data);
    },
    datasync: async (fd) => {
      this.syncs += 1;
      if (this.syncError !== null) throw Object.assign(new Error(this.syncError), { code: this.syncError });
      await nodeFiles.datasync(fd);
    },
    remove: (path) => {
      if (path === this.#reserve) this.#reserve = null;
      nodeFiles.remove(path);
    },
  };

  failWrites(code: string | null): void {
    this.#error = code;
  }

  /** The disk is full until the file is given up. */
  fillUntilRemoved(path: string): void {
    this.#reserve = path;
  }
}
