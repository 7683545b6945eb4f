import { beginsWord, type Detector, endsWord, isDigit, isFraction, isInUuid, isLetter } from './scan-text.ts';

/** E-mail addresses: a local part, a domain and a top-level domain of letters. Non-ASCII letters count as letters. */
export const email: Detector = {
  name: 'email', needs: { digits: 0, character: '@' }, minLength: 6,
  scan: ({ text }, emit) => {
    for (let at = text.indexOf('@'); at !== -1; at = text.indexOf('@', at + 1)) {
      const start = localStart(text, at);
      const end = domainEnd(text, at + 1);
      if (start < at && end > at + 1) emit(start, end);
    }
  },
};

/** Phone numbers: E.164 with `+` and a country code in use; North American numbers in the usual groups; ten bare digits only in context. */
export const phone: Detector = {
  name: 'phone', needs: { digits: 8, character: null }, minLength: 9,
  scan: (source, emit) => {
    const { text } = source;
    const runs = source.runs();
    let hitEnd = 0;
    for (let run = 0; run < runs.length; run += 2) {
      const [start, end] = [runs[run] as number, runs[run + 1] as number];
      if (start < hitEnd) continue;
      const hit = text[start - 1] === '+' ? international(text, start) : northAmerican(text, runs, run);
      if (hit !== null) {
        hitEnd = hit.end;
        emit(hit.start, hit.end);
        continue;
      }
      const isBare = (end - start === 10 && isNorthAmerican(text.slice(start, end))) || (end - start === 11 && text[start] === '1' && isNorthAmerican(text.slice(start + 1, end)));
      if (isBare && beginsWord(text, start) && endsWord(text, end) && !isFraction(text, start, end) && source.hasContext('phone', start, end)) emit(start, end);
    }
  },
};

/** Dates of birth: a date in the usual forms, in context only. */
export const dateOfBirth: Detector = {
  name: 'date-of-birth', needs: { digits: 4, character: null }, minLength: 6,
  scan: (source, emit) => {
    const pattern = new RegExp(dateForms.source, 'gi');
    for (let match = pattern.exec(source.text); match !== null; match = pattern.exec(source.text)) {
      const [start, end] = [match.index, match.index + match[0].length];
      if (beginsWord(source.text, start) && endsWord(source.text, end) && source.hasContext('date-of-birth', start, end)) emit(start, end);
    }
  },
};

// Years 1900 to 2099: who was born outside them has no age of 0 to 120.
const year = '(?:19|20)\\d\\d';
const month = '(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\\.?';
const dateForms = new RegExp(
  `${year}[-/.](?:1[0-2]|0?[1-9])[-/.](?:3[01]|[12]\\d|0?[1-9])(?!\\d)|(?:3[01]|[12]\\d|0?[1-9])[-/.](?:3[01]|[12]\\d|0?[1-9])[-/.](?:${year}|\\d\\d)(?!\\d)|` +
    `${year}(?:1[0-2]|0[1-9])(?:3[01]|[12]\\d|0[1-9])(?!\\d)|(?:3[01]|[12]\\d|0?[1-9])(?:st|nd|rd|th)? ${month},? ${year}|${month} (?:3[01]|[12]\\d|0?[1-9])(?:st|nd|rd|th)?,? ${year}`,
);

function isLocal(code: number): boolean {
  return isDigit(code) || isLetter(code) || code >= 0x80 || code === 0x2e || code === 0x5f || code === 0x25 || code === 0x2b || code === 0x2d;
}

function localStart(text: string, at: number): number {
  let start = at;
  while (start > 0 && at - start < 64) {
    const code = text.charCodeAt(start - 1);
    // An apostrophe belongs to the address inside a word (o'brien@…), not as a quote around it.
    const isInner = code === 0x27 && start >= 2 && isLetter(text.charCodeAt(start - 2)) && isLetter(text.charCodeAt(start));
    if (!isLocal(code) && !isInner) break;
    start -= 1;
  }
  while (start < at && (text[start] === '.' || text[start] === '-')) start += 1;
  return start;
}

function domainEnd(text: string, from: number): number {
  let end = from;
  while (end < text.length && end - from < 253) {
    const code = text.charCodeAt(end);
    if (!(isDigit(code) || isLetter(code) || code >= 0x80 || code === 0x2d || code === 0x2e)) break;
    end += 1;
  }
  while (end > from && (text[end - 1] === '.' || text[end - 1] === '-')) end -= 1;
  const domain = text.slice(from, end);
  const dot = domain.lastIndexOf('.');
  if (dot <= 0 || domain.length - dot < 3 || domain.includes('..')) return from;
  return /^(?:[A-Za-z\x80-\xff]+|xn--[A-Za-z0-9-]+)$/.test(domain.slice(dot + 1)) ? end : from;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** `+` and 8 to 15 digits, with blanks, dots, dashes or parentheses between. */
function international(text: string, first: number): Span | null {
  if (!beginsWord(text, first - 1)) return null;
  let digits = '';
  let end = first;
  for (let at = first; at < first + 30 && at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (isDigit(code)) {
      digits += text[at] as string;
      end = at + 1;
      if (digits.length > 15) return null;
    } else if (!' -.()/'.includes(text[at] as string) || at - end > 1) break;
  }
  if (digits.length < 8 || !endsWord(text, end)) return null;
  if (digits.startsWith('1')) return digits.length === 11 && isNorthAmerican(digits.slice(1)) ? { start: first - 1, end } : null;
  return /^(?:2[0-9]|3[0-9]|4[0-9]|5[0-9]|6[0-9]|7|8[0-9]|9[0-9])/.test(digits) ? { start: first - 1, end } : null;
}

/** `(NXX) NXX-XXXX`, `NXX-NXX-XXXX`, `NXX.NXX.XXXX`, with or without `1` in front. */
function northAmerican(text: string, runs: Int32Array, run: number): Span | null {
  const [a, aEnd, b, bEnd, c, cEnd] = runs.subarray(run, run + 6);
  if (a === undefined || aEnd === undefined || b === undefined || bEnd === undefined || c === undefined || cEnd === undefined) return null;
  if (aEnd - a !== 3 || bEnd - b !== 3 || cEnd - c !== 4 || b - aEnd > 2 || c - bEnd !== 1) return null;
  const [gap, dash] = [text.slice(aEnd, b), text.slice(bEnd, c)];
  const isBracketed = text[a - 1] === '(' && (gap === ') ' || gap === ')' || gap === ')-');
  if (!(isBracketed ? '-. '.includes(dash) : gap === dash && '-. '.includes(gap))) return null;
  const start = isBracketed ? a - 1 : a;
  if (!beginsWord(text, start) || !endsWord(text, cEnd) || !isNorthAmerican(text.slice(a, aEnd) + text.slice(b, bEnd) + text.slice(c, cEnd))) return null;
  // `10.212.555.0100` and `12-212-555-0100` are chains of other groups; a leading country code 1 is not.
  const chained = !isBracketed && a >= 2 && '-.'.includes(text[a - 1] as string) && isDigit(text.charCodeAt(a - 2)) && !(text[a - 2] === '1' && beginsWord(text, a - 2));
  return chained || isInUuid(text, start, cEnd) ? null : { start, end: cEnd };
}

/** Area code and exchange of the North American plan: 2 to 9 first, no N11, no N9X area. */
function isNorthAmerican(digits: string): boolean {
  return /^[2-9][0-8]\d[2-9]\d{6}$/.test(digits) && digits.slice(1, 3) !== '11' && digits.slice(4, 6) !== '11';
}
