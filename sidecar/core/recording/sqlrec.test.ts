import { describe, expect, test } from '@jest/globals';
import { anIntent, aResult, aRow, aSubject } from '../../../tools/testkit/audit.ts';
import { readableValue } from './pg-value.ts';
import { defaultRecordingLimits, type RecordingLimits, SqlRecording } from './sqlrec.ts';

describe('binary values are shown as the server would print them', () => {
  const hex = (text: string): Buffer => Buffer.from(text, 'hex');
  test.each([
    ['bool', 16, '01', '"t"'], ['int2', 21, 'fffe', '"-2"'], ['int4', 23, '00000076', '"118"'], ['int8', 20, '7fffffffffffffff', '"9223372036854775807"'], ['oid', 26, 'ffffffff', '"4294967295"'],
    ['float8', 701, '3ff8000000000000', '"1.5"'], ['text', 25, 'c3a9', '"é"'], ['date', 1082, '00002620', '"2026-09-21"'], ['date before 2000', 1082, 'ffffffff', '"1999-12-31"'], ['date infinity', 1082, '7fffffff', '"infinity"'],
    ['timestamp', 1114, '0000000000000001', '"2000-01-01 00:00:00.000001"'], ['timestamp before 2000', 1114, 'ffffffffffffffff', '"1999-12-31 23:59:59.999999"'], ['timestamptz', 1184, '00000000000f4240', '"2000-01-01 00:00:01+00"'],
    ['uuid', 2950, '00112233445566778899aabbccddeeff', '"00112233-4455-6677-8899-aabbccddeeff"'], ['numeric', 1700, '0003000100000003000109291a7c', '"12345.678"'], ['numeric NaN', 1700, '00000000c0000000', '"NaN"'], ['numeric -0.05', 1700, '0001ffff4000000201f4', '"-0.05"'], ['unknown type', 600, 'deadbeef', '{"hex":"deadbeef"}'],
    ['int4 of a wrong length', 23, '01', '{"hex":"01"}'],
  ] as const)('%s', (_name, oid, bytes, json) => {
    expect(readableValue(hex(bytes), oid, 1, 8192).json).toBe(json);
  });
});

describe('a recording', () => {
  test('cuts a value at its limit and says so once for the statement', () => {
    const { lines, recording } = aRecording({ ...defaultRecordingLimits, valueBytes: 10 });
    recording.row(0, 1, aRow(['x'.repeat(20)]));
    recording.row(0, 1, aRow(['y'.repeat(20)]));
    expect(lines()).toEqual([[0, 't', 1, { what: 'value', limit: 10, stored: 10, reason: 'limit of one value' }], [0, 'r', 1, { rows: [['x'.repeat(10)], ['y'.repeat(10)]] }]]);
  });

  test('stops storing rows at the byte limit of a statement, and stores the next statement\'s again', () => {
    const { lines, recording } = aRecording({ ...defaultRecordingLimits, bytes: 30 });
    for (let n = 0; n < 5; n += 1) recording.row(0, 1, aRow(['0123456789']));
    recording.result(0, aResult(1, { rows: 5 }));
    recording.row(0, 2, aRow(['0123456789']));
    const all = lines();
    expect(all.map((line) => [line[1], line[2]])).toEqual([['r', 1], ['t', 1], ['c', 1], ['r', 2]]);
    expect(all[2]?.[3]).toMatchObject({ rows: 5, rows_stored: 2 });
  });

  test('stops storing rows at the limit of the session, and goes on recording statements', () => {
    const { lines, recording } = aRecording({ ...defaultRecordingLimits, sessionBytes: 1200 });
    for (let n = 1; n < 40; n += 1) recording.row(0, 1, aRow(['0123456789012345678901234567890123456789']));
    recording.statement(0, 2, 7, anIntent());
    const codes = lines().map((line) => line[1]);
    expect([codes.filter((c) => c === 't').length, codes.includes('q')]).toEqual([1, true]);
  });

  test('stops storing notices of a statement that raises them without end, and says so once', () => {
    const { lines, recording } = aRecording({ ...defaultRecordingLimits, rows: 2 });
    for (let n = 0; n < 5; n += 1) recording.notice(0, 1, 'n', { severity: 'NOTICE', sqlstate: '00000', message: 'x' });
    recording.notice(0, 1, 'e', { severity: 'ERROR', sqlstate: '57014', message: 'stopped' });
    expect(lines().map((line) => line[1])).toEqual(['n', 'n', 't', 'e']);
  });

  const copied = (recording: SqlRecording, chunks: number, n = 1): void => {
    for (let chunk = 0; chunk < chunks; chunk += 1) recording.copy(0, n, 'out', Buffer.from('0123456789'));
  };

  test('stops storing a COPY at the row, byte and session limits, each said once, and goes on counting', () => {
    for (const [limits, what] of [[{ rows: 2 }, 'rows'], [{ bytes: 30 }, 'bytes'], [{ sessionBytes: 10 }, 'session']] as const) {
      const { lines, recording } = aRecording({ ...defaultRecordingLimits, ...limits });
      copied(recording, 40);
      recording.result(0, aResult(1));
      const all = lines();
      expect([what, all.filter((line) => line[1] === 't').length]).toEqual([what, 1]);
      expect(JSON.stringify(all)).toContain('"bytes":400');
    }
  });

  test('keeps a long COPY in several lines', () => {
    const { lines, recording } = aRecording();
    copied(recording, 450);
    recording.result(0, aResult(1));
    expect(lines().filter((line) => JSON.stringify(line).includes('0123456789')).length).toBeGreaterThan(1);
  });

  test('stores nothing that a client sends by COPY, and counts it', () => {
    const { lines, recording } = aRecording();
    recording.copy(0, 1, 'in', Buffer.from('canary'));
    recording.result(0, aResult(1));
    const all = JSON.stringify(lines());
    expect([all.includes('canary'), all.includes('"bytes":6')]).toEqual([false, true]);
  });

  test('stores no rows when the policy records metadata only', () => {
    const { lines, recording } = aRecording(defaultRecordingLimits, 'Metadata');
    recording.row(0, 1, aRow(['canary']));
    recording.copy(0, 1, 'out', Buffer.from('canary'));
    recording.result(0, aResult(1));
    expect(JSON.stringify(lines())).not.toContain('canary');
  });

  test('keeps at most 200 rows in a line', () => {
    const { lines, recording } = aRecording();
    for (let n = 0; n < 450; n += 1) recording.row(0, 1, aRow([String(n)]));
    expect(lines().map((line) => (line[3] as { rows: unknown[] }).rows.length)).toEqual([200, 200, 50]);
  });

  test('does not drift over 10,000 events', () => {
    const { lines, recording } = aRecording();
    for (let n = 1; n <= 10_000; n += 1) recording.notice(n * 3.3337, 0, 'e', { severity: 'NOTICE', sqlstate: '00000', message: '' });
    const total = lines().reduce((sum, line) => sum + line[0], 0);
    expect(Math.abs(total - 33_337)).toBeLessThan(1);
  });

  test('has nothing to take when nothing happened', () => {
    const { recording, lines } = aRecording();
    lines();
    expect([recording.dirty, recording.take()]).toEqual([false, '']);
  });
});

function aRecording(limits: RecordingLimits = defaultRecordingLimits, content: 'Full' | 'Metadata' = 'Full'): { recording: SqlRecording; lines: () => [number, string, number, unknown][] } {
  const recording = new SqlRecording(aSubject('01A', { recording: { content, durability: 'Write' } }), 'o', 0, limits);
  recording.take();
  return { recording, lines: () => recording.take().split('\n').slice(0, -1).map((line) => JSON.parse(line) as [number, string, number, unknown]) };
}
