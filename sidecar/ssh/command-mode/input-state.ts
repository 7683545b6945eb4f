import type { ShellParser } from '../../core/ports.ts';
import { type InputState, readInputState } from '../../core/shell/finished-text.ts';

/** Most lines of one input: the text is read anew with each. */
const maxLines = 1000;

/** Whether what was typed so far is a whole input. */
export async function inputState(text: string, parser: ShellParser): Promise<InputState> {
  const parse = parser.parseShell(text);
  const state = readInputState(text, parse instanceof Promise ? await parse : parse);
  return state.state === 'unfinished' && text.split('\n').length > maxLines ? { state: 'invalid', problem: `more than ${maxLines} lines` } : state;
}
