import { beginsWord, type Detector, type Emit, endsWord, isFraction, isInToken, isInUuid, type ScanText, separatorLength } from './scan-text.ts';

/** US social security numbers: AAA-GG-SSSS by the ranges in use; nine bare digits only in context. */
export const usSsn: Detector = {
  name: 'us-ssn', needs: { digits: 9, character: null }, minLength: 9,
  scan: (source, emit) => scanGroups(source, 'us-ssn', [3, 2, 4], isSsn, emit),
};

/** US individual taxpayer numbers: 9xx with the group ranges of the IRS. */
export const usItin: Detector = {
  name: 'us-itin', needs: { digits: 9, character: null }, minLength: 9,
  scan: (source, emit) => scanGroups(source, 'us-itin', [3, 2, 4], isItin, emit),
};

/** US employer numbers: NN-NNNNNNN by the prefixes the IRS assigns. */
export const usEin: Detector = {
  name: 'us-ein', needs: { digits: 9, character: null }, minLength: 9,
  scan: (source, emit) => scanGroups(source, 'us-ein', [2, 7], (digits) => einPrefixes.has(digits.slice(0, 2)), emit),
};

/** US driver licenses: 5 to 13 characters, letters and at least four digits, only in context: no check digit exists. */
export const usDriverLicense: Detector = {
  name: 'us-driver-license', needs: { digits: 4, character: null }, minLength: 5,
  scan: (source, emit) => scanLetteredNumber(source, 'us-driver-license', { letters: 2, digits: [4, 13], total: [5, 14] }, emit),
};

/** Passport numbers: up to two letters and 6 to 9 digits, only in context. */
export const passport: Detector = {
  name: 'passport', needs: { digits: 6, character: null }, minLength: 6,
  scan: (source, emit) => scanLetteredNumber(source, 'passport', { letters: 2, digits: [6, 9], total: [6, 10] }, emit),
};

function isSsn(digits: string): boolean {
  const area = digits.slice(0, 3);
  return area !== '000' && area !== '666' && area < '900' && digits.slice(3, 5) !== '00' && digits.slice(5) !== '0000' && !publishedSsns.has(digits);
}

function isItin(digits: string): boolean {
  const group = Number(digits.slice(3, 5));
  return digits[0] === '9' && ((group >= 50 && group <= 65) || (group >= 70 && group <= 88) || (group >= 90 && group <= 92) || (group >= 94 && group <= 99));
}

/** Groups of the given sizes with one kind of separator between, or the same number of digits in one run and in context. */
function scanGroups(source: ScanText, name: 'us-ssn' | 'us-itin' | 'us-ein', sizes: readonly number[], isValid: (digits: string) => boolean, emit: Emit): void {
  const { text } = source;
  const runs = source.runs();
  const total = sizes.reduce((sum, size) => sum + size, 0);
  for (let run = 0; run < runs.length; run += 2) {
    const [start, firstEnd] = [runs[run] as number, runs[run + 1] as number];
    if (firstEnd - start === total) {
      const isMatch = isValid(text.slice(start, firstEnd)) && beginsWord(text, start) && endsWord(text, firstEnd) && !isFraction(text, start, firstEnd);
      if (isMatch && source.hasContext(name, start, firstEnd) && !isInUuid(text, start, firstEnd)) emit(start, firstEnd);
      continue;
    }
    if (firstEnd - start !== sizes[0]) continue;
    const end = groupsEnd(text, runs, run, sizes);
    if (end === 0 || isInToken(text, start, end) || touchesGroup(text, start, end)) continue;
    const digits = text.slice(start, end).replace(/\D/g, '');
    // Blanks separate any numbers in prose and lists: with them the value needs context, or to be all there is.
    const isPlain = text.charCodeAt(firstEnd) === 0x20 && !(start === 0 && end === text.length) && !source.hasContext(name, start, end);
    if (isValid(digits) && !isPlain && !isInUuid(text, start, end)) emit(start, end);
  }
}

function groupsEnd(text: string, runs: Int32Array, run: number, sizes: readonly number[]): number {
  for (let group = 1; group < sizes.length; group += 1) {
    const previousEnd = runs[run + group * 2 - 1] as number;
    const from = runs[run + group * 2];
    const length = separatorLength(text, previousEnd);
    if (from === undefined || length === 0 || previousEnd + length !== from || text.charCodeAt(previousEnd) !== text.charCodeAt(runs[run + 1] as number)) return 0;
    if ((runs[run + group * 2 + 1] as number) - from !== sizes[group]) return 0;
  }
  return runs[run + sizes.length * 2 - 1] as number;
}

/** Part of a longer chain of groups such as `12-345-67-8901`. */
function touchesGroup(text: string, start: number, end: number): boolean {
  const isDash = (at: number): boolean => text.charCodeAt(at) === 0x2d;
  const isDigitAt = (at: number): boolean => text.charCodeAt(at) >= 0x30 && text.charCodeAt(at) <= 0x39;
  return (start >= 2 && isDash(start - 1) && isDigitAt(start - 2)) || (isDash(end) && isDigitAt(end + 1));
}

interface LetteredShape {
  /** Most letters in front. */
  readonly letters: number;
  readonly digits: readonly [number, number];
  readonly total: readonly [number, number];
}

function scanLetteredNumber(source: ScanText, name: 'us-driver-license' | 'passport', shape: LetteredShape, emit: Emit): void {
  const { text } = source;
  const runs = source.runs();
  for (let run = 0; run < runs.length; run += 2) {
    const [digitsStart, end] = [runs[run] as number, runs[run + 1] as number];
    const digits = end - digitsStart;
    if (digits < shape.digits[0] || digits > shape.digits[1] || !endsWord(text, end)) continue;
    let start = digitsStart;
    while (start > 0 && digitsStart - start < shape.letters && /[A-Za-z]/.test(text[start - 1] as string)) start -= 1;
    const total = end - start;
    if (total < shape.total[0] || total > shape.total[1] || !beginsWord(text, start) || isFraction(text, digitsStart, end)) continue;
    if (source.hasContext(name, start, end)) emit(start, end);
  }
}

// The two that audit.md names, and the one the SSA used in its own leaflet: published, so nobody's.
const publishedSsns: ReadonlySet<string> = new Set(['078051120', '123456789', '219099999']);

// IRS, "How EINs are assigned and valid EIN prefixes".
const einPrefixes: ReadonlySet<string> = new Set(
  ('01 02 03 04 05 06 10 11 12 13 14 15 16 20 21 22 23 24 25 26 27 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 ' +
    '71 72 73 74 75 76 77 80 81 82 83 84 85 86 87 88 90 91 92 93 94 95 98 99').split(' '),
);
