import type { DetectorHit, DetectorSet } from './detectors.ts';

/** What one segment inherits from the one before it. */
export interface SegmentState {
  /** Within a private key in PEM whose end was not seen yet. */
  readonly pem: boolean;
  /** Characters of the next segment that still belong to the end line of a key. */
  readonly pemTail: number;
  /** A match goes on until its word ends. */
  readonly openRun: boolean;
}

/** The state at the beginning of a stream. */
export const freshState: SegmentState = { pem: false, pemTail: 0, openRun: false };

/** A stretch of text to judge: `[from, to)` of `text`, seen in `[windowStart, windowEnd)`. */
export interface Segment {
  readonly text: string;
  readonly from: number;
  readonly to: number;
  readonly windowStart: number;
  readonly windowEnd: number;
  /** The line ends at `windowEnd`, or the stream does. */
  readonly final: boolean;
}

/** The judgement: one entry per byte of the segment, 1 = hidden; null when nothing is. */
export interface SegmentVerdict {
  readonly hidden: Uint8Array | null;
  readonly state: SegmentState;
  /** Matches that begin in the segment. */
  readonly hits: number;
}

/** Judges one segment of a line. A pure function of its window and the state, so that chunks cannot change it. */
export function judgeSegment(segment: Segment, before: SegmentState, detectors: DetectorSet, hasSecret: boolean): SegmentVerdict {
  const { text, from, to, windowStart, windowEnd, final } = segment;
  const window = text.slice(windowStart, windowEnd);
  const cover = new Cover(from, to);
  let openRun = before.openRun;
  if (openRun) {
    const end = runEnd(text, from, to);
    cover.hide(from, end);
    openRun = end === to && !final;
  }
  const spans: DetectorHit[] = [];
  if (hasSecret || /[\d@]/.test(window)) {
    for (const hit of detectors.each(window)) {
      const start = hit.start + windowStart;
      // A detector looks at 512 characters of a secret; its word may be longer.
      const end = hit.name === 'secret' && hit.end - hit.start >= longValue ? runEnd(text, hit.end + windowStart, windowEnd) : hit.end + windowStart;
      if (end <= from || start >= to) continue;
      spans.push({ ...hit, start, end });
      if (hit.style === 'Partial') hidePartly(cover, text.slice(start, end), start, detectors.replacement(hit, window));
      else cover.hide(start, end);
      if (end === windowEnd && !final) openRun = true;
    }
  }
  if (hasSecret && !final) {
    // A token whose middle is further away than the window reaches.
    const start = longToken.exec(window)?.index;
    if (start !== undefined && windowStart + start < to) {
      cover.hide(Math.max(from, windowStart + start), to);
      openRun = true;
    }
  }
  const pem = hasSecret ? hideKeys(segment, before, cover) : { pem: false, pemTail: 0 };
  return { hidden: cover.bytes, state: { pem: pem.pem, pemTail: pem.pemTail, openRun }, hits: countSpans(spans, from) };
}

const longValue = 128;
const longToken = /(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_.-]{61,}$/;
const keyBegin = /-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----/g;

class Cover {
  bytes: Uint8Array | null = null;
  readonly #from: number;
  readonly #to: number;

  constructor(from: number, to: number) {
    this.#from = from;
    this.#to = to;
  }

  hide(start: number, end: number): void {
    const [first, last] = [Math.max(start, this.#from), Math.min(end, this.#to)];
    if (first >= last) return;
    this.bytes ??= new Uint8Array(this.#to - this.#from);
    this.bytes.fill(1, first - this.#from, last - this.#from);
  }
}

/** Style Partial hides the characters that its replacement does not keep; a match that is not ASCII is hidden whole. */
function hidePartly(cover: Cover, match: string, start: number, replacement: string): void {
  if (replacement.length !== match.length || /[\x80-\xff]/.test(match)) return cover.hide(start, start + match.length);
  for (let at = 0; at < match.length; at += 1) if (match[at] !== replacement[at]) cover.hide(start + at, start + at + 1);
}

/** PEM private keys from BEGIN to END, over any number of lines. */
function hideKeys({ text, from, to, windowEnd }: Segment, before: SegmentState, cover: Cover): { readonly pem: boolean; readonly pemTail: number } {
  const window = text.slice(0, windowEnd);
  let at = from + before.pemTail;
  let open = before.pem;
  cover.hide(from, at);
  if (at > to) return { pem: false, pemTail: at - to };
  while (at < to) {
    let start = at;
    if (!open) {
      keyBegin.lastIndex = at;
      const begin = window.includes('-----BEGIN ', at) ? keyBegin.exec(window) : null;
      if (begin === null || begin.index >= to) break;
      start = begin.index;
      at = start + begin[0].length;
    }
    const tail = window.indexOf('-----END ', at);
    const dashes = tail === -1 || tail >= to ? -1 : window.indexOf('-----', tail + 9);
    const end = dashes === -1 ? to : dashes + 5;
    cover.hide(start, end);
    if (dashes === -1) return { pem: true, pemTail: 0 };
    if (end > to) return { pem: false, pemTail: end - to };
    open = false;
    at = end;
  }
  return { pem: open, pemTail: 0 };
}

/** End of the word that a match began. */
function runEnd(text: string, from: number, to: number): number {
  let end = from;
  while (end < to && !/[\s"',;&]/.test(text[end] as string)) end += 1;
  return end;
}

function countSpans(spans: readonly DetectorHit[], from: number): number {
  let count = 0;
  let end = -1;
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    if (span.start >= end && span.start >= from) count += 1;
    end = Math.max(end, span.end);
  }
  return count;
}
