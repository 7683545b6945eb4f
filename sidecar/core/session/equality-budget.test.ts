import { expect, test } from '@jest/globals';
import { EqualityBudget, equalitiesPerMinute } from './equality-budget.ts';

test('an identity may ask thirty times in a minute, over all its sessions, and again when the first answers are a minute old', () => {
  const budget = new EqualityBudget();
  const asked = Array.from({ length: equalitiesPerMinute + 1 }, (_, n) => budget.take('alice', n * 100));
  expect(asked.filter(Boolean)).toHaveLength(equalitiesPerMinute);
  expect(budget.take('alice', 59_999)).toBe(false);
  expect(budget.take('alice', 60_000)).toBe(true);
  expect(budget.take('alice', 60_001)).toBe(false);
});

test('one identity does not spend what is another one’s', () => {
  const budget = new EqualityBudget();
  for (let n = 0; n < equalitiesPerMinute; n++) budget.take('alice', 0);
  expect(budget.take('bob', 0)).toBe(true);
});

test('many identities do not make the count grow without end', () => {
  const budget = new EqualityBudget();
  for (let n = 0; n < equalitiesPerMinute; n++) budget.take('first', 0);
  for (let n = 0; n < 10_000; n++) budget.take(`user ${n}`, 1);
  expect(budget.take('first', 2)).toBe(true);
});
