import { expect, test } from '@jest/globals';
import { passesEnvironment, recordedName } from './environment.ts';

test.each([
  ['LANG', 'de_DE.UTF-8', true], ['LC_ALL', 'C', true], ['TERM', 'xterm-256color', true], ['LC_ALL', '$(id)', false], ['LC_ALL', 'a b', false], ['LC_ALL', 'x'.repeat(129), false], ['LC_', 'C', false], ['LANGUAGE', 'de', false],
  ['PATH', '/tmp', false], ['LD_PRELOAD', 'x', false], ['BASH_ENV', 'x', false], ['SALLYPORT_LEVEL', 'RawShell', false],
])('%s=%s reaches the target: %s', (name, value, passes) => expect(passesEnvironment(name, value)).toBe(passes));

test('a name is recorded short and printable', () => {
  expect(recordedName(`a\u001b[2J ${'x'.repeat(100)}`)).toBe(`a?[2J?${'x'.repeat(58)}`);
});
