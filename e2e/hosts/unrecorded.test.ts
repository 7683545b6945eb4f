import { createHmac } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { compareServerWithRecords, executedStatements } from './unrecorded.ts';

const session = '01M86NTS57WXDSRJGJ1ZS7GJPT';
const prefix = `2026-11-24 11:42:34.397 UTC [22987] sallyport/${session}/oidc:a@b LOG:  `;
const key = Buffer.alloc(32, 7);
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sallyport-unrecorded-'));
  mkdirSync(join(directory, 'keys'));
  mkdirSync(join(directory, 'log', 'A'), { recursive: true });
  writeFileSync(join(directory, 'keys', 'digest.key'), `${key.toString('hex')}\n`);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const intent = (text: string): string => `{"event_code":"statement.intent","correlation_uid":"${session}","x":{"text_hmac":"hmac-sha256:${createHmac('sha256', key).update(`sallyport/text/v1\0${text}`).digest('hex')}"}}`;

test('a statement that ran twice and was recorded once is found, also when its text has several lines', async () => {
  writeFileSync(join(directory, 'log', 'A', '0.ndjson'), `${[intent('select 1'), intent('select\n2'), intent('BEGIN')].join('\n')}\n`);
  const log = `${prefix}statement: select 1\n${prefix}execute <unnamed>/p: select\n\t2\n${prefix}execute S_1: select 1\n${prefix}execute sallyport_own_1/sallyport_own_1: select x\n`;
  expect(await compareServerWithRecords({ log: () => log }, directory)).toEqual({ executed: 3, sessions: 1, unrecorded: [`${session}: select 1`] });
});

test('lines of other connections, connects and details are no statements', () => {
  expect(executedStatements(`2026-11-24 11:42:34.397 UTC [1] psql LOG:  statement: select 1\n${prefix.replace('LOG:  ', 'DETAIL:  ')}Parameters: $1 = 'LOG:  statement: x'\n${prefix}connection authorized: user=x`)).toEqual([]);
});
