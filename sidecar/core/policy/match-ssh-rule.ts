import type { SshMatch, SshRule } from '../../../contract/proxy-config.ts';
import type { ShellCommand } from '../shell/shell-facts.ts';
import type { SshItem } from './decision.ts';
import { matchesCommand } from '../shell/match-words.ts';
import { mayHoldProtected, permitsPath, restrictsBelow, restrictsPath } from './match-path.ts';

/** Whether a rule speaks about an item. `maybe`: it cannot be known, which only rules that deny or hold ever say. */
export type SshVerdict = 'yes' | 'no' | 'maybe';

/**
 * Whether a rule speaks about one item of an SSH request. The direction of doubt is that of the rule's action (D2): an Allow rule matches only what it spells, the others match
 * whatever they could mean.
 */
export function matchesSshRule(rule: SshRule, item: SshItem): SshVerdict {
  const { match } = rule.ssh;
  switch (item.kind) {
    case 'command': return match.kind === 'Commands' ? matchesAny(match.patterns, item.command, rule.action === 'Allow' ? 'permits' : 'restricts') : 'no';
    case 'unknown': return yesIf(match.kind === 'Unknown' && rule.action !== 'Allow');
    case 'level': return yesIf(match.kind === 'Level' && match.level === item.level);
    case 'file': return yesIf(match.kind === 'Files' && match.operations.includes(item.operation) && matchesFile(match, item, rule.action === 'Allow'));
    case 'forward': return yesIf(match.kind === 'Forward' && namesDestination(item.direction === 'to' ? match.to : match.listen, item.destination, rule.action));
    case 'agent': return yesIf(match.kind === 'Agent');
    case 'x11': return yesIf(match.kind === 'X11');
    default: return item satisfies never;
  }
}

/**
 * Whether a rule that speaks about an item may let it pass, by itself or once it is approved: also every file that the command writes is in `writes`, and the file's path and size
 * are within what is spelled. A write whose path is not known is for the `unknown` rules.
 */
export function coversItem(rule: SshRule, item: SshItem): boolean {
  const { match } = rule.ssh;
  if (item.kind === 'command') return match.kind === 'Commands' && item.command.writes.every(({ path }) => path === null || match.writes.some((glob) => permitsPath(glob, path)));
  if (item.kind !== 'file' || match.kind !== 'Files') return true;
  return match.paths.some((glob) => permitsFile(glob, item)) && (match.maxBytes === null || item.bytes === null || item.bytes <= match.maxBytes);
}

function yesIf(matched: boolean): SshVerdict {
  return matched ? 'yes' : 'no';
}

function matchesAny(patterns: readonly (readonly string[])[], command: ShellCommand, side: 'permits' | 'restricts'): SshVerdict {
  const verdicts = patterns.map((pattern) => matchesCommand(pattern, command, side));
  return verdicts.includes('yes') ? 'yes' : verdicts.includes('maybe') ? 'maybe' : 'no';
}

type FileItem = Extract<SshItem, { kind: 'file' }>;

function matchesFile(match: Extract<SshMatch, { kind: 'Files' }>, item: FileItem, isAllow: boolean): boolean {
  return match.paths.some((glob) => (isAllow ? permitsFile(glob, item) : restrictsPath(glob, item.path) || (item.below !== undefined && restrictsBelow(glob, item.path))));
}

/** Of a whole directory the names are not seen, so none that may be a home passes: what is in it would undo every other rule. */
function permitsFile(glob: string, { path, below }: FileItem): boolean {
  return permitsPath(glob, path) && (below !== 'All' || (/(^|\/)\*\*\/*$/.test(glob) && !mayHoldProtected(path)));
}

/** The target resolves names, so text is all that can be compared: exactly to permit, without case and a final dot of the host to deny or hold. */
function namesDestination(listed: readonly string[], destination: string, action: SshRule['action']): boolean {
  if (action !== 'Deny') return listed.includes(destination);
  const plain = (text: string): string => text.toLowerCase().replace(/\.(?=:[0-9]+$)/, '');
  return listed.some((entry) => plain(entry) === plain(destination));
}
