import type { EventCode, SshEventCode } from '../../../contract/audit.ts';

/** The event that closes what an event opened; null for events that open nothing. */
export function closingCode(code: string): SshEventCode | null {
  return closers[code] ?? null;
}

/** Whether an event closes an operation. */
export function closesOperation(code: string): boolean {
  return Object.values(closers).includes(code as SshEventCode);
}

/** Whether an event says that something was refused. */
export function isRefusal(code: string): boolean {
  return refusals.has(code);
}

/** Bytes that an operation gave to the user, by the facts of the event that closes it: output, files read, and what came back through a forward. */
export function bytesToUser(facts: Readonly<Record<string, unknown>>): number {
  return ['bytes_out', 'bytes_err', 'bytes_down', 'bytes_read'].reduce((sum, key) => sum + countOf(facts[key]), 0);
}

/** Values that were hidden in the output of an operation, by the facts of the event that closes it. */
export function hiddenValues(facts: Readonly<Record<string, unknown>>): number {
  return countOf(facts['detector_hits']);
}

function countOf(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
}

const closers: Readonly<Record<string, SshEventCode | undefined>> = { 'exec.intent': 'exec.result', 'shell.start': 'shell.end', 'file.intent': 'file.result', 'forward.open': 'forward.closed' };
const refusals: ReadonlySet<string> = new Set<EventCode>(['exec.denied', 'file.denied', 'forward.refused', 'channel.refused']);
