import { expect, test } from '@jest/globals';
import { aStatement } from '../../../tools/testkit/relay-context.ts';
import { startExecution } from './execution.ts';
import { executionsOf, type Reply, ReplyQueue } from './reply-queue.ts';

const bind: Reply = { kind: 'bind', portal: null, own: null };
const sync: Reply = { kind: 'sync', own: null };
const execution = (): ReturnType<typeof startExecution> => startExecution(aStatement('select 1'), 'select 1', 0);

test('answers belong to the messages in their order, however many there are', () => {
  const queue = new ReplyQueue();
  const replies = Array.from({ length: 3_000 }, (): Reply => ({ kind: 'sync', own: null }));
  for (const reply of replies) queue.push(reply);
  for (const [index, reply] of replies.entries()) {
    expect(queue.head).toBe(reply);
    expect(queue.length).toBe(replies.length - index);
    queue.shift();
  }
  expect([queue.head, queue.length, queue.all()]).toEqual([undefined, 0, []]);
});

test('is full at its limit, and not before', () => {
  const queue = new ReplyQueue(2);
  queue.push(bind);
  expect(queue.isFull).toBe(false);
  queue.push(sync);
  expect(queue.isFull).toBe(true);
  queue.shift();
  expect(queue.isFull).toBe(false);
});

test('an error skips everything up to the next Sync, simple Queries and function calls included', () => {
  const queue = new ReplyQueue();
  const query: Reply = { kind: 'query', executions: [execution()], current: 0, own: null };
  const call: Reply = { kind: 'function', execution: execution(), own: null };
  for (const reply of [bind, query, call, sync, bind]) queue.push(reply);
  expect(queue.skipToSync()).toEqual([bind, query, call]);
  expect(queue.all()).toEqual([sync, bind]);
  queue.shift();
  expect([queue.skipToSync(), queue.length]).toEqual([[bind], 0]);
});

test('knows which executions of a reply were not answered yet', () => {
  const [first, second] = [execution(), execution()];
  expect(executionsOf({ kind: 'query', executions: [first, second], current: 1, own: null })).toEqual([second]);
  expect(executionsOf({ kind: 'function', execution: first, own: null })).toEqual([first]);
  expect(executionsOf({ kind: 'function', execution: null, own: null })).toEqual([]);
  expect(executionsOf(sync)).toEqual([]);
});
