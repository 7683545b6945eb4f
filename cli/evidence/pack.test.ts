import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { strToU8, unzipSync, zipSync } from 'fflate';
import { openRecorder } from '../../sidecar/adapters/session-recorder.ts';
import { anIntent, aBackend, aDecision, aResult, aSubject, aWholeSession, FakeClock, FakeTimers } from '../../tools/testkit/audit.ts';
import { aCastHeader, anSshEvent, anSshSubject } from '../../tools/testkit/ssh-audit.ts';
import { run as audit } from '../commands/audit-verify.ts';
import { run as evidence } from '../commands/evidence-export.ts';
import { run as replay } from '../commands/replay.ts';
import { run as sessions } from '../commands/sessions.ts';
import { csvLine } from './csv.ts';

let data: string;
let out: string;
const canary = '=HYPERLINK("http://x")<script>alert(1)</script>';

beforeEach(async () => {
  data = fs.mkdtempSync(join(os.tmpdir(), 'sallyport-pack-test-'));
  out = join(data, 'pack.zip');
  const clock = new FakeClock();
  const recorder = await openRecorder({ dataDirectory: data, namespace: 'payments', clock, timers: new FakeTimers(), reserveBytes: 4096, minFreeBytes: 0, minFreeShare: 0 });
  await aWholeSession(recorder, '01A');
  clock.nowMs += 60_000;
  const request = { request: 'areq-1', requestUid: 'r1', scope: 'Statement', namespace: 'payments', target: 'orders-db', sessionId: '01B', requester: { key: 'k', username: 'oidc:asmith@bank.example' }, digest: 'sha256:aa', kind: 'Alter' };
  await recorder.event('request.created', request);
  await recorder.event('request.decided', { ...request, decision: 'Approve', decisionUid: 'd1', approver: { key: '["https://idp.bank.example","00u1a90"]', username: 'oidc:bjones@bank.example' }, method: 'oidc' });
  const session = recorder.open('01B');
  await session.start(aSubject('01B'), aBackend());
  await session.recordIntents([anIntent({
    kind: 'Alter', text: canary, decision: aDecision({ effect: 'RequireApproval', rule: 'ddl' }),
    approvals: [{ request: 'areq-1', requestUid: 'r1', scope: 'Statement', approver: { key: '["https://idp.bank.example","00u1a90"]', username: 'oidc:bjones@bank.example' }, decisionUid: 'd1', timeMs: clock.nowMs, method: 'oidc', boundDigest: 'sha256:aa' }],
  })]);
  session.recordResult(aResult(1, { rows: 0, commandTag: 'ALTER TABLE' }));
  session.notice(1, 'n', { severity: 'NOTICE', sqlstate: '00000', message: 'a\u001b[31mred\nsecond line' });
  await session.end('ClientClosed', { rows: 0, bytes: 0, denied: 0 });
  await recorder.authFailed({ sessionId: '01C', code: 'TOKEN_EXPIRED', client: { ip: '10.0.0.9', port: 1 }, target: 'orders-db', requestedUser: 'mallory', username: null, issuer: null });
  await recorder.close();
});

afterEach(() => fs.rmSync(data, { recursive: true, force: true }));

describe('an exported pack', () => {
  test('holds the four listings with their rows, and verifies by itself', async () => {
    expect(await command(evidence, ['--from', '2026-09-21', '--to', '2026-09-22', '--data', data, '--out', out])).toMatchObject({ code: 0, stderr: '' });
    const files = unzipSync(fs.readFileSync(out));
    const rows = (name: string): unknown[] => text(files, `02_populations/${name}.jsonl`).split('\n').slice(0, -1).map((line) => JSON.parse(line) as unknown);
    expect(rows('sessions')).toMatchObject([{ session: '01A', user: 'oidc:asmith@bank.example', target: 'orders-db', statements: 2, denied: 1, end_reason: 'ClientClosed' }, { session: '01B' }]);
    expect(rows('statements')).toMatchObject([{ session: '01A', statement: 1, outcome: 'Completed', rows: 50, masked_cells: 50 }, { statement: 3, outcome: 'Failed', sqlstate: '22012' }, { session: '01B', approvers: 'oidc:bjones@bank.example', request: 'areq-1' }]);
    expect(rows('approvals')).toMatchObject([{ event: 'request.created' }, { event: 'request.decided', approver: 'oidc:bjones@bank.example', decision: 'Approve' }]);
    expect(rows('denied_attempts')).toMatchObject([{ event: 'statement.denied', code: 'STATEMENT_DENIED', rule: 'no-ddl' }, { event: 'auth.failed', user: 'mallory', user_verified: false, code: 'TOKEN_EXPIRED' }]);
    expect(await command(audit, [out])).toMatchObject({ code: 0 });
  });

  test('of SSH sessions lists commands, files and refusals like statements, and holds every recording', async () => {
    const ssh = fs.mkdtempSync(join(os.tmpdir(), 'sallyport-pack-test-'));
    try {
      const recorder = await openRecorder({ dataDirectory: ssh, namespace: 'payments', clock: new FakeClock(), timers: new FakeTimers(), reserveBytes: 4096, minFreeBytes: 0, minFreeShare: 0 });
      const session = recorder.openSsh('01S');
      await session.start(anSshSubject('01S'), aBackend());
      const operation = await session.record(anSshEvent({ facts: { text: 'df -h', programs: ['df'], text_redacted: false } }));
      for (const channel of [1, 2]) await session.openCast(aCastHeader({ channel })).close();
      session.note(anSshEvent({ code: 'exec.result', operation, facts: { exit_status: 3, bytes_out: 7, bytes_err: 2, detector_hits: 1, duration_ms: 12 } }));
      await session.record(anSshEvent({ code: 'file.intent', facts: { operation: 'write', path: '/srv/a' } }));
      await session.record(anSshEvent({ code: 'forward.refused', reason: 'FORWARD_DENIED', facts: { to: '127.0.0.1:22' } }));
      await session.end('ClientClosed', { bytes: 9, denied: 1 });
      await recorder.close();
      const pack = join(ssh, 'pack.zip');
      expect(await command(evidence, ['--from', '2026-09-21', '--to', '2026-09-22', '--data', ssh, '--out', pack])).toMatchObject({ code: 0, stderr: '' });
      const files = unzipSync(fs.readFileSync(pack));
      const rows = (name: string): unknown[] => text(files, `02_populations/${name}.jsonl`).split('\n').slice(0, -1).map((line) => JSON.parse(line) as unknown);
      expect(rows('sessions')).toMatchObject([{ session: '01S', target: 'web-1', database: 'deploy', statements: 2, denied: 1, bytes: 9 }]);
      expect(rows('statements')).toMatchObject([
        { protocol: 'ssh', kind: 'exec', text: 'df -h', objects: 'df', database: 'deploy', outcome: 'exit 3', bytes: 9, masked_cells: 1, duration_ms: 12, limited: false },
        { kind: 'write', text: '/srv/a', outcome: 'Unknown' },
      ]);
      expect(rows('denied_attempts')).toMatchObject([{ event: 'forward.refused', code: 'FORWARD_DENIED', kind: 'forward', text: '127.0.0.1:22' }]);
      expect(Object.keys(files).filter((path) => path.includes('recordings/')).map((path) => path.split('/').at(-1))).toEqual(['01S.1.cast.gz', '01S.2.cast.gz']);
      expect(await command(audit, [pack])).toMatchObject({ code: 0 });
      expect((await command(sessions, ['--data', ssh])).stdout).toContain('web-1/deploy');
    } finally {
      fs.rmSync(ssh, { recursive: true, force: true });
    }
  });

  test('is the same bytes when it is made again from the same records', async () => {
    await export1();
    const again = join(data, 'again.zip');
    await command(evidence, ['--from', '2026-09-21', '--to', '2026-09-22', '--data', data, '--out', again]);
    expect(fs.readFileSync(again).equals(fs.readFileSync(out))).toBe(true);
  });

  test('has SHA256SUMS that name every file with its hash', async () => {
    await export1();
    const files = unzipSync(fs.readFileSync(out));
    const expected = Object.keys(files).filter((name) => name !== 'SHA256SUMS').sort().map((name) => `${createHash('sha256').update(files[name] ?? '').digest('hex')}  ${name}\n`).join('');
    expect(text(files, 'SHA256SUMS')).toBe(expected);
  });

  test('shows a text that looks like a formula or like HTML as inert text', async () => {
    await export1();
    const files = unzipSync(fs.readFileSync(out));
    expect(text(files, '02_populations/statements.csv')).toContain(`"'=HYPERLINK(""http://x"")<script>`);
    const html = text(files, 'README.html');
    expect(html).toContain('=HYPERLINK(&quot;http://x&quot;)&lt;script&gt;');
    expect(html).not.toContain('<script');
    expect(html).not.toMatch(/(src|href)=/);
  });

  test('claims no certification and no compliance', async () => {
    await export1();
    const files = unzipSync(fs.readFileSync(out));
    expect(Object.values(files).some((file) => /certified|compliant/i.test(Buffer.from(file).toString('latin1')))).toBe(false);
  });

  test.each([
    ['a listing without one row, its hash corrected everywhere', 1, 'listing-differs', (files: Files) => {
      const name = '02_populations/denied_attempts.csv';
      const before = hex(files[name] ?? new Uint8Array());
      files[name] = strToU8(text(files, name).split('\r\n').filter((_, n) => n !== 1).join('\r\n'));
      files['00_manifest.json'] = strToU8(text(files, '00_manifest.json').replace(before, hex(files[name])));
    }],
    ['a changed record', 1, 'record-changed', (files: Files) => {
      const name = Object.keys(files).find((path) => path.endsWith('.ndjson')) ?? '';
      files[name] = strToU8(text(files, name).replace('"rows":"50"', '"rows":"51"'));
    }],
    ['an added file', 1, 'file-added', (files: Files) => { files['extra.txt'] = strToU8('x'); }],
    ['a removed recording', 2, 'recording-missing', (files: Files) => { delete files['recordings/01A.sqlrec.gz']; }],
    ['a removed key', 3, 'key-missing', (files: Files) => { delete files[Object.keys(files).find((path) => path.endsWith('.vkey')) ?? '']; }],
  ])('with %s is found out', async (_name, exit, code, change) => {
    await export1();
    const files = unzipSync(fs.readFileSync(out));
    change(files);
    fs.writeFileSync(out, zipSync(files));
    const result = await command(audit, [out, '--json']);
    expect(result.code).toBe(exit);
    expect(result.stdout).toContain(`"code": "${code}"`);
  });

  test('that is damaged or cut is refused as unreadable', async () => {
    await export1();
    fs.truncateSync(out, 1000);
    expect(await command(audit, [out])).toMatchObject({ code: 4 });
  });

  test('shortens listings by its filters and keeps the records whole', async () => {
    await command(evidence, ['--from', '2026-09-21', '--to', '2026-09-22', '--data', data, '--out', out, '--target', 'other-db']);
    const files = unzipSync(fs.readFileSync(out));
    expect(text(files, '02_populations/statements.jsonl')).toBe('');
    expect(Object.keys(files).some((path) => path.endsWith('.ndjson'))).toBe(true);
    expect(await command(audit, [out])).toMatchObject({ code: 0 });
  });

  test('leaves a record of the export in the data directory, which verifies too', async () => {
    await export1();
    const log = fs.readdirSync(join(data, 'log')).find((name) => name.startsWith('cli-')) ?? '';
    const record = fs.readFileSync(join(data, 'log', log, '00000000.ndjson'), 'utf8');
    expect(record).toContain('"event_code":"evidence.exported"');
    expect(record).toContain(hex(fs.readFileSync(out)));
    expect(await command(audit, ['--data', data])).toMatchObject({ code: 0 });
  });

  test.each([
    [['--from', 'yesterday', '--to', '2026-09-22']], [['--from', '2026-09-22', '--to', '2026-09-21']], [['--to', '2026-09-22']], [['import', '--from', '2026-09-21', '--to', '2026-09-22']], [[]],
  ])('is not made from a wrong command line: %j', async (argv) => {
    const result = await command(evidence, [...argv, '--data', data]);
    expect([result.code, result.stderr.startsWith('error: ')]).toEqual([4, true]);
  });
});

describe('reading records', () => {
  test('sessions lists who was where, with totals', async () => {
    const { code, stdout } = await command(sessions, ['--data', data]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/01A +2026-09-21 14:15:23 +oidc:asmith@bank\.example +orders-db\/orders .* 2 +1 +50 +ClientClosed/);
    expect(stdout).toContain('2 sessions, 1 users, 3 statements, 1 denied, 50 rows');
  });

  test('replay dumps what the user saw as a grid', async () => {
    const { code, stdout } = await command(replay, ['01A', '--data', data, '--text']);
    expect(code).toBe(0);
    expect(stdout).toContain(' id | name |    ssn*\n----+------+-------------\n 1  |      | ***-**-6789\n(50 rows, 1 stored) SELECT 50, 50 masked, 6 ms\n');
    expect(stdout).toContain('Deny by policy oncall, rule no-ddl');
    expect(stdout).toContain('ERROR:  division by zero (SQLSTATE 22012)');
  });

  test('replay shows control characters instead of sending them to the terminal', async () => {
    const { stdout } = await command(replay, ['01B', '--data', data, '--text']);
    expect(stdout).toContain('a\\x1b[31mred\nsecond line');
    expect(stdout).not.toContain('\u001b');
  });

  test('replay plays with its timing when nothing else is asked', async () => {
    const { code, stdout } = await command(replay, ['01A', '--data', data, '--speed', '100']);
    expect([code, stdout.includes('***-**-6789')]).toEqual([0, true]);
  });

  test('replay says what to do when there is no such session', async () => {
    expect(await command(replay, ['zzz', '--data', data])).toMatchObject({ code: 1, stderr: expect.stringContaining('sallyport sessions --data') });
  });

  test('verify refuses an empty place instead of passing it', async () => {
    const empty = fs.mkdtempSync(join(os.tmpdir(), 'sallyport-empty-'));
    expect(await command(audit, ['--data', empty])).toMatchObject({ code: 4 });
    fs.rmSync(empty, { recursive: true });
  });
});

test.each([
  ['=1+1', `'=1+1\r\n`], ['a,b', '"a,b"\r\n'], ['say "x"', '"say ""x"""\r\n'], ['-5', `'-5\r\n`], ['@x', `'@x\r\n`], [null, '\r\n'], ['line\nbreak', '"line\nbreak"\r\n'],
])('CSV writes %j so that a spreadsheet shows it and runs nothing', (cell, line) => {
  expect(csvLine([cell])).toBe(line);
});

type Files = Record<string, Uint8Array>;

async function export1(): Promise<void> {
  expect((await command(evidence, ['--from', '2026-09-21', '--to', '2026-09-22', '--data', data, '--out', out])).code).toBe(0);
}

async function command(run: (argv: readonly string[], io: { stdout: { write(text: string): unknown }; stderr: { write(text: string): unknown }; env: Record<string, string> }) => Promise<number>, argv: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const output = { stdout: '', stderr: '' };
  const code = await run(argv, { stdout: { write: (t) => { output.stdout += t; } }, stderr: { write: (t) => { output.stderr += t; } }, env: {} });
  return { code, ...output };
}

function text(files: Files, name: string): string {
  return Buffer.from(files[name] ?? new Uint8Array()).toString('utf8');
}

function hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
