import fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { aBackend, anIntent, aResult, aRow, aSubject, aWholeSession } from '../../tools/testkit/audit.ts';
import { AuditDirectory, FaultyFiles, startOf } from '../../tools/testkit/audit-directory.ts';
import { nodeFiles } from './file-layer.ts';

let directory: AuditDirectory;

beforeEach(() => {
  directory = new AuditDirectory();
});

afterEach(() => directory.remove());

describe('a recorded session', () => {
  test('verifies, and its lines tell who ran what and what came of it', async () => {
    const recorder = await directory.open();
    await aWholeSession(recorder, '01A');
    await recorder.close();
    const report = await directory.verify();
    expect(report.findings.list).toEqual([]);
    expect(report.ledger.counts).toEqual({ sessions: 1, ended: 1, intents: 2, results: 2, denied: 1, approvals: 0 });
    const lines = directory.records();
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
    const recorder = await directory.open();
    await aWholeSession(recorder, '01A');
    await recorder.close();
    const lines = directory.recording('01A').map((line) => JSON.parse(line) as unknown);
    expect(lines[0]).toMatchObject({ version: 1, kind: 'sqlrec', session: '01A', user: 'oidc:asmith@bank.example', limits: { rows: 1000 } });
    expect(lines.slice(1).map((line) => (Array.isArray(line) ? line.slice(1, 3) : line))).toEqual([
      ['q', 1], ['p', 1], ['a', 1], ['d', 1], ['r', 1], ['c', 1], ['q', 2], ['p', 2], ['a', 2], ['m', 2], ['q', 3], ['p', 3], ['a', 3], ['e', 3], ['c', 3], ['x', 0],
    ]);
    expect(lines[5]).toEqual([0, 'r', 1, { rows: [['1', null, '***-**-6789']] }]);
  });

  test('has its intent in the file before recordIntents returns', async () => {
    const recorder = await directory.open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    void session.recordIntents([anIntent({ text: 'SELECT 4711' })]);
    expect(directory.rawLog()).toContain('SELECT 4711');
    await recorder.close();
  });

  test('has its rows in the recording before flush returns', async () => {
    const recorder = await directory.open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    await session.recordIntents([anIntent()]);
    session.row(1, aRow(['seen-by-user']));
    session.flush();
    expect(fs.readFileSync(join(directory.data, 'recordings', '01A.sqlrec'), 'utf8')).toContain('seen-by-user');
    await recorder.close();
  });

  test('gets an Unknown result for a statement that never answered', async () => {
    const recorder = await directory.open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    await session.recordIntents([anIntent()]);
    await session.end('TargetClosed', { rows: 0, bytes: 0, denied: 0 });
    await recorder.close();
    expect(directory.records().find((line) => line.metadata.event_code === 'statement.result')).toMatchObject({ evidence: { result: { outcome: 'Unknown' } } });
    expect((await directory.verify()).findings.list).toEqual([]);
  });

  test('writes results within the 50 ms timer when nothing else is written', async () => {
    const recorder = await directory.open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    await session.recordIntents([anIntent()]);
    session.recordResult(aResult(1));
    expect(directory.rawLog()).not.toContain('statement.result');
    directory.timers.run(50);
    expect(directory.rawLog()).toContain('statement.result');
    await recorder.close();
  });

  test('stores 1,000 of 5,000 rows, says so once, and counts them all', async () => {
    const recorder = await directory.open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    await session.recordIntents([anIntent()]);
    for (let n = 0; n < 5000; n += 1) session.row(1, aRow([String(n)]));
    session.recordResult(aResult(1, { rows: 5000 }));
    await session.end('ClientClosed', { rows: 5000, bytes: 0, denied: 0 });
    await recorder.close();
    const lines = directory.recording('01A').slice(1).map((line) => JSON.parse(line) as [number, string, number, { rows: unknown; rows_stored?: number }]);
    expect(lines.filter((line) => line[1] === 'r').flatMap((line) => line[3].rows).length).toBe(1000);
    expect(lines.filter((line) => line[1] === 't').map((line) => line[3])).toEqual([{ what: 'rows', limit: 1000, stored: 1000, reason: 'limit of one statement' }]);
    expect(lines.find((line) => line[1] === 'c')?.[3]).toMatchObject({ rows: 5000, rows_stored: 1000 });
  });

  test('never stores what a client copies in', async () => {
    const recorder = await directory.open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    await session.recordIntents([anIntent({ kind: 'CopyIn', text: 'COPY customers FROM STDIN', parameters: [] })]);
    session.copy(1, 'in', Buffer.from('canary-078-05-1123\n'));
    session.recordResult(aResult(1));
    await session.end('ClientClosed', { rows: 0, bytes: 0, denied: 0 });
    await recorder.close();
    const stored = directory.allBytes();
    expect(stored.includes('canary-078-05-1123')).toBe(false);
    expect(directory.recording('01A').find((line) => line.includes('"y"'))).toContain('"bytes":19,"chunks":1');
  });

  test('keeps every line within 64 KiB, says what was cut, and has the whole text in the recording', async () => {
    const recorder = await directory.open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    const text = `SELECT '${'\u0001é'.repeat(60_000)}'`;
    await session.recordIntents([anIntent({ text, parameters: Array.from({ length: 300 }, (_, n) => ({ n: n + 1, type: 'text', format: 'text', value: '\u0000'.repeat(400), hmac: null, redacted: false, bytes: 400 })), objects: Array.from({ length: 900 }, (_, n) => `public.table_${n}`) })]);
    session.recordResult(aResult(1));
    await session.end('ClientClosed', { rows: 0, bytes: 0, denied: 0 });
    await recorder.close();
    expect(Math.max(...directory.rawLog().split('\n').map((line) => Buffer.byteLength(line)))).toBeLessThanOrEqual(65_536);
    expect(directory.records().find((line) => line.metadata.event_code === 'statement.intent')?.metadata).toMatchObject({ is_truncated: true });
    expect(directory.recording('01A').some((line) => line.includes(JSON.stringify(text)))).toBe(true);
  });

  test('shows a hidden parameter as its keyed hash only', async () => {
    const recorder = await directory.open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    await session.recordIntents([anIntent({ textRedacted: true, parameters: [{ n: 1, type: 'text', format: 'text', value: null, hmac: 'hmac:k1:aaaaaaaaaaaaaaaaaaaaaaaaaa', redacted: true, bytes: 11 }] })]);
    await session.end('ClientClosed', { rows: 0, bytes: 0, denied: 0 });
    await recorder.close();
    expect(directory.records().find((line) => line.metadata.event_code === 'statement.intent')).toMatchObject({ evidence: { statement: { params: [{ value: null, hmac: 'hmac:k1:aaaaaaaaaaaaaaaaaaaaaaaaaa', redacted: true }] } } });
    expect(directory.recording('01A').find((line) => line.includes('"p"'))).toContain('"hmac":"hmac:k1:aaaaaaaaaaaaaaaaaaaaaaaaaa"');
  });
});

describe('what goes wrong with the disk', () => {
  test.each(['EIO', 'EROFS'])('%s at an intent refuses it and every later one, and tells the proxy', async (code) => {
    const faults = new FaultyFiles();
    const recorder = await directory.open({ files: faults.layer });
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
    const faults = new FaultyFiles();
    const recorder = await directory.open({ files: faults.layer });
    faults.shortWrites = true;
    await aWholeSession(recorder, '01A');
    await recorder.close();
    expect((await directory.verify()).findings.list).toEqual([]);
  });

  test('a full disk uses the reserve to close everything, refuses new work, and recovers when space is there again', async () => {
    const faults = new FaultyFiles();
    const recorder = await directory.open({ files: faults.layer });
    const heard: string[] = [];
    const session = recorder.open('01A');
    recorder.onFailure((failure) => {
      heard.push(failure);
      void session.end('RecorderFailed', { rows: 0, bytes: 0, denied: 0 });
    });
    await session.start(aSubject('01A'), aBackend());
    faults.fillUntilRemoved(join(directory.data, 'reserve.bin'));
    expect(() => session.recordIntents([anIntent({ text: 'SELECT 4711' })])).toThrow('STORAGE_FULL');
    expect(heard).toEqual(['STORAGE_FULL']);
    expect(recorder.unavailable()).toBe('STORAGE_FULL');
    await session.end('RecorderFailed', { rows: 0, bytes: 0, denied: 0 });
    await directory.restored(recorder);
    await aWholeSession(recorder, '01B');
    await recorder.close();
    const report = await directory.verify();
    expect(report.findings.list).toEqual([]);
    const codes = directory.records().map((line) => line.metadata.event_code);
    expect(codes.slice(0, 8)).toEqual(['log.opened', 'session.start', 'statement.intent', 'statement.result', 'audit.failed', 'session.end', 'audit.restored', 'session.start']);
    expect(directory.records()[3]).toMatchObject({ evidence: { result: { outcome: 'NotForwarded' } } });
  });

  test('a failed log is closed by its successor once the disk works again', async () => {
    const faults = new FaultyFiles();
    const recorder = await directory.open({ files: faults.layer });
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    await session.recordIntents([anIntent()]);
    faults.failWrites('EIO');
    expect(() => session.recordIntents([anIntent()])).toThrow('RECORDER_FAILED');
    await session.end('RecorderFailed', { rows: 0, bytes: 0, denied: 0 });
    faults.failWrites(null);
    await directory.restored(recorder);
    await aWholeSession(recorder, '01B');
    await recorder.close();
    const report = await directory.verify();
    expect(report.findings.counts).toMatchObject({ tampering: 0, incomplete: 0, key: 0 });
    expect(directory.records().filter((line) => line.metadata.correlation_uid === '01A').map((line) => line.metadata.event_code)).toEqual(['session.start', 'statement.intent', 'statement.result', 'session.end']);
  });

  test('a failed fdatasync is final for the log: the intent is refused', async () => {
    const faults = new FaultyFiles();
    const recorder = await directory.open({ files: faults.layer });
    const session = recorder.open('01A');
    await session.start(aSubject('01A', { recording: { content: 'Full', durability: 'Fsync' } }), aBackend());
    faults.syncError = 'EIO';
    await expect(session.recordIntents([anIntent()])).rejects.toThrow('RECORDER_FAILED');
    faults.syncError = null;
    expect(recorder.unavailable()).toBe('RECORDER_FAILED');
    await recorder.close();
  });

  test('100 statements that wait for the disk at once share few fdatasync calls', async () => {
    const faults = new FaultyFiles();
    const recorder = await directory.open({ files: faults.layer });
    const session = recorder.open('01A');
    await session.start(aSubject('01A', { recording: { content: 'Full', durability: 'Fsync' } }), aBackend());
    faults.syncs = 0;
    await Promise.all(Array.from({ length: 100 }, async () => session.recordIntents([anIntent()])));
    expect(faults.syncs).toBeLessThanOrEqual(2);
    await recorder.close();
  });

  test('too little free space refuses new sessions', async () => {
    const recorder = await directory.open({ files: { ...nodeFiles, space: () => ({ freeBytes: 100, totalBytes: 1000 }) }, minFreeBytes: 512, minFreeShare: 0 });
    expect(recorder.unavailable()).toBe('STORAGE_FULL');
    await recorder.close();
  });
});

describe('after a crash', () => {
  test.each([
    ['after the start', 1], ['after an intent', 2], ['after a result', 3], ['after an end', 4],
  ])('%s the next process closes what was open and everything verifies', async (_name, steps) => {
    await directory.crashedSession(steps);
    const next = await directory.open();
    await aWholeSession(next, '01B');
    await next.close();
    const report = await directory.verify();
    expect(report.findings.counts).toMatchObject({ tampering: 0, incomplete: 0, key: 0 });
    expect(report.ledger.counts).toMatchObject({ sessions: 2, ended: 2 });
  });

  test('an open statement reads Unknown and its session ProxyLost, in the session\'s own chain', async () => {
    await directory.crashedSession(2);
    await (await directory.open()).close();
    const lines = directory.records().filter((line) => line.metadata.correlation_uid === '01A');
    expect(lines.map((line) => [line.metadata.event_code, line.metadata.sequence])).toEqual([['session.start', 0], ['statement.intent', 1], ['statement.result', 2], ['session.end', 3]]);
    expect(lines[2]).toMatchObject({ evidence: { result: { outcome: 'Unknown' } } });
    expect(lines[3]).toMatchObject({ evidence: { end: { reason: 'ProxyLost' } }, actor: { session: { expiration_reason: 'ProxyLost' } } });
  });

  test('a torn last line is dropped and counted', async () => {
    await directory.crashedSession(2);
    fs.appendFileSync(directory.segments()[0] ?? '', '{"metadata":{"vers');
    await (await directory.open()).close();
    expect(directory.records().find((line) => line.metadata.event_code === 'log.recovered')).toMatchObject({ evidence: { log: { torn_bytes: 18, size: 3 } } });
    expect((await directory.verify()).findings.counts).toMatchObject({ tampering: 0, incomplete: 0 });
  });

  test('two crashes in a row, the second during recovery, still end every session once', async () => {
    await directory.crashedSession(2);
    await directory.open();
    directory.forget();
    await (await directory.open()).close();
    const report = await directory.verify();
    expect(report.findings.counts).toMatchObject({ tampering: 0, incomplete: 0 });
    expect(directory.records().filter((line) => line.metadata.event_code === 'session.end').length).toBe(1);
  });

  test('a second gateway on a directory in use is refused', async () => {
    const recorder = await directory.open();
    const owner = fs.readdirSync(join(directory.data, 'log')).filter((name) => name !== 'keys').map((name) => join(directory.data, 'log', name, 'owner.json'))[0] ?? '';
    fs.writeFileSync(owner, JSON.stringify({ pid: 1, started: startOf(1) }));
    await expect(directory.open()).rejects.toThrow('CONFIG_INVALID');
    await recorder.close();
  });
});
