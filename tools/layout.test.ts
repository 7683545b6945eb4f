import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { listSources } from './stats.ts';

/** docs/adr/0003: layout is written by people; this is what a machine can check. */
const rules: Readonly<Record<string, (text: string) => boolean>> = {
  'ends with exactly one line feed': (text) => /[^\n]\n$/.test(text),
  'has no tab, carriage return or blank at a line end': (text) => !/\t|\r| $/m.test(text),
};

describe('every source', () => {
  const sources = listSources().flatMap((path) => {
    try {
      return [[path, readFileSync(path, 'utf8')] as const];
    } catch {
      return []; // removed in the working tree
    }
  });

  test.each(Object.keys(rules))('%s', (rule) => {
    expect(sources.filter(([, text]) => !rules[rule]?.(text)).map(([path]) => path)).toEqual([]);
  });

  // `// Whole: the reason` stands among the imports or in the first docstring.
  test('above 400 lines says at its top why it is whole', () => {
    const silent = sources.filter(([, text]) => text.split('\n').length - 1 > 400 && !/(\/\/|\*) .*[Ww]hole:/.test(text.split('\n').slice(0, 60).join('\n')));
    expect(silent.map(([path]) => path)).toEqual([]);
  });
});
