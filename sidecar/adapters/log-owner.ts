import fs from 'node:fs';
import { join } from 'node:path';

/** Says in a log's directory which process writes it. Process ids are reused (always 1 in a container), so the start time counts too. */
export function claimLog(directory: string): void {
  fs.writeFileSync(join(directory, 'owner.json'), `${JSON.stringify({ pid: process.pid, started: startTicks(process.pid) })}\n`, { mode: 0o600 });
}

/** Takes the claim away at a clean close. */
export function releaseLog(directory: string): void {
  fs.rmSync(join(directory, 'owner.json'), { force: true });
}

/** True when the process that writes this log is alive; `mine` tells whether it is this one. */
export function logOwner(directory: string): { readonly alive: boolean; readonly mine: boolean } {
  let owner: unknown;
  try {
    owner = JSON.parse(fs.readFileSync(join(directory, 'owner.json'), 'utf8'));
  } catch {
    return { alive: false, mine: false };
  }
  if (typeof owner !== 'object' || owner === null || !('pid' in owner) || typeof owner.pid !== 'number' || !('started' in owner)) return { alive: false, mine: false };
  const started = startTicks(owner.pid);
  const alive = started === null ? owner.started === null && exists(owner.pid) : started === owner.started;
  return { alive, mine: alive && owner.pid === process.pid };
}

/** Field 22 of /proc/PID/stat; null where there is no such file. The command's name may hold spaces and brackets, so it is cut off first. */
function startTicks(pid: number): string | null {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return typeof error === 'object' && error !== null && 'code' in error && error.code === 'EPERM';
  }
}
