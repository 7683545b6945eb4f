import { expect, test } from '@jest/globals';
import { EventEmitter } from 'node:events';
import type { Session } from 'ssh2';
import { ClientSession } from './client-session.ts';

test('agent and X11 forwarding are decided once for a channel, however often they are asked for', () => {
  const session = new EventEmitter();
  const asked: string[] = [];
  const answers: string[] = [];
  new ClientSession(1, session as unknown as Session, {
    started: () => undefined, refused: () => undefined, serves: () => false, mayGrant: () => true, fail: () => undefined, gone: () => undefined,
    grants: (what) => {
      asked.push(what);
      return Promise.resolve(true);
    },
  });
  for (const _ of [1, 2, 3]) session.emit('auth-agent', () => answers.push('yes'), () => answers.push('no'));
  session.emit('x11', () => answers.push('yes'), () => answers.push('no'), {});
  expect([asked, answers]).toEqual([['agent', 'x11'], ['yes', 'no', 'no', 'yes']]);
});
