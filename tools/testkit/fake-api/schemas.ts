import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { StructuralSchema } from '../../../contract/api/structural-schema.ts';
import { formatPath, validateSchema, withDefaults } from '../../../contract/api/validate-schema.ts';
import { checkValidationRules } from '../../../contract/api/validation-rules.ts';
import type { KubeKind } from '../../../runtime/kube/kube-client.ts';
import { Refusal } from './answers.ts';
import { isJson, type Json } from './json.ts';

const folder = join(import.meta.dirname, '../../../crds');
let known: ReadonlyMap<string, StructuralSchema> | null = null;

/** The schema of one of our kinds, from crds/; null for built-in kinds. */
export function schemaOf(kind: KubeKind): StructuralSchema | null {
  known ??= new Map(readdirSync(folder).filter((file) => file.endsWith('.yaml')).map((file) => {
    const { spec } = parse(readFileSync(join(folder, file), 'utf8')) as { spec: { group: string; names: { plural: string }; versions: { schema: { openAPIV3Schema: StructuralSchema } }[] } };
    return [`${spec.group}/${spec.names.plural}`, spec.versions[0]?.schema.openAPIV3Schema ?? { type: 'object' }] as const;
  }));
  return known.get(`${kind.group}/${kind.plural}`) ?? null;
}

/**
 * Fills in defaults and checks the object as the API server does; unknown fields are refused as with `fieldValidation=Strict`.
 *
 * @throws Refusal 422 `Invalid`.
 */
export function admitBySchema(schema: StructuralSchema, object: Json, old: Json | null): Json {
  const complete = withDefaults(schema, object) as Json;
  const shape = validateSchema(schema, complete);
  const problems = shape.length > 0 ? shape : checkValidationRules(schema, complete, old ?? undefined);
  if (problems.length > 0) {
    const name = isJson(object['metadata']) ? object['metadata']['name'] : '';
    throw new Refusal(422, 'Invalid', `${String(object['kind'])}.sallyport.dev "${String(name)}" is invalid: ${problems.map((problem) => `${formatPath(problem.path)}: ${problem.message}`).join(', ')}`);
  }
  return complete;
}
