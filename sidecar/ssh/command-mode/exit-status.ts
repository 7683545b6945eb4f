import type { CommandEnd } from '../run-command.ts';

/** As a shell counts: 128 and the signal's number; 126 where the gateway cut it, 255 where nobody saw an end. */
export function statusOf({ exit, denial }: Pick<CommandEnd, 'exit' | 'denial'>): number {
  if (denial !== null) return denial.code === 'TARGET_UNREACHABLE' ? 255 : 126;
  if (exit === null) return 255;
  return 'status' in exit ? exit.status : 128 + (signalNumbers[exit.signal.replace(/^SIG/u, '')] ?? 0);
}

const signalNumbers: Readonly<Record<string, number>> = { HUP: 1, INT: 2, QUIT: 3, ILL: 4, TRAP: 5, ABRT: 6, FPE: 8, KILL: 9, USR1: 10, SEGV: 11, USR2: 12, PIPE: 13, ALRM: 14, TERM: 15 };
