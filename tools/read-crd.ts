import { parse } from 'yaml';
import type { StructuralSchema } from '../contract/api/structural-schema.ts';

/** What the generators need of one CustomResourceDefinition. */
export interface Crd {
  readonly file: string;
  readonly kind: string;
  readonly plural: string;
  readonly scope: 'Namespaced' | 'Cluster';
  readonly shortNames: readonly string[];
  readonly columns: readonly { readonly name: string; readonly description?: string }[];
  readonly schema: StructuralSchema;
}

/**
 * Reads a CustomResourceDefinition with exactly one version.
 *
 * @throws Error when the schema uses a keyword that `contract/api/validate-schema.ts` does not interpret: a check that silently does nothing is worse.
 */
export function readCrd(text: string, file: string): Crd {
  const { spec } = parse(text) as { spec: { names: { kind: string; plural: string; shortNames: string[] }; scope: Crd['scope']; versions: { additionalPrinterColumns?: Crd['columns']; schema: { openAPIV3Schema: unknown } }[] } };
  const version = spec.versions[0];
  if (version === undefined || spec.versions.length !== 1) throw new Error(`${file}: expected one version`);
  const schema = version.schema.openAPIV3Schema;
  refuseUnknownKeywords(schema, file);
  return { file, kind: spec.names.kind, plural: spec.names.plural, scope: spec.scope, shortNames: spec.names.shortNames, columns: version.additionalPrinterColumns ?? [], schema };
}

const types = ['object', 'array', 'string', 'integer', 'boolean'];
const keywords = new Set([
  'type', 'description', 'default', 'enum', 'format', 'pattern', 'minLength', 'maxLength', 'minimum', 'maximum', 'minItems', 'maxItems', 'minProperties',
  'maxProperties', 'required', 'properties', 'additionalProperties', 'items', 'x-kubernetes-list-type', 'x-kubernetes-list-map-keys', 'x-kubernetes-map-type',
  'x-kubernetes-validations',
]);

function refuseUnknownKeywords(value: unknown, at: string): asserts value is StructuralSchema {
  if (typeof value !== 'object' || value === null) throw new Error(`${at}: a schema is an object`);
  for (const key of Object.keys(value)) if (!keywords.has(key)) throw new Error(`${at}: the keyword ${key} is not interpreted by the reader`);
  const schema = value as StructuralSchema;
  if (!types.includes(schema.type)) throw new Error(`${at}: the type ${String(schema.type)} is not interpreted by the reader`);
  for (const [name, inner] of Object.entries(schema.properties ?? {})) refuseUnknownKeywords(inner, `${at}.${name}`);
  if (schema.items !== undefined) refuseUnknownKeywords(schema.items, `${at}[]`);
  if (schema.additionalProperties !== undefined) refuseUnknownKeywords(schema.additionalProperties, `${at}{}`);
}

/** The same schema without descriptions. */
export function withoutDescriptions(schema: StructuralSchema): StructuralSchema {
  const { description: _description, properties, items, additionalProperties, ...rest } = schema;
  return {
    ...rest,
    ...(properties === undefined ? {} : { properties: Object.fromEntries(Object.entries(properties).map(([name, inner]) => [name, withoutDescriptions(inner)])) }),
    ...(items === undefined ? {} : { items: withoutDescriptions(items) }),
    ...(additionalProperties === undefined ? {} : { additionalProperties: withoutDescriptions(additionalProperties) }),
  };
}
