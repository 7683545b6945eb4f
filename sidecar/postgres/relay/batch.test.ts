import { describe, expect, test } from '@jest/globals';
import { anIntent } from '../../../tools/testkit/audit.ts';
import { aStatement, FakeRecorder } from '../../../tools/testkit/relay-context.ts';
import { createTally } from '../../core/session/tally.ts';
import { Batch } from './batch.ts';
import { type Execution, startExecution } from './execution.ts';

const execution = (): Execution => startExecution(aStatement('select 1'), 'select 1', 0);
const approval = { request: 'areq-1', requestUid: 'u', scope: 'Statement', approver: { key: 'k', username: 'dba' }, decisionUid: 'd', timeMs: 0, method: 'token', boundDigest: 'x' };

describe('a batch', () => {
  test('records all its intents in one append, and each execution gets its number', () => {
    const recorder = new FakeRecorder();
    const batch = new Batch(createTally().statements);
    const executions = [execution(), execution()];
    for (const one of executions) batch.addIntent(one, anIntent());
    expect([batch.isEmpty, executions.map((one) => one.statement)]).toEqual([false, [0, 0]]);
    expect(batch.record(recorder)).toBeUndefined();
    expect([executions.map((one) => one.statement), recorder.intents.length, batch.isEmpty]).toEqual([[1, 2], 2, true]);
  });

  test('without intents records nothing', () => {
    const recorder = new FakeRecorder();
    recorder.failure = 'RECORDER_FAILED';
    const batch = new Batch(createTally().statements);
    batch.bytes.add(Buffer.from('S'));
    expect([batch.isEmpty, batch.record(recorder)]).toEqual([false, undefined]);
  });

  test('is a promise until the disk has it, when the policy asks for that', async () => {
    const recorder = new FakeRecorder('Fsync');
    const batch = new Batch(createTally().statements);
    const one = execution();
    batch.addIntent(one, anIntent());
    const recorded = batch.record(recorder);
    expect([recorded instanceof Promise, one.statement]).toEqual([true, 0]);
    recorder.written();
    await recorded;
    expect(one.statement).toBe(1);
  });

  test.each(['Write', 'Fsync'] as const)('fails with its recorder (%s)', async (durability) => {
    const recorder = new FakeRecorder(durability);
    recorder.failure = 'STORAGE_FULL';
    const batch = new Batch(createTally().statements);
    batch.addIntent(execution(), anIntent());
    await expect((async () => {
      const recorded = batch.record(recorder);
      recorder.written();
      await recorded;
    })()).rejects.toMatchObject({ code: 'STORAGE_FULL' });
  });

  test('counts what a rule allowed and what an approver did', () => {
    const counts = createTally().statements;
    const batch = new Batch(counts);
    batch.addIntent(execution(), anIntent());
    batch.addIntent(execution(), anIntent({ approvals: [approval] }));
    expect([counts.allowed, counts.approved]).toEqual([1, 1]);
  });
});
