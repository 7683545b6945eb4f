import { PassThrough } from 'node:stream';
import { expect, test } from '@jest/globals';
import { openTypedInput, type TypedInput } from './typed-input.ts';

function open(): { readonly source: PassThrough; readonly input: TypedInput; readonly failures: unknown[] } {
  const source = new PassThrough();
  const failures: unknown[] = [];
  return { source, input: openTypedInput(source, (error) => failures.push(error)), failures };
}

const live = new AbortController().signal;

async function read(input: TypedInput, signal: AbortSignal = live): Promise<string | null> {
  const bytes = await input.read(signal);
  return bytes === null ? null : Buffer.from(bytes).toString();
}

async function write(source: PassThrough, text: string): Promise<void> {
  source.write(text);
  await new Promise((resolve) => setImmediate(resolve));
}

test('what is typed is read in order, and what is given back comes first', async () => {
  const { source, input } = open();
  await write(source, 'abc');
  expect(await read(input)).toBe('abc');
  input.unread(Buffer.from('c'));
  await write(source, 'd');
  expect(await read(input)).toBe('cd');
});

test('the end of the input comes after all of it, and an abort at once', async () => {
  const { source, input } = open();
  await write(source, 'x');
  source.end();
  expect([await read(input), await read(input)]).toEqual(['x', null]);
  expect(await read(open().input, AbortSignal.abort())).toBeNull();
});

test('a watcher sees each chunk and decides what is kept for the prompt', async () => {
  const { source, input } = open();
  const seen: string[] = [];
  const end = input.watch((chunk) => {
    seen.push(Buffer.from(chunk).toString());
    return chunk.subarray(1);
  });
  await write(source, 'abc');
  end();
  await write(source, 'd');
  expect([seen, await read(input)]).toEqual([['abc'], 'bcd']);
});

test('a program that has the terminal gets everything, what waited included, and nothing is kept', async () => {
  const { source, input } = open();
  await write(source, 'early ');
  const { stream, end } = input.lend();
  await write(source, 'late');
  expect(String(stream.read())).toBe('early late');
  end();
  await write(source, 'prompt');
  expect(await read(input)).toBe('prompt');
});

test.each([1, 2, 3, 7])('what is dropped of a paste goes on to its end, cut every %d bytes', async (size) => {
  const { source, input } = open();
  await write(source, 'rm one\rrm');
  input.drop(true);
  const text = ' two\rrm three\r\x1b[201~ls\r';
  for (let at = 0; at < text.length; at += size) await write(source, text.slice(at, at + size));
  source.end();
  let all = '';
  for (let part = await read(input); part !== null; part = await read(input)) all += part;
  expect(all).toBe('ls\r');
});

test('without an open paste only what came so far is dropped', async () => {
  const { source, input } = open();
  await write(source, 'rm one\r');
  input.drop(false);
  await write(source, 'ls\r');
  expect(await read(input)).toBe('ls\r');
});

test('at the prompt reading stops when 64 KiB wait', async () => {
  const { source, input } = open();
  for (let count = 0; count < 5; count++) await write(source, 'x'.repeat(32 * 1024));
  expect(source.isPaused()).toBe(true);
  expect((await read(input))?.length).toBeLessThan(128 * 1024);
  expect(source.isPaused()).toBe(false);
});

test('while a command runs reading goes on, so that Ctrl-C is seen behind any flood', async () => {
  const { source, input } = open();
  let interrupts = 0;
  input.watch((chunk) => {
    if (chunk.includes(3)) interrupts += 1;
    return chunk;
  });
  for (let count = 0; count < 10; count++) await write(source, 'x'.repeat(32 * 1024));
  await write(source, '\x03');
  expect([interrupts, (await read(input))?.length]).toEqual([1, 64 * 1024]);
});

test('a fault of a watcher ends the session and not the process', async () => {
  const { source, input, failures } = open();
  input.watch(() => {
    throw new Error('broken');
  });
  await write(source, 'x');
  expect(failures).toEqual([new Error('broken')]);
});
