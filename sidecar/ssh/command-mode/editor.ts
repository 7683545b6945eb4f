import type { Key, KeyName } from './keys.ts';
import { changeWord, cut, emptyLine, insert, lastWord, type LineBuffer, lineOf, lineText, move, transpose } from './line-buffer.ts';

/** Everything that a line editor knows: the line, the lines before it, what was cut, and an open search. In memory only. */
export interface Editor {
  readonly line: LineBuffer;
  /** Oldest first, at most `maxHistory`. */
  readonly history: readonly string[];
  /** The line of the history that is shown, and the line that was being typed; null while a new one is typed. */
  readonly recalled: { readonly index: number; readonly typed: LineBuffer } | null;
  readonly killed: string;
  /** The last key cut to the same side: one more adds to what was cut. */
  readonly killing: boolean;
  readonly undo: readonly LineBuffer[];
  readonly search: { readonly query: string; readonly index: number; readonly typed: LineBuffer; readonly failed: boolean } | null;
  readonly pasting: boolean;
}

/** What the surroundings must do after a key. */
export type Effect = 'redraw' | 'submit' | 'interrupt' | 'endOfInput' | 'complete' | 'clearScreen' | 'bell';

/** Before anything was typed. */
export const newEditor: Editor = { line: emptyLine, history: [], recalled: null, killed: '', killing: false, undo: [], search: null, pasting: false };

/** Lines that are remembered. */
export const maxHistory = 1000;
/** Longest line that can be typed, in UTF-16 units: inspection takes no more than 64 KiB. */
export const maxLine: number = 64 * 1024;
const maxUndo = 100;

/** One key pressed. Pure. */
export function pressKey(editor: Editor, key: Key): { readonly editor: Editor; readonly effect: Effect } {
  if (editor.search !== null) return pressInSearch(editor, editor.search, key);
  if (key.kind === 'text') return type(editor, key.text);
  const { name } = key;
  const done = finals[name];
  if (done !== undefined) return { editor: { ...editor, killing: false }, effect: done };
  if (name === 'pasteStart' || name === 'pasteEnd') return { editor: { ...editor, pasting: name === 'pasteStart', killing: false }, effect: 'redraw' };
  if (name === 'endOfInput') return lineText(editor.line) === '' ? { editor, effect: 'endOfInput' } : pressKey(editor, { kind: 'key', name: 'deleteForward' });
  const changed = moves(editor, name) ?? kills(editor, name) ?? recalls(editor, name) ?? edits(editor, name);
  return changed === null ? { editor: { ...editor, killing: false }, effect: 'bell' } : { editor: changed, effect: 'redraw' };
}

/** The line was taken: it joins the history unless it is blank or the same as the last one, and a new one begins. */
export function takeLine(editor: Editor): Editor {
  return { ...editor, line: emptyLine, recalled: null, killing: false, undo: [], search: null };
}

/** Remembers a text, once in a row. A text that begins with a blank is not remembered, as in bash with `ignorespace`. */
export function remember(editor: Editor, text: string): Editor {
  if (text.trim() === '' || text.startsWith(' ') || text === editor.history.at(-1)) return editor;
  return { ...editor, history: [...editor.history, text].slice(-maxHistory) };
}

const finals: Partial<Record<KeyName, Effect>> = { enter: 'submit', interrupt: 'interrupt', complete: 'complete', clearScreen: 'clearScreen' };

function type(editor: Editor, text: string): { readonly editor: Editor; readonly effect: Effect } {
  if (lineText(editor.line).length + text.length > maxLine) return { editor, effect: 'bell' };
  return { editor: change(editor, insert(editor.line, text)), effect: 'redraw' };
}

/** The line became another by typing or cutting. */
function change(editor: Editor, line: LineBuffer, rest: Partial<Editor> = {}): Editor {
  return { ...editor, killing: false, ...rest, line, undo: [...editor.undo, editor.line].slice(-maxUndo) };
}

function moves(editor: Editor, name: KeyName): Editor | null {
  switch (name) {
    case 'left': case 'right': case 'wordLeft': case 'wordRight': case 'home': case 'end':
      return { ...editor, killing: false, line: move(editor.line, name) };
    default:
      return null;
  }
}

const cuts: Partial<Record<KeyName, { readonly to: Parameters<typeof cut>[1]; readonly side: 'before' | 'after' | null }>> = {
  deleteBack: { to: 'left', side: null }, deleteForward: { to: 'right', side: null }, deleteWordBack: { to: 'wordLeft', side: 'before' }, deleteWordForward: { to: 'wordRight', side: 'after' },
  deleteToBlank: { to: 'blankLeft', side: 'before' }, killToEnd: { to: 'end', side: 'after' }, killToStart: { to: 'home', side: 'before' },
};

function kills(editor: Editor, name: KeyName): Editor | null {
  const kill = cuts[name];
  if (kill === undefined) return null;
  const { line, removed } = cut(editor.line, kill.to);
  if (removed === '') return null;
  if (kill.side === null) return change(editor, line);
  const earlier = editor.killing ? editor.killed : '';
  return change(editor, line, { killing: true, killed: kill.side === 'before' ? removed + earlier : earlier + removed });
}

function edits(editor: Editor, name: KeyName): Editor | null {
  switch (name) {
    case 'yank':
      return editor.killed === '' || lineText(editor.line).length + editor.killed.length > maxLine ? null : change(editor, insert(editor.line, editor.killed));
    case 'transpose':
      return change(editor, transpose(editor.line));
    case 'upperWord':
      return change(editor, changeWord(editor.line, (word) => word.toUpperCase()));
    case 'lowerWord':
      return change(editor, changeWord(editor.line, (word) => word.toLowerCase()));
    case 'undo': {
      const before = editor.undo.at(-1);
      return before === undefined ? null : { ...editor, killing: false, line: before, undo: editor.undo.slice(0, -1) };
    }
    case 'insertLastWord': {
      const word = lastWord(editor.history.at(-1) ?? '');
      return word === '' || lineText(editor.line).length + word.length > maxLine ? null : change(editor, insert(editor.line, word));
    }
    case 'search':
      return { ...editor, killing: false, search: { query: '', index: editor.history.length, typed: editor.line, failed: false } };
    default:
      return null;
  }
}

function recalls(editor: Editor, name: KeyName): Editor | null {
  const index = editor.recalled?.index ?? editor.history.length;
  const to = name === 'previous' ? index - 1 : name === 'next' ? index + 1 : name === 'firstLine' ? 0 : name === 'lastLine' ? editor.history.length : null;
  if (to === null || to < 0 || to > editor.history.length || to === index) return null;
  const typed = editor.recalled?.typed ?? editor.line;
  const line = to === editor.history.length ? typed : lineOf(editor.history[to] ?? '');
  return { ...editor, killing: false, undo: [], line, recalled: to === editor.history.length ? null : { index: to, typed } };
}

/** Ctrl-R: text narrows, Ctrl-R goes on to an older line, Ctrl-G and Ctrl-C give back what was typed, every other key takes the line and acts on it. */
function pressInSearch(editor: Editor, search: NonNullable<Editor['search']>, key: Key): { readonly editor: Editor; readonly effect: Effect } {
  if (key.kind === 'text') return found(editor, { ...search, query: (search.query + key.text).slice(0, 256) }, editor.history.length);
  switch (key.name) {
    case 'search':
      return found(editor, search, search.index);
    case 'deleteBack':
      return found(editor, { ...search, query: search.query.slice(0, -1) }, editor.history.length);
    case 'cancel': case 'interrupt':
      return { editor: { ...editor, search: null, line: search.typed }, effect: 'redraw' };
    default: {
      const kept = { ...editor, search: null, recalled: search.index < editor.history.length ? { index: search.index, typed: search.typed } : editor.recalled };
      return pressKey(kept, key);
    }
  }
}

function found(editor: Editor, search: NonNullable<Editor['search']>, before: number): { readonly editor: Editor; readonly effect: Effect } {
  const index = search.query === '' ? -1 : editor.history.findLastIndex((text, at) => at < before && text.includes(search.query));
  if (index === -1) return { editor: { ...editor, search: { ...search, failed: search.query !== '' } }, effect: search.query === '' ? 'redraw' : 'bell' };
  return { editor: { ...editor, line: lineOf(editor.history[index] ?? ''), search: { ...search, index, failed: false } }, effect: 'redraw' };
}
