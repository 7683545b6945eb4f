/** What a terminal's key asks the line editor to do. `text` is what was typed or pasted, without control characters. */
export type Key =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'key'; readonly name: KeyName };

/** Every key that the editor knows. */
export type KeyName =
  | 'enter' | 'interrupt' | 'endOfInput' | 'complete' | 'clearScreen' | 'left' | 'right' | 'wordLeft' | 'wordRight' | 'home' | 'end' | 'previous' | 'next'
  | 'deleteBack' | 'deleteForward' | 'deleteWordBack' | 'deleteWordForward' | 'deleteToBlank' | 'killToEnd' | 'killToStart' | 'yank' | 'transpose' | 'search' | 'cancel'
  | 'upperWord' | 'lowerWord' | 'undo' | 'firstLine' | 'lastLine' | 'insertLastWord' | 'pasteStart' | 'pasteEnd';

/** Bytes that are not a whole key yet, and whether a bracketed paste is open. */
export interface KeyReader {
  readonly pending: Uint8Array;
  readonly pasting: boolean;
}

/** Before the first byte. */
export const noKeys: KeyReader = { pending: new Uint8Array(), pasting: false };

/** Longest escape sequence that is waited for; what is longer is dropped. */
const maxSequence = 32;
const maxReport = 128;

/**
 * Reads the keys in a chunk of a terminal's input: UTF-8, C0 controls, CSI and SS3 sequences, Meta as ESC before a key, bracketed paste. Pure; a chunk may be cut anywhere.
 * What is unknown is dropped and never typed. A lone ESC waits for what follows, so no timer is needed: nothing is bound to it.
 *
 * @param limit stop after the key `enter`, so that the bytes behind it stay bytes: they may belong to the program that the line starts.
 */
export function readKeys(reader: KeyReader, chunk: Uint8Array, limit: 'all' | 'line' = 'all'): { readonly keys: readonly Key[]; readonly reader: KeyReader; readonly rest: Uint8Array } {
  const bytes = reader.pending.length === 0 ? chunk : Buffer.concat([reader.pending, chunk]);
  const keys: Key[] = [];
  let { pasting } = reader;
  let at = 0;
  while (at < bytes.length) {
    const step = readOne(bytes, at, pasting);
    if (step === null) return { keys, reader: { pending: bytes.slice(at), pasting }, rest: new Uint8Array() };
    at += step.length;
    if (step.key === null) continue;
    if (step.key.kind === 'key' && step.key.name === 'pasteStart') pasting = true;
    if (step.key.kind === 'key' && step.key.name === 'pasteEnd') pasting = false;
    keys.push(step.key);
    if (limit === 'line' && step.key.kind === 'key' && step.key.name === 'enter') break;
  }
  return { keys, reader: { pending: new Uint8Array(), pasting }, rest: bytes.slice(at) };
}

interface Step { readonly key: Key | null; readonly length: number }

/** Null when the bytes end inside a key. */
function readOne(bytes: Uint8Array, at: number, pasting: boolean): Step | null {
  const byte = bytes[at] ?? 0;
  if (byte === 0x1b) return readEscape(bytes, at, pasting);
  // A pasted CR LF is one end of line; a terminal sends CR for Enter.
  if (byte === 0x0d) return { key: named('enter'), length: bytes[at + 1] === 0x0a ? 2 : 1 };
  if (pasting) return byte === 0x0a ? { key: named('enter'), length: 1 } : byte === 0x09 ? { key: { kind: 'text', text: '\t' }, length: 1 } : byte < 0x20 || byte === 0x7f ? { key: null, length: 1 } : readText(bytes, at);
  if (byte < 0x20 || byte === 0x7f) return { key: named(controls[byte]), length: 1 };
  return readText(bytes, at);
}

const controls: Readonly<Record<number, KeyName>> = {
  1: 'home', 2: 'left', 3: 'interrupt', 4: 'endOfInput', 5: 'end', 6: 'right', 7: 'cancel', 8: 'deleteBack', 9: 'complete', 10: 'enter', 11: 'killToEnd',
  12: 'clearScreen', 14: 'next', 16: 'previous', 18: 'search', 20: 'transpose', 21: 'killToStart', 23: 'deleteToBlank', 25: 'yank', 31: 'undo', 127: 'deleteBack',
};

const metas: Readonly<Record<string, KeyName>> = {
  b: 'wordLeft', f: 'wordRight', d: 'deleteWordForward', '\x7f': 'deleteWordBack', '\b': 'deleteWordBack', u: 'upperWord', l: 'lowerWord', '<': 'firstLine', '>': 'lastLine', '.': 'insertLastWord', _: 'insertLastWord',
};

/** The parameters and final byte of a CSI or SS3 sequence; a modifier other than those named is read as none. */
const sequences: Readonly<Record<string, KeyName>> = {
  A: 'previous', B: 'next', C: 'right', D: 'left', H: 'home', F: 'end', '1~': 'home', '7~': 'home', '4~': 'end', '8~': 'end', '3~': 'deleteForward', '5~': 'firstLine', '6~': 'lastLine',
  '1;5C': 'wordRight', '1;5D': 'wordLeft', '1;3C': 'wordRight', '1;3D': 'wordLeft', '5C': 'wordRight', '5D': 'wordLeft', '3;5~': 'deleteWordForward', '3;3~': 'deleteWordForward', '200~': 'pasteStart', '201~': 'pasteEnd',
};

function readEscape(bytes: Uint8Array, at: number, pasting: boolean): Step | null {
  const next = bytes[at + 1];
  if (next === undefined) return null;
  if (next === 0x5b || next === 0x4f) {
    let end = at + 2;
    while (end < bytes.length && end - at < maxSequence && !isFinal(bytes[end] ?? 0)) end++;
    if (end >= bytes.length) return bytes.length - at < maxSequence ? null : { key: null, length: bytes.length - at };
    const text = String.fromCharCode(...bytes.slice(at + 2, end + 1));
    const name = sequences[text] ?? sequences[text.replace(/^1;\d+(?=[A-Z]$)/u, '')];
    return { key: pasting && name !== 'pasteEnd' ? null : named(name), length: end + 1 - at };
  }
  if (pasting) return { key: null, length: 1 };
  if (next === 0x5d || next === 0x50) return readReport(bytes, at);
  // ESC ESC [ A is Meta with an arrow: the arrow is read.
  if (next === 0x1b) return { key: null, length: 1 };
  return { key: named(metas[String.fromCharCode(next).toLowerCase()]), length: 2 };
}

/** A terminal's own answer to a question of a program (OSC, DCS), up to BEL or ST: nobody typed it. */
function readReport(bytes: Uint8Array, at: number): Step | null {
  for (let end = at + 2; end < bytes.length; end++) {
    if (bytes[end] === 0x07) return { key: null, length: end + 1 - at };
    if (bytes[end] === 0x5c && bytes[end - 1] === 0x1b) return { key: null, length: end + 1 - at };
    // Meta and a key after all: reports hold no ends of lines and are short.
    if (bytes[end] === 0x0d || end - at > maxReport) return { key: null, length: 2 };
  }
  return null;
}

function isFinal(byte: number): boolean {
  return byte >= 0x40 && byte <= 0x7e;
}

/** Everything up to the next control character that is whole UTF-8; what is not UTF-8 is dropped. */
function readText(bytes: Uint8Array, at: number): Step | null {
  let end = at;
  while (end < bytes.length && (bytes[end] ?? 0) >= 0x20 && bytes[end] !== 0x7f) end++;
  const whole = end === bytes.length ? end - openTail(bytes.subarray(at, end)) : end;
  if (whole === at) return null;
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(at, whole)).replaceAll('�', '').replace(/[\u0080-\u009f\u2028\u2029]/gu, '');
  return { key: text === '' ? null : { kind: 'text', text }, length: whole - at };
}

/** How many bytes at the end begin a character that is not whole. */
function openTail(bytes: Uint8Array): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte >= 0xc0) return (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) > back ? back : 0;
    if (byte < 0x80) return 0;
  }
  return 0;
}

function named(name: KeyName | undefined): Key | null {
  return name === undefined ? null : { kind: 'key', name };
}
