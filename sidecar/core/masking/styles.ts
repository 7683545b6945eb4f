import type { MaskingRule } from '../../../contract/proxy-config.ts';
import { emptyBinaryArray, mapBinaryArray, mapTextArray } from './array-cells.ts';
import { byteaBytes, byteaText } from './bytea-text.ts';
import { base32 } from './mask-key.ts';
import type { ColumnMask, FieldDescription, MaskKey } from './masker.ts';
import { binaryNumericZero, lastDigits, readBinaryNumeric, writeBinaryNumeric } from './number-style.ts';
import { redactedValue } from './redacted-values.ts';
import { strictestStyle } from './strictest-style.ts';
import { overwritePartialText, partialText } from './text-style.ts';
import { isTextFamily, type TypeShape, typeShape } from './type-families.ts';

/** What one output column of a plan asks for. */
export interface OutputRule {
  readonly rule: MaskingRule;
  /** Index of `rule` in the session's list. */
  readonly ruleIndex: number;
  /** False: the value passed through an expression, so no part of it may stay: Redact at least. */
  readonly bare: boolean;
  /** NULL is hidden, too: it becomes the value that every other one becomes. */
  readonly hidesNull?: boolean;
}

/**
 * Compiles what happens to every non-NULL cell of one column.
 *
 * The values are those of docs/masking.md: each decodes in every driver as the column's type, in text and in binary, and text and binary Hash agree.
 * Dates and times are written in ISO form whatever the session's DateStyle: the server reads ISO under every DateStyle, and drivers decode nothing else.
 *
 * @param typeBase base types of domains and elements of arrays outside pg_catalog; `arrayTypes` tells which are arrays (see `typeShape`).
 * @returns the mask; `style` is the style in effect for this type.
 */
export function compileColumnMask(
  field: FieldDescription, output: OutputRule, key: MaskKey, typeBase: ReadonlyMap<number, number>, arrayTypes: ReadonlySet<number> | null = null,
): ColumnMask {
  const { rule, ruleIndex, bare } = output;
  const style = bare ? rule.style : strictestStyle(rule.style, 'Redact');
  const target: Target = { shape: typeShape(field.typeOid, typeBase, arrayTypes), format: field.format, limit: field.typeModifier >= 4 ? field.typeModifier - 4 : null };
  // `false` would read as an answer: the result of a question about a masked value is not known.
  if (output.hidesNull === true && target.shape.family === 'bool') return { rule, ruleIndex, ...constant('Null', null) };
  const compiled = compileStyle(style, target, rule, (text) => key.hmac(hashDomain(rule), text));
  const isHidden = output.hidesNull === true && compiled.constant !== undefined && compiled.constant !== null;
  return { rule, ruleIndex, ...compiled, ...(isHidden ? { nullBecomes: compiled.constant as Uint8Array } : {}) };
}

/**
 * Domain of a rule's Hash: what the rule covers, not its place in a list, so that every session and every order of policies gives the same tokens.
 * Columns of one rule share it and therefore join; a rule that covers something else has other tokens.
 */
export function hashDomain(rule: MaskingRule): string {
  const columns = (rule.columns ?? []).map((column) => `${column.schema}.${column.table}.${column.column}`).sort();
  return `columns:${JSON.stringify(columns)}`;
}

interface Target {
  readonly shape: TypeShape;
  readonly format: 0 | 1;
  /** Characters that fit in varchar(n) and char(n); null = no limit. */
  readonly limit: number | null;
}

type Hmac = (canonicalText: string) => Uint8Array;
type Compiled = Pick<ColumnMask, 'style' | 'mask' | 'constant' | 'overwrite'>;

function compileStyle(style: MaskingRule['style'], target: Target, rule: MaskingRule, hmac: Hmac): Compiled {
  const { family } = target.shape;
  if (style === 'Null' || family === 'other') return constant('Null', null);
  const styled = style === 'Partial' ? partial(target, rule) : style === 'Hash' ? hashed(target, hmac) : null;
  if (styled !== null) return { style, ...styled };
  if (family === 'array' && style !== 'Redact') return arrayOf(style, target, rule, hmac);
  return redacted(target);
}

function redacted(target: Target): Compiled {
  const { shape, format, limit } = target;
  if (shape.element !== null) return constant('Redact', format === 0 ? utf8('{}') : emptyBinaryArray(shape.element.oid));
  const value = redactedValue(shape.family, format);
  if (!isTextFamily(shape.family)) return constant('Redact', value);
  return constant('Redact', value.subarray(0, shape.family === 'char' ? 1 : (limit ?? value.length)));
}

function constant(style: 'Null' | 'Redact', value: Uint8Array | null): Compiled {
  return { style, mask: () => value, constant: value };
}

/** Element by element for text types, empty for all others. */
function arrayOf(style: 'Partial' | 'Hash', target: Target, rule: MaskingRule, hmac: Hmac): Compiled {
  const element = target.shape.element;
  const empty = redacted(target);
  if (element === null || !isTextFamily(element.shape.family)) return empty;
  const inner = compileStyle(style, { ...target, shape: element.shape }, rule, hmac);
  const map = target.format === 0 ? mapTextArray : mapBinaryArray;
  // What is no array is hidden whole.
  return { style: inner.style, mask: (cell) => map(cell, inner.mask) ?? empty.mask(cell) };
}

function partial(target: Target, rule: MaskingRule): Pick<Compiled, 'mask' | 'overwrite'> | null {
  const { shape: { family }, format } = target;
  if (isTextFamily(family)) {
    return { mask: (cell) => partialText(cell, rule), overwrite: (bytes, start, end) => overwritePartialText(bytes, start, end, rule) };
  }
  if (rule.keepFirst > 0) return null;
  if (family === 'numeric') {
    if (format === 0) return { mask: (cell) => utf8(lastDigits(asText(cell), rule)) };
    return { mask: (cell) => (text => (text === null ? binaryNumericZero : writeBinaryNumeric(lastDigits(text, rule))))(readBinaryNumeric(cell)) };
  }
  if (family === 'money') {
    // Cents, as the binary form has them; the text form is the server's lc_monetary spelling, of which only the digits count.
    const cents = (digits: string): string => lastDigits(digits.replace(/\D/g, '') || '0', rule).padStart(3, '0');
    if (format === 0) return { mask: (cell) => utf8(cents(asText(cell)).replace(/(\d\d)$/, '.$1').replace(/^/, '$')) };
    return { mask: (cell) => writeInteger(BigInt(cents(readInteger(cell))), 8) };
  }
  if (family !== 'int2' && family !== 'int4' && family !== 'int8') return null;
  if (format === 0) return { mask: (cell) => utf8(lastDigits(asText(cell), rule)) };
  const bytes = family === 'int2' ? 2 : family === 'int4' ? 4 : 8;
  return { mask: (cell) => writeInteger(BigInt(lastDigits(readInteger(cell), rule)), bytes) };
}

function hashed(target: Target, hmac: Hmac): Pick<Compiled, 'mask'> | null {
  const { shape: { family }, format, limit } = target;
  if (isTextFamily(family)) return hashedText(family === 'char' ? 1 : limit, family === 'bpchar', hmac);
  if (family === 'int8') {
    const token = (text: string): bigint => new DataView(new Uint8Array(hmac(text)).buffer).getBigUint64(0) & 0x7fff_ffff_ffff_ffffn;
    if (format === 0) return { mask: (cell) => utf8(token(asText(cell)).toString()) };
    return { mask: (cell) => writeInteger(token(readInteger(cell)), 8) };
  }
  if (family === 'uuid') {
    if (format === 0) return { mask: (cell) => utf8(uuidText(uuidToken(hmac(asText(cell).toLowerCase())))) };
    return { mask: (cell) => uuidToken(hmac(uuidText(cell))) };
  }
  if (family !== 'bytea') return null;
  const token = (value: Uint8Array): Uint8Array => hmac(byteaText(value)).subarray(0, 16);
  return format === 1 ? { mask: token } : { mask: (cell) => utf8(byteaText(token(byteaBytes(cell)))) };
}

/**
 * `tok_` and 80 bits. In a column too narrow for that, as many characters as fit without the prefix; below 8 characters (40 bits) tokens of
 * different values would meet too often: Redact.
 */
function hashedText(limit: number | null, blankPadded: boolean, hmac: Hmac): Pick<Compiled, 'mask'> | null {
  if (limit !== null && limit < 8) return null;
  // char(n) comes padded to n; without the blanks its tokens join with those of text columns.
  const canonical = (cell: Uint8Array): string => (blankPadded ? asText(cell).replace(/ +$/, '') : asText(cell));
  const token = (cell: Uint8Array): string => base32(hmac(canonical(cell)).subarray(0, 10));
  return { mask: (cell) => utf8(limit === null || limit >= 20 ? `tok_${token(cell)}` : token(cell).slice(0, limit)) };
}

/** 128 bits as a version 8 (custom) UUID, RFC 9562. */
function uuidToken(digest: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(digest.subarray(0, 16));
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  return bytes;
}

function uuidText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** Decimal text of a big-endian integer of 2, 4 or 8 bytes. Other lengths (a broken server) give 0. */
export function readInteger(cell: Uint8Array): string {
  const view = new DataView(cell.buffer, cell.byteOffset, cell.length);
  if (cell.length === 8) return view.getBigInt64(0).toString();
  return (cell.length === 4 ? view.getInt32(0) : cell.length === 2 ? view.getInt16(0) : 0).toString();
}

function writeInteger(value: bigint, bytes: 2 | 4 | 8): Uint8Array {
  const cell = new Uint8Array(8);
  new DataView(cell.buffer).setBigInt64(0, value);
  return cell.subarray(8 - bytes);
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const encoder = new TextEncoder();

function asText(cell: Uint8Array): string {
  return decoder.decode(cell);
}

function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}
