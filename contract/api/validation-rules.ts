import { Environment } from '@marcbachmann/cel-js';
import type { FieldPath, FieldProblem, StructuralSchema, ValidationRule } from './structural-schema.ts';
import { isRecord, propertyOf } from './validate-schema.ts';

/**
 * Runs the CEL rules (`x-kubernetes-validations`) of a schema over a value that fits the schema.
 *
 * A rule that reads `oldSelf` runs only where an old value exists, as in the API server; the old value of a list item is unknown unless the list is a map.
 * A rule that cannot be evaluated is a problem, never a pass.
 */
export function checkValidationRules(schema: StructuralSchema, value: unknown, old: unknown, path: FieldPath = []): readonly FieldProblem[] {
  const own = (schema['x-kubernetes-validations'] ?? []).flatMap((rule) => checkRule(rule, schema, value, old, path));
  if (Array.isArray(value) && schema.items !== undefined) {
    const items = schema.items;
    return [...own, ...value.flatMap((item, index) => checkValidationRules(items, item, oldItem(schema, item, old), [...path, index]))];
  }
  if (!isRecord(value)) return own;
  const inner = Object.entries(value).flatMap(([name, each]) => {
    const property = propertyOf(schema, name);
    return property === undefined ? [] : checkValidationRules(property, each, isRecord(old) && Object.hasOwn(old, name) ? old[name] : undefined, [...path, name]);
  });
  return [...own, ...inner];
}

function checkRule(rule: ValidationRule, schema: StructuralSchema, value: unknown, old: unknown, path: FieldPath): readonly FieldProblem[] {
  const isTransition = /\boldSelf\b/.test(rule.rule);
  if (isTransition && old === undefined) return [];
  const context = { self: toCel(schema, value), ...(isTransition ? { oldSelf: toCel(schema, old) } : {}) };
  return holds(rule.rule, context) ? [] : [{ path, message: rule.reason === 'FieldValueForbidden' ? `Forbidden: ${rule.message}` : `Invalid value: ${rule.message}` }];
}

function holds(rule: string, context: Readonly<Record<string, unknown>>): boolean {
  try {
    return new Environment({ homogeneousAggregateLiterals: false }).registerVariable('self', 'dyn').registerVariable('oldSelf', 'dyn').evaluate(rule, context) === true;
  } catch {
    return false;
  }
}

function oldItem(schema: StructuralSchema, item: unknown, old: unknown): unknown {
  const keys = schema['x-kubernetes-list-map-keys'];
  if (schema['x-kubernetes-list-type'] !== 'map' || keys === undefined || !Array.isArray(old) || !isRecord(item)) return undefined;
  return old.find((each) => isRecord(each) && keys.every((key) => each[key] === item[key]));
}

/** CEL integers are BigInt in this library; a plain number would be a double. */
function toCel(schema: StructuralSchema, value: unknown): unknown {
  if (schema.type === 'integer' && typeof value === 'number') return BigInt(value);
  if (Array.isArray(value) && schema.items !== undefined) {
    const items = schema.items;
    return value.map((item) => toCel(items, item));
  }
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => {
    const property = propertyOf(schema, name);
    return [name, property === undefined ? inner : toCel(property, inner)];
  }));
}
