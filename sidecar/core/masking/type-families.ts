/** How the values of a type are masked and searched. `null` families have no value of their own that could stand in: SQL NULL. */
export type TypeFamily =
  | 'text' | 'varchar' | 'bpchar' | 'name' | 'char'
  | 'int2' | 'int4' | 'int8' | 'numeric' | 'money' | 'float4' | 'float8' | 'bool'
  | 'date' | 'timestamp' | 'timestamptz' | 'time' | 'timetz' | 'interval'
  | 'uuid' | 'bytea' | 'inet' | 'cidr' | 'macaddr' | 'macaddr8'
  | 'json' | 'jsonb' | 'array' | 'range' | 'multirange' | 'other';

/** What the masking code must know of one type. */
export interface TypeShape {
  readonly family: TypeFamily;
  /** Element of an array, else null. */
  readonly element: { readonly oid: number; readonly shape: TypeShape } | null;
}

/**
 * Resolves a type OID to what masking needs to know.
 *
 * @param typeBase base type of each domain and element type of each array outside pg_catalog; text-like extension types (citext) may map to 25 (text).
 * @param arrayTypes which keys of `typeBase` are arrays. Without it every key is taken for an array, which is right for RowDescription (the server
 * sends a domain's base type there); a domain in COPY then loses its value instead of keeping its type.
 * @returns family `other` for whatever is not known: enums, composites, geometric types, xml, extension types.
 */
export function typeShape(oid: number, typeBase: ReadonlyMap<number, number>, arrayTypes: ReadonlySet<number> | null = null): TypeShape {
  return resolve(oid, typeBase, arrayTypes, 0);
}

function resolve(oid: number, typeBase: ReadonlyMap<number, number>, arrayTypes: ReadonlySet<number> | null, depth: number): TypeShape {
  const family = scalarFamilies.get(oid);
  if (family !== undefined) return { family, element: null };
  // A domain over a domain over an array needs three steps; more than eight is a loop in bad catalog data.
  if (depth > 8) return other;
  const builtinElement = arrayElements.get(oid);
  const next = builtinElement ?? typeBase.get(oid);
  if (next === undefined) return other;
  const shape = resolve(next, typeBase, arrayTypes, depth + 1);
  // There is no array of arrays in PostgreSQL: a type over an array is a domain, whatever the catalog says (array of a domain over an array: its elements are opaque).
  const isArray = builtinElement !== undefined || (arrayTypes === null ? shape.family !== 'array' : arrayTypes.has(oid));
  if (isArray && shape.family === 'array') return { family: 'array', element: { oid: next, shape: other } };
  return isArray ? { family: 'array', element: { oid: next, shape } } : shape;
}

const other: TypeShape = { family: 'other', element: null };

// OIDs of pg_type.dat; they never change.
const scalarFamilies: ReadonlyMap<number, TypeFamily> = new Map<number, TypeFamily>([
  [25, 'text'], [705, 'text'], [2275, 'text'], [1043, 'varchar'], [1042, 'bpchar'], [19, 'name'], [18, 'char'],
  [21, 'int2'], [23, 'int4'], [20, 'int8'], [1700, 'numeric'], [790, 'money'], [700, 'float4'], [701, 'float8'], [16, 'bool'],
  [1082, 'date'], [1114, 'timestamp'], [1184, 'timestamptz'], [1083, 'time'], [1266, 'timetz'], [1186, 'interval'],
  [2950, 'uuid'], [17, 'bytea'], [869, 'inet'], [650, 'cidr'], [829, 'macaddr'], [774, 'macaddr8'], [114, 'json'], [3802, 'jsonb'],
  [3904, 'range'], [3906, 'range'], [3908, 'range'], [3910, 'range'], [3912, 'range'], [3926, 'range'],
  [4451, 'multirange'], [4532, 'multirange'], [4533, 'multirange'], [4534, 'multirange'], [4535, 'multirange'], [4536, 'multirange'],
]);

const arrayElements: ReadonlyMap<number, number> = new Map([
  [1009, 25], [1263, 2275], [1015, 1043], [1014, 1042], [1003, 19], [1002, 18], [1005, 21], [1007, 23], [1016, 20], [1231, 1700], [791, 790], [1021, 700], [1022, 701],
  [1000, 16], [1182, 1082], [1115, 1114], [1185, 1184], [1183, 1083], [1270, 1266], [1187, 1186], [2951, 2950], [1001, 17], [1041, 869], [651, 650], [1040, 829],
  [775, 774], [199, 114], [3807, 3802], [3905, 3904], [3907, 3906], [3909, 3908], [3911, 3910], [3913, 3912], [3927, 3926],
  [6150, 4451], [6151, 4532], [6152, 4533], [6153, 4534], [6155, 4535], [6157, 4536],
  // Elements that have no family: the array is masked as a whole (empty), and its elements are searched as unknown types.
  [1028, 26], [143, 142], [1017, 600], [1018, 601], [1019, 602], [1020, 603], [1027, 604], [629, 628], [719, 718], [1561, 1560], [1563, 1562], [2287, 2249], [3643, 3614], [3645, 3615], [4073, 4072],
]);

/** Families whose values are plain text in both formats. */
export function isTextFamily(family: TypeFamily): boolean {
  return family === 'text' || family === 'varchar' || family === 'bpchar' || family === 'name' || family === 'char';
}
