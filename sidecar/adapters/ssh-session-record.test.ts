import fs from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { SshEvent, SshSessionRecorder } from '../../contract/audit.ts';
import { aBackend, aDecision } from '../../tools/testkit/audit.ts';
import { AuditDirectory, FaultyFiles, type RecordLine } from '../../tools/testkit/audit-directory.ts';
import { aCastHeader, anSshEvent, anSshSubject } from '../../tools/testkit/ssh-audit.ts';
import type { Recorder } from './session-recorder.ts';

let directory: AuditDirectory;

beforeEach(() => {
  directory = new AuditDirectory();
});

afterEach(() => directory.remove());

function cast(channel: number, session: string = '01A'): readonly unknown[] {
  return gunzipSync(fs.readFileSync(join(directory.data, 'recordings', `${session}.${channel}.cast.gz`))).toString('utf8').split('\n').slice(0, -1).map((line) => JSON.parse(line) as unknown);
}

async function started(recorder: Recorder, id: string = '01A'): Promise<SshSessionRecorder> {
  const session = recorder.openSsh(id);
  await session.start(anSshSubject(id), aBackend());
  return session;
}

async function findings(): Promise<readonly unknown[]> {
  return (await directory.verify()).findings.list;
}

function codes(): readonly string[] {
  return directory.records().map((line) => line.metadata.event_code);
}

function lineOf(code: string): RecordLine | undefined {
  return directory.records().find((line) => line.metadata.event_code === code);
}

function resultOf(operation: number): SshEvent {
  return anSshEvent({ code: 'exec.result', operation, decision: null, facts: { outcome: 'Completed', exit_status: 0, bytes: 12 } });
}

describe('a recorded SSH session', () => {
  test('tells who ran what as which account and what came of it, and verifies', async () => {
    const recorder = await directory.open();
    const session = await started(recorder);
    const operation = await session.record(anSshEvent());
    const recording = session.openCast(aCastHeader());
    recording.output(Buffer.from('hello\r\n'));
    recording.flush();
    recording.exit(0);
    await recording.close();
    session.note(resultOf(operation));
    await session.record(anSshEvent({ code: 'exec.denied', reason: 'COMMAND_DENIED', decision: aDecision({ effect: 'Deny' }), facts: { text: 'rm -rf /', programs: ['rm'] } }));
    await session.end('ClientClosed', { bytes: 12, denied: 1 });
    await recorder.close();
    expect(codes()).toEqual(['log.opened', 'session.start', 'exec.intent', 'exec.result', 'exec.denied', 'session.end', 'log.closed']);
    expect(lineOf('session.start')).toMatchObject({ class_uid: 4007, evidence: { auth: { method: 'Certificate', credential_id: 'serial 7' }, transport: { ssh: { target: { host_key: 'SHA256:abc' } } }, recording: { format: 'asciicast/3' } } });
    expect(lineOf('exec.intent')).toMatchObject({ class_uid: 1007, process: { name: 'uptime', cmd_line: 'uptime', user: { name: 'deploy' } }, evidence: { operation: { n: '1', channel: 1 }, decision: { effect: 'Allow' }, facts: { cwd: '/srv' } } });
    expect(lineOf('exec.result')).toMatchObject({ status_id: 1, exit_code: 0, evidence: { intent_seq: '2', operation: { n: '1' }, facts: { bytes: 12 } } });
    expect(lineOf('exec.denied')).toMatchObject({ status_code: 'COMMAND_DENIED', disposition: 'Blocked', evidence: { operation: { n: '2' } } });
    expect(lineOf('session.end')).toMatchObject({ evidence: { session: { statements: 1, denied: 1, bytes: '12' }, recording: { count: 1, uri: 'recordings/01A.1.cast.gz', casts: [{ channel: 1, output_bytes: '7', dropped_bytes: '0' }] } } });
    expect(await findings()).toEqual([]);
    expect(cast(1).slice(1)).toEqual([[0, 'o', 'hello\r\n'], [0, 'x', '0']]);
  });

  test('has an intent in the file before record resolves, and syncs it first where the policy says Fsync', async () => {
    const faulty = new FaultyFiles();
    const recorder = await directory.open({ files: faulty.layer });
    const session = recorder.openSsh('01A');
    await session.start(anSshSubject('01A', { recording: { content: 'Full', durability: 'Fsync' } }), aBackend());
    const before = faulty.syncs;
    await session.record(anSshEvent({ facts: { text: 'echo 4711', programs: ['echo'] } }));
    expect(directory.rawLog()).toContain('echo 4711');
    expect(faulty.syncs).toBe(before + 1);
    await recorder.close();
  });

  test('is closed by the next process after SIGKILL: open commands are Unknown, its recordings are sealed and end with the reason', async () => {
    const recorder = await directory.open();
    const session = await started(recorder);
    const done = await session.record(anSshEvent());
    session.note(resultOf(done));
    await session.record(anSshEvent({ channel: 2, facts: { text: 'sleep 60', programs: ['sleep'] } }));
    await session.record(anSshEvent({ code: 'file.intent', channel: 3, facts: { operation: 'Write', path: '/srv/a' } }));
    await session.record(anSshEvent({ code: 'forward.open', channel: 4, facts: { to: '127.0.0.1:9090' } }));
    const recording = session.openCast(aCastHeader({ channel: 2 }));
    recording.output(Buffer.from('begun'));
    recording.flush();
    directory.timers.run(50);
    directory.forget();
    const next = await directory.open();
    await next.close();
    expect(codes()).toEqual([
      'log.opened', 'session.start', 'exec.intent', 'exec.result', 'exec.intent', 'file.intent', 'forward.open',
      'log.opened', 'log.recovered', 'exec.result', 'file.result', 'forward.closed', 'session.end', 'log.closed',
    ]);
    const last = directory.records().filter((line) => line.metadata.event_code === 'exec.result').at(-1);
    expect(last).toMatchObject({ status_id: 0, process: { name: 'sleep' }, evidence: { operation: { n: '2' }, facts: { outcome: 'Unknown' } } });
    expect(lineOf('session.end')).toMatchObject({ evidence: { end: { reason: 'ProxyLost' }, session: { statements: 4 }, recording: { count: 1, casts: [{ channel: 2 }] } } });
    expect(cast(2).slice(1)).toEqual([[0, 'o', 'begun'], [0, 'm', 'sallyport: recording ended: ProxyLost']]);
    expect((await findings()).filter((f) => (f as { kind: string }).kind !== 'note')).toEqual([]);
  });
});

describe('its recordings', () => {
  test('put characters together over packets, each stream by itself, and say which output was standard error', async () => {
    const recorder = await directory.open();
    const recording = (await started(recorder)).openCast(aCastHeader({ terminal: { columns: 120, rows: 40, type: 'xterm-256color' }, command: null }));
    const euro = Buffer.from('€');
    recording.output(euro.subarray(0, 1));
    recording.output(Buffer.from('err\n'), 'stderr');
    recording.output(euro.subarray(1));
    directory.clock.nowMs += 1500;
    recording.resize(100, 30);
    recording.marker('uptime');
    recording.exit(3);
    recording.flush();
    await recording.close();
    await recorder.close();
    const [header, ...lines] = cast(1);
    expect(header).toMatchObject({ version: 3, term: { cols: 120, rows: 40, type: 'xterm-256color' }, title: 'deploy@web-1', env: { LANG: 'C.UTF-8' }, sallyport: { session: '01A', channel: 1, target: 'web-1', account: 'deploy', pty: true } });
    expect(header).not.toHaveProperty('command');
    expect(lines).toEqual([[0, 'e', 'stderr'], [0, 'o', 'err\n'], [0, 'o', '€'], [1.5, 'r', '100x30'], [0, 'm', 'uptime'], [0, 'x', '3']]);
  });

  test('are in the file before flush returns', async () => {
    const recorder = await directory.open();
    const recording = (await started(recorder)).openCast(aCastHeader());
    recording.output(Buffer.from('seen-by-user'));
    recording.flush();
    expect(fs.readFileSync(join(directory.data, 'recordings', '01A.1.cast'), 'utf8')).toContain('seen-by-user');
    await recorder.close();
  });

  test('hold no output under Metadata, and count it', async () => {
    const recorder = await directory.open();
    const session = recorder.openSsh('01A');
    await session.start(anSshSubject('01A', { recording: { content: 'Metadata', durability: 'Write' } }), aBackend());
    const recording = session.openCast(aCastHeader());
    recording.output(Buffer.from('secret-output'));
    recording.exit(0);
    await session.end('ClientClosed', { bytes: 13, denied: 0 });
    await recorder.close();
    expect(directory.allBytes().includes('secret-output')).toBe(false);
    expect(lineOf('session.end')).toMatchObject({ evidence: { recording: { casts: [{ output_bytes: '13', dropped_bytes: '13' }] } } });
    expect(cast(1).slice(1)).toEqual([[0, 'x', '0']]);
  });

  test('stop at the session\'s limit, say so, and go on counting', async () => {
    const recorder = await directory.open({ castBytes: 4096 });
    const session = await started(recorder);
    const first = session.openCast(aCastHeader());
    for (let n = 0; n < 100; n += 1) first.output(Buffer.from('x'.repeat(100)));
    first.exit(0);
    await first.close();
    const second = session.openCast(aCastHeader({ channel: 2 }));
    second.output(Buffer.from('y'.repeat(100)));
    await session.end('ClientClosed', { bytes: 0, denied: 0 });
    await recorder.close();
    expect(fs.readdirSync(join(directory.data, 'recordings')).sort()).toEqual(['01A.1.cast.gz', '01A.2.cast.gz']);
    const lines = cast(1).slice(1) as [number, string, string][];
    expect(lines.filter((line) => line[1] === 'm').map((line) => line[2])).toEqual(['sallyport: recording stopped at the limit of 4096 bytes per session; the session went on']);
    expect(lines.at(-1)?.slice(1)).toEqual(['x', '0']);
    const stored = lines.filter((line) => line[1] === 'o').reduce((sum, line) => sum + line[2].length, 0);
    expect(lineOf('session.end')).toMatchObject({ evidence: { recording: { count: 2, uri: null, casts: [{ output_bytes: '10000', dropped_bytes: String(10_000 - stored) }, { output_bytes: '100', dropped_bytes: '100' }] } } });
    expect(await findings()).toEqual([]);
  });

  test('of more channels than one record can name are named by records of their own', async () => {
    const recorder = await directory.open();
    const session = await started(recorder);
    for (let channel = 1; channel <= 205; channel += 1) await session.openCast(aCastHeader({ channel })).close();
    expect(() => session.openCast(aCastHeader({ channel: 7 }))).toThrow('INTERNAL');
    await session.end('ClientClosed', { bytes: 0, denied: 0 });
    const seal = session.seal?.();
    await recorder.close();
    expect(codes()).toEqual(['log.opened', 'session.start', 'recording.sealed', 'recording.sealed', 'session.end', 'log.closed']);
    expect(lineOf('session.end')).toMatchObject({ evidence: { recording: { count: 205, casts: { length: 5 } } } });
    expect(seal?.recording).toMatchObject({ uri: 'recordings/01A.*.cast.gz', format: 'asciicast/3' });
    const report = await directory.verify();
    expect(report.findings.list).toEqual([]);
    expect(report.recordings.checked).toBe(205);
  });

  test('that a crash left are named once: those that a record named already are left alone', async () => {
    const recorder = await directory.open();
    const session = await started(recorder);
    for (let channel = 1; channel <= 230; channel += 1) await session.openCast(aCastHeader({ channel })).close();
    directory.timers.run(50);
    directory.forget();
    await (await directory.open()).close();
    expect(lineOf('session.end')).toMatchObject({ evidence: { end: { reason: 'ProxyLost' }, recording: { count: 230, casts: { length: 30 } } } });
    const report = await directory.verify();
    expect(report.recordings.checked).toBe(230);
    expect(report.findings.counts).toMatchObject({ tampering: 0, incomplete: 0 });
  });
});

describe('when records cannot be written', () => {
  test('an intent fails, is marked NotForwarded, and nothing more is taken; the session still ends', async () => {
    const faulty = new FaultyFiles();
    const recorder = await directory.open({ files: faulty.layer });
    const session = await started(recorder);
    faulty.fillUntilRemoved(join(directory.data, 'reserve.bin'));
    await expect(session.record(anSshEvent())).rejects.toThrow('STORAGE_FULL');
    await expect(session.record(anSshEvent())).rejects.toThrow('STORAGE_FULL');
    expect(() => session.openCast(aCastHeader())).toThrow('STORAGE_FULL');
    await session.end('RecorderFailed', { bytes: 0, denied: 0 });
    await recorder.close();
    expect(lineOf('exec.result')).toMatchObject({ status_id: 2, status_code: 'STORAGE_FULL', evidence: { facts: { outcome: 'NotForwarded' } } });
    expect((await directory.verify()).findings.counts).toMatchObject({ tampering: 0, incomplete: 0 });
  });

  test('a flush of output fails, so that nothing of it goes on', async () => {
    const faulty = new FaultyFiles();
    const recorder = await directory.open({ files: faulty.layer });
    const session = await started(recorder);
    const recording = session.openCast(aCastHeader());
    faulty.failWrites('EIO');
    recording.output(Buffer.from('x'));
    expect(() => recording.flush()).toThrow('RECORDER_FAILED');
    expect(() => recording.flush()).toThrow('RECORDER_FAILED');
    await expect(session.record(anSshEvent())).rejects.toThrow('RECORDER_FAILED');
    faulty.failWrites(null);
    await session.end('RecorderFailed', { bytes: 0, denied: 0 });
    await recorder.close();
  });

  test('a log that fails is continued by a new one, which closes the session and seals its recording', async () => {
    const faulty = new FaultyFiles();
    const recorder = await directory.open({ files: faulty.layer });
    const session = await started(recorder);
    const recording = session.openCast(aCastHeader());
    recording.output(Buffer.from('before'));
    recording.flush();
    faulty.failWrites('EIO');
    await expect(session.record(anSshEvent())).rejects.toThrow('RECORDER_FAILED');
    await recording.close();
    await session.end('RecorderFailed', { bytes: 0, denied: 0 });
    session.note(resultOf(1));
    faulty.failWrites(null);
    await directory.restored(recorder);
    await recorder.close();
    expect(lineOf('session.end')).toMatchObject({ evidence: { end: { reason: 'RecorderFailed' }, recording: { count: 1 } } });
    expect(cast(1).slice(1)).toEqual([[0, 'o', 'before'], [0, 'm', 'sallyport: recording ended: RecorderFailed']]);
    expect((await directory.verify()).findings.counts).toMatchObject({ tampering: 0 });
  });
});

describe('a record', () => {
  test('is one for each operation: a second result, or one of another kind, is left out', async () => {
    const recorder = await directory.open();
    const session = await started(recorder);
    const operation = await session.record(anSshEvent());
    session.note(anSshEvent({ code: 'shell.end', operation, facts: {} }));
    session.note(resultOf(operation));
    session.note(resultOf(operation));
    session.note(resultOf(99));
    const shell = await session.record(anSshEvent({ code: 'shell.start', facts: { text: 'shell' } }));
    session.note(anSshEvent({ code: 'command.observed', operation: shell, decision: null, facts: { text: 'ls' } }));
    await session.end('ClientClosed', { bytes: 0, denied: 0 });
    await recorder.close();
    expect(codes().filter((code) => /exec|shell|command/.test(code))).toEqual(['exec.intent', 'exec.result', 'shell.start', 'command.observed', 'shell.end']);
    expect(lineOf('command.observed')).toMatchObject({ evidence: { operation: { n: String(shell) } } });
    expect(await findings()).toEqual([]);
  });

  test('stays within 64 KiB whatever it is about, and says that it was cut', async () => {
    const recorder = await directory.open();
    const session = await started(recorder);
    await session.record(anSshEvent({ facts: { text: '\u0001é'.repeat(40_000), programs: Array.from({ length: 3000 }, (_, n) => `program-${n}`), unknowns: ['\u0001'.repeat(50_000)], deep: { a: 'x'.repeat(50_000) }, cwd: '/'.repeat(20_000), n: 5 } }));
    await session.record(anSshEvent({ code: 'file.denied', reason: 'FILE_DENIED', facts: { operation: 'Write', path: '/é'.repeat(20_000) } }));
    await session.end('ClientClosed', { bytes: 0, denied: 0 });
    await recorder.close();
    expect(Math.max(...directory.rawLog().split('\n').map((line) => Buffer.byteLength(line)))).toBeLessThanOrEqual(65_536);
    expect(lineOf('exec.intent')?.metadata).toMatchObject({ is_truncated: true });
    expect(lineOf('exec.intent')).toMatchObject({ evidence: { facts: { deep: null, n: 5 } } });
    expect(lineOf('file.denied')).toMatchObject({ class_uid: 1001, activity_id: 3, metadata: { is_truncated: true } });
  });

  test('that was changed, removed or has no partner is found', async () => {
    const recorder = await directory.open();
    const session = await started(recorder);
    const operation = await session.record(anSshEvent());
    session.openCast(aCastHeader()).output(Buffer.from('shown'));
    session.note(resultOf(operation));
    await session.end('ClientClosed', { bytes: 0, denied: 0 });
    await recorder.close();
    const file = directory.segments()[0] ?? '';
    const whole = fs.readFileSync(file, 'utf8');
    const lines = whole.split('\n');
    const kinds = async (text: string): Promise<readonly string[]> => {
      fs.writeFileSync(file, text);
      return (await directory.verify()).findings.list.map((f) => f.code);
    };
    expect(await kinds(whole.replace('"uptime"', '"reboot"'))).toContain('record-changed');
    expect(await kinds(lines.filter((line) => !line.includes('"exec.result"')).join('\n'))).toEqual(expect.arrayContaining(['records-removed', 'intent-without-result']));
    expect(await kinds(lines.filter((line) => !line.includes('"exec.intent"')).join('\n'))).toEqual(expect.arrayContaining(['records-removed', 'result-without-intent']));
    expect(await kinds(whole)).toEqual([]);
    fs.appendFileSync(join(directory.data, 'recordings', '01A.1.cast.gz'), 'x');
    expect(await kinds(whole)).toEqual(['recording-changed']);
    fs.rmSync(join(directory.data, 'recordings', '01A.1.cast.gz'));
    expect(await kinds(whole)).toEqual(['recording-missing']);
  });

  test('of a session that ends, also by a stop of the gateway, closes what is open', async () => {
    const recorder = await directory.open();
    const session = await started(recorder);
    await session.record(anSshEvent());
    session.openCast(aCastHeader());
    await recorder.close();
    await expect(session.record(anSshEvent())).rejects.toThrow('RECORDER_FAILED');
    expect(lineOf('exec.result')).toMatchObject({ status_id: 0, evidence: { facts: { outcome: 'Unknown' } } });
    expect(lineOf('session.end')).toMatchObject({ evidence: { end: { reason: 'ProxyShutdown' } } });
    expect(await findings()).toEqual([]);
  });

  test('of a session in a log that is not finished is open, not missing', async () => {
    const recorder = await directory.open();
    const session = await started(recorder);
    await session.record(anSshEvent());
    const report = await directory.verify();
    expect(report.findings.list.map((f) => [f.kind, f.code])).toEqual([['note', 'log-open'], ['note', 'session-open'], ['note', 'operation-open']]);
    await recorder.close();
  });

  test('is taken by no session that has ended', async () => {
    const recorder = await directory.open();
    const session = await started(recorder);
    await session.end('ClientClosed', { bytes: 0, denied: 0 });
    await expect(session.record(anSshEvent())).rejects.toMatchObject({ code: 'RECORDER_FAILED' });
    await recorder.close();
  });

  test('needs a session that started', async () => {
    const recorder = await directory.open();
    const session = recorder.openSsh('01A');
    await expect(session.record(anSshEvent())).rejects.toThrow('INTERNAL');
    session.note(resultOf(1));
    await session.end('Failed', { bytes: 0, denied: 0 });
    await recorder.close();
    expect(codes()).toEqual(['log.opened', 'log.closed']);
  });
});
