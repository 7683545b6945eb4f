import { hash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { aBackend, aDecision, anIntent, aSubject } from '../../tools/testkit/audit.ts';
import { AuditDirectory } from '../../tools/testkit/audit-directory.ts';
import { exitCode } from '../core/recording/findings.ts';
import { openDirectory } from './evidence-source.ts';
import { verifyEvidence } from './evidence-verify.ts';

let directory: AuditDirectory;

beforeEach(() => {
  directory = new AuditDirectory();
});

afterEach(() => directory.remove());

describe('verify', () => {
  test('explains an open log and exits 0', async () => {
    const recorder = await directory.open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    await session.recordIntents([anIntent()]);
    const report = await directory.verify();
    expect(exitCode(report.findings.counts)).toBe(0);
    expect(report.findings.list.map((f) => f.code)).toEqual(['log-open', 'session-open', 'statement-open', 'recording-open']);
    await recorder.close();
  });

  test('names the record that was changed, and blames no other record', async () => {
    await directory.twoSessions();
    const file = directory.segments()[0] ?? '';
    fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('LIMIT 50', 'LIMIT 51'));
    const report = await directory.verify();
    expect(exitCode(report.findings.counts)).toBe(1);
    expect(report.findings.list.filter((f) => f.code === 'record-changed').map((f) => [f.line, f.session])).toEqual([[3, '01A']]);
  });

  test('finds any edit, removal or move of any record', async () => {
    await directory.twoSessions();
    const file = directory.segments()[0] ?? '';
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
      const report = await directory.verify();
      expect(exitCode(report.findings.counts)).not.toBe(0);
    }), { numRuns: 150 });
  });

  test('finds records and leaves that were changed together, by the signed root', async () => {
    await directory.twoSessions();
    const file = directory.segments()[0] ?? '';
    const text = fs.readFileSync(file, 'utf8').replace('LIMIT 50', 'LIMIT 51');
    fs.writeFileSync(file, text);
    fs.writeFileSync(join(file, '..', 'leaves.bin'), Buffer.concat(text.split('\n').slice(0, -1).map((line) => hash('sha256', line, 'buffer'))));
    expect((await directory.verify()).findings.list.map((f) => f.code)).toContain('root-differs');
  });

  test('reports a cut tail as incomplete', async () => {
    await directory.twoSessions();
    const file = directory.segments()[0] ?? '';
    const lines = fs.readFileSync(file, 'utf8').split('\n').slice(0, -1);
    fs.writeFileSync(file, `${lines.slice(0, -1).join('\n')}\n`);
    const report = await directory.verify();
    expect(exitCode(report.findings.counts)).toBe(2);
    expect(report.findings.list.map((f) => f.code)).toContain('records-missing');
  });

  test('reports a missing log that its successor names as incomplete', async () => {
    await directory.twoSessions();
    directory.clock.nowMs += 1000;
    await directory.twoSessions('02');
    fs.rmSync(join(directory.segments()[0] ?? '', '..'), { recursive: true });
    expect(exitCode((await directory.verify()).findings.counts)).toBe(2);
  });

  test('reports a changed recording, a missing one, and an unknown key', async () => {
    await directory.twoSessions();
    fs.appendFileSync(join(directory.data, 'recordings', '01A.sqlrec.gz'), '\0');
    fs.rmSync(join(directory.data, 'recordings', '01B.sqlrec.gz'));
    const report = await verifyEvidence(openDirectory(directory.data), ['other+00000000+AAAA']);
    expect(report.findings.list.filter((f) => f.kind !== 'note').map((f) => [f.kind, f.code])).toEqual([['key', 'key-unknown'], ['tampering', 'recording-changed'], ['incomplete', 'recording-missing']]);
  });

  test.each([
    ['approved-later', { timeMs: Date.UTC(2027, 0, 1) }], ['self-approval', { approver: { key: '["https://idp.bank.example","00u8f2c"]', username: 'oidc:asmith@bank.example' } }], [null, {}],
  ])('judges an approval: %s', async (code, changes) => {
    const recorder = await directory.open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    const approval = { request: 'areq-1', requestUid: 'r1', scope: 'Statement', approver: { key: '["https://idp.bank.example","00u1a90"]', username: 'oidc:bjones' }, decisionUid: 'd1', timeMs: directory.clock.nowMs - 1000, method: 'oidc', boundDigest: 'sha256:aa', ...changes };
    await session.recordIntents([anIntent({ approvals: [approval], decision: aDecision({ effect: 'RequireApproval' }) })]);
    await session.end('ClientClosed', { rows: 0, bytes: 0, denied: 0 });
    await recorder.close();
    expect((await directory.verify()).findings.list.map((f) => f.code)).toEqual(code === null ? [] : [code]);
  });
});

function flip(line: string, at: number): string {
  const bytes = Buffer.from(line);
  const index = at % bytes.length;
  bytes[index] = bytes[index] === 0x61 ? 0x62 : 0x61;
  return bytes.toString('latin1') === line ? `${line} ` : bytes.toString('utf8');
}
