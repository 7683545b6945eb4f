/** A type by its OID in `pg_type`, or one that is not the server's own. */
export type Known = number | 'other';

/** OIDs of the types that expressions over masked columns are followed through. @see PostgreSQL, pg_type.dat */
export const oid = {
  bool: 16, bytea: 17, name: 19, int8: 20, int2: 21, int4: 23, text: 25, json: 114, float4: 700, float8: 701, bpchar: 1042, varchar: 1043, date: 1082, time: 1083, timestamp: 1114, timestamptz: 1184, interval: 1186,
  numeric: 1700, uuid: 2950, jsonb: 3802,
} as const;

/** Their names in a cast, as the grammar writes them. */
export const pgTypes: Readonly<Record<string, number>> = { ...oid, decimal: oid.numeric };
/** Text, varchar and char: one type for every function here. */
export const texts: ReadonlySet<unknown> = new Set([oid.text, oid.varchar, oid.bpchar]);
const integers: ReadonlySet<unknown> = new Set([oid.int2, oid.int4, oid.int8]);
/** Types that arithmetic is followed through. */
export const numbers: ReadonlySet<unknown> = new Set([...integers, oid.numeric]);
/** Every type of `oid`. */
export const known: ReadonlySet<unknown> = new Set(Object.values(oid));

/** Types whose values are small, whatever they are. */
export function isFixedType(type: Known): boolean {
  return type !== 'other' && known.has(type) && !texts.has(type) && type !== oid.json && type !== oid.jsonb && type !== oid.bytea;
}

/** The type that values of these types have together, comparable and without a cast that can fail; null where there is none. */
export function common(types: readonly Known[]): Known | null {
  const [first] = types;
  if (first === undefined || first === 'other' || first === oid.json) return null;
  if (types.every((type) => texts.has(type))) return oid.text;
  if (types.every((type) => numbers.has(type))) return types.includes(oid.numeric) ? oid.numeric : types.includes(oid.int8) ? oid.int8 : oid.int4;
  return types.every((type) => type === first) ? first : null;
}

/** Whether a cast has a result for every value. A length or precision is safe for text only, which is cut. */
export function isPlainCast(from: Known, to: number, hasModifier: boolean): boolean {
  if (texts.has(to)) return from !== 'other';
  if (hasModifier) return false;
  const widens = (integers.has(from) && (to === oid.numeric || to === oid.float8)) || (from === oid.int2 && (to === oid.int4 || to === oid.int8)) || (from === oid.int4 && to === oid.int8);
  return from === to || widens || (from === oid.bool && to === oid.int4) || (from === oid.timestamp && to === oid.date) || (from === oid.float4 && to === oid.float8);
}

/** Fields of a date, for extract and date_part. */
export const dateFields: ReadonlySet<string> = new Set(['century', 'decade', 'year', 'quarter', 'month', 'week', 'day', 'dow', 'doy', 'isodow', 'isoyear']);
/** Those of a timestamp. */
export const timeFields: ReadonlySet<string> = new Set([...dateFields, 'hour', 'minute', 'second']);

/** Functions of texts with a result for every value: what they answer, with how many arguments at most, and whether the result is about as long as the first one. */
export const scalars: Readonly<Record<string, { readonly type: number; readonly most: number; readonly keepsLength: boolean }>> = {
  upper: { type: oid.text, most: 1, keepsLength: true }, lower: { type: oid.text, most: 1, keepsLength: true }, initcap: { type: oid.text, most: 1, keepsLength: true }, reverse: { type: oid.text, most: 1, keepsLength: true },
  btrim: { type: oid.text, most: 2, keepsLength: false }, ltrim: { type: oid.text, most: 2, keepsLength: false }, rtrim: { type: oid.text, most: 2, keepsLength: false },
  translate: { type: oid.text, most: 3, keepsLength: false }, md5: { type: oid.text, most: 1, keepsLength: false },
  length: { type: oid.int4, most: 1, keepsLength: false }, char_length: { type: oid.int4, most: 1, keepsLength: false }, character_length: { type: oid.int4, most: 1, keepsLength: false },
  octet_length: { type: oid.int4, most: 1, keepsLength: false }, strpos: { type: oid.int4, most: 2, keepsLength: false }, position: { type: oid.int4, most: 2, keepsLength: false },
  starts_with: { type: oid.bool, most: 2, keepsLength: false },
};

/** Functions that put values together. */
export const growing: Readonly<Record<string, number>> = {
  concat: oid.text, concat_ws: oid.text, format: oid.text, to_json: oid.json, to_jsonb: oid.jsonb, row_to_json: oid.json, json_build_array: oid.json, jsonb_build_array: oid.jsonb, json_build_object: oid.json, jsonb_build_object: oid.jsonb,
};

/** Aggregates by what they answer. */
export const aggregates: Readonly<Record<string, number | 'argument' | 'other'>> = {
  count: oid.int8, min: 'argument', max: 'argument', bool_and: oid.bool, bool_or: oid.bool, every: oid.bool, array_agg: 'other', json_agg: oid.json, jsonb_agg: oid.jsonb, string_agg: oid.text,
};

/** sum and avg by what they add up; floating point can overflow. */
export const sums: Readonly<Record<string, Readonly<Record<number, number>>>> = {
  sum: { [oid.int2]: oid.int8, [oid.int4]: oid.int8, [oid.int8]: oid.numeric, [oid.numeric]: oid.numeric },
  avg: { [oid.int2]: oid.numeric, [oid.int4]: oid.numeric, [oid.int8]: oid.numeric, [oid.numeric]: oid.numeric },
};
