import { expect, test } from '@jest/globals';
import { detectorNames } from '../../../contract/detectors.ts';
import type { MaskingRule } from '../../../contract/proxy-config.ts';
import { redactCommandText } from './redact-command.ts';

const rules = [{ name: 'r', columns: null, detectors: [...detectorNames], style: 'Partial', keepFirst: 0, keepLast: 4 }] as unknown as readonly MaskingRule[];

test.each([
  ['grep 4539628173056482 /var/log/app', 'grep ******** /var/log/app'],
  ['grep 4539\'6281\'73056482 x', 'grep ******** x'],
  ['echo "4539 6281 7305 6482"', 'echo "********"'],
  ['echo 4539\\\n628173056482', 'echo ********'],
  ['mail -s hi asmith@bank.example', 'mail -s hi ********'],
  ['echo é536-22-7841é', 'echo é********é'],
  ['uptime', 'uptime'],
])('%s is shown as %s', (text, shown) => {
  expect(redactCommandText(text, rules)).toBe(shown);
});

test.each([
  ['mysqldump --password hunter2 db', 'mysqldump --password ******** db'],
  ['PGPASSWORD=hunter2x psql', 'PGPASSWORD=******** psql'],
  ['curl https://bob:s3cr3t@host/x', 'curl https://bob:********@host/x'],
  ['deploy --api-key "abc def" now', 'deploy --api-key ******** def" now'],
  ['aws configure set AKIAIOSFODNN7EXAMPLE', 'aws configure set ********'],
  ['git config --unset-token --global', 'git config --unset-token --global'],
])('%s hides its secret without any rule', (text, shown) => {
  expect(redactCommandText(text, [])).toBe(shown);
});

test('a long text takes time in proportion to its length', () => {
  const started = performance.now();
  redactCommandText(`echo ${'password password= --token '.repeat(2400)}`, rules);
  redactCommandText('\'4539\''.repeat(10_000), rules);
  expect(performance.now() - started).toBeLessThan(2000);
});
