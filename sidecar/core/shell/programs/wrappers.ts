import { isSensitiveVariable } from '../variables.ts';
import type { ShellWord } from '../shell-facts.ts';
import { optionSpec, readOptions, type OptionSpec, type ReadOption } from './options.ts';
import { type ProgramReader, type ProgramReading, unclear, writeOf } from './program.ts';

/** A program that reads its options and operands, then starts the rest of its words. */
interface Wrapper {
  readonly spec: OptionSpec;
  /** Operands before the command. */
  readonly operands: number;
  /** `NAME=value` operands before the command. */
  readonly assignments: boolean;
  /** Options with which nothing is started. */
  readonly asks: readonly string[];
  /** Options whose argument is a file that is written. */
  readonly writes: readonly string[];
  /** A rule for the inner command is enough. */
  readonly transparent: boolean;
  /** Without a command it starts a shell. */
  readonly shellWithout: boolean;
}

const plain = { operands: 0, assignments: false, asks: [], writes: [], transparent: true, shellWithout: false } as const;
const privileged = { ...plain, transparent: false } as const;

/** Wrappers of the usual form. The option lists are closed: GNU coreutils 9, util-linux 2.38, sudo 1.9, systemd 252, strace 6. */
const wrappers: Readonly<Record<string, Wrapper>> = {
  env: { ...plain, assignments: true, spec: optionSpec('i 0 v u: C: S! a! ignore-environment null debug unset: chdir: split-string! argv0! block-signal? default-signal? ignore-signal? list-signal-handling') },
  nice: { ...plain, spec: optionSpec('n: adjustment: 0 1 2 3 4 5 6 7 8 9') },
  ionice: { ...plain, asks: ['p', 'P', 'u', 'pid', 'pgid', 'uid'], spec: optionSpec('c: n: t p: P: u: class: classdata: ignore pid: pgid: uid:') },
  nohup: { ...plain, spec: optionSpec('') },
  setsid: { ...plain, spec: optionSpec('c f w ctty fork wait') },
  stdbuf: { ...plain, spec: optionSpec('i: o: e: input: output: error:') },
  timeout: { ...plain, operands: 1, spec: optionSpec('k: s: v kill-after: signal: foreground preserve-status verbose') },
  time: { ...plain, writes: ['o', 'output'], spec: optionSpec('p v q a f: o: portability verbose quiet append format: output:') },
  command: { ...plain, asks: ['v', 'V'], spec: optionSpec('p v V') },
  builtin: { ...plain, spec: optionSpec('') },
  exec: { ...plain, spec: optionSpec('c l a!') },
  chrt: { ...plain, operands: 1, asks: ['p', 'pid', 'm', 'max'], spec: optionSpec('f r o b i d R a p m v T: P: D: fifo rr other batch idle deadline reset-on-fork all-tasks pid max verbose sched-runtime: sched-period: sched-deadline:') },
  taskset: { ...plain, operands: 1, asks: ['p', 'pid'], spec: optionSpec('a c p all-tasks cpu-list pid') },
  strace: { ...plain, asks: ['p', 'attach'], writes: ['o', 'output'], spec: optionSpec('c C d f F h i k n q r t T v V w x y z Z a: b: e: E! I: o: O: p: P: S: s: u: U: X: follow-forks trace: output: attach: string-limit: summary-only') },
  sudo: { ...privileged, assignments: true, asks: ['l', 'list', 'v', 'validate', 'V', 'K', 'remove-timestamp'],
    spec: optionSpec('A b B C: D: E? g: h! H k K l n N P p: r: R! S t: T: U: u: v V e! i~ s~ askpass background bell close-from: chdir: preserve-env? edit! group: set-home help host! login~ reset-timestamp remove-timestamp list non-interactive no-update preserve-groups prompt: role: chroot! stdin shell~ type: command-timeout: other-user: user: validate version') },
  doas: { ...privileged, asks: ['L'], spec: optionSpec('n L u: C! s~ a!') },
  chroot: { ...privileged, operands: 1, shellWithout: true, spec: optionSpec('groups: userspec: skip-chdir') },
  unshare: { ...privileged, shellWithout: true, spec: optionSpec('m? u? i? n? p? U? C? T? f r c R: w: S: G: mount? uts? ipc? net? pid? user? cgroup? time? fork map-root-user map-current-user map-auto map-user: map-group: map-users: map-groups: kill-child? mount-proc? propagation: setgroups: keep-caps root: wd: setuid: setgid: monotonic: boottime:') },
  nsenter: { ...privileged, shellWithout: true, spec: optionSpec('t: m? u? i? n? p? U? C? T? r? w? S: G: F Z a e! W: target: mount? uts? ipc? net? pid? user? cgroup? time? root? wd? wdns: setuid: setgid: no-fork follow-context preserve-credentials all env!') },
  'systemd-run': { ...privileged, shellWithout: false, spec: optionSpec('t P G q r d u: p! E! S! H! M! scope unit: property! description: slice: slice-inherit expand-environment: no-block remain-after-exit wait send-sighup service-type: uid: gid: nice: working-directory: same-dir setenv! pty pipe quiet collect shell! user system host! machine! on-active: on-boot: on-startup: on-unit-active: on-unit-inactive: on-calendar: on-clock-change on-timezone-change no-ask-password') },
};

/** The reader of a usual wrapper, undefined for other programs. */
export function wrapperReader(program: string): ProgramReader | undefined {
  const wrapper = Object.hasOwn(wrappers, program) ? wrappers[program] : undefined;
  if (wrapper === undefined) return undefined;
  return (words) => {
    const reading = readWrapper(wrapper, program === 'nice' ? words.filter((word, at) => at > 0 || word.kind === 'dynamic' || !/^-[-+]?\d+$/u.test(word.text)) : words);
    return program === 'systemd-run' ? { ...reading, starts: (reading.starts ?? []).map((start) => ({ ...start, words: start.words.map(expandedBySystemd) })) } : reading;
  };
}

function readWrapper(wrapper: Wrapper, words: readonly ShellWord[]): ProgramReading {
  const read = readOptions(words, wrapper.spec);
  if (read.outcome === 'unclear') return unclear(read.problem);
  const problems = [...read.doubts, ...problemsOf(read.options, wrapper)];
  const writes = read.options.filter(({ name }) => wrapper.writes.includes(name)).flatMap(({ value }) => (value === null || isNull(value) ? [] : [writeOf(value)]));
  if (read.options.some(({ name }) => wrapper.asks.includes(name))) return { problems, writes };
  const { rest: inner, problems: more } = skipOperands(read.rest, wrapper);
  problems.push(...more);
  if (inner.length === 0) return { problems: wrapper.shellWithout ? [...problems, 'without a command it starts a shell'] : problems, writes };
  // A password on standard input is taken from what the command would have read.
  const consumes = read.options.some(({ name }) => name === 'S' || name === 'stdin');
  return { starts: [{ words: inner, ...(consumes && !wrapper.transparent ? { input: 'other' as const } : {}) }], problems, writes, transparent: wrapper.transparent };
}

function isNull(word: ShellWord): boolean {
  return word.kind === 'static' && word.text === '/dev/null';
}

function problemsOf(options: readonly ReadOption[], wrapper: Wrapper): readonly string[] {
  return options.flatMap(({ name, value }) => {
    // strace hands `-o '|command'` to a shell.
    if (wrapper.writes.includes(name) && (value?.kind !== 'static' || /^[|!]/u.test(value.text))) return ['a file name may be a command'];
    return [];
  });
}

function skipOperands(words: readonly ShellWord[], wrapper: Wrapper): { readonly rest: readonly ShellWord[]; readonly problems: readonly string[] } {
  const problems: string[] = [];
  let rest = words;
  if (wrapper.assignments) {
    // env takes a single dash for an empty environment.
    if (rest[0]?.kind === 'static' && rest[0].text === '-') rest = rest.slice(1);
    for (let first = rest[0]; first !== undefined && assignedName(first) !== null; first = rest[0]) {
      const name = assignedName(first) as string;
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/u.test(name) || isSensitiveVariable(name)) problems.push(`setting ${name} can change what later commands run`);
      rest = rest.slice(1);
    }
  }
  for (const word of rest.slice(0, wrapper.operands)) if (word.kind === 'dynamic' && word.single !== true) problems.push('an expansion may be several words');
  return { rest: rest.slice(wrapper.operands), problems };
}

/** `NAME` of a `NAME=value` word; null for any other. */
function assignedName(word: ShellWord): string | null {
  const text = word.kind === 'static' ? word.text : word.single === true ? word.prefix ?? '' : '';
  const equals = text.indexOf('=');
  return equals < 0 ? null : text.slice(0, equals);
}

/** systemd replaces `$NAME` in arguments, quoted or not. */
function expandedBySystemd(word: ShellWord): ShellWord {
  return word.kind === 'static' && /[$%]/u.test(word.text) ? { kind: 'dynamic', source: word.text } : word;
}

/** `flock FILE COMMAND...` or `flock FILE -c TEXT`. */
export const readFlock: ProgramReader = (words) => {
  const read = readOptions(words, optionSpec('s x e u n w: o E: F v shared exclusive unlock nonblock nb timeout: wait: close conflict-exit-code: no-fork verbose'));
  if (read.outcome === 'unclear') return unclear(read.problem);
  const [file, first, text, ...more] = read.rest;
  if (file === undefined || first === undefined) return {};
  if (file.kind === 'dynamic' && file.single !== true) return unclear('an expansion may be several words');
  if (first.kind === 'static' && (first.text === '-c' || first.text === '--command')) {
    if (text?.kind !== 'static' || more.length > 0) return unclear('the shell text is an expansion');
    return { texts: [{ text: text.text, shell: 'Posix' }], transparent: true };
  }
  return { starts: [{ words: read.rest.slice(1) }], transparent: true };
};

/** `busybox APPLET ...` is that program. */
export const readBusybox: ProgramReader = (words) => {
  const [applet] = words;
  if (applet === undefined || (applet.kind === 'static' && /^--(?:help|list|list-full)$/u.test(applet.text))) return {};
  if (applet.kind === 'dynamic' || applet.text.startsWith('-')) return unclear('the applet is not known');
  return { starts: [{ words }], transparent: true };
};

/** `su [-] [USER] -c TEXT`: the text goes to the user's shell. Options may stand after the user. */
export const readSu: ProgramReader = (words) => readSuOptions(words, false);

/** `runuser -u USER [--] COMMAND...`, or as `su`. */
export const readRunuser: ProgramReader = (words) => readSuOptions(words, true);

const suSpec = optionSpec('c: f g: G: l m p P w: command: fast group: supp-group: login preserve-environment pty whitelist-environment: s: shell: session-command: u: user: T no-pty');

function readSuOptions(words: readonly ShellWord[], runuser: boolean): ProgramReading {
  const options: ReadOption[] = [];
  const operands: ShellWord[] = [];
  let rest = words;
  for (;;) {
    const read = readOptions(rest, suSpec);
    if (read.outcome === 'unclear') return unclear(read.problem);
    options.push(...read.options);
    const [operand, ...after] = read.rest;
    if (operand === undefined) break;
    const asUser = options.some(({ name }) => name === 'u' || name === 'user');
    if (runuser && asUser) return { starts: [{ words: read.rest }] };
    if (operand.kind === 'dynamic' && operand.single !== true) return unclear('an expansion may be several words');
    operands.push(operand);
    rest = after;
  }
  const shells = options.filter(({ name }) => name === 's' || name === 'shell').map(({ value }) => value);
  if (!shells.every((shell) => shell?.kind === 'static' && /^\/(?:usr\/)?bin\/(?:ba|da)?sh$/u.test(shell.text))) return unclear('the shell of the user is not known');
  const users = operands.filter((word) => word.kind === 'dynamic' || word.text !== '-');
  const texts = options.filter(({ name }) => name === 'c' || name === 'command' || name === 'session-command').map(({ value }) => value);
  if (texts.length !== 1 || texts[0]?.kind !== 'static') return unclear(texts.length === 0 ? 'without a command it starts a shell' : 'the shell text is an expansion');
  return { texts: [{ text: texts[0].text, shell: 'Posix' }], ...(users.length > 1 ? { problems: ['arguments after the user go to its shell'] } : {}) };
}
