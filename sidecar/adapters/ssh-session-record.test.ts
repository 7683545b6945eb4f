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
