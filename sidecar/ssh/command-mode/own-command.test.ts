import { expect, test } from '@jest/globals';
import { readOwnCommand } from './own-command.ts';

test.each([
  ['exit', { kind: 'exit', status: null }], [' exit 3 ', { kind: 'exit', status: 3 }], ['logout', { kind: 'exit', status: null }], ['exit 257', { kind: 'exit', status: 1 }], [':help', { kind: 'help' }], [':raw', { kind: 'raw' }],
  ['exit; ls', null], ['exit 1 2', null], ['exit x', null], ['exit $x', null], [':raw now', null], ['ls', null], ['', null],
])('%j', (text, command) => expect(readOwnCommand(text)).toEqual(command));
