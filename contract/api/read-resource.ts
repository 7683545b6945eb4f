import { apiVersion } from '../names.ts';
import { resourceKinds } from './schemas.gen.ts';
import type { KindName } from './schemas.gen.ts';
import type { FieldProblem } from './structural-schema.ts';
import type { SallyportResource } from './v1alpha1.gen.ts';
import { validateMetadata } from './validate-metadata.ts';
import { formatPath, isRecord, validateSchema, withDefaults } from './validate-schema.ts';
import { checkValidationRules } from './validation-rules.ts';

/** A typed resource, or everything that is wrong with it. */
export type ReadOutcome = { readonly outcome: 'read'; readonly resource: SallyportResource } | { readonly outcome: 'problems'; readonly problems: readonly FieldProblem[] };

/**
 * Reads one untrusted value as a Target, AccessPolicy or IdentityProvider, with the verdict of the API server: strict about unknown fields, defaults filled in,
 * CEL rules checked once everything else fits.
 *
 * @param value parsed YAML or JSON; not changed.
 * @param options.old the stored object that `value` replaces, already read; transition rules are checked against it.
 * @returns the resource, or all problems. Messages read like the API server's; some repeat a short value of the field.
 */
export function readResource(value: unknown, options: { readonly old?: unknown } = {}): ReadOutcome {
  if (!isRecord(value)) return problems([{ path: [], message: 'Invalid value: a resource is an object with apiVersion, kind, metadata and spec' }]);
  const kind = value['kind'];
  if (!isKindName(kind)) return problems([{ path: ['kind'], message: kind === undefined ? 'Required value' : `Unsupported value: supported values: ${Object.keys(resourceKinds).join(', ')}` }]);
  if (value['apiVersion'] !== apiVersion) return problems([{ path: ['apiVersion'], message: value['apiVersion'] === undefined ? 'Required value' : `Unsupported value: supported values: "${apiVersion}"` }]);

  const { schema, scope } = resourceKinds[kind];
  const complete = withDefaults(schema, value) as Record<string, unknown>;
  const shape = [...validateMetadata(complete['metadata'], scope), ...validateSchema(schema, complete)];
  if (shape.length > 0) return problems(shape);
  const rules = checkValidationRules(schema, complete, options.old === undefined ? undefined : withDefaults(schema, options.old));
  // The checks above are the proof of the generated type.
  return rules.length > 0 ? problems(rules) : { outcome: 'read', resource: complete as unknown as SallyportResource };
}

/** Whether this is one of the kinds that people write. */
export function isKindName(kind: unknown): kind is KindName {
  return typeof kind === 'string' && Object.hasOwn(resourceKinds, kind);
}

/** One line: `spec.postgres.port: Invalid value: 0: should be greater than or equal to 1`. */
export function formatFieldProblem(problem: FieldProblem): string {
  const path = formatPath(problem.path);
  return path === '' ? problem.message : `${path}: ${problem.message}`;
}

function problems(list: readonly FieldProblem[]): ReadOutcome {
  return { outcome: 'problems', problems: list };
}
