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

const closers: Readonly<Record<string, SshEventCode | undefined>> = { 'exec.intent': 'exec.result', 'shell.start': 'shell.end', 'file.intent': 'file.result', 'forward.open': 'forward.closed' };
const refusals: ReadonlySet<string> = new Set<EventCode>(['exec.denied', 'file.denied', 'forward.refused', 'channel.refused']);
