import { keptOf, type KeptCharacters } from './text-style.ts';

/**
 * Partial for numbers in decimal text: the last digits as a number, sign dropped, the scale kept (`-1234.56` with 3 digits: `4.56`).
 *
 * Never more than half of the digits is kept. `keepFirst` has no meaning for a number: then, and for NaN and Infinity, the answer is 0.
 */
export function lastDigits(text: string, kept: KeptCharacters): string {
  const parts = /^[-+]?(\d{1,200000})(?:\.(\d{0,20000}))?$/.exec(text);
  if (kept.keepFirst > 0 || parts === null) return '0';
  const scale = parts[2]?.length ?? 0;
  const digits = `${parts[1] ?? ''}${parts[2] ?? ''}`.replace(/^0+/, '');
  const last = digits.slice(digits.length - keptOf(digits.length, kept).last).replace(/^0+/, '').padStart(scale + 1, '0');
  return scale === 0 ? last : `${last.slice(0, -scale)}.${last.slice(-scale)}`;
}

/** Zero in the binary form of `numeric`: no digits, weight 0, sign +, scale 0. */
export const binaryNumericZero: Uint8Array = new Uint8Array(8);

/**
 * Reads the binary form of `numeric` (ndigits, weight, sign, dscale, base-10,000 digits) as the text the server would print.
 *
 * @returns null when the bytes are not a finite numeric.
 */
export function readBinaryNumeric(cell: Uint8Array): string | null {
  if (cell.length < 8) return null;
  const view = new DataView(cell.buffer, cell.byteOffset, cell.length);
  const [count, weight, sign, scale] = [view.getUint16(0), view.getInt16(2), view.getUint16(4), view.getUint16(6)];
  if (cell.length !== 8 + count * 2 || (sign !== 0 && sign !== 0x4000) || scale > 16_383) return null;
  const digitAt = (position: number): string => (position < 0 || position >= count ? 0 : view.getUint16(8 + position * 2)).toString().padStart(4, '0');
  let whole = '';
  for (let position = 0; position <= weight; position += 1) whole += digitAt(position);
  let fraction = '';
  for (let position = weight + 1; fraction.length < scale; position += 1) fraction += digitAt(position);
  whole = whole.replace(/^0+/, '') || '0';
  const text = scale > 0 ? `${whole}.${fraction.slice(0, scale)}` : whole;
  return sign === 0 ? text : `-${text}`;
}

/** Writes a plain decimal text (`123.45`, no exponent) in the binary form of `numeric`. */
export function writeBinaryNumeric(text: string): Uint8Array {
  const negative = text.startsWith('-');
  const [whole = '', fraction = ''] = text.replace(/^[-+]/, '').split('.');
  const left = whole.replace(/^0+/, '');
  const groups = (left.padStart(Math.ceil(left.length / 4) * 4, '0') + fraction.padEnd(Math.ceil(fraction.length / 4) * 4, '0')).match(/\d{4}/g)?.map(Number) ?? [];
  let weight = Math.ceil(left.length / 4) - 1;
  while (groups.length > 0 && groups[0] === 0) {
    groups.shift();
    weight -= 1;
  }
  while (groups.length > 0 && groups[groups.length - 1] === 0) groups.pop();
  const cell = new Uint8Array(8 + groups.length * 2);
  const view = new DataView(cell.buffer);
  view.setUint16(0, groups.length);
  view.setInt16(2, groups.length === 0 ? 0 : weight);
  view.setUint16(4, negative && groups.length > 0 ? 0x4000 : 0);
  view.setUint16(6, fraction.length);
  groups.forEach((group, index) => view.setUint16(8 + index * 2, group));
  return cell;
}
