import { printableText } from '../../../contract/printable-text.ts';

/** Where the user is, for the prompt: `deploy@web-1:/srv$ `, with the last exit status in front when it is not 0. */
export function promptOf(place: { readonly account: string; readonly target: string; readonly cwd: string | null; readonly status: number }): string {
  return `${place.status === 0 ? '' : `[${place.status}] `}${place.account}@${place.target}:${place.cwd === null ? '~' : printableText(place.cwd, { oneLine: true })}$ `;
}

/** Said once, when the shell opens. */
export function greetingLines(place: { readonly account: string; readonly target: string; readonly username: string }): readonly string[] {
  return [
    `sallyport: you are ${printableText(place.username, { oneLine: true })}, as ${place.account} on ${place.target}.`,
    'Each line is one command, checked and recorded before it runs. A line `cd DIR` moves; variables, functions and jobs end with their line.',
    ':help says more; exit or Ctrl-D ends.',
  ];
}

/** The answer to `:help`. */
export const helpLines: readonly string[] = [
  'Each line is judged by policy and runs as one command of its own, in the directory that the prompt shows.',
  '  cd DIR, cd, cd -, cd ~   move, when the line holds nothing else; every other cd ends with its line',
  '  variables, functions, aliases and background jobs end with their line',
  '  unfinished input (an open quote, a heredoc, a trailing backslash) goes on at "> "',
  '  pasted lines run one by one; a refusal drops the rest of the paste',
  '  a command reads no input, unless a rule gives it the terminal (editors, pagers, monitors)',
  '  a command that needs approval waits and says for whom; Ctrl-C takes the request back',
  'Keys: as in bash with emacs keys. Ctrl-R searches the history, which is forgotten with this shell; Tab completes where policy lets it.',
  '  Ctrl-C interrupts the command, once more stops it; Ctrl-D on an empty line ends the shell',
  '  :raw   asks for a raw shell, where a policy grants one',
  '  exit [N], logout   end the shell',
];
