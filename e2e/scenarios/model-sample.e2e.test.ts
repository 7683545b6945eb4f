import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { compareAnswers, type TwoWays, twoWays } from '../fuzz/compare-answers.ts';
import { seededRandom } from '../fuzz/random.ts';
import { randomSequence } from '../fuzz/sequences.ts';
import { startWorld, type World } from '../hosts/gateway.ts';

// The same sample each time; `make model` compares thousands of new ones. A finding names its seed: `make model COUNT=1 SEED=…`.
let world: World;
let ways: TwoWays;

beforeAll(async () => {
  world = await startWorld();
  ways = await twoWays(world);
}, 60_000);

afterAll(async () => {
  await world[Symbol.asyncDispose]();
});

test('150 random sequences of messages, in one piece and in many, are answered as the server answers them', async () => {
  const first = 228_978_600;
  let next = first;
  const divergent: object[] = [];
  await Promise.all(Array.from({ length: 3 }, async () => {
    while (next < first + 150) {
      const seed = next++;
      const random = seededRandom(seed);
      const { divergence } = await compareAnswers(ways, randomSequence(random), random);
      if (divergence) divergent.push({ seed, ...divergence, steps: divergence.steps.map(({ shown }) => shown) });
    }
  }));
  expect(divergent).toEqual([]);
}, 120_000);
