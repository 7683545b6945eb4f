import { readFileSync } from 'node:fs';

/** CPU seconds (user and system) that a process has used, its threads included. @see proc(5), /proc/[pid]/stat fields 14 and 15 */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Resident memory, MiB. */
export function residentMiB(pid: number): number {
  const line = readFileSync(`/proc/${pid}/status`, 'utf8').split('\n').find((text) => text.startsWith('VmRSS'));
  return Math.round(Number(line?.replaceAll(/\D/g, '') ?? 0) / 1024);
}
