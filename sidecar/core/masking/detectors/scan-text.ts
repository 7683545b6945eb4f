import type { DetectorName } from '../../../../contract/detectors.ts';
import { contextWords } from './context-words.ts';

/**
 * A text under search: one character per UTF-8 byte (latin1 of the bytes), so that positions are byte positions and nothing around a hit changes.
 * What several detectors need is computed once, on demand.
 */
export interface ScanText {
  readonly text: string;
  /** Start and end of every maximal run of ASCII digits: `[s0, e0, s1, e1, …]`. */
  runs(): Int32Array;
  /** Whether a context word of the detector stands within 40 characters of `[start, end)`, or in the column's name. Call with growing `start`. */
  hasContext(name: DetectorName, start: number, end: number): boolean;
}

/** Reports a match `[start, end)`. */
export type Emit = (start: number, end: number) => void;

/** One detector. `scan` takes time linear in the text. */
export interface Detector {
  readonly name: DetectorName;
  /** A text with fewer digits, or without the character, cannot hold a match: lets most cells pass after one look at their bytes. */
  readonly needs: { readonly digits: number; readonly character: '@' | ':' | null };
  /** Fewest characters of a match. */
  readonly minLength: number;
  scan(source: ScanText, emit: Emit): void;
}

/** @param columnContext detectors whose context words stand in the name of the column (or the JSON key) that the text belongs to. */
export function scanText(text: string, columnContext: ReadonlySet<DetectorName>): ScanText {
  let runs: Int32Array | null = null;
  let lower: string | null = null;
  const contexts = new Map<DetectorName, ContextCursor>();
  const cursorOf = (name: DetectorName): ContextCursor => {
    let cursor = contexts.get(name);
    if (cursor === undefined) {
      lower ??= text.toLowerCase();
      cursor = { spans: contextSpans(lower, name), next: 0 };
      contexts.set(name, cursor);
    }
    return cursor;
  };
  return {
    text,
    runs: () => (runs ??= digitRuns(text)),
    hasContext: (name, start, end) => columnContext.has(name) || isNear(cursorOf(name), start, end),
  };
}

/** No detector has context by column. */
export const noContext: ReadonlySet<DetectorName> = new Set();

/** Whether a char code is an ASCII digit. */
export function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** Whether a char code is an ASCII letter. */
export function isLetter(code: number): boolean {
  const folded = code | 0x20;
  return folded >= 0x61 && folded <= 0x7a;
}

/** Whether a match may begin at `at`: no letter or digit directly before it (an escape like `\n` in quoted text is no letter). */
export function beginsWord(text: string, at: number): boolean {
  if (at === 0) return true;
  const before = text.charCodeAt(at - 1);
  if (isDigit(before)) return false;
  return !isLetter(before) || (at >= 2 && text.charCodeAt(at - 2) === 0x5c && 'nrtbf'.includes(text[at - 1] as string));
}

/** Whether a match may end at `at`: no letter or digit follows. */
export function endsWord(text: string, at: number): boolean {
  if (at >= text.length) return true;
  const after = text.charCodeAt(at);
  return !isDigit(after) && !isLetter(after);
}

/**
 * Whether `[start, end)` is a piece of a longer number or hexadecimal token. Other letters glued to it do not hide it: `t536-22-7841x` shows the value.
 * Only for values with a check of their own; looks at no more than 64 characters on either side.
 */
export function isInToken(text: string, start: number, end: number): boolean {
  if (beginsWord(text, start) && endsWord(text, end)) return false;
  if ((start > 0 && isDigit(text.charCodeAt(start - 1))) || isDigit(text.charCodeAt(end))) return true;
  for (let at = start - 1; at >= Math.max(0, start - gluedReach) && isWordCode(text.charCodeAt(at)); at -= 1) if (!isHexCode(text.charCodeAt(at))) return false;
  for (let at = end; at < Math.min(text.length, end + gluedReach) && isWordCode(text.charCodeAt(at)); at += 1) if (!isHexCode(text.charCodeAt(at))) return false;
  return true;
}

const gluedReach = 64;

function isWordCode(code: number): boolean {
  return isDigit(code) || isLetter(code);
}

function isHexCode(code: number): boolean {
  const folded = code | 0x20;
  return isDigit(code) || (folded >= 0x61 && folded <= 0x66);
}

/** Whether `[start, end)` is part of a decimal number such as `0.4539…` or `4539….25`. A fraction of zeros does not count. */
export function isFraction(text: string, start: number, end: number): boolean {
  if (start >= 2 && text.charCodeAt(start - 1) === 0x2e && isDigit(text.charCodeAt(start - 2))) return true;
  if (text.charCodeAt(end) !== 0x2e || !isDigit(text.charCodeAt(end + 1))) return false;
  let at = end + 1;
  while (text.charCodeAt(at) === 0x30) at += 1;
  return isDigit(text.charCodeAt(at));
}

/** Length in bytes of a separator between groups of digits (space, dash, their Unicode kin), 0 when there is none at `at`. */
export function separatorLength(text: string, at: number): number {
  const code = text.charCodeAt(at);
  if (code === 0x20 || code === 0x2d) return 1;
  if (code === 0xc2) return text.charCodeAt(at + 1) === 0xa0 ? 2 : 0;
  if (code !== 0xe2) return 0;
  const [second, third] = [text.charCodeAt(at + 1), text.charCodeAt(at + 2)];
  // U+2010 to U+2015 (dashes), U+2007 and U+202F (no-break spaces), U+2212 (minus).
  if (second === 0x80 && ((third >= 0x90 && third <= 0x95) || third === 0x87 || third === 0xaf)) return 3;
  return second === 0x88 && third === 0x92 ? 3 : 0;
}

/** Whether the match is a piece of a UUID. */
export function isInUuid(text: string, start: number, end: number): boolean {
  uuid.lastIndex = 0;
  const from = Math.max(0, start - 36);
  const window = text.slice(from, end + 36);
  for (let match = uuid.exec(window); match !== null; match = uuid.exec(window)) {
    if (match.index <= start - from && match.index + 36 >= end - from) return true;
    uuid.lastIndex = match.index + 1;
  }
  return false;
}

const uuid = /(?<![0-9a-f])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-f])/gi;
const contextReach = 40;

interface ContextCursor {
  readonly spans: readonly number[];
  next: number;
}

function digitRuns(text: string): Int32Array {
  const found: number[] = [];
  const length = text.length;
  for (let at = 0; at < length; at += 1) {
    if (!isDigit(text.charCodeAt(at))) continue;
    found.push(at);
    while (at < length && isDigit(text.charCodeAt(at))) at += 1;
    found.push(at);
  }
  return Int32Array.from(found);
}

function contextSpans(lower: string, name: DetectorName): readonly number[] {
  const words = contextWords[name];
  if (words === null) return [];
  const pattern = new RegExp(words.source, 'g');
  const spans: number[] = [];
  for (let match = pattern.exec(lower); match !== null; match = pattern.exec(lower)) spans.push(match.index, match.index + match[0].length);
  return spans;
}

function isNear(cursor: ContextCursor, start: number, end: number): boolean {
  const { spans } = cursor;
  while (cursor.next < spans.length && (spans[cursor.next + 1] as number) < start - contextReach) cursor.next += 2;
  return cursor.next < spans.length && (spans[cursor.next] as number) <= end + contextReach;
}
