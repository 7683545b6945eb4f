import type { ShellWord } from '../shell-facts.ts';

type OptionKind = 'flag' | 'argument' | 'optional' | 'refused' | 'doubtful';

/** The options that a program is known to take, made by `optionSpec`. */
export interface OptionSpec {
  readonly kinds: ReadonlyMap<string, OptionKind>;
  /** Long names that are prefixes of `kinds`' long names stand for them when only one begins so. */
  readonly longs: readonly string[];
}

/** One option of a command: `name` without dashes, `value` where it takes one. */
export interface ReadOption {
  readonly name: string;
  readonly value: ShellWord | null;
}

/** Options up to the first operand, and the words from there on; or why they cannot be read. */
export type OptionReading =
  /** `doubts`: options that make what follows uncertain, though it can be read. */
  | { readonly outcome: 'read'; readonly options: readonly ReadOption[]; readonly rest: readonly ShellWord[]; readonly doubts: readonly string[] }
  | { readonly outcome: 'unclear'; readonly problem: string };

/**
 * Reads `v u: d? S! i~ unset: chdir:`: one letter is a short option, more a long one; `:` takes an argument, `?` one attached to it, `!` is never accepted, `~` leaves a doubt.
 * The list is closed: whatever it lacks is unclear.
 */
export function optionSpec(text: string): OptionSpec {
  const kinds = new Map<string, OptionKind>();
  for (const entry of text.split(' ').filter((part) => part !== '')) {
    const mark = entry.length > 1 ? entry.at(-1) : undefined;
    const kind = mark === ':' ? 'argument' : mark === '?' ? 'optional' : mark === '!' ? 'refused' : mark === '~' ? 'doubtful' : 'flag';
    kinds.set(kind === 'flag' ? entry : entry.slice(0, -1), kind);
  }
  return { kinds, longs: [...kinds.keys()].filter((name) => name.length > 1) };
}

/** Reads options as getopt does where it stops at the first operand, which is how every program that starts another reads them. */
export function readOptions(words: readonly ShellWord[], spec: OptionSpec): OptionReading {
  const options: ReadOption[] = [];
  const read = (rest: readonly ShellWord[]): OptionReading => (
    { outcome: 'read', options, rest, doubts: options.filter(({ name }) => spec.kinds.get(name) === 'doubtful').map(({ name }) => `the option ${name} changes how the rest is run`) }
  );
  let at = 0;
  for (;;) {
    const word = words[at];
    if (word === undefined) return read([]);
    if (word.kind === 'dynamic') return word.dashless === true ? read(words.slice(at)) : unclear('an expansion may be an option');
    if (word.text === '--') return read(words.slice(at + 1));
    if (!word.text.startsWith('-') || word.text === '-') return read(words.slice(at));
    const piece = word.text.startsWith('--') ? readLong(word.text.slice(2), words[at + 1], spec) : readCluster(word.text.slice(1), words[at + 1], spec);
    if (typeof piece === 'string') return unclear(piece);
    options.push(...piece.options);
    at += piece.tookNext ? 2 : 1;
  }
}

function unclear(problem: string): OptionReading {
  return { outcome: 'unclear', problem };
}

interface Piece { readonly options: readonly ReadOption[]; readonly tookNext: boolean }

function readLong(text: string, next: ShellWord | undefined, spec: OptionSpec): Piece | string {
  const equals = text.indexOf('=');
  const typed = equals < 0 ? text : text.slice(0, equals);
  const attached: ShellWord | null = equals < 0 ? null : { kind: 'static', text: text.slice(equals + 1) };
  const names = spec.kinds.has(typed) && typed.length > 1 ? [typed] : spec.longs.filter((name) => name.startsWith(typed));
  const [name] = names;
  if (name === undefined || names.length > 1) return `the option --${typed} is not known`;
  const kind = spec.kinds.get(name);
  if (kind === 'refused' || ((kind === 'flag' || kind === 'doubtful') && attached !== null)) return `the option --${name} is not read`;
  if (kind !== 'argument' || attached !== null) return { options: [{ name, value: attached }], tookNext: false };
  return takeNext(name, next, []);
}

function readCluster(letters: string, next: ShellWord | undefined, spec: OptionSpec): Piece | string {
  const options: ReadOption[] = [];
  for (let at = 0; at < letters.length; at += 1) {
    const name = letters[at] as string;
    const kind = spec.kinds.get(name);
    if (kind === undefined) return `the option -${name} is not known`;
    if (kind === 'refused') return `the option -${name} is not read`;
    const attached = letters.slice(at + 1);
    if (kind === 'argument' && attached === '') return takeNext(name, next, options);
    if (kind !== 'flag' && kind !== 'doubtful') return { options: [...options, { name, value: attached === '' ? null : { kind: 'static', text: attached } }], tookNext: false };
    options.push({ name, value: null });
  }
  return { options, tookNext: false };
}

function takeNext(name: string, next: ShellWord | undefined, before: readonly ReadOption[]): Piece | string {
  if (next === undefined) return `the option ${name} lacks its argument`;
  if (next.kind === 'dynamic' && next.single !== true) return 'an expansion may be several words';
  return { options: [...before, { name, value: next }], tookNext: true };
}
