import type { ShellWord, ShellWrite } from '../shell-facts.ts';
import { optionSpec, readOptions, type ReadOption } from './options.ts';
import { joinStatic, type ProgramReader, type ProgramReading, unclear, writeOf } from './program.ts';

/** `eval WORD...`: joined with blanks and read by the same shell. */
export const readEval: ProgramReader = (words, { shell }) => {
  const [first] = words;
  const rest = first?.kind === 'static' && first.text === '--' ? words.slice(1) : words;
  const text = joinStatic(rest);
  if (text === null || (first?.kind === 'static' && first.text.startsWith('-') && first.text !== '--')) return unclear('the shell text is an expansion');
  return { texts: [{ text, shell }], transparent: true };
};

/** `watch WORD...`: joined and handed to a shell, or started as they stand with `-x`. */
export const readWatch: ProgramReader = (words) => {
  const read = readOptions(words, optionSpec('b c C d? e g n: p q: r t w x beep color no-color differences? errexit chgexit interval: precise equexit: no-rerun no-title no-wrap exec'));
  if (read.outcome === 'unclear') return unclear(read.problem);
  if (read.rest.length === 0) return {};
  return read.options.some(({ name }) => name === 'x' || name === 'exec') ? { starts: [{ words: read.rest, input: 'other' }] } : textOf(read.rest);
};

function textOf(words: readonly ShellWord[], ...problems: readonly string[]): ProgramReading {
  const text = joinStatic(words);
  return text === null ? unclear('the shell text is an expansion', ...problems) : { texts: [{ text, shell: 'Posix' }], problems };
}

const sshSpec = optionSpec('4 6 A a C f G g K k M N n q s T t V v X x Y y B: b: c: D: E! e: F! I! i: J: L: l: m: O: o: p: Q: R: S: W: w: P:');
/** ssh_config options that only say how to connect. */
const sshSettings: ReadonlySet<string> = new Set(
  ('addressfamily batchmode bindaddress checkhostip ciphers compression connectionattempts connecttimeout exitonforwardfailure hostkeyalgorithms hostkeyalias hostname identitiesonly identityfile ipqos kexalgorithms loglevel macs '
    + 'numberofpasswordprompts passwordauthentication port preferredauthentications pubkeyauthentication requesttty serveralivecountmax serveraliveinterval stricthostkeychecking tcpkeepalive user userknownhostsfile globalknownhostsfile controlmaster controlpersist forwardagent forwardx11 updatehostkeys').split(' '),
);

/** `ssh [USER@]HOST WORD...`: joined and handed to the login shell there. */
export const readSsh: ProgramReader = (words) => {
  const options: ReadOption[] = [];
  let host: ShellWord | null = null;
  let rest = words;
  // Options may stand behind the host too.
  for (;;) {
    const read = readOptions(rest, sshSpec);
    if (read.outcome === 'unclear') return unclear(read.problem);
    options.push(...read.options);
    rest = read.rest;
    if (host !== null || rest[0] === undefined) break;
    host = rest[0];
    rest = rest.slice(1);
  }
  const problems = options.flatMap(({ name, value }) => (name === 'o' && !isHarmlessSetting(value) ? ['a setting of ssh may start a program'] : []));
  if (options.some(({ name }) => name === 'V' || name === 'Q' || name === 'G' || name === 'O')) return { problems };
  if (host === null || (host.kind === 'dynamic' && host.single !== true)) return unclear('the host is not certain');
  if (options.some(({ name }) => name === 's')) return unclear('a subsystem is not read');
  if (rest.length === 0) return options.some(({ name }) => name === 'N' || name === 'W') ? { problems } : unclear('without a command it starts a shell');
  return textOf(rest, ...problems);
};

function isHarmlessSetting(value: ShellWord | null): boolean {
  return value?.kind === 'static' && sshSettings.has((/^\s*([A-Za-z0-9]+)[\s=]/u.exec(value.text)?.[1] ?? '').toLowerCase());
}

/** `script -c TEXT [FILE]`: the text goes to a shell, what it shows to the file. */
export const readScript: ProgramReader = (words) => {
  const options: ReadOption[] = [];
  const operands: ShellWord[] = [];
  let rest = words;
  for (;;) {
    const read = readOptions(rest, optionSpec('a c: e E: f I: O: B: T: m: o: q t? append command: return echo: flush force log-in: log-out: log-io: log-timing: logging-format: output-limit: quiet timing?'));
    if (read.outcome === 'unclear') return unclear(read.problem);
    options.push(...read.options);
    const [operand, ...after] = read.rest;
    if (operand === undefined) break;
    operands.push(operand);
    rest = after;
  }
  const texts = options.filter(({ name }) => name === 'c' || name === 'command').map(({ value }) => value);
  const logs = options.filter(({ name }) => ['I', 'O', 'B', 'T', 'log-in', 'log-out', 'log-io', 'log-timing', 'timing', 't'].includes(name)).flatMap(({ value }) => (value === null ? [] : [value]));
  const chosen = options.some(({ name }) => ['I', 'O', 'B', 'log-in', 'log-out', 'log-io'].includes(name));
  const files = operands.length === 0 && !chosen ? [{ kind: 'static', text: 'typescript' } as const] : operands;
  const writes: ShellWrite[] = [...logs, ...files].filter((word) => word.kind === 'dynamic' || word.text !== '/dev/null').map(writeOf);
  if (texts.length !== 1 || operands.length > 1) return { writes, problems: ['without one command it starts a shell'] };
  return texts[0]?.kind === 'static' ? { texts: [{ text: texts[0].text, shell: 'Posix' }], writes } : { writes, problems: ['the shell text is an expansion'] };
};

/** `at TIME`: a shell reads its input later. `-l`, `-r`, `-c` only list and remove. */
export const readAt: ProgramReader = (words, { input }) => {
  const read = readOptions(words, optionSpec('l d r b m M V c v u: f! q: t:'));
  if (read.outcome === 'unclear') return unclear(read.problem);
  if (read.options.some(({ name }) => ['l', 'd', 'r', 'c', 'V'].includes(name))) return {};
  return typeof input === 'string' ? unclear('a shell reads commands that cannot be seen') : { texts: [{ text: input.text, shell: 'Posix' }] };
};

/** `crontab -l` and `-r`; whatever installs one is not read. */
export const readCrontab: ProgramReader = (words) => {
  const read = readOptions(words, optionSpec('l r i u: e!'));
  if (read.outcome === 'unclear') return unclear(read.problem);
  return read.rest.length === 0 && read.options.some(({ name }) => name === 'l' || name === 'r') ? {} : unclear('the commands of a crontab are not read');
};
