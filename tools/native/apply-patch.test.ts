import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { applyHunks, parsePatch } from './apply-patch.ts';

const text = ['one', 'two', 'three', 'four', 'five'].join('\n');
const patch = `A remark.
--- a/lib/x.js
+++ b/lib/x.js
@@ -1,0 +2,2 @@
+one and a half
+one and three quarters
@@ -3 +5 @@
-three
+THREE
@@ -5 +7,0 @@
-five
`;
const hunks = parsePatch(patch)[0]?.hunks ?? [];
const patched = ['one', 'one and a half', 'one and three quarters', 'two', 'THREE', 'four'].join('\n');

describe('a patch without context', () => {
  test('inserts, replaces and removes exactly where it says', () => expect(applyHunks(text, hunks)).toBe(patched));
  test('can be taken away again', () => expect(applyHunks(patched, hunks, true)).toBe(text));
  test.each([['a line that it replaces is another', text.replace('three', 'tree'), false], ['it is there already', patched, false], ['it is not there to be taken away', text, true]])('is refused when %s', (_name, input, reverse) => {
    expect(() => applyHunks(input, hunks, reverse)).toThrow(/is not what the patch replaces/);
  });
  test('with context, or with anything else in it, is no such patch', () => expect(() => parsePatch(`${patch} context`)).toThrow('not a line of a patch without context:  context'));
});

test('the patch of ssh2 has under 200 lines', () => {
  expect(readFileSync(new URL('ssh2-1.17.0.patch', import.meta.url), 'utf8').split('\n').length).toBeLessThan(200);
});
