import { watch } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const pollMs = 300;
const settleMs = 100;
const maxSettleMs = 400;
const maxEntries = 4_096;

/**
 * Calls `onChange` now, and again after each change of the directory's entries, until the signal aborts. A change is seen within 300 ms and reported once two looks 100 ms
 * apart agree (400 ms at most), so that a file is rarely read half-written.
 *
 * Looks at names, sizes, times and inodes, through symbolic links, so that a mounted ConfigMap, whose `..data` link is swapped, is seen too. `fs.watch` only wakes
 * the loop earlier: it misses changes behind links, on network disks, and of a directory that is replaced.
 *
 * @param onChange must not reject; it is awaited, so it never runs twice at a time.
 * @returns after the first call.
 */
export async function watchDirectory(dir: string, onChange: () => Promise<void>, signal: AbortSignal): Promise<void> {
  // Before the first load: a change during it must count as one.
  const first = await signatureOf(dir);
  await onChange();
  void follow(dir, first, onChange, signal);
}

async function follow(dir: string, first: string, onChange: () => Promise<void>, signal: AbortSignal): Promise<void> {
  const waker = createWaker(dir, signal);
  let seen = first;
  while (!signal.aborted) {
    await waker.wait(pollMs);
    if (signal.aborted) return;
    const now = await signatureOf(dir);
    if (now === seen) continue;
    seen = await settled(dir, now);
    if (signal.aborted) return;
    await onChange();
  }
}

async function settled(dir: string, first: string): Promise<string> {
  let last = first;
  for (let waited = 0; waited < maxSettleMs; waited += settleMs) {
    await sleep(settleMs);
    const now = await signatureOf(dir);
    if (now === last) return now;
    last = now;
  }
  return last;
}

/** What the directory looks like; equal texts mean that nothing was changed. */
async function signatureOf(dir: string): Promise<string> {
  try {
    const own = await stat(dir, { bigint: true });
    const names = (await readdir(dir)).sort().slice(0, maxEntries);
    const lines = await Promise.all(names.map(async (name) => {
      const link = await lstat(join(dir, name), { bigint: true }).catch(() => null);
      const target = link?.isSymbolicLink() === true ? await stat(join(dir, name), { bigint: true }).catch(() => null) : null;
      return [name, ...[link, target].map((each) => (each === null ? '-' : `${each.ino} ${each.size} ${each.mtimeNs} ${each.ctimeNs}`))].join('\t');
    }));
    return [own.ino, ...lines].join('\n');
  } catch {
    return 'unreadable';
  }
}

/** Sleeps until something may have changed. An event that comes while nobody sleeps ends the next sleep at once. */
function createWaker(dir: string, signal: AbortSignal): { wait(ms: number): Promise<void> } {
  let pending = false;
  let wakeUp: (() => void) | null = null;
  const wake = (): void => {
    pending = true;
    wakeUp?.();
  };
  signal.addEventListener('abort', wake, { once: true });
  try {
    const watcher = watch(dir, { signal, persistent: false }, wake);
    // The directory may vanish or watches may run out: the poll goes on.
    watcher.on('error', () => undefined);
  } catch {
    // The same.
  }
  return {
    async wait(ms: number): Promise<void> {
      if (!pending) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ms);
          wakeUp = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      pending = false;
      wakeUp = null;
    },
  };
}
