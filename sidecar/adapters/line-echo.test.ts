import { Writable } from 'node:stream';
import { expect, test } from '@jest/globals';
import { createLineEcho } from './line-echo.ts';

test('a reader that stands still costs the bound, and what is dropped is counted by lines', () => {
  const stuck = new Writable({ write: () => undefined });
  const { echo, dropped } = createLineEcho(stuck, 1000);
  for (let n = 0; n < 100; n += 1) echo(`${'x'.repeat(98)}\n${'y'.repeat(0)}\n`);
  expect([stuck.writableLength, dropped()]).toEqual([1000, 180]);
});

test('a pipe that breaks ends the copies and nothing else', async () => {
  const broken = new Writable({ write: (_chunk, _encoding, done) => done(new Error('EPIPE')) });
  const { echo, dropped } = createLineEcho(broken);
  echo('one\n');
  await new Promise(setImmediate);
  echo('two\nthree\n');
  expect(dropped()).toBe(2);
});
