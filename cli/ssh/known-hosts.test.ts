import { createHmac } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { knownKeys } from './known-hosts.ts';

const [a, b] = ['AAAAC3NzaC1lZDI1NTE5AAAAIAEB', 'AAAAC3NzaC1lZDI1NTE5AAAAIAIC'];

function found(text: string, host = 'web-1.payments', port = 22): readonly string[] {
  return knownKeys(text, host, port).map((key) => `${key.type} ${Buffer.from(key.blob).toString('base64')}`);
}

function hashed(name: string): string {
  const salt = Buffer.alloc(20, 5);
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`;
}

test.each([
  ['a name', `web-1.payments ssh-ed25519 ${a}`], ['one of several', `x,web-1.payments,y ssh-ed25519 ${a} comment`], ['a pattern, as the operator publishes it', `*.payments,*.payments.svc ssh-ed25519 ${a}`], ['a question mark', `web-?.payments ssh-ed25519 ${a}`],
  ['a hashed name', `${hashed('web-1.payments')} ssh-ed25519 ${a}`], ['another case', `WEB-1.Payments ssh-ed25519 ${a}`],
])('%s gives its key', (_name, line) => {
  expect(found(`# comment\n\n${line}\n`)).toEqual([`ssh-ed25519 ${a}`]);
});

test.each([
  ['another name', `web-2.payments ssh-ed25519 ${a}`], ['a pattern with an exception', `*.payments,!web-1.payments ssh-ed25519 ${a}`], ['a name in which a dot would be any character', `web-1xpayments ssh-ed25519 ${a}`],
  ['another hashed name', `${hashed('web-2.payments')} ssh-ed25519 ${a}`], ['a commented line', `#web-1.payments ssh-ed25519 ${a}`], ['an authority', `@cert-authority *.payments ssh-ed25519 ${a}`], ['a revoked key', `@revoked * ssh-ed25519 ${a}\nweb-1.payments ssh-ed25519 ${a}`],
  ['half a line', 'web-1.payments ssh-ed25519'], ['the port of another listener', `[web-1.payments]:2222 ssh-ed25519 ${a}`],
])('%s gives none', (_name, text) => {
  expect(found(text)).toEqual([]);
});

test('a port other than 22 is part of the name, also of a hashed one', () => {
  expect(found(`[127.0.0.1]:15432 ssh-ed25519 ${a}\n${hashed('[127.0.0.1]:15432')} ssh-ed25519 ${b}\n127.0.0.1 ssh-ed25519 ${b}`, '127.0.0.1', 15_432)).toEqual([`ssh-ed25519 ${a}`, `ssh-ed25519 ${b}`]);
});
