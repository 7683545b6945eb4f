import { expect, test } from '@jest/globals';
import { shellItems, transferItems } from './ssh-items.ts';

test('a text asks for each of its commands and for each thing that cannot be known', () => {
  const command = { program: 'id', path: 'id', words: [{ kind: 'static', text: 'id' }], writes: [], needsRule: true } as const;
  expect(shellItems({ commands: [command], unknowns: [{ reason: 'a variable names the program', source: '$x' }] })).toEqual([{ kind: 'command', command }, { kind: 'unknown', reason: 'a variable names the program: $x' }]);
});

test('a transfer asks for its paths; of rsync whatever is below them too', () => {
  expect(transferItems({ kind: 'scp', direction: 'Write', paths: ['/srv//drop/./a'] })).toEqual([{ kind: 'file', operation: 'Write', path: '/srv/drop/a', bytes: null }]);
  expect(transferItems({ kind: 'rsync', direction: 'Read', paths: ['/srv/a', '/srv/b/../c'] })).toEqual([
    { kind: 'file', operation: 'Read', path: '/srv/a', bytes: null, below: 'All' }, { kind: 'file', operation: 'Read', path: '/srv/c', bytes: null, below: 'All' },
  ]);
  expect(transferItems({ kind: 'git', direction: 'Read', paths: ['/srv/x.git'] })).toEqual([{ kind: 'file', operation: 'Read', path: '/srv/x.git', bytes: null, below: 'Moved' }]);
});

test('where a relative path leads, nobody knows without the target', () => {
  expect(transferItems({ kind: 'scp', direction: 'Read', paths: ['/a', 'b'] })).toBeNull();
});
