import type { DetectorName } from '../../../contract/detectors.ts';
import { contextWords } from './detectors/context-words.ts';

/** Says from where on a text that goes on may still become part of a match. */
export type LiveSuffix = (text: string, from: number) => number;

/**
 * Compiles the question for a set of detectors. The answer is on the safe side: what lies before it cannot become part of a match that is not one already,
 * whatever follows in the line; matches that stand already are the caller's.
 *
 * A match consists of runs (letters, digits and the marks of addresses and numbers) and, where digits are grouped, of up to three other characters between them;
 * bare digits also wait for a context word within 40 characters behind them.
 */
export function compileLiveSuffix(names: readonly DetectorName[]): LiveSuffix {
  const active = new Set(names);
  const waitsForContext = names.some((name) => contextWords[name] !== null);
  const never = active.has('secret') ? neverFirstOfTokens : neverFirst;
  const openings = [
    ...(active.has('secret') ? [openAssignment, openUrl, openKey] : []),
    ...(active.has('card-security') ? [openTrack] : []),
    ...(active.has('iban') ? [openIban] : []),
  ];
  return (text, from) => {
    let live = lastRun(text, from, never);
    if (waitsForContext) live = Math.min(live, contextCandidate(text, from));
    const tail = text.slice(Math.max(0, text.length - reach));
    for (const opening of openings) {
      const match = opening.exec(tail);
      if (match !== null) live = Math.min(live, text.length - tail.length + match.index + (match[1] ?? '').length);
    }
    return Math.max(from, joined(text, from, live));
  };
}

/** How far back an opening is looked for: a secret's value has at most 512 characters. */
const reach = 704;
/** Distance of a context word, and the longest one with its separator. */
const contextReach = 60;

// Group 1 is what stands before the value: it is shown.
const openAssignment = /((?:password|passwd|passphrase|pwd|secret|token|api[ _-]?key|access[ _-]?key)["']{0,2}[ ]{0,3}[:=][ ]{0,3}["']?)[^\s"',;&]{0,512}$/i;
const openUrl = /(\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s:/@]{1,128}:)[^\s/@]{0,256}$/i;
const openKey = /(?:-{1,5}|-----B|-----BE|-----BEG|-----BEGI|-----BEGIN[A-Z0-9 ]{0,60}-{0,5})$/;
const openTrack = /(?:%B?\d{0,19}|%B\d{12,19}\^[^^\n]{0,26}(?:\^\d{0,100}\??)?|;\d{0,19}(?:=\d{0,100}\??)?)$/;
const openIban = /(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}[A-Za-z0-9 \-\x80-\xff]{0,64}$/;

/** Start of the run that the text ends with, without the marks that no match begins with. */
function lastRun(text: string, from: number, never: ReadonlySet<number>): number {
  let start = text.length;
  while (start > from && isRun(text.charCodeAt(start - 1))) start -= 1;
  while (start < text.length && !canStart(text.charCodeAt(start), never)) start += 1;
  return start;
}

/** Start of the first run with a digit, or long enough for a token, that a context word behind it could still reach. */
function contextCandidate(text: string, from: number): number {
  let at = Math.max(from, text.length - contextReach);
  while (at > from && isRun(text.charCodeAt(at - 1))) at -= 1;
  while (at < text.length) {
    while (at < text.length && !isRun(text.charCodeAt(at))) at += 1;
    const start = at;
    let hasDigit = false;
    while (at < text.length && isRun(text.charCodeAt(at))) {
      hasDigit ||= isDigit(text.charCodeAt(at));
      at += 1;
    }
    if (hasDigit || at - start >= 24) return start;
  }
  return text.length;
}

/** Goes back over runs that may belong to the same match: those with a digit, and months. */
function joined(text: string, from: number, live: number): number {
  let start = live;
  for (;;) {
    let end = start;
    while (end > from && start - end < 3 && !isRun(text.charCodeAt(end - 1))) end -= 1;
    let begin = end;
    while (begin > from && isRun(text.charCodeAt(begin - 1))) begin -= 1;
    if (begin === end) return start;
    const run = text.slice(begin, end);
    if (!/\d/.test(run) && !month.test(run)) return start;
    start = begin;
  }
}

const month = /^(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?$/i;

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function isRun(code: number): boolean {
  return runCodes[code] === 1;
}

function canStart(code: number, never: ReadonlySet<number>): boolean {
  return runCodes[code] === 1 && !never.has(code);
}

const runCodes: Uint8Array = Uint8Array.from({ length: 256 }, (_, code) => (code >= 0x80 || /[A-Za-z0-9._%+'@:()/=-]/.test(String.fromCharCode(code)) ? 1 : 0));
const neverFirst: ReadonlySet<number> = new Set([...'.-)/@=\''].map((mark) => mark.charCodeAt(0)));
/** A random-looking token may begin with any of its characters. */
const neverFirstOfTokens: ReadonlySet<number> = new Set([...'.)@\''].map((mark) => mark.charCodeAt(0)));
