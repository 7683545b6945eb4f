import { startWorld } from '../hosts/gateway.ts';
import { compareAnswers, type Comparison, type Divergence, hasCrashed, twoWays } from './compare-answers.ts';
import { seededRandom } from './random.ts';
import { randomSequence } from './sequences.ts';

/** `model.ts COUNT [SEED]`: that many random sequences, one seed each from SEED on; ends with 1 when any was answered unlike the server. */
const count = Number(process.argv[2] ?? 2_000);
const firstSeed = Number(process.argv[3] ?? (Date.now() & 0x7fffffff));
process.stdout.write(`model: ${count} sequences, seeds from ${firstSeed}\n`);

// The log is searched for crashes: without every statement in it, it stays small.
await using world = await startWorld({ postgres: { settings: { log_statement: "'none'" } } });
const ways = await twoWays(world);
const started = performance.now();
let next = firstSeed;
let messages = 0;
let divergences = 0;
let cut = 0;
const crashed = { crashes: 0, untilMs: 0 };
await Promise.all(Array.from({ length: 4 }, worker));
const seconds = (performance.now() - started) / 1_000;
process.stdout.write(`model: ${count} sequences, ${messages} messages, ${divergences} divergences, ${cut} compared up to a deliberate difference, ${crashed.crashes} crashes of the server itself, ${seconds.toFixed(0)} s, ${(count / seconds).toFixed(0)} sequences/s\n`);
process.exitCode = divergences > 0 ? 1 : 0;

async function worker(): Promise<void> {
  while (next < firstSeed + count && divergences < 20) {
    const seed = next++;
    const random = seededRandom(seed);
    const steps = randomSequence(random);
    messages += steps.length;
    const compared = await compareAnswers(ways, steps, random).catch((error: unknown) => ({ divergence: { steps, how: 'whole', direct: [], proxied: [String(error)] }, cut: false }) satisfies Comparison);
    if (compared.cut) cut++;
    if (compared.divergence && !(await hasCrashed(world, ways, crashed))) report(seed, compared.divergence);
  }
}

function report(seed: number, { steps, direct, proxied, how }: Divergence): void {
  divergences++;
  let at = 0;
  while (at < direct.length && direct[at] === proxied[at]) at++;
  const lines = [`seed ${seed} (${how}):`, ...steps.map((step) => `    ${step.shown}`), `  alike for ${at}: ${direct.slice(Math.max(0, at - 4), at).join(' | ')}`, `  server:  ${direct.slice(at, at + 6).join(' | ')}`, `  gateway: ${proxied.slice(at, at + 6).join(' | ')}`];
  process.stdout.write(`${lines.join('\n')}\n`);
}
