import { expect, test } from '@jest/globals';
import { NameTable } from './statements.ts';

test('a name counts from the message that makes it on, and stays when the server confirms it', () => {
  const table = new NameTable<string>();
  table.send('s', 'one');
  expect(table.get('s')).toBe('one');
  table.confirm('s', 'one');
  table.dropSent();
  expect([table.get('s'), table.size]).toEqual(['one', 1]);
});

test('a name whose message was skipped after an error is what the server last confirmed', () => {
  const table = new NameTable<string>();
  table.confirm('s', 'old');
  table.send('s', 'new');
  table.send('t', 'other');
  table.dropSent();
  expect([table.get('s'), table.get('t')]).toEqual(['old', null]);
});

test('a name that is closed is gone for the messages behind, and back when the Close was skipped', () => {
  const table = new NameTable<string>();
  table.confirm('s', 'one');
  table.send('s', null);
  expect(table.get('s')).toBeNull();
  table.dropSent();
  expect(table.get('s')).toBe('one');
  table.confirm('s', null);
  expect([table.get('s'), table.size]).toEqual([null, 0]);
});

test('an answer to an earlier message does not take away what a later one made', () => {
  const table = new NameTable<string>();
  table.send('', 'one');
  table.send('', 'two');
  table.confirm('', 'one');
  expect(table.get('')).toBe('two');
  table.confirm('', 'two');
  expect([table.get(''), table.size]).toEqual(['two', 1]);
});

test('confirmed names are cleared all at once or by choice; those on their way stay', () => {
  const table = new NameTable<string>();
  table.confirm('a', 'keep');
  table.confirm('b', 'drop');
  table.send('c', 'drop');
  table.clear((value) => value === 'drop');
  expect([table.get('a'), table.get('b'), table.get('c')]).toEqual(['keep', null, 'drop']);
  table.clear();
  expect([table.get('a'), table.get('c')]).toEqual([null, 'drop']);
});
