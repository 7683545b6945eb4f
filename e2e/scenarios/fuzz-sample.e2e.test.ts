import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { fuzzGateway } from '../fuzz/fuzz-gateway.ts';
import { fuzzRelay } from '../fuzz/fuzz-relay.ts';
import { fuzzStartup } from '../fuzz/fuzz-startup.ts';
import { startWatch, type Watch } from '../fuzz/watch.ts';

// A sample with a new seed each time; `make fuzz` sends a million. A finding names its seed.
const seed = Date.now() & 0x3fffffff;
let watch: Watch;

beforeAll(() => { watch = startWatch(); });
afterAll(() => watch.stop());

describe('whatever a peer sends, nothing throws, hangs, or allocates by a length that was only declared', () => {
  test('8,000 startup packets', async () => {
    const outcomes = await fuzzStartup(8_000, seed, watch);
    expect({ seed, findings: watch.findings }).toEqual({ seed, findings: [] });
    // Both doors were tried: what is legal gets in.
    expect(outcomes).toMatchObject({ session: expect.any(Number), cancel: expect.any(Number), 'closed PROTOCOL_VIOLATION': expect.any(Number) });
  }, 60_000);

  test.each(['client', 'server'] as const)('6,000 frames of a hostile %s', async (side) => {
    const ends = await fuzzRelay(side, 6_000, seed, watch);
    expect({ seed, findings: watch.findings, largest: watch.largestAllocation() < 262_144 }).toEqual({ seed, findings: [], largest: true });
    expect(ends).toMatchObject({ ClientClosed: expect.any(Number), ProtocolViolation: expect.any(Number) });
  }, 60_000);

  test('2,000 frames and 200 startup packets to a real gateway, whose other sessions go on and whose records verify', async () => {
    const figures = await fuzzGateway({ frames: 2_000, startups: 200 }, seed, watch);
    expect({ seed, findings: watch.findings }).toEqual({ seed, findings: [] });
    expect(figures.control.queries).toBeGreaterThan(10);
  }, 60_000);
});
