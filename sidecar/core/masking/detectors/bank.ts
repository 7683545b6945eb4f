import { beginsWord, type Detector, endsWord, isDigit, isFraction, isInUuid, isLetter, separatorLength } from './scan-text.ts';

/** US bank routing numbers: nine digits, Federal Reserve prefix and the ABA check, and context: 3.8 % of random numbers pass the check. */
export const usBankRouting: Detector = {
  name: 'us-bank-routing', needs: { digits: 9, character: null }, minLength: 9,
  scan: (source, emit) => {
    const { text } = source;
    const runs = source.runs();
    for (let run = 0; run < runs.length; run += 2) {
      const [start, end] = [runs[run] as number, runs[run + 1] as number];
      if (end - start !== 9 || !isRoutingNumber(text.slice(start, end)) || !beginsWord(text, start) || !endsWord(text, end)) continue;
      if (source.hasContext('us-bank-routing', start, end) && !isFraction(text, start, end) && !isInUuid(text, start, end)) emit(start, end);
    }
  },
};

/** US bank account numbers: 8 to 17 digits, and context: they have no check digit. */
export const usBankAccount: Detector = {
  name: 'us-bank-account', needs: { digits: 8, character: null }, minLength: 8,
  scan: (source, emit) => {
    const { text } = source;
    const runs = source.runs();
    for (let run = 0; run < runs.length; run += 2) {
      const [start, end] = [runs[run] as number, runs[run + 1] as number];
      if (end - start < 8 || end - start > 17 || !beginsWord(text, start) || !endsWord(text, end)) continue;
      if (source.hasContext('us-bank-account', start, end) && !isFraction(text, start, end) && !isInUuid(text, start, end)) emit(start, end);
    }
  },
};

/** IBANs in any case, with or without blanks or dashes between groups: the country's length and mod 97 = 1. */
export const iban: Detector = {
  name: 'iban', needs: { digits: 4, character: null }, minLength: 15,
  scan: ({ text, runs }, emit) => {
    const all = runs();
    let hitEnd = 0;
    for (let run = 0; run < all.length; run += 2) {
      // Two letters, then two check digits: the run of digits begins right after the country code.
      const start = (all[run] as number) - 2;
      if (start < hitEnd || (all[run + 1] as number) - (all[run] as number) < 2) continue;
      const end = ibanEnd(text, start);
      if (end === 0 || !beginsWord(text, start) || !endsWord(text, end)) continue;
      hitEnd = end;
      emit(start, end);
    }
  },
};

/** Prefix 00 to 12, 21 to 32, 61 to 72 or 80, and 3-7-1 weights to a multiple of ten. */
export function isRoutingNumber(digits: string): boolean {
  const prefix = Number(digits.slice(0, 2));
  if (!(prefix <= 12 || (prefix >= 21 && prefix <= 32) || (prefix >= 61 && prefix <= 72) || prefix === 80)) return false;
  let sum = 0;
  for (let at = 0; at < 9; at += 1) sum += (digits.charCodeAt(at) - 0x30) * ([3, 7, 1][at % 3] as number);
  return sum % 10 === 0 && sum > 0;
}

/** End of the IBAN at `start`, or 0. Reads at most 34 letters and digits and makes no strings of them. */
function ibanEnd(text: string, start: number): number {
  const length = isLetter(text.charCodeAt(start)) && isLetter(text.charCodeAt(start + 1)) ? ibanLengths[countryIndex(text.charCodeAt(start), text.charCodeAt(start + 1))] : 0;
  if (length === undefined || length === 0) return 0;
  let count = 4;
  let rest = 0;
  let at = start + 4;
  while (count < length) {
    const code = text.charCodeAt(at);
    if (isDigit(code) || isLetter(code)) {
      rest = addMod97(rest, code);
      count += 1;
      at += 1;
      continue;
    }
    const gap = separatorLength(text, at);
    const next = text.charCodeAt(at + gap);
    if (gap === 0 || !(isDigit(next) || isLetter(next))) return 0;
    at += gap;
  }
  // ISO 7064 MOD 97-10: country and check digits come last.
  for (let head = start; head < start + 4; head += 1) rest = addMod97(rest, text.charCodeAt(head));
  return rest === 1 ? at : 0;
}

function addMod97(rest: number, code: number): number {
  return isDigit(code) ? (rest * 10 + code - 0x30) % 97 : (rest * 100 + (code | 0x20) - 0x57) % 97;
}

function countryIndex(first: number, second: number): number {
  return ((first | 0x20) - 0x61) * 26 + (second | 0x20) - 0x61;
}

// SWIFT's IBAN registry: country and length, by countryIndex.
const ibanLengths: readonly number[] = (
  'AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 ' +
    'IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 ' +
    'SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30').split(' ').reduce<number[]>((lengths, entry) => {
  lengths[countryIndex(entry.charCodeAt(0), entry.charCodeAt(1))] = Number(entry.slice(2));
  return lengths;
}, new Array<number>(26 * 26).fill(0));
