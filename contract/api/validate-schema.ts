import type { FieldPath, FieldProblem, StructuralSchema } from './structural-schema.ts';

/**
 * Checks a value against a structural schema, as the API server does before it runs CEL rules: unknown fields, types, enums, patterns, sizes, required
 * fields, uniqueness in set and map lists.
 *
 * @param value JSON data after `withDefaults`.
 * @returns every problem, in the order of the document; messages read like the API server's.
 * @see k8s.io/apiextensions-apiserver, pkg/apiserver/validation and pkg/apiserver/schema/listtype
 */
export function validateSchema(schema: StructuralSchema, value: unknown, path: FieldPath = []): readonly FieldProblem[] {
  switch (schema.type) {
    case 'object': return isRecord(value) ? validateObject(schema, value, path) : wrongType(schema, value, path);
    case 'array': return Array.isArray(value) ? validateArray(schema, value, path) : wrongType(schema, value, path);
    case 'string': return typeof value === 'string' ? validateString(schema, value, path) : wrongType(schema, value, path);
    case 'integer': return Number.isInteger(value) ? validateInteger(schema, value as number, path) : wrongType(schema, value, path);
    case 'boolean': return typeof value === 'boolean' ? validateEnum(schema, value, path) : wrongType(schema, value, path);
    default: return schema.type satisfies never;
  }
}

/**
 * The value with the schema's defaults filled in and nulls removed, as the API server stores it. A null where a default stands becomes the default.
 * Copies what it changes; data that does not fit the schema stays as it is, for `validateSchema` to report.
 */
export function withDefaults(schema: StructuralSchema, value: unknown): unknown {
  if (schema.type === 'array' && Array.isArray(value) && schema.items !== undefined) {
    const items = schema.items;
    return value.map((item) => withDefaults(items, item));
  }
  if (schema.type !== 'object' || !isRecord(value)) return value;
  const result: Record<string, unknown> = {};
  for (const [name, inner] of Object.entries(value)) {
    const property = propertyOf(schema, name);
    if (inner === null && property !== undefined) continue;
    set(result, name, property === undefined ? inner : withDefaults(property, inner));
  }
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    if (property.default !== undefined && !Object.hasOwn(result, name)) set(result, name, withDefaults(property, structuredClone(property.default)));
  }
  return result;
}

/** The schema of one property, listed or covered by additionalProperties. */
export function propertyOf(schema: StructuralSchema, name: string): StructuralSchema | undefined {
  if (schema.properties !== undefined && Object.hasOwn(schema.properties, name)) return schema.properties[name];
  return schema.additionalProperties;
}

/** Whether a value is a JSON object: not null, not an array. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A key such as `__proto__` must become a field, not a prototype. */
function set(object: Record<string, unknown>, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
}

function validateObject(schema: StructuralSchema, value: Readonly<Record<string, unknown>>, path: FieldPath): readonly FieldProblem[] {
  const problems: FieldProblem[] = [];
  const names = Object.keys(value);
  if (schema.minProperties !== undefined && names.length < schema.minProperties) problems.push({ path, message: `Invalid value: should have at least ${schema.minProperties} properties` });
  if (schema.maxProperties !== undefined && names.length > schema.maxProperties) problems.push({ path, message: `Too many: ${names.length}: must have at most ${schema.maxProperties} items` });
  for (const name of schema.required ?? []) if (!Object.hasOwn(value, name)) problems.push({ path: [...path, name], message: 'Required value' });
  for (const name of names) {
    const property = propertyOf(schema, name);
    // An object without properties (metadata) is read elsewhere.
    if (property !== undefined) problems.push(...validateSchema(property, value[name], [...path, name]));
    else if (schema.properties !== undefined) problems.push({ path: [...path, name], message: `unknown field ${JSON.stringify(formatPath([...path, name]))}` });
  }
  return problems;
}

function validateArray(schema: StructuralSchema, value: readonly unknown[], path: FieldPath): readonly FieldProblem[] {
  const problems: FieldProblem[] = [];
  if (schema.minItems !== undefined && value.length < schema.minItems) problems.push({ path, message: `Invalid value: should have at least ${schema.minItems} items` });
  if (schema.maxItems !== undefined && value.length > schema.maxItems) return [{ path, message: `Too many: ${value.length}: must have at most ${schema.maxItems} items` }];
  const items = schema.items;
  if (items !== undefined) value.forEach((item, index) => problems.push(...validateSchema(items, item, [...path, index])));
  return [...problems, ...duplicates(schema, value, path)];
}

function duplicates(schema: StructuralSchema, value: readonly unknown[], path: FieldPath): readonly FieldProblem[] {
  const listType = schema['x-kubernetes-list-type'];
  if (listType !== 'set' && listType !== 'map') return [];
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  const seen = new Set<string>();
  return value.flatMap((item, index) => {
    const identity = listType === 'set' ? item : isRecord(item) ? Object.fromEntries(keys.map((key) => [key, item[key]])) : null;
    const text = JSON.stringify(identity);
    if (identity === null || !seen.has(text)) {
      seen.add(text);
      return [];
    }
    return [{ path: [...path, index], message: `Duplicate value: ${shown(identity)}` }];
  });
}

function validateString(schema: StructuralSchema, value: string, path: FieldPath): readonly FieldProblem[] {
  const problems: FieldProblem[] = [];
  // The API server counts code points.
  const length = value.length > 1_000_000 ? value.length : [...value].length;
  if (schema.maxLength !== undefined && length > schema.maxLength) return [{ path, message: `Too long: may not be more than ${schema.maxLength} characters` }];
  if (schema.minLength !== undefined && length < schema.minLength) problems.push({ path, message: `Invalid value: ${shown(value)}: should be at least ${schema.minLength} chars long` });
  if (schema.pattern !== undefined && !new RegExp(schema.pattern).test(value)) problems.push({ path, message: `Invalid value: ${shown(value)}: should match '${schema.pattern}'` });
  if (schema.format === 'date-time' && !isDateTime(value)) problems.push({ path, message: `Invalid value: ${shown(value)}: must be of type date-time` });
  return [...problems, ...validateEnum(schema, value, path)];
}

function isDateTime(value: string): boolean {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i.test(value) && !Number.isNaN(Date.parse(value));
}

function validateInteger(schema: StructuralSchema, value: number, path: FieldPath): readonly FieldProblem[] {
  const problems: FieldProblem[] = [];
  // Beyond 2^53 a JSON reader in JavaScript would change the number in silence.
  const limit = schema.format === 'int32' ? 2 ** 31 - 1 : Number.MAX_SAFE_INTEGER;
  if (value > limit || value < -limit - 1) return [{ path, message: `Invalid value: ${value}: must be of type integer, format ${schema.format ?? 'int64'}` }];
  if (schema.minimum !== undefined && value < schema.minimum) problems.push({ path, message: `Invalid value: ${value}: should be greater than or equal to ${schema.minimum}` });
  if (schema.maximum !== undefined && value > schema.maximum) problems.push({ path, message: `Invalid value: ${value}: should be less than or equal to ${schema.maximum}` });
  return [...problems, ...validateEnum(schema, value, path)];
}

function validateEnum(schema: StructuralSchema, value: unknown, path: FieldPath): readonly FieldProblem[] {
  if (schema.enum === undefined || schema.enum.includes(value)) return [];
  return [{ path, message: `Unsupported value: ${shown(value)}: supported values: ${schema.enum.map((each) => JSON.stringify(each)).join(', ')}` }];
}

function wrongType(schema: StructuralSchema, value: unknown, path: FieldPath): readonly FieldProblem[] {
  const is = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value === 'number' && Number.isInteger(value) ? 'integer' : typeof value;
  return [{ path, message: `Invalid value: ${is}: must be of type ${schema.type}` }];
}

/** A value as an error may repeat it: at most 80 characters of JSON. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined';
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}

/** `spec.rules[0].name`, as Kubernetes writes a path; the root is an empty text. */
export function formatPath(path: FieldPath): string {
  return path.map((part, index) => (typeof part === 'number' ? `[${part}]` : `${index === 0 ? '' : '.'}${part}`)).join('');
}
