import { startWorld } from '../hosts/gateway.ts';
import { tryFrames, tryStartup } from './decoders.ts';
import { fuzzGateway } from './gateway-fuzz.ts';
import { seededRandom } from './random.ts';

// make fuzz COUNT=1000000: most of it through the readers of both sides in this process, a share against a real gateway with a real PostgreSQL behind it.
const count = Number(process.argv[2] ?? 1_000_000);
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 31);
const random = seededRandom(seed);
const startedMs = performance.now();
process.stdout.write(`seed ${seed} (give it as second argument to repeat)\n`);

const before = process.memoryUsage().rss;
const packets = Math.floor(count * 0.3);
for (let n = 0; n < packets; n++) tryStartup(random);
report('startup packets, readers', packets);
let frames = 0;
while (frames < count * 0.65) frames += tryFrames(random, random.chance(0.5) ? 'client' : 'server');
report('frames of both sides, readers', frames);
const grown = Math.round((process.memoryUsage().rss - before) / 2 ** 20);

await using world = await startWorld();
const share = { packets: Math.max(100, Math.floor(count * 0.005)), frames: Math.max(1_000, Math.floor(count * 0.045)) };
const gateway = await fuzzGateway(world, random, share);
report('startup packets, gateway', gateway.packets);
report('frames, gateway', gateway.frames);
process.stdout.write(`${packets + frames + gateway.packets + gateway.frames} in all: no crash, no hang; readers grew by ${grown} MiB, the gateway stands at ${gateway.residentMiB} MiB\n`);

function report(what: string, done: number): void {
  process.stdout.write(`${String(done).padStart(9)} ${what}, ${((performance.now() - startedMs) / 1000).toFixed(1)} s\n`);
}
