import type { ShellWord } from '../shell-facts.ts';
import { isSensitiveVariable } from '../variables.ts';
import { optionSpec, type OptionSpec, readOptions } from './options.ts';
import { mayBeOption, type ProgramReader, type ProgramReading, unclear } from './program.ts';

/**
 * Builtins that evaluate what stands in their words or in variables, which no parse tree shows: `printf -v 'a[$(id)]' x` runs `id`.
 * They are certain only with plain names.
 */
const readers: Readonly<Record<string, ProgramReader>> = {
  let: () => unclear('arithmetic may run commands'),
  declare: (words) => readDeclaration(words, optionSpec('a r x g p l u f F')),
  typeset: (words) => readDeclaration(words, optionSpec('a r x g p l u f F')),
  local: (words) => readDeclaration(words, optionSpec('a r x p l u')),
  readonly: (words) => readDeclaration(words, optionSpec('a p f')),
  export: (words) => readDeclaration(words, optionSpec('p n')),
  unset: (words) => readDeclaration(words, optionSpec('f v')),
  read: (words) => readNames(words, optionSpec('r s a: d: i: n: N: p: t: u:'), ['a']),
  mapfile: (words) => readNames(words, optionSpec('d: n: O: s: t u: C! c!'), []),
  readarray: (words) => readNames(words, optionSpec('d: n: O: s: t u: C! c!'), []),
  wait: (words) => readJobs(words),
  jobs: (words) => readJobs(words),
  getopts: (words) => readGetopts(words),
  printf: (words) => readPrintf(words),
  test: (words) => readTest(words),
  '[': (words) => readTest(isStatic(words.at(-1), ']') ? words.slice(0, -1) : words),
};

/** Builtins that change what later words mean, or run something by other ways. */
const changers: ReadonlySet<string> = new Set('alias unalias shopt set enable hash trap bind complete compgen compopt source . coproc fc history'.split(' '));

/** The reader of a builtin, undefined for other programs. */
export function builtinReader(program: string): ProgramReader | undefined {
  if (changers.has(program)) return () => unclear(`${program} can change what later commands run`);
  return Object.hasOwn(readers, program) ? readers[program] : undefined;
}

function isStatic(word: ShellWord | undefined, text: string): boolean {
  return word?.kind === 'static' && word.text === text;
}

const notPlain = "a variable's name is not plain and may run commands";

/** Why naming this variable is not certain, null when it is. */
function nameProblem(word: ShellWord | null): string | null {
  const text = word?.kind === 'static' ? word.text : '';
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/u.test(text)) return notPlain;
  return isSensitiveVariable(text) ? `setting ${text} can change what later commands run` : null;
}

function problemsOf(problems: readonly (string | null)[]): ProgramReading {
  return { problems: problems.filter((problem) => problem !== null) };
}

function readDeclaration(words: readonly ShellWord[], spec: OptionSpec): ProgramReading {
  const read = readOptions(words.map((word) => (word.kind === 'static' && /^\+[a-z]+$/u.test(word.text) ? { kind: 'static' as const, text: `-${word.text}` } : word)), spec);
  if (read.outcome === 'unclear') return unclear(read.problem);
  return problemsOf(read.rest.map((word) => {
    const text = word.kind === 'static' ? word.text : word.single === true ? word.prefix ?? '' : '';
    const name = /^([A-Za-z_][A-Za-z0-9_]*)\+?=/u.exec(text)?.[1];
    return nameProblem(name === undefined ? word : { kind: 'static', text: name });
  }));
}

function readNames(words: readonly ShellWord[], spec: OptionSpec, naming: readonly string[]): ProgramReading {
  const read = readOptions(words, spec);
  if (read.outcome === 'unclear') return unclear(read.problem);
  return problemsOf([...read.options.filter(({ name }) => naming.includes(name)).map(({ value }) => nameProblem(value)), ...read.rest.map(nameProblem)]);
}

/** `wait -p NAME` sets a variable, `jobs -x` starts a command. */
function readJobs(words: readonly ShellWord[]): ProgramReading {
  return words.some((word) => (word.kind === 'static' ? /^-\w*[px]/u.test(word.text) : mayBeOption(word))) ? unclear('this option may run commands') : {};
}

function readGetopts([options, name]: readonly ShellWord[]): ProgramReading {
  return options === undefined || name === undefined ? {} : problemsOf([mayBeOption(options) ? 'an expansion may be an option' : null, nameProblem(name)]);
}

function readPrintf(words: readonly ShellWord[]): ProgramReading {
  const [first, second] = words;
  if (first?.kind === 'dynamic') return mayBeOption(first) ? unclear('an expansion may be the option -v') : {};
  if (first?.text === '-v') return problemsOf([nameProblem(second ?? null)]);
  return first !== undefined && /^-v/u.test(first.text) ? problemsOf([nameProblem({ kind: 'static', text: first.text.slice(2) })]) : {};
}

const binary: ReadonlySet<string> = new Set(['=', '==', '!=', '<', '>', '-eq', '-ne', '-lt', '-le', '-gt', '-ge', '-nt', '-ot', '-ef']);
const unary = /^-[abcdefghknoprstuwxzGLNOS]$/u;

/** `-v` and `-R` evaluate a subscript. Expansions are certain only where they cannot be such an operator. */
function readTest(all: readonly ShellWord[]): ProgramReading {
  let words = all;
  while (words.length > 1 && isStatic(words[0], '!')) words = words.slice(1);
  if (words.every((word) => word.kind === 'static')) {
    const named = words.flatMap((word, at) => (word.text === '-v' || word.text === '-R' ? [words[at + 1]?.text ?? ''] : []));
    return named.some((name) => name.includes('[')) ? unclear(notPlain) : {};
  }
  const [first, second, third] = words;
  if (words.some((word) => word.kind === 'dynamic' && word.single !== true)) return unclear('an expansion may be an operator of test');
  if (words.length === 1) return {};
  if (words.length === 2 && first?.kind === 'static' && unary.test(first.text)) return {};
  if (words.length === 3 && second?.kind === 'static' && binary.has(second.text) && third !== undefined) return {};
  return unclear('an expansion may be an operator of test');
}
