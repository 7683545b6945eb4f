import { SallyportError } from '../errors.ts';
import type { TypeFamily } from './type-families.ts';

/**
 * The value that stands for a redacted one: it decodes as the type and says nothing about the original.
 *
 * @param family any but `array` (its empty form needs the element's OID) and `other` (NULL).
 */
export function redactedValue(family: TypeFamily, format: 0 | 1): Uint8Array {
  const forms = redactedForms[family as keyof typeof redactedForms];
  if (forms === undefined) throw new SallyportError('INTERNAL', { where: 'redactedValue', family });
  return forms[format];
}

const encoder = new TextEncoder();
const zeros = (bytes: number): Uint8Array => new Uint8Array(bytes);
const form = (text: string, binary: Uint8Array): readonly [Uint8Array, Uint8Array] => [encoder.encode(text), binary];
const textForm = (text: string): readonly [Uint8Array, Uint8Array] => form(text, encoder.encode(text));

// 1970-01-01 counted from PostgreSQL's epoch, 2000-01-01: days, and microseconds.
const epochDate = (): Uint8Array => bigEndian(4, (view) => view.setInt32(0, -10_957));
const epochTimestamp = (): Uint8Array => bigEndian(8, (view) => view.setBigInt64(0, -946_684_800_000_000n));

function bigEndian(bytes: number, write: (view: DataView) => void): Uint8Array {
  const cell = new Uint8Array(bytes);
  write(new DataView(cell.buffer));
  return cell;
}

const redactedForms = {
  text: textForm('********'), varchar: textForm('********'), bpchar: textForm('********'), name: textForm('********'), char: textForm('*'),
  int2: form('0', zeros(2)), int4: form('0', zeros(4)), int8: form('0', zeros(8)), numeric: form('0', zeros(8)), money: form('$0.00', zeros(8)),
  float4: form('0', zeros(4)), float8: form('0', zeros(8)), bool: form('f', zeros(1)),
  date: form('1970-01-01', epochDate()), timestamp: form('1970-01-01 00:00:00', epochTimestamp()), timestamptz: form('1970-01-01 00:00:00+00', epochTimestamp()),
  time: form('00:00:00', zeros(8)), timetz: form('00:00:00+00', zeros(12)), interval: form('00:00:00', zeros(16)),
  uuid: form('00000000-0000-0000-0000-000000000000', zeros(16)), bytea: form('\\x', zeros(0)),
  // inet_send: family (PGSQL_AF_INET = 2), bits, is_cidr, address bytes, address.
  inet: form('0.0.0.0', Uint8Array.of(2, 32, 0, 4, 0, 0, 0, 0)), cidr: form('0.0.0.0/0', Uint8Array.of(2, 0, 1, 4, 0, 0, 0, 0)),
  macaddr: form('00:00:00:00:00:00', zeros(6)), macaddr8: form('00:00:00:00:00:00:00:00', zeros(8)),
  json: textForm('"********"'), jsonb: form('"********"', encoder.encode('\u0001"********"')),
  // range_send: flags RANGE_EMPTY = 0x01; multirange_send: count of ranges.
  range: form('empty', Uint8Array.of(1)), multirange: form('{}', zeros(4)),
} as const satisfies Partial<Record<TypeFamily, readonly [Uint8Array, Uint8Array]>>;
