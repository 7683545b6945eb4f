import { optionTableOf, type OptionTable } from './option-tables.ts';
import type { DynamicWord, ShellCommand, ShellWord } from './shell-facts.ts';

/** Whether a pattern speaks about a command. Only a restricting rule can answer `maybe`. */
export type Match = 'yes' | 'no' | 'maybe';

/**
 * Compares one pattern of a rule (the program, then patterns of arguments) with one command.
 *
 * `permits` (Allow) is anchored to the whole command: words are equal, `*` is one static word, a final `**` any words. A name without a
 * slash stands for the program found by name or in a system directory, so a copy elsewhere is not covered; one with a slash is the whole path.
 *
 * `restricts` (Deny, RequireApproval) is loose: operands in order with options between them, flags in any spelling; doubt is `maybe`.
 */
export function matchesCommand(pattern: readonly string[], command: ShellCommand, side: 'permits' | 'restricts'): Match {
  return side === 'permits' ? (permits(pattern, command) ? 'yes' : 'no') : restricts(pattern, command);
}

const systemDirectories: ReadonlySet<string> = new Set(['/bin', '/sbin', '/usr/bin', '/usr/sbin', '/usr/local/bin', '/usr/local/sbin']);

function permits([program = '', ...patterns]: readonly string[], command: ShellCommand): boolean {
  if (!permitsProgram(program, command)) return false;
  const words = command.words.slice(1);
  const open = patterns.at(-1) === '**';
  const fixed = open ? patterns.slice(0, -1) : patterns;
  if (open ? words.length < fixed.length : words.length !== fixed.length) return false;
  return fixed.every((pattern, index) => {
    const word = words[index];
    return word?.kind === 'static' && (pattern === '*' || pattern === word.text);
  });
}

function permitsProgram(pattern: string, { path, program }: ShellCommand): boolean {
  if (pattern === '*') return true;
  if (pattern.includes('/')) return pattern === path;
  return pattern === program && (!path.includes('/') || systemDirectories.has(path.slice(0, path.lastIndexOf('/'))));
}

function restricts([program = '', ...rest]: readonly string[], command: ShellCommand): Match {
  const named = restrictsProgram(program, command);
  if (named === 'no') return 'no';
  const patterns = rest.at(-1) === '**' ? rest.slice(0, -1) : rest;
  const table = optionTableOf(command.program);
  const words = command.words.slice(1);
  return worst([
    named,
    ...patterns.filter(isFlag).map((flag) => hasFlag(flag, words, table)),
    hasOperands(patterns.filter((pattern) => !isFlag(pattern)), words, table),
  ]);
}

/** `rm` restricts every `rm`; `/bin/rm` restricts that one, and perhaps others of the same name. */
function restrictsProgram(pattern: string, { path, program }: ShellCommand): Match {
  if (pattern === '*' || pattern === path) return 'yes';
  if (!pattern.includes('/')) return pattern === program ? 'yes' : 'no';
  if (pattern.slice(pattern.lastIndexOf('/') + 1) !== program) return 'no';
  return path.includes('/') ? 'maybe' : 'yes';
}

function worst(matches: readonly Match[]): Match {
  return matches.includes('no') ? 'no' : matches.includes('maybe') ? 'maybe' : 'yes';
}

function isFlag(text: string): boolean {
  return text.length > 1 && text.startsWith('-') && text !== '--';
}

/** One pattern of flags, `-rf` or `--recursive`: every letter of a cluster must be in effect. */
function hasFlag(flag: string, words: readonly ShellWord[], table: OptionTable | undefined): Match {
  const options = optionsOf(words, table);
  if (options.some(({ word, sure }) => sure && word.kind === 'static' && word.text === flag)) return 'yes';
  if (flag.startsWith('--')) return hasLong(flag, options, table);
  return worst([...flag.slice(1)].map((letter) => hasShort(letter, options, table)));
}

interface Option { readonly word: ShellWord; /** False behind a `--` that may be the argument of the option before it. */ readonly sure: boolean }

/** The words that are options, or may be. */
function optionsOf(words: readonly ShellWord[], table: OptionTable | undefined): readonly Option[] {
  const options: Option[] = [];
  let sure = true;
  let previous: ShellWord | undefined;
  for (const word of words) {
    if (word.kind === 'dynamic') {
      if (word.dashless !== true) options.push({ word, sure: false });
    } else if (word.text === '--') {
      const consumed = previous === undefined ? 'no' : takesNext(previous, table);
      if (consumed === 'no' && sure) return options;
      sure = sure && consumed === 'yes';
    } else if (isFlag(word.text)) {
      options.push({ word, sure });
    }
    previous = word;
  }
  return options;
}

/** Whether the word after this one is its argument. */
function takesNext(word: ShellWord, table: OptionTable | undefined): Match {
  if (word.kind === 'dynamic') return word.dashless === true ? 'no' : 'maybe';
  if (!isFlag(word.text) || (word.text.startsWith('--') && word.text.includes('='))) return 'no';
  if (table === undefined) return 'maybe';
  if (word.text.startsWith('--')) {
    const names = fullNames(word.text.slice(2), table);
    if (names.length === 0) return 'maybe';
    return names.every((name) => table.withArgument.has(name)) ? 'yes' : names.some((name) => table.withArgument.has(name)) ? 'maybe' : 'no';
  }
  const letters = [...word.text.slice(1)];
  const taker = letters.findIndex((letter) => table.withArgument.has(letter));
  return taker >= 0 && taker === letters.length - 1 ? 'yes' : 'no';
}

function fullNames(typed: string, table: OptionTable): readonly string[] {
  return table.longs.includes(typed) ? [typed] : table.longs.filter((name) => name.startsWith(typed));
}

function hasShort(letter: string, options: readonly Option[], table: OptionTable | undefined): Match {
  const meaning = table?.shorts[letter];
  if (table === undefined || meaning === undefined) return anyOption(options, (text) => text.startsWith('--') || text.slice(1).includes(letter));
  return best(options.map(({ word, sure }) => weaken(sure, word.kind === 'dynamic' ? dynamicFlag(word, table) : meansFlag(word.text, meaning, table))));
}

function hasLong(flag: string, options: readonly Option[], table: OptionTable | undefined): Match {
  const [name = '', value] = [flag.slice(2).split('=', 1)[0], /=(.*)$/su.exec(flag)?.[1]];
  if (table === undefined || !table.longs.includes(name) || value !== undefined) {
    return anyOption(options, (text) => !text.startsWith('--') || name.startsWith(text.slice(2).split('=', 1)[0] ?? ''));
  }
  return best(options.map(({ word, sure }) => weaken(sure, word.kind === 'dynamic' ? dynamicFlag(word, table) : meansFlag(word.text, name, table))));
}

/** Without a table every option that could mean the flag is a Maybe. */
function anyOption(options: readonly Option[], could: (text: string) => boolean): Match {
  return options.some(({ word }) => word.kind === 'dynamic' || could(word.text)) ? 'maybe' : 'no';
}

function best(matches: readonly Match[]): Match {
  return matches.includes('yes') ? 'yes' : matches.includes('maybe') ? 'maybe' : 'no';
}

function weaken(sure: boolean, match: Match): Match {
  return sure || match === 'no' ? match : 'maybe';
}

/** Whether one option means the flag whose name (or letter, where it has no name) is `meaning`. */
function meansFlag(text: string, meaning: string, table: OptionTable): Match {
  if (text.startsWith('--')) {
    const names = fullNames(text.slice(2).split('=', 1)[0] ?? '', table);
    // An ambiguous prefix is an error for the program of today, not for that of tomorrow.
    return names.includes(meaning) ? (names.length === 1 ? 'yes' : 'maybe') : 'no';
  }
  for (const letter of text.slice(1)) {
    if (table.shorts[letter] === undefined) return 'maybe';
    if (table.shorts[letter] === meaning) return 'yes';
    if (table.withArgument.has(letter)) return 'no';
  }
  return 'no';
}

/** A dynamic word may be any option, unless its end cannot end one. */
function dynamicFlag({ suffix = '', prefix = '' }: DynamicWord, table: OptionTable): Match {
  if (prefix.startsWith('--')) return 'maybe';
  // `*.log` may be a file `-rf.log`, which a program with this table refuses; `--name=x.log` sets no flag.
  const refused = [...suffix].some((char) => table.shorts[char] === undefined && !/[a-z-]/u.test(char));
  const takes = Object.keys(table.shorts).some((letter) => table.withArgument.has(letter));
  return refused && !takes ? 'no' : 'maybe';
}

/** Operand patterns must be the first operands, in order; options, and words that may be their arguments, stand between. */
function hasOperands(patterns: readonly string[], words: readonly ShellWord[], table: OptionTable | undefined): Match {
  const known = new Map<number, Match>();
  const from = (pattern: number, at: number, literal: boolean): Match => {
    if (pattern === patterns.length) return 'yes';
    const word = words[at];
    if (word === undefined) return 'no';
    const key = (pattern * (words.length + 1) + at) * 2 + (literal ? 1 : 0);
    const before = known.get(key);
    if (before !== undefined) return before;
    const found = step(pattern, at, word, literal);
    known.set(key, found);
    return found;
  };
  const step = (pattern: number, at: number, word: ShellWord, literal: boolean): Match => {
    const wanted = patterns[pattern] as string;
    const previous = words[at - 1];
    const argument = literal || previous === undefined ? 'no' : takesNext(previous, table);
    if (word.kind === 'dynamic') {
      // It may be the operand, an option, several words or nothing.
      const matches = couldBe(wanted, word) ? weaken(false, from(pattern + 1, at + 1, literal)) : 'no';
      const passes = word.dashless === true && word.single === true && argument === 'no' ? 'no' : weaken(false, from(pattern, at + 1, literal));
      const spreads = word.single === true ? 'no' : 'maybe';
      return best([matches, passes, spreads]);
    }
    if (!literal && argument !== 'yes' && word.text === '--') return best([from(pattern, at + 1, true), argument === 'no' ? 'no' : weaken(false, from(pattern, at + 1, false))]);
    if (!literal && isFlag(word.text)) return from(pattern, at + 1, literal);
    const matches = equals(wanted, word.text) ? from(pattern + 1, at + 1, literal) : 'no';
    const skipped = argument === 'no' ? 'no' : argument === 'yes' ? from(pattern, at + 1, literal) : weaken(false, from(pattern, at + 1, literal));
    return best([argument === 'yes' ? 'no' : matches, skipped]);
  };
  // From the back, so that a long list needs no deep stack.
  for (let at = words.length - 1; at >= 0; at -= 1) for (let pattern = patterns.length - 1; pattern >= 0; pattern -= 1) for (const literal of [true, false]) from(pattern, at, literal);
  return from(0, 0, false);
}

/** In a restricting rule `*` stands for any text, within a word too. */
function equals(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return pattern === text;
  if (!text.startsWith(first) || text.length < first.length + last.length || !text.endsWith(last)) return false;
  // Each middle piece at its first place: none can do better.
  let at = first.length;
  for (const piece of rest) {
    const found = text.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return at <= text.length - last.length;
}

function couldBe(pattern: string, { prefix = '', suffix = '', single }: DynamicWord): boolean {
  if (single !== true || pattern.includes('*')) return true;
  return pattern.startsWith(prefix) && pattern.endsWith(suffix);
}
