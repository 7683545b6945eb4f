import { checkCommandText } from './check-text.ts';
import type { ShellParse } from '../ports.ts';

/** Whether a shell would wait for more lines. It says nothing about what the text runs. */
export type InputState =
  | { readonly state: 'finished' }
  | { readonly state: 'unfinished' }
  /** More lines cannot mend it. */
  | { readonly state: 'invalid'; readonly problem: string };

/** Errors that stay errors at the end of a line: bash reads no further there. */
const closedAtEnd: readonly string[] = ['expected redirect target'];

/**
 * Says whether a text typed so far is a whole input (ssh.md 7): a trailing backslash, a heredoc without its end line, something unterminated, or a parse error at the
 * end of the text asks for more; any other error cannot be mended by more. Pure.
 *
 * @param parse what `ShellParser.parseShell` answered for this text.
 */
export function readInputState(text: string, parse: ShellParse): InputState {
  if (checkCommandText(text) !== null) return { state: 'invalid', problem: 'control characters, or characters that are not UTF-8' };
  if (parse.outcome === 'failed') return { state: 'invalid', problem: parse.code === 'PARSE_TIMEOUT' ? 'the input takes too long to read' : 'the input is too long' };
  if (/(?:^|[^\\])(?:\\\\)*\\\n?$/u.test(text)) return { state: 'unfinished' };
  const nodes = parse.tree as Record<string, unknown>;
  const errors = Array.isArray(nodes['errors']) ? nodes['errors'] as readonly ParseProblem[] : [];
  const [first] = errors;
  if (first === undefined) return hasOpenEnd(nodes) ? { state: 'unfinished' } : { state: 'finished' };
  if (first.message.startsWith('unterminated')) return { state: 'unfinished' };
  return isAtEnd(text, first) && !closedAtEnd.includes(first.message) ? { state: 'unfinished' } : { state: 'invalid', problem: first.message };
}

interface ParseProblem { readonly message: string; readonly pos: number }

/** Nothing but an opening brace, blanks and comments stand behind the error. */
function isAtEnd(text: string, { message, pos }: ParseProblem): boolean {
  const rest = text.slice(pos).replace(/^expected command in (?:brace group|subshell)$/u.test(message) ? /^[{(]/u : '', '');
  return rest.split('\n').every((line) => /^\s*(?:#.*)?$/u.test(line));
}

/** A heredoc whose end line did not come, or an error, anywhere below: those inside a substitution are not told at the top. */
function hasOpenEnd(node: unknown): boolean {
  if (Array.isArray(node)) return node.some(hasOpenEnd);
  if (typeof node !== 'object' || node === null) return false;
  const fields = node as Record<string, unknown>;
  if (fields['type'] === 'HereDoc' && fields['closing'] === undefined) return true;
  return Object.values(fields).some(hasOpenEnd);
}
