import { expect, test } from '@jest/globals';
import { EventEmitter } from 'node:events';
import type { ClientChannel } from 'ssh2';
import type { SshContext } from './context.ts';
import { openOnTarget } from './target-channel.ts';

test('a channel that the target opens after the end of the session is stopped, not only closed: the target has its command', async () => {
  const ended = new AbortController();
  const seen: string[] = [];
  const channel = Object.assign(new EventEmitter(), {
    stderr: { resume: () => undefined }, resume: () => undefined, end: () => undefined,
    signal: (name: string) => void seen.push(name), close: () => void seen.push('close'),
  }) as unknown as ClientChannel;
  const { promise: late, resolve: openLate } = Promise.withResolvers<(error: undefined, opened: ClientChannel) => void>();
  const opening = openOnTarget({ ended: ended.signal } as SshContext, openLate);
  const open = await late;
  ended.abort();
  expect(await opening).toEqual({ outcome: 'failed' });
  open(undefined, channel);
  expect(seen).toEqual(['TERM']);
  channel.emit('exit', 0);
  await new Promise((resolve) => setImmediate(resolve));
  expect(seen).toEqual(['TERM', 'close']);
});
