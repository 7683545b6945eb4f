import type { StandardInput } from './programs/program.ts';
import type { ShellWord, ShellWrite } from './shell-facts.ts';
import type { Redirection } from './tree.ts';

/** What one redirection to or from a file means. */
export interface RedirectReading {
  /** The file that it writes, null when it writes none. */
  readonly write: ShellWrite | null;
  readonly problems: readonly string[];
  /** Syntax that only bash reads this way. */
  readonly bashisms: readonly string[];
}

/** Reads `> target` and its kind. `written` is the target as it stands in the text. */
export function readRedirect(operator: string, target: ShellWord, written: string): RedirectReading {
  const path = target.kind === 'static' ? target.text : null;
  const problems = [
    ...(isNetwork(target) ? ['the shell itself may open a network connection'] : []),
    // bash ends `>&-` behind the dash, whatever follows.
    ...(operator.endsWith('&') && /^-./su.test(written) ? ['a redirection is read in two ways'] : []),
  ];
  if (operator === '<' || operator === '<&') return { write: null, problems, bashisms: [] };
  const duplicates = operator === '>&';
  if (duplicates && path !== null && /^(?:\d+-?|-)$/u.test(path)) return { write: null, problems, bashisms: [] };
  const bashisms = duplicates ? ['>& with a file'] : operator.startsWith('&') ? [operator] : [];
  const harmless = path === '/dev/null' || path === '/dev/stdout' || path === '/dev/stderr';
  return { write: harmless ? null : { path, source: written.slice(0, 200) }, problems, bashisms };
}

/** `/dev/tcp/HOST/PORT` and `/dev/udp/...`, or a dynamic path that may become one. */
function isNetwork(target: ShellWord): boolean {
  const whole = target.kind === 'static';
  const start = whole ? target.text : target.prefix ?? '';
  return ['/dev/tcp/', '/dev/udp/'].some((root) => start.startsWith(root) || (!whole && root.startsWith(start)));
}

/** What a command reads from a here-document: its text, where no expansion stands in it. */
export function readHereDocument({ body, delimiter, operator }: Extract<Redirection, { type: 'HereDoc' }>): StandardInput {
  if (delimiter?.quoted !== true && /[$`\\]/u.test(body.text)) return 'other';
  return { text: operator === '<<-' ? body.text.replaceAll(/^\t+/gmu, '') : body.text };
}
