import { expect, test } from '@jest/globals';
import type { ClientChannel } from 'ssh2';
import { sendSignal } from './send-signal.ts';

function channelIn(state: string): { readonly channel: ClientChannel; readonly sent: unknown[] } {
  const sent: unknown[] = [];
  const channel = { outgoing: { id: 7, state }, signal: (name: string) => sent.push(name), _client: { _protocol: { signal: (id: number, name: string) => sent.push([id, name]) } } };
  return { channel: channel as unknown as ClientChannel, sent };
}

test.each([['open', ['INT']], ['eof', [[7, 'INT']]]])('in state %s a signal goes out', (state, expected) => {
  const { channel, sent } = channelIn(state);
  sendSignal(channel, 'INT');
  expect(sent).toEqual(expected);
});

test('a name that is no signal of the protocol is dropped: the library would throw', () => {
  const { channel, sent } = channelIn('eof');
  sendSignal(channel, 'WINCH');
  sendSignal(channel, '');
  expect(sent).toEqual([]);
});
