import type { ShellCommand } from '../shell/shell-facts.ts';

/**
 * Strict and anchored, until `core/shell/match-words.ts` knows the option tables: what it does not compare word by word is `no` for a rule that permits and `maybe` for one that denies
 * or holds.
 */
export function matchesCommand(pattern: readonly string[], command: ShellCommand, side: 'permits' | 'restricts'): 'yes' | 'no' | 'maybe' {
  const [program = '', ...rest] = pattern;
  if ((program.includes('/') ? command.path : command.program) !== program) return 'no';
  const words = command.words.slice(1);
  const open = rest.at(-1) === '**';
  const fixed = open ? rest.slice(0, -1) : rest;
  if (side === 'restricts' && rest.length === 0) return 'yes';
  const fits = words.length >= fixed.length && (open || words.length === fixed.length) && fixed.every((word, index) => {
    const given = words[index];
    return given?.kind === 'static' && (word === '*' || word === given.text);
  });
  if (fits) return 'yes';
  return side === 'permits' ? 'no' : 'maybe';
}
