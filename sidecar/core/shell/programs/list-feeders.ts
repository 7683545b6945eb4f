import type { ShellWord, ShellWrite } from '../shell-facts.ts';
import { optionSpec, readOptions } from './options.ts';
import { joinStatic, mayBeOption, type ProgramReader, type ProgramReading, unclear, writeOf } from './program.ts';

const xargsSpec = optionSpec('0 r t p x o a: d: E: e? I: i? L: l? n: P: s: null no-run-if-empty verbose interactive exit open-tty arg-file: delimiter: eof? replace? max-lines? max-args: max-procs: max-chars: process-slot-var! show-limits');

/** `xargs COMMAND...`: words of its input stand behind the command's, or in place of the replacement text. */
export const readXargs: ProgramReader = (words) => {
  const read = readOptions(words, xargsSpec);
  if (read.outcome === 'unclear') return unclear(read.problem);
  if (read.rest.length === 0) return {};
  const replacing = read.options.filter(({ name }) => name === 'I' || name === 'i' || name === 'replace').at(-1);
  if (replacing === undefined) return { starts: [{ words: [...read.rest, { kind: 'dynamic', source: '<input>' }], input: 'other' }] };
  const mark = replacing.value === null ? '{}' : replacing.value.kind === 'static' ? replacing.value.text : '';
  return mark === '' ? unclear('the replacement text is an expansion') : { starts: [{ words: read.rest.map((word) => replaceMark(word, mark)), input: 'other' }] };
};

/** A word in which `mark` is replaced by something unknown. */
function replaceMark(word: ShellWord, mark: string): ShellWord {
  if (word.kind === 'dynamic') return word.source.includes(mark) ? { kind: 'dynamic', source: word.source } : word;
  const at = word.text.indexOf(mark);
  if (at < 0) return word;
  const prefix = word.text.slice(0, at);
  return { kind: 'dynamic', source: word.text, single: true, ...(prefix === '' ? {} : { prefix }), ...(prefix === '' || prefix.startsWith('-') ? {} : { dashless: true as const }) };
}

/** `parallel COMMAND...`: the words are joined and handed to a shell with one input behind them. Replacement texts are not read. */
export const readParallel: ProgramReader = (words) => {
  const read = readOptions(words, optionSpec('0 k j: n: N: P: L: a: t u v null keep-order jobs: verbose dry-run group line-buffer lb ungroup bar progress halt: timeout: retries: no-notice will-cite joblog!'));
  if (read.outcome === 'unclear') return unclear(read.problem);
  const end = read.rest.findIndex((word) => word.kind === 'static' && /^:::+\+?$/u.test(word.text));
  const command = end < 0 ? read.rest : read.rest.slice(0, end);
  const text = joinStatic(command);
  if (command.length === 0) return unclear('its input lines are commands');
  if (text === null) return unclear('the shell text is an expansion');
  return { texts: [{ text: `${text} "$1"`, shell: 'Posix' }], ...(text.includes('{') ? { problems: ['its replacement texts are not read'] } : {}) };
};

const findStarts: ReadonlySet<string> = new Set(['-exec', '-execdir', '-ok', '-okdir']);
const findWrites: ReadonlySet<string> = new Set(['-fprint', '-fprint0', '-fls', '-fprintf']);
const findTests: ReadonlySet<string> = new Set(
  ('-name -iname -path -ipath -wholename -iwholename -regex -iregex -regextype -lname -ilname -type -xtype -size -mtime -atime -ctime -mmin -amin -cmin -newer -anewer -cnewer -user -group -uid -gid -perm '
    + '-maxdepth -mindepth -links -inum -samefile -fstype -used -context -printf -D -files0-from').split(' '),
);

/** `find ... -exec COMMAND ;`: every command, and what it writes or deletes itself. */
export const readFind: ProgramReader = (words) => {
  const starts: { readonly words: readonly ShellWord[]; readonly input: 'other' }[] = [];
  const writes: ShellWrite[] = [];
  const problems: string[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] as ShellWord;
    const before = words[at - 1];
    if (word.kind === 'dynamic') {
      const isArgument = word.single === true && before?.kind === 'static' && (findTests.has(before.text) || /^-newer/u.test(before.text));
      if (!isArgument && mayBeOption(word)) problems.push('an expansion may be an action of find');
    } else if (findStarts.has(word.text)) {
      const inner = readFindCommand(words.slice(at + 1));
      if (inner === null) return { starts, writes, problems: [...problems, 'the command of find has no end'] };
      starts.push({ words: inner.words, input: 'other' });
      at += inner.length;
    } else if (findWrites.has(word.text)) {
      const file = words[at + 1];
      writes.push(file === undefined ? { path: null, source: word.text } : writeOf(file));
      if (file?.kind === 'dynamic' && file.single !== true) problems.push('an expansion may be several words');
      at += 1;
    } else if (word.text === '-delete') {
      writes.push({ path: null, source: '-delete' });
    }
  }
  return { starts, writes, problems };
};

/** The words up to `;`, or up to `+` behind `{}`. `length` counts the end too. */
function readFindCommand(words: readonly ShellWord[]): { readonly words: readonly ShellWord[]; readonly length: number } | null {
  const texts = words.map((word) => (word.kind === 'static' ? word.text : null));
  const end = texts.findIndex((text, at) => text === ';' || (text === '+' && texts[at - 1] === '{}'));
  if (end < 0) return null;
  const many = texts[end] === '+';
  // What it finds begins with a directory that it was given, or with `./`: never with a dash.
  const found = (word: ShellWord): ShellWord => (word.kind === 'static' && word.text === '{}' ? { kind: 'dynamic', source: '{}', dashless: true, ...(many ? {} : { single: true as const }) } : replaceMark(word, '{}'));
  const inner = words.slice(0, end);
  // A word that may vanish or become several may move the end.
  return inner.some((word) => word.kind === 'dynamic' && word.single !== true) ? null : { words: inner.map(found), length: end + 1 };
}

/** `kubectl exec POD -- COMMAND...`: behind `--`; what has none is not certain. */
export const readKubernetes: ProgramReader = (words) => readContainers(words, (rest) => {
  const dashes = rest.findIndex((word) => word.kind === 'static' && word.text === '--');
  if (dashes < 0) return unclear('the command in the container does not stand behind --');
  const spreads = rest.slice(0, dashes).some((word) => word.kind === 'dynamic' && (word.single !== true || word.dashless !== true));
  return { starts: [{ words: rest.slice(dashes + 1) }], ...(spreads ? { problems: ['an expansion may be an option'] } : {}) };
});

const dockerExec = optionSpec('d i t s e: u: w: r: detach interactive tty privileged sync env: env-file: user: workdir: detach-keys: latest l timeout: preserve-fds:');

/** `docker exec CONTAINER -- COMMAND...`. */
export const readDocker: ProgramReader = (words) => readContainers(words, (rest) => {
  const read = readOptions(rest, dockerExec);
  if (read.outcome === 'unclear') return unclear(read.problem);
  // readOptions takes a `--` that ends the options; the container would then be read as the program.
  const [container, dashes, ...inner] = read.rest;
  const behind = dashes?.kind === 'static' && dashes.text === '--';
  const before = rest.length > read.rest.length && isDashes(rest[rest.length - read.rest.length - 1]);
  const certain = behind && !before && (container?.kind === 'static' || container?.single === true);
  return { starts: [{ words: behind ? inner : read.rest.slice(1) }], ...(certain ? {} : { problems: ['the command in the container does not stand behind --'] }) };
});

function isDashes(word: ShellWord | undefined): boolean {
  return word?.kind === 'static' && word.text === '--';
}

const containerArguments: ReadonlySet<string> = new Set(['-n', '--namespace', '--context', '--cluster', '--user', '--kubeconfig', '-s', '--server', '-H', '--host', '-c', '-l', '--log-level', '-f', '--file', '-p', '--project-name', '--config', '-a', '--address', '--as', '--token']);
const containerStarts: ReadonlySet<string> = new Set(['run', 'debug', 'rsh', 'shell', 'plugin']);
const containerGroups: ReadonlySet<string> = new Set(['container', 'compose', 'pod']);

/** Finds the subcommand; where an option of unknown kind stands before a word, that word may be its argument. */
function readContainers(words: readonly ShellWord[], readExec: (rest: readonly ShellWord[]) => ProgramReading): ProgramReading {
  let certain = true;
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] as ShellWord;
    const before = words[at - 1];
    const isArgument = before?.kind === 'static' && containerArguments.has(before.text);
    if (word.kind === 'dynamic') {
      if (!certain) return {};
      if (!isArgument || word.single !== true) return unclear('the subcommand is an expansion');
    } else if (word.text === 'exec') {
      const reading = readExec(words.slice(at + 1));
      return certain && !isArgument ? reading : { ...reading, problems: [...(reading.problems ?? []), 'the subcommand is not certain'] };
    } else if (containerStarts.has(word.text) && !isArgument) {
      return unclear(`${word.text} starts a program that is not read`);
    } else if (!word.text.startsWith('-') && !isArgument && !containerGroups.has(word.text)) {
      if (before?.kind !== 'static' || !before.text.startsWith('-') || before.text.includes('=')) return {};
      certain = false;
    }
  }
  return {};
}
