import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { judgeCase, readCases } from '../../tools/testkit/shell-verdicts.ts';
import { createShellParser } from './shell-parser.ts';

const parser = createShellParser();

// Vectors in a form that others can use: README.md beside them says the policy that they assume.
describe.each(['ssh_cases', 'own_cases'])('%s', (file) => {
  test.each(readCases(readFileSync(new URL(`../core/shell/testdata/${file}.json`, import.meta.url), 'utf8')).map((shellCase) => [shellCase.id, shellCase] as const))('%s has an accepted verdict', async (_id, shellCase) => {
    const { verdict, reasons } = await judgeCase(shellCase, parser);
    expect({ command: shellCase.command, reasons, accepted: shellCase.accept.includes(verdict) ? verdict : shellCase.accept }).toEqual({ command: shellCase.command, reasons, accepted: verdict });
  });
});
