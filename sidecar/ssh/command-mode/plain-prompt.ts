import type { ShellParser } from '../../core/ports.ts';
import { maxLine } from './editor.ts';
import { inputState } from './input-state.ts';
import type { Answer } from './line-prompt.ts';
import type { TypedInput } from './typed-input.ts';

/** Reads inputs without a terminal, line by line as `sh -s` would: no prompt, no echo, no editing. */
export interface PlainPrompt {
  ask(signal: AbortSignal): Promise<Answer>;
}

/** Opens it. What is not UTF-8 becomes U+FFFD, which inspection refuses. */
export function openPlainPrompt(input: TypedInput, parser: ShellParser): PlainPrompt {
  let isOver = false;
  const readLine = async (signal: AbortSignal): Promise<string | 'too long' | null> => {
    const parts: Buffer[] = [];
    let length = 0;
    while (!isOver) {
      const chunk = await input.read(signal);
      if (chunk === null) {
        isOver = true;
        break;
      }
      const end = chunk.indexOf(0x0a);
      const part = end === -1 ? chunk : chunk.subarray(0, end);
      if (end !== -1) input.unread(chunk.subarray(end + 1));
      length += part.length;
      if (length > maxLine) return 'too long';
      parts.push(Buffer.from(part));
      if (end !== -1) return Buffer.concat(parts).toString('utf8').replace(/\r$/u, '');
    }
    return parts.length === 0 ? null : Buffer.concat(parts).toString('utf8');
  };
  return {
    ask: async (signal) => {
      let text: string | null = null;
      for (;;) {
        const line = await readLine(signal);
        if (line === 'too long') return { kind: 'invalid', text: '', problem: 'the input is too long', pasted: true };
        if (line === null) return text === null ? { kind: 'end' } : { kind: 'invalid', text, problem: 'the input ends before it is finished', pasted: true };
        text = text === null ? line : `${text}\n${line}`;
        const state = await inputState(text, parser);
        if (state.state === 'finished') return { kind: 'input', text, pasted: true };
        if (state.state === 'invalid') return { kind: 'invalid', text, problem: state.problem, pasted: true };
      }
    },
  };
}
