import { fuzzGateway } from './fuzz-gateway.ts';
import { fuzzRelay } from './fuzz-relay.ts';
import { fuzzStartup } from './fuzz-startup.ts';
import { startWatch } from './watch.ts';

/** `fuzz.ts [COUNT] [SEED]`: COUNT hostile frames and startup packets (default 1,000,000), repeatable by SEED; ends with 1 when anything was found. */
const count = Number(process.argv[2] ?? 1_000_000);
const seed = Number(process.argv[3] ?? (Date.now() & 0x3fffffff));
/** Of COUNT: over real sockets to a real gateway with PostgreSQL behind it; the rest in memory, where a million takes minutes. */
const shares = { startup: 0.25, client: 0.35, server: 0.25, gatewayFrames: 0.13, gatewayStartups: 0.02 } as const;
const limitRssMiB = 1_024;
/** Nothing sent here is longer than a few kilobytes, so no length may lead to a larger buffer than this. */
const limitAllocationBytes = 262_144;

say(`fuzz: ${count} frames and startup packets, seed ${seed}`);
const watch = startWatch();
await part('startup packets in memory', shares.startup, (n) => fuzzStartup(n, seed, watch));
await part('hostile client in memory', shares.client, (n) => fuzzRelay('client', n, seed, watch));
await part('hostile server in memory', shares.server, (n) => fuzzRelay('server', n, seed, watch));
const largest = watch.largestAllocation();
if (largest > limitAllocationBytes) watch.report('allocation', `${largest} bytes at once`);
if (watch.peakRss() > limitRssMiB * 1_048_576) watch.report('memory', `${watch.peakRss()} bytes resident`);
say(`  largest single buffer ${largest} bytes, peak ${Math.round(watch.peakRss() / 1_048_576)} MiB resident`);
await part('real gateway and PostgreSQL', shares.gatewayFrames + shares.gatewayStartups, () => fuzzGateway({ frames: Math.round(count * shares.gatewayFrames), startups: Math.round(count * shares.gatewayStartups) }, seed, watch));
watch.stop();
for (const finding of watch.findings) say(`FOUND ${finding}`);
say(watch.findings.length === 0 ? 'fuzz: nothing found' : `fuzz: ${watch.findings.length} findings; repeat with: make fuzz COUNT=${count} SEED=${seed}`);
process.exit(watch.findings.length === 0 ? 0 : 1);

async function part(name: string, share: number, run: (count: number) => Promise<object>): Promise<void> {
  const frames = Math.max(1, Math.round(count * share));
  const started = performance.now();
  const outcome = await run(frames);
  const seconds = (performance.now() - started) / 1_000;
  say(`  ${name}: ${frames} in ${seconds.toFixed(0)} s, ${Math.round(frames / seconds)}/s ${JSON.stringify(outcome)}`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
