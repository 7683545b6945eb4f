import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { anIdentity } from '../../../tools/testkit/policies.ts';
import type { RedeemedTicket } from '../../core/ports.ts';
import { encodePeerTicket, encodeTicketAnswer, isPeerTicket, maxTicketAnswer, maxTicketMessage, readPeerTicket, readTicketAnswer } from './peer-ticket.ts';

const asked = { ticket: { replica: 'abcd1234', id: 'abcdefgh12345678', secret: 's'.repeat(43) }, use: { target: 'web-1', account: 'deploy', address: '10.0.0.7' } };
const identity = anIdentity({ authMethod: 'Ticket', groups: ['sre'], actors: ['bot'], claims: { team: { name: 'ünï' } } });

test('what one replica asks is what the other reads, in whatever pieces it comes', () => {
  const message = encodePeerTicket(asked);
  expect(message.length).toBeLessThanOrEqual(maxTicketMessage);
  for (let length = 0; length < message.length; length += 1) expect(readPeerTicket(message.subarray(0, length))).toBeNull();
  expect([isPeerTicket(message), isPeerTicket(message.subarray(0, 1)), readPeerTicket(message)]).toEqual([true, false, asked]);
});

test('more bytes, other fields, a length that is too long and what is no JSON are refused', () => {
  const of = (body: string, length = body.length): Buffer => Buffer.concat([Buffer.from([1, 2, length >> 8, length & 255]), Buffer.from(body)]);
  for (const bytes of [Buffer.concat([encodePeerTicket(asked), Buffer.from([1])]), of(JSON.stringify({ ...asked, more: 1 })), of('{}'), of('x'), of('x', 60_000)]) expect(readPeerTicket(bytes)).toBe('invalid');
});

test.each<[string, RedeemedTicket | null]>([
  ['an identity, whole', { outcome: 'redeemed', identity }], ['a refusal', { outcome: 'refused', reason: 'account' }], ['nothing', null],
])('an answer of %s arrives', (_what, answer) => {
  const bytes = encodeTicketAnswer(answer);
  expect(readTicketAnswer(bytes)).toEqual(answer);
  for (let length = 0; length < bytes.length; length += 1) expect(readTicketAnswer(bytes.subarray(0, length))).toBeNull();
  expect(readTicketAnswer(Buffer.concat([bytes, Buffer.from([32])]))).toBeNull();
});

test('an identity that was proven in another way, or one without a name, is no answer; one that is too long is not sent', () => {
  const { authMethod: _, ...plain } = identity;
  for (const other of [plain, { ...identity, authMethod: 'Token' as const }, { ...identity, username: '' }, { ...identity, expiresAtMs: 'never' as never }]) expect(readTicketAnswer(encodeTicketAnswer({ outcome: 'redeemed', identity: other }))).toBeNull();
  const long = encodeTicketAnswer({ outcome: 'redeemed', identity: { ...identity, claims: { much: 'x'.repeat(70_000) } } });
  expect([long.length < maxTicketAnswer, readTicketAnswer(long)]).toEqual([true, null]);
});

test('no other bytes are an answer', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => readTicketAnswer(Buffer.from(bytes)) === null), { numRuns: 1_000 });
});
