import { describe, expect, test } from '@jest/globals';

import { answerScram, checkServerFinal, type ScramChoice, startScram } from './scram.ts';

const plain: ScramChoice = { mechanism: 'SCRAM-SHA-256', gs2Header: 'n,,', bindingData: Buffer.alloc(0) };
const nonce = 'rOprNGfwEbeRWgbNEkqO';
const salt = 'W22ZaJ0SNY7soEsUEjb6gQ==';
const serverFirst = (parts: { nonce?: string; salt?: string; iterations?: string } = {}): Buffer =>
  Buffer.from(`r=${parts.nonce ?? `${nonce}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0`},s=${parts.salt ?? salt},i=${parts.iterations ?? '4096'}`);

describe('SCRAM', () => {
  // RFC 7677 section 3 has the user name in the first message; PostgreSQL takes it from the StartupMessage, so the vector was computed apart, for an empty one.
  test('derives the proof and accepts the signature that belong to the password', async () => {
    const answer = await answerScram(startScram(plain, nonce), serverFirst(), Buffer.from('pencil'));
    expect(answer.clientFinal).toBe('c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=qvT2SWdEH5Q06albL+hjSYuUhCG7VndFyzIb7CK4n9k=');
    expect(() => checkServerFinal(Buffer.from('v=3HO6Qt1M4MKJrmlKaoOqLAI0/0TV0HZe7J9H3MBtSOg='), answer.serverSignature)).not.toThrow();
  });

  test('binds to the certificate with -PLUS', async () => {
    const choice: ScramChoice = { mechanism: 'SCRAM-SHA-256-PLUS', gs2Header: 'p=tls-server-end-point,,', bindingData: Buffer.from([1, 2, 3]) };
    const { clientFinal } = await answerScram(startScram(choice, nonce), serverFirst(), Buffer.from('pencil'));
    expect(Buffer.from(/^c=([^,]+),/.exec(clientFinal)?.[1] ?? '', 'base64').toString('latin1')).toBe('p=tls-server-end-point,,\x01\x02\x03');
  });

  test.each([
    ['a nonce that does not begin with ours', serverFirst({ nonce: 'xOprNGfwEbeRWgbNEkqOabc' })],
    ['our own nonce sent back', serverFirst({ nonce })],
    ['a nonce with a character that is not printable', serverFirst({ nonce: `${nonce}a\x01` })],
    ['a nonce longer than 1 KiB', serverFirst({ nonce: nonce + 'a'.repeat(1_005) })],
    ['a nonce of 1 MB', serverFirst({ nonce: nonce + 'a'.repeat(1_000_000) })],
    ['no salt', serverFirst({ salt: '' })],
    ['2^31 iterations', serverFirst({ iterations: '2147483648' })],
    ['1,000,001 iterations', serverFirst({ iterations: '1000001' })],
    ['0 iterations', serverFirst({ iterations: '0' })],
    ['negative iterations', serverFirst({ iterations: '-1' })],
    ['an extension that must be understood', Buffer.from(`m=x,${serverFirst().toString()}`)],
    ['text behind the iterations', Buffer.from(`${serverFirst().toString()},x=1`)],
    ['an empty message', Buffer.alloc(0)],
  ])('refuses %s', async (_, message) => {
    await expect(answerScram(startScram(plain, nonce), message, Buffer.from('pencil'))).rejects.toMatchObject({ code: 'TARGET_LOGIN_FAILED' });
  });

  test('takes a nonce of exactly 1 KiB', async () => {
    await expect(answerScram(startScram(plain, nonce), serverFirst({ nonce: nonce + 'a'.repeat(1_004) }), Buffer.from('pencil'))).resolves.toBeDefined();
  });

  test.each(['v=', 'v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=', 'e=invalid-proof', '', 'x'.repeat(1_000_000)])('refuses the final message %.20s', async (message) => {
    const { serverSignature } = await answerScram(startScram(plain, nonce), serverFirst(), Buffer.from('pencil'));
    expect(() => checkServerFinal(Buffer.from(message), serverSignature)).toThrow(expect.objectContaining({ code: 'TARGET_LOGIN_FAILED' }));
  });
});
