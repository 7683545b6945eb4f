import { expect, test } from '@jest/globals';
import { tryFrames, tryStartup } from '../fuzz/decoders.ts';
import { fuzzGateway } from '../fuzz/gateway-fuzz.ts';
import { seededRandom } from '../fuzz/random.ts';
import { startWorld } from '../hosts/gateway.ts';

// A sample; `make fuzz` tries a million.
const seed = 20_261_124;

test('hostile startup packets are parsed or refused, never thrown at', () => {
  const random = seededRandom(seed);
  for (let n = 0; n < 10_000; n++) expect(() => tryStartup(random)).not.toThrow();
});

test('hostile frames of both sides, in any pieces, end in frames or in a typed error', () => {
  const random = seededRandom(seed + 1);
  let frames = 0;
  while (frames < 20_000) frames += tryFrames(random, random.chance(0.5) ? 'client' : 'server');
  expect(frames).toBeGreaterThanOrEqual(20_000);
}, 60_000);

test('a gateway under hostile packets and frames goes on serving another session', async () => {
  await using world = await startWorld();
  const outcome = await fuzzGateway(world, seededRandom(seed + 2), { packets: 200, frames: 1_500 });
  expect(outcome.frames).toBeGreaterThanOrEqual(1_500);
  expect(world.gateway.stderr()).not.toContain('"relay failed"');
}, 120_000);
