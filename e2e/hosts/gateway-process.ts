import { readdirSync, readFileSync } from 'node:fs';
import type { World } from './gateway.ts';

/** Resident set of the gateway process, in bytes. */
export function residentBytes({ gateway }: Pick<World, 'gateway'>): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.child.pid}/status`, 'utf8'))?.[1] ?? 0) * 1_024;
}

/** Open file descriptors of the gateway process. */
export function descriptors({ gateway }: Pick<World, 'gateway'>): number {
  return readdirSync(`/proc/${gateway.child.pid}/fd`).length;
}

/** Waits until `isTrue`, asking every 20 ms; throws with `what` when it takes longer. */
export async function eventually(what: string, isTrue: () => boolean | Promise<boolean>, limitMs = 5_000): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await isTrue())) {
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Highest value that `read` gives while `during` runs, looked at every 50 ms. */
export async function highest(read: () => number, during: Promise<unknown>): Promise<number> {
  let peak = read();
  const timer = setInterval(() => { peak = Math.max(peak, read()); }, 50);
  try {
    await during;
  } finally {
    clearInterval(timer);
  }
  return Math.max(peak, read());
}
