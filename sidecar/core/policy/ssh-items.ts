import { normalPath } from '../ssh-files/paths.ts';
import type { ShellFacts } from '../shell/shell-facts.ts';
import type { TransferCommand } from '../shell/transfer-command.ts';
import type { SshItem } from './decision.ts';

/** What a command text asks for: each command, and each thing that cannot be known, with the part of the text that it is about. */
export function shellItems(facts: ShellFacts): readonly SshItem[] {
  return [...facts.commands.map((command) => ({ kind: 'command', command }) as const), ...facts.unknowns.map(({ reason, source }) => ({ kind: 'unknown', reason: `${reason}: ${source}` }) as const)];
}

/** What a transfer command asks for, as far as its words tell: its paths as written, resolved without a target. Null where a path is relative. */
export function transferItems({ kind, direction, paths }: TransferCommand): readonly SshItem[] | null {
  const items: SshItem[] = [];
  for (const written of paths) {
    const path = normalPath(written);
    if (path === null) return null;
    // rsync's own protocol is not read: whatever is below may come along.
    items.push({ kind: 'file', operation: direction, path, bytes: null, ...(kind === 'scp' ? {} : { below: kind === 'rsync' ? 'All' as const : 'Moved' as const }) });
  }
  return items;
}
