import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fakeClock } from '../../tools/testkit/fake-clock.ts';
import { settle } from '../../tools/testkit/settle.ts';
import { createPacer } from './pacer.ts';
import { overdue } from './retention.ts';

const limits = { perNamespace: 3, perCluster: 5 };

describe('retention', () => {
  test('is over by age, oldest first', () => {
    const objects = [one('a', 'x', 30), one('b', 'x', 10), one('c', 'x', 20)];
    expect(overdue(objects, { perNamespace: 10, perCluster: 10 }, 125)).toEqual(['b', 'c']);
  });

  test('is over for the oldest of what a namespace and the cluster have too many of', () => {
    const objects = ['x', 'y', 'z'].flatMap((namespace) => [1, 2, 3, 4].map((age) => one(`${namespace}/${age}`, namespace, age)));
    expect(overdue(objects, limits, 10)).toEqual(['z/1', 'y/1', 'x/1', 'z/2', 'y/2', 'x/2', 'z/3']);
    expect(objects.length - overdue(objects, limits, 10).length).toBe(5);
  });

  test('leaves at most the numbers, and everything younger than what it deletes in a namespace', () => {
    const object = fc.record({ namespace: fc.constantFrom('x', 'y'), finishedAtMs: fc.integer({ min: 0, max: 50 }) });
    fc.assert(fc.property(fc.array(object, { maxLength: 30 }), (objects) => {
      const all = objects.map((each, index) => ({ ...each, key: String(index), maxAgeMs: 1_000 }));
      const gone = new Set(overdue(all, limits, 100));
      const left = all.filter((each) => !gone.has(each.key));
      expect(left.length).toBeLessThanOrEqual(limits.perCluster);
      for (const namespace of ['x', 'y']) {
        const [kept, deleted] = [left, all.filter((each) => gone.has(each.key))].map((some) => some.filter((each) => each.namespace === namespace).map((each) => each.finishedAtMs));
        expect(kept!.length).toBeLessThanOrEqual(limits.perNamespace);
        expect(Math.max(...deleted!, -1)).toBeLessThanOrEqual(Math.min(...kept!, 1_000));
      }
    }));
  });
});

test('turns are spread evenly over all who ask, and none are saved up', async () => {
  const clock = fakeClock();
  const pacer = createPacer(clock, 20);
  const { signal } = new AbortController();
  const taken: number[] = [];
  const turns = Array.from({ length: 5 }, async () => {
    await pacer.turn(signal);
    taken.push(clock.monotonicMs());
  });
  for (let ms = 0; ms < 200; ms += 50) {
    await settle();
    clock.advance(50);
  }
  await Promise.all(turns);
  expect(taken.map((ms) => ms - taken[0]!)).toEqual([0, 50, 100, 150, 200]);
});

function one(key: string, namespace: string, finishedAtMs: number): { readonly key: string; readonly namespace: string; readonly finishedAtMs: number; readonly maxAgeMs: number } {
  return { key, namespace, finishedAtMs, maxAgeMs: 100 };
}
