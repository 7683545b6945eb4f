import type { ShellParser } from '../../core/ports.ts';
import { drawLine, type Drawn, eraseLine, leaveLine, resizeDrawn } from './draw-line.ts';
import { type Editor, newEditor, pressKey, remember, takeLine } from './editor.ts';
import { inputState } from './input-state.ts';
import { type Key, type KeyReader, noKeys, readKeys } from './keys.ts';
import { insert, lineText } from './line-buffer.ts';
import type { TypedInput } from './typed-input.ts';

/** What the user answered to a prompt. */
export type Answer =
  /** A whole input, of several lines where it needed them. `shown`: as it stands on the screen. */
  | { readonly kind: 'input'; readonly text: string; readonly pasted: boolean }
  | { readonly kind: 'interrupted' }
  /** The shell would not take it; the line is dropped. */
  | { readonly kind: 'invalid'; readonly text: string; readonly problem: string; readonly pasted: boolean }
  | { readonly kind: 'end' };

/** What Tab adds at the cursor, and what it could be. */
export interface Completion {
  readonly insert: string;
  readonly candidates: readonly string[];
}

/** The terminal that a prompt draws on. */
export interface PromptScreen {
  readonly write: (text: string) => void;
  readonly columns: () => number;
}

/** A line editor on a terminal; remembers its history as long as it lives. */
export interface LinePrompt {
  /** Asks once. Resolves with `end` when the input ends or `signal` is aborted. */
  ask(prompt: string, signal: AbortSignal): Promise<Answer>;
  /** The terminal has another size: what stands there is drawn anew. */
  resized(): void;
  /** A bracketed paste is open. */
  isPasting(): boolean;
  /** Forgets that one was open. */
  endPaste(): void;
}

/** Asks for the rest of an unfinished input. */
export const continuationPrompt = '> ';
const pasteOn = '\x1b[?2004h';
const pasteOff = '\x1b[?2004l';
/** Most names shown for one Tab. */
const maxShown = 200;

/** Opens a line editor. `complete` may take a while; keys that come meanwhile wait. */
export function openLinePrompt(input: TypedInput, screen: PromptScreen, parser: ShellParser, complete: (before: string, signal: AbortSignal) => Promise<Completion>): LinePrompt {
  let editor: Editor = newEditor;
  let reader: KeyReader = noKeys;
  let drawn: Drawn | null = null;
  let prompt = '';
  let isAsking = false;

  const draw = (): void => {
    const shown = editor.search === null ? prompt : `(${editor.search.failed ? 'failed ' : ''}reverse-i-search)\`${editor.search.query}': `;
    const { output, drawn: now } = drawLine(drawn, shown, editor.line, screen.columns());
    drawn = now;
    if (output !== '') screen.write(output);
  };
  const leave = (mark: string): void => {
    if (editor.search !== null) editor = { ...editor, search: null };
    draw();
    screen.write(`${mark}${leaveLine(drawn, prompt, editor.line, screen.columns())}`);
    drawn = null;
  };
  const completeLine = async (signal: AbortSignal): Promise<void> => {
    const found = await complete(editor.line.before, signal);
    if (found.insert !== '') {
      editor = { ...editor, line: insert(editor.line, found.insert), undo: [...editor.undo, editor.line] };
    } else if (found.candidates.length > 1) {
      screen.write(`${leaveLine(drawn, prompt, editor.line, screen.columns())}${inColumns(found.candidates.slice(0, maxShown), screen.columns())}${found.candidates.length > maxShown ? `... and ${found.candidates.length - maxShown} more\r\n` : ''}`);
      drawn = null;
    } else {
      screen.write('\x07');
    }
  };
  /** One line: null when more keys are needed. */
  const press = async (key: Key, signal: AbortSignal): Promise<'submit' | 'interrupt' | 'endOfInput' | null> => {
    const { editor: next, effect } = pressKey(editor, key);
    editor = next;
    switch (effect) {
      case 'redraw':
        return null;
      case 'bell':
        screen.write('\x07');
        return null;
      case 'clearScreen':
        screen.write('\x1b[H\x1b[2J');
        drawn = null;
        return null;
      case 'complete':
        draw();
        await completeLine(signal);
        return null;
      default:
        return effect;
    }
  };
  const readLine = async (signal: AbortSignal): Promise<'submit' | 'interrupt' | 'endOfInput'> => {
    draw();
    for (;;) {
      const chunk = await input.read(signal);
      if (chunk === null) return 'endOfInput';
      const { keys, reader: next, rest } = readKeys(reader, chunk, 'line');
      reader = next;
      input.unread(rest);
      for (const key of keys) {
        const effect = await press(key, signal);
        // Ctrl-C and Ctrl-D in the middle of a chunk: what came behind them in it is forgotten with the line.
        if (effect !== null) return effect;
      }
      draw();
    }
  };
  const readWhole = async (first: string, signal: AbortSignal): Promise<Answer> => {
    let text = '';
    for (;;) {
      prompt = text === '' ? first : continuationPrompt;
      const effect = await readLine(signal);
      if (effect === 'interrupt' || (effect === 'endOfInput' && text !== '')) {
        leave(effect === 'interrupt' ? '^C' : '');
        editor = takeLine(editor);
        return effect === 'interrupt' ? { kind: 'interrupted' } : { kind: 'invalid', text, problem: 'the input ends before it is finished', pasted: false };
      }
      if (effect === 'endOfInput') return { kind: 'end' };
      const line = lineText(editor.line);
      leave('');
      editor = takeLine(editor);
      text = text === '' ? line : `${text}\n${line}`;
      const state = await inputState(text, parser);
      if (state.state === 'unfinished') continue;
      editor = remember(editor, text);
      return state.state === 'finished' ? { kind: 'input', text, pasted: reader.pasting } : { kind: 'invalid', text, problem: state.problem, pasted: reader.pasting };
    }
  };

  return {
    ask: async (first, signal) => {
      isAsking = true;
      drawn = null;
      screen.write(pasteOn);
      try {
        return await readWhole(first, signal);
      } finally {
        isAsking = false;
        screen.write(pasteOff);
      }
    },
    resized: () => {
      if (!isAsking || drawn === null) return;
      const moved = resizeDrawn(drawn, prompt, editor.line, screen.columns());
      screen.write(eraseLine(moved));
      drawn = null;
      draw();
    },
    isPasting: () => reader.pasting,
    endPaste: () => {
      reader = noKeys;
      editor = { ...editor, pasting: false };
    },
  };
}

function inColumns(names: readonly string[], columns: number): string {
  const width = Math.max(...names.map((name) => name.length)) + 2;
  const perRow = Math.max(1, Math.floor(columns / width));
  const rows = Math.ceil(names.length / perRow);
  return Array.from({ length: rows }, (_, row) => `${names.filter((_name, index) => index % rows === row).map((name) => name.padEnd(width)).join('').trimEnd()}\r\n`).join('');
}
