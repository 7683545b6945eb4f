import { type Known, numbers, oid, texts } from './total-types.ts';
import { bodyOf, type Node, objectOf, textOf } from './tree.ts';

/** A label of a CASE may not be longer. */
const labelLength = 64;

/** Null: an untyped string or NULL, which takes the type of its neighbours when the statement is analysed, before any row is read. */
export function constantType(body: Node): Known | null {
  if (body['boolval'] !== undefined) return oid.bool;
  if (body['ival'] !== undefined) return oid.int4;
  const text = textOf(objectOf(body['fval'])?.['fval']);
  if (text === null) return null;
  // A whole number that int8 does not hold is numeric.
  return /^-?\d{1,18}$/.test(text) ? oid.int8 : oid.numeric;
}

/** A string or NULL without a cast. */
export function isUntyped(value: unknown): boolean {
  const constant = bodyOf(value, 'A_Const');
  return constant !== null && constant['bsval'] === undefined && constantType(constant) === null;
}

/** A string short enough to stand for a class of values. */
export function isLabel(value: unknown): boolean {
  return isUntyped(value) && (stringOf(value) ?? '').length <= labelLength;
}

/** Whether an untyped constant can be cast, told without the server. */
export function isPlainConstant(to: number, text: string | null): boolean {
  if (text === null || texts.has(to)) return true;
  return (to === oid.date && /^(1[6-9]|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])$/.test(text)) || (numbers.has(to) && to !== oid.int2 && /^\d{1,9}$/.test(text));
}

/** A literal above zero: a divisor that never fails. */
export function isPositive(value: unknown): boolean {
  const constant = bodyOf(value, 'A_Const');
  return constant !== null && ((integerOf(value) ?? 0) > 0 || Number(textOf(objectOf(constant['fval'])?.['fval']) ?? 0) > 0);
}

/** The text of a string constant without a cast, else null. */
export function stringOf(value: unknown): string | null {
  const constant = bodyOf(value, 'A_Const');
  const text = objectOf(constant?.['sval']);
  return text === null ? null : (textOf(text['sval']) ?? '');
}

/** The value of an int4 literal, else null. */
export function integerOf(value: unknown): number | null {
  const integer = objectOf(bodyOf(value, 'A_Const')?.['ival']);
  if (integer === null) return null;
  return typeof integer['ival'] === 'number' ? integer['ival'] : 0;
}
