import type { ParameterRecord } from '../../contract/audit.ts';
import type { BoundParameter } from './wire/bind.ts';

/** How parameter values may be shown. */
export interface ParameterRules {
  /** The parameter meets a masked column. */
  readonly hidden: boolean;
  /** A detector finds something in the text. */
  readonly hits: (text: string) => boolean;
  /** The keyed token that stands for a hidden value. */
  readonly token: (value: string) => string;
  /** A longer value is cut, in bytes; records take 4 KiB of each. */
  readonly limitBytes: number;
}

/** One bound parameter as records and approvers see it: hidden ones as a keyed token, long ones cut, binary ones decoded where the type is plain, else base64. */
export function showParameter(parameter: BoundParameter, n: number, typeOid: number, rules: ParameterRules): ParameterRecord {
  const format = parameter.format === 0 ? 'text' : 'binary';
  const base = { n, type: typeNames[typeOid] ?? (typeOid === 0 ? 'unknown' : String(typeOid)), format } as const;
  if (parameter.value === null) return { ...base, value: null, hmac: null, redacted: false, bytes: 0 };
  const text = textOf(parameter.value, parameter.format, typeOid);
  const bytes = parameter.value.length;
  // Bytes that are no text are searched too: a binary text parameter of a type left to the server.
  if (rules.hidden || rules.hits(text) || (parameter.format === 1 && rules.hits(parameter.value.toString('latin1')))) return { ...base, value: null, hmac: rules.token(text), redacted: true, bytes };
  if (bytes > rules.limitBytes) return { ...base, value: `${text.slice(0, rules.limitBytes)}…`, hmac: rules.token(text), redacted: false, bytes };
  return { ...base, value: text, hmac: null, redacted: false, bytes };
}

function textOf(value: Buffer, format: 0 | 1, typeOid: number): string {
  if (format === 0) return value.toString('utf8');
  switch (typeOid) {
    case 16:
      return value.length === 1 ? (value[0] === 0 ? 'false' : 'true') : value.toString('base64');
    case 20:
      return value.length === 8 ? value.readBigInt64BE(0).toString() : value.toString('base64');
    case 21:
      return value.length === 2 ? String(value.readInt16BE(0)) : value.toString('base64');
    case 23:
      return value.length === 4 ? String(value.readInt32BE(0)) : value.toString('base64');
    case 26:
      return value.length === 4 ? String(value.readUInt32BE(0)) : value.toString('base64');
    case 700:
      return value.length === 4 ? String(value.readFloatBE(0)) : value.toString('base64');
    case 701:
      return value.length === 8 ? String(value.readDoubleBE(0)) : value.toString('base64');
    case 18: case 19: case 25: case 1042: case 1043: case 114:
      return value.toString('utf8');
    default:
      return value.toString('base64');
  }
}

/** Names of the plain types, for records. @see pg_type.dat */
const typeNames: Readonly<Record<number, string>> = {
  16: 'bool', 17: 'bytea', 18: 'char', 19: 'name', 20: 'int8', 21: 'int2', 23: 'int4', 25: 'text', 26: 'oid', 114: 'json', 700: 'float4', 701: 'float8', 1042: 'bpchar', 1043: 'varchar', 1082: 'date',
  1083: 'time', 1114: 'timestamp', 1184: 'timestamptz', 1700: 'numeric', 2950: 'uuid', 3802: 'jsonb',
};
