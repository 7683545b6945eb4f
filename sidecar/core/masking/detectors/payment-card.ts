import { type Detector, isFraction, isInToken, isInUuid, separatorLength } from './scan-text.ts';

/**
 * Payment card numbers: 12 to 19 digits, plain or in groups with one separator between (`4539 6281 7305 6482`), issuer range, Luhn, no published test number.
 */
export const paymentCard: Detector = {
  name: 'payment-card',
  needs: { digits: 12, character: null },
  minLength: 12,
  scan: ({ text, runs }, emit) => {
    const all = runs();
    let hitEnd = 0;
    for (let run = 0; run < all.length; run += 2) {
      const start = all[run] as number;
      if (start < hitEnd) continue;
      const end = cardEnd(text, all, run);
      if (end === 0 || isInUuid(text, start, end)) continue;
      hitEnd = end;
      emit(start, end);
    }
  },
};

/** Whether a string of digits alone is a payment card number by issuer range, length, Luhn and not being a test number. */
export function isCardNumber(digits: string): boolean {
  return digits.length >= 12 && digits.length <= 19 && issuedLength(digits, digits.length) && passesLuhn(digits) && !testNumbers.has(digits) && new Set(digits).size > 2;
}

/** The Luhn check of ISO/IEC 7812-1. */
export function passesLuhn(digits: string): boolean {
  let sum = 0;
  for (let at = 0; at < digits.length; at += 1) {
    const digit = digits.charCodeAt(digits.length - 1 - at) - 0x30;
    sum += at % 2 === 0 ? digit : digit > 4 ? digit * 2 - 9 : digit * 2;
  }
  return sum % 10 === 0;
}

/** End of the card number that begins with run `run`, or 0. Looks at no more than 19 digits. */
function cardEnd(text: string, runs: Int32Array, run: number): number {
  const start = runs[run] as number;
  let digits = '';
  let separator = 0;
  let best = 0;
  for (let at = run; at < runs.length; at += 2) {
    const [from, to] = [runs[at] as number, runs[at + 1] as number];
    const size = to - from;
    if (digits.length + size > 19) break;
    if (at > run) {
      const length = separatorLength(text, runs[at - 1] as number);
      const code = text.charCodeAt(runs[at - 1] as number);
      if (length === 0 || (runs[at - 1] as number) + length !== from || (separator !== 0 && code !== separator)) break;
      separator = code;
      // Printed cards have groups of 3 to 7, only the last may be shorter: a list of small numbers is no card.
      if ((runs[at - 1] as number) - (runs[at - 2] as number) < 3 || (at === run + 2 && (runs[at - 1] as number) - start < 4)) break;
    }
    digits += text.slice(from, to);
    if (digits.length >= 12 && !isFraction(text, start, to) && isCardNumber(digits) && !isGlued(text, start, to)) best = to;
  }
  return best;
}

/** Track data puts a `B` (format code) in front of the number: `%B4539…`. */
function isGlued(text: string, start: number, end: number): boolean {
  const isTrack = text[start - 1] === 'B' && text[start - 2] === '%';
  return isInToken(text, isTrack ? start - 1 : start, end);
}

function issuedLength(digits: string, length: number): boolean {
  const prefix = Number(digits.slice(0, 6));
  return issuers.some((issuer) => prefix >= issuer.from && prefix <= issuer.to && issuer.lengths.includes(length));
}

const lengths16to19: readonly number[] = [16, 17, 18, 19];
const maestro: readonly number[] = [12, 13, 14, 15, 16, 17, 18, 19];

// First six digits, inclusive, and lengths in use (issuers' public range lists).
const issuers: readonly { readonly from: number; readonly to: number; readonly lengths: readonly number[] }[] = [
  { from: 400_000, to: 499_999, lengths: [13, 16, 19] }, // Visa
  { from: 510_000, to: 559_999, lengths: [16] }, // Mastercard
  { from: 222_100, to: 272_099, lengths: [16] }, // Mastercard, 2-series
  { from: 340_000, to: 349_999, lengths: [15] }, { from: 370_000, to: 379_999, lengths: [15] }, // American Express
  { from: 601_100, to: 601_199, lengths: lengths16to19 }, { from: 644_000, to: 659_999, lengths: lengths16to19 }, // Discover
  { from: 352_800, to: 358_999, lengths: lengths16to19 }, // JCB
  { from: 300_000, to: 305_999, lengths: [14, 16] }, { from: 360_000, to: 369_999, lengths: [14] }, { from: 380_000, to: 399_999, lengths: [14, 16] }, // Diners Club
  { from: 620_000, to: 629_999, lengths: lengths16to19 }, { from: 810_000, to: 817_199, lengths: lengths16to19 }, // UnionPay
  { from: 220_000, to: 220_499, lengths: [16] }, // Mir
  { from: 501_800, to: 501_899, lengths: maestro }, { from: 502_000, to: 502_099, lengths: maestro }, { from: 503_800, to: 503_899, lengths: maestro },
  { from: 589_300, to: 589_399, lengths: maestro }, { from: 630_400, to: 630_499, lengths: maestro }, { from: 675_900, to: 676_399, lengths: maestro }, // Maestro
];

// Published by issuers and payment services for tests: they belong to nobody.
const testNumbers: ReadonlySet<string> = new Set([
  '4111111111111111', '4242424242424242', '4012888888881881', '4222222222222', '4000056655665556', '4000000000000002', '4000000000000069', '4000000000000119',
  '4000000000000127', '4000000000009995', '4000000000003220', '4005519200000004', '4009348888881881', '4012000033330026', '4012000077777777', '4217651111111119',
  '4500600000000061', '4917610000000000', '4444333322221111', '4988438843884305', '5555555555554444', '5105105105105100', '5200828282828210', '5424000000000015',
  '5454545454545454', '2223003122003222', '2223000048400011', '2222400070000005', '2720990000000007', '378282246310005', '371449635398431', '378734493671000', '370000000000002',
  '343434343434343', '6011111111111117', '6011000990139424', '6011000000000012', '6011000400000000', '3056930009020004', '30569309025904', '38520000023237', '36227206271667', '36006666333344',
  '3530111333300000', '3566002020360505', '3566111111111113', '6200000000000005', '6205500000000000004', '5018000000000009', '6759649826438453', '6304000000000000',
]);
