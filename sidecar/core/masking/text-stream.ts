import type { MaskingRule } from '../../../contract/proxy-config.ts';
import { cellWidth } from '../terminal/cell-width.ts';
import { type VtKind, type VtSink, VtTokenizer } from '../terminal/vt-tokenizer.ts';
import { compileDetectors, type DetectorSet } from './detectors.ts';
import { compileLiveSuffix, type LiveSuffix } from './live-suffix.ts';
import { freshState, judgeSegment, type SegmentState, type SegmentVerdict } from './text-segments.ts';
import { Utf8Gate } from './utf8-gate.ts';

/** Masks one stream of text. What comes out depends on what went in and, in mode `pty`, on when it was idle; never on how it was cut. */
export interface TextMask {
  /** @returns what may go on now; a suffix may wait. After a problem: nothing, ever. */
  push(chunk: Uint8Array): Uint8Array;
  /** Mode `pty`, after 25 ms without output: what waits, as it looks now. A value that is cut here is hidden only from the part on that completes it. */
  idle(): Uint8Array;
  /** What waits at the end of the stream. */
  end(): Uint8Array;
  /** True while something waits: `idle` is due then. */
  readonly waiting: boolean;
  /** Matches hidden so far. */
  readonly hits: number;
  /** Set once: the stream is cut before the byte that is no text, and the command must stop. */
  readonly problem: 'OUTPUT_NOT_TEXT' | null;
}

/** Whether the rules hide anything in text. Rules for columns do not. */
export function masksText(rules: readonly MaskingRule[]): boolean {
  return rules.some((rule) => (rule.detectors ?? []).length > 0);
}

/**
 * Makes the mask of one stream. Every match becomes `*`, one for each cell that it took on the screen; control sequences stay where they are, and hide nothing that they stand in.
 * Style Partial keeps what it keeps in a cell of a table.
 *
 * @throws SallyportError `CONFIG_INVALID` for a rule that names no detector of ours.
 */
export function createTextMask(rules: readonly MaskingRule[], mode: 'exec' | 'pty'): TextMask {
  const detectors = compileDetectors(rules);
  return detectors === null ? unmasked : new StreamMask(detectors, mode === 'pty');
}

const nothing: Uint8Array = new Uint8Array(0);

const unmasked: TextMask = { push: (chunk) => chunk, idle: () => nothing, end: () => nothing, waiting: false, hits: 0, problem: null };

/** A longer line is judged in segments of this many bytes … */
const segmentBytes = 2048;
/** … each seen with so much behind and before it, which is the longest value that a segment's border cannot split. */
const overlapBytes = 256;
/** What is seen of the lines before: context words reach 40 characters. */
const contextBytes = 64;
/** Control sequences of one line that may wait, bytes. */
const sequenceBytes = 65_536;

/**
 * The text of the current line, judged whole or in segments, always at the same places. What no match can reach any more goes out before that,
 * and such a release changes no byte: it is only earlier.
 */
class StreamMask implements TextMask, VtSink {
  hits = 0;
  problem: 'OUTPUT_NOT_TEXT' | null = null;
  readonly #detectors: DetectorSet;
  readonly #hasSecret: boolean;
  readonly #live: LiveSuffix;
  readonly #pty: boolean;
  readonly #gate: Utf8Gate = new Utf8Gate();
  readonly #tokenizer: VtTokenizer = new VtTokenizer(this);
  /** Text without control sequences, from some context before the segment on. */
  #text = '';
  /** Where the segment begins, and whether it begins its line. */
  #segment = 0;
  #lineBegins = true;
  /** Up to where text went out. */
  #emitted = 0;
  #state: SegmentState = freshState;
  /** Control sequences that wait: each stands before the character `at`. */
  #sequences: { readonly at: number; readonly bytes: string }[] = [];
  #sequencesOfLine = 0;
  #out: string[] = [];

  constructor(detectors: DetectorSet, pty: boolean) {
    this.#detectors = detectors;
    this.#hasSecret = detectors.names.includes('secret');
    this.#live = compileLiveSuffix(detectors.names);
    this.#pty = pty;
  }

  get waiting(): boolean {
    return this.#emitted < this.#text.length;
  }

  push(chunk: Uint8Array): Uint8Array {
    if (this.problem !== null) return nothing;
    const { valid, bad } = this.#gate.push(chunk);
    this.#tokenizer.push(valid);
    if (bad) return this.#cut();
    this.#release();
    return this.#take();
  }

  idle(): Uint8Array {
    if (!this.#pty || this.problem !== null || !this.waiting) return nothing;
    const end = this.#text.length;
    this.#emit(end, this.#judge(end, end, true).hidden, this.#segment);
    return this.#take();
  }

  end(): Uint8Array {
    if (this.problem !== null) return nothing;
    if (this.#gate.unfinished) return this.#cut();
    this.#finish();
    return this.#take();
  }

  /** For the tokenizer. */
  text(bytes: string): void {
    const from = this.#text.length;
    this.#text += bytes;
    this.#lines(from, bytes);
    this.#segments(this.#text.length);
    this.#forget();
  }

  /** For the tokenizer. */
  sequence(bytes: string, kind: VtKind): void {
    const shown = kind === 'osc' || kind === 'dcs' || kind === 'string' ? this.#maskedString(bytes) : bytes;
    this.#sequencesOfLine += shown.length;
    if (this.#emitted === this.#text.length) this.#out.push(shown);
    else this.#sequences.push({ at: this.#text.length, bytes: shown });
    // A line of nothing but colours ends here, wherever its chunks end.
    if (this.#sequencesOfLine > sequenceBytes) this.#endLine(this.#text.length);
  }

  /** A control string carries text of its own: titles, links, clipboards. A value in it is hidden byte by byte. */
  #maskedString(bytes: string): string {
    const hits = this.#hasSecret || /[\d@]/.test(bytes) ? this.#detectors.each(bytes) : [];
    if (hits.length === 0) return bytes;
    this.hits += hits.length;
    const characters = [...bytes];
    // Introducer and terminator stay, whatever a detector takes for a part of a value.
    const last = bytes.length - (stringEnd.exec(bytes)?.[0].length ?? 0);
    for (const { start, end } of hits) for (let at = Math.max(2, start); at < Math.min(last, end); at += 1) characters[at] = '*';
    return characters.join('');
  }

  /** Judges the lines that end in what is new. Seen together they match wherever they would match one by one, so what the joint look leaves out is clean. */
  #lines(from: number, added: string): void {
    const last = from + lastLineEnd(added);
    if (last < from) return;
    const hits = this.#isPlain() ? this.#hitsUpTo(last) : null;
    if (hits !== null && hits.length === 0 && !this.#hasLongLine(last)) {
      this.#emit(last, null, this.#segment);
      this.#beginLine(last);
      return;
    }
    let next = 0;
    lineEnd.lastIndex = from;
    for (let match = lineEnd.exec(this.#text); match !== null && match.index < last; match = lineEnd.exec(this.#text)) {
      const end = match.index + 1;
      while (hits !== null && next < hits.length && (hits[next]?.end ?? 0) <= this.#segment) next += 1;
      const touched = hits === null || (hits[next]?.start ?? end) < end;
      if (touched || !this.#isPlain() || end - this.#segment > segmentBytes) {
        this.#endLine(end);
      } else {
        this.#emit(end, null, this.#segment);
        this.#beginLine(end);
      }
    }
  }

  /** Nothing is left over from the lines before. */
  #isPlain(): boolean {
    const { pem, pemTail, openRun } = this.#state;
    return !pem && pemTail === 0 && !openRun && this.#lineBegins;
  }

  /** Matches up to `end`, by their ends, as one span where they overlap. */
  #hitsUpTo(end: number): readonly { readonly start: number; readonly end: number }[] {
    const start = this.#windowStart();
    const seen = this.#text.slice(start, end);
    if (!this.#hasSecret && !/[\d@]/.test(seen)) return [];
    const spans: { readonly start: number; end: number }[] = [];
    for (const hit of [...this.#detectors.each(seen)].sort((a, b) => a.start - b.start)) {
      const before = spans.at(-1);
      if (before !== undefined && hit.start + start < before.end) before.end = Math.max(before.end, hit.end + start);
      else spans.push({ start: hit.start + start, end: hit.end + start });
    }
    return spans;
  }

  #hasLongLine(end: number): boolean {
    for (let at = this.#segment; end - at > segmentBytes;) {
      const next = this.#text.lastIndexOf('\n', at + segmentBytes);
      if (next < at) return true;
      at = next + 1;
    }
    return false;
  }

  #endLine(end: number): void {
    this.#segments(end);
    this.#decide(end, end, true);
    this.#beginLine(end);
  }

  /** Judges the segments of a long line that can be seen with their overlap. */
  #segments(end: number): void {
    while (end - this.#segment > segmentBytes + overlapBytes) {
      const windowEnd = this.#segment + segmentBytes + overlapBytes;
      this.#decide(characterStart(this.#text, this.#segment + segmentBytes), windowEnd, false);
    }
  }

  #beginLine(at: number): void {
    this.#segment = at;
    this.#lineBegins = true;
    this.#sequencesOfLine = 0;
    // A word ends with its line, a key does not.
    if (this.#state.openRun) this.#state = { ...this.#state, openRun: false };
  }

  /** Judges the segment up to `to` for good. */
  #decide(to: number, windowEnd: number, final: boolean): void {
    const verdict = this.#judge(to, windowEnd, final);
    this.hits += verdict.hits;
    this.#emit(to, verdict.hidden, this.#segment);
    this.#state = verdict.state;
    this.#segment = to;
    this.#lineBegins = false;
  }

  #judge(to: number, windowEnd: number, final: boolean): SegmentVerdict {
    return judgeSegment({ text: this.#text, from: this.#segment, to, windowStart: this.#windowStart(), windowEnd, final }, this.#state, this.#detectors, this.#hasSecret);
  }

  #windowStart(): number {
    return Math.max(0, this.#segment - (this.#lineBegins ? contextBytes : overlapBytes));
  }

  /** Lets go of what no match can reach any more. */
  #release(): void {
    const end = this.#text.length;
    if (!this.waiting || this.#state.pem || this.#state.pemTail > 0 || this.#state.openRun) return;
    const { hidden } = this.#judge(end, end, true);
    const first = hidden === null ? end : hidden.indexOf(1) + this.#segment;
    const live = characterStart(this.#text, Math.min(first, this.#live(this.#text, this.#segment)));
    if (live > this.#emitted) this.#emit(live, null, this.#segment);
  }

  #emit(to: number, hidden: Uint8Array | null, base: number): void {
    for (const { at, bytes } of this.#sequences.splice(0, countUpTo(this.#sequences, to))) {
      this.#emitText(at, hidden, base);
      this.#out.push(bytes);
    }
    this.#emitText(to, hidden, base);
  }

  #emitText(to: number, hidden: Uint8Array | null, base: number): void {
    const from = this.#emitted;
    if (to <= from) return;
    this.#emitted = to;
    this.#out.push(hidden === null ? this.#text.slice(from, to) : starred(this.#text, from, to, hidden, base));
  }

  /** The end of the text, whether it ended or was cut. */
  #finish(): void {
    this.#tokenizer.end();
    this.#endLine(this.#text.length);
  }

  #cut(): Uint8Array {
    this.#finish();
    this.problem = 'OUTPUT_NOT_TEXT';
    return this.#take();
  }

  #take(): Uint8Array {
    const out = this.#out;
    this.#out = [];
    return out.length === 0 ? nothing : Buffer.from(out.length === 1 ? out[0] as string : out.join(''), 'latin1');
  }

  /** Drops text that is no context any more. */
  #forget(): void {
    const drop = Math.min(this.#emitted, this.#segment) - overlapBytes;
    if (drop < 4096) return;
    this.#text = this.#text.slice(drop);
    this.#segment -= drop;
    this.#emitted -= drop;
    this.#sequences = this.#sequences.map(({ at, bytes }) => ({ at: at - drop, bytes }));
  }
}

/** What a control string ends with. */
const stringEnd = /(?:\x07|\x1b\\|\xc2\x9c|[\x18\x1a])$/;
const lineEnd = /[\n\v\f\r]/g;

/** Position behind the last line end, or -1. */
function lastLineEnd(text: string): number {
  for (let at = text.length - 1; at >= 0; at -= 1) {
    const code = text.charCodeAt(at);
    if (code >= 0x0a && code <= 0x0d) return at + 1;
  }
  return -1;
}

/** The beginning of the character that `at` is in. */
function characterStart(text: string, at: number): number {
  let start = at;
  while (start > 0 && (text.charCodeAt(start) & 0xc0) === 0x80) start -= 1;
  return start;
}

function countUpTo(sequences: readonly { readonly at: number }[], to: number): number {
  const found = sequences.findIndex(({ at }) => at > to);
  return found === -1 ? sequences.length : found;
}

/** `[from, to)` with hidden characters as stars, one per cell; line ends and tabs stay. Characters are hidden whole. */
function starred(text: string, from: number, to: number, hidden: Uint8Array, base: number): string {
  let shown = '';
  for (let at = from; at < to;) {
    const code = text.charCodeAt(at);
    const length = code < 0x80 ? 1 : code < 0xe0 ? 2 : code < 0xf0 ? 3 : 4;
    const character = text.slice(at, at + length);
    if (hidden[at - base] !== 1 || (code >= 0x09 && code <= 0x0d)) shown += character;
    else shown += length === 1 ? '*' : '*'.repeat(cellWidth(Buffer.from(character, 'latin1').toString('utf8')));
    at += length;
  }
  return shown;
}
