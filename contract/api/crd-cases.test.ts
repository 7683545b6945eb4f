import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { parse, parseAllDocuments } from 'yaml';
import { apiCrds, systemCrds } from '../../tools/generate-api.ts';
import { readCrd } from '../../tools/read-crd.ts';
import { formatFieldProblem } from './read-resource.ts';
import type { FieldProblem, StructuralSchema } from './structural-schema.ts';
import { validateMetadata } from './validate-metadata.ts';
import { validateSchema, withDefaults } from './validate-schema.ts';
import { checkValidationRules } from './validation-rules.ts';

interface Case { readonly name: string; readonly object: Readonly<Record<string, unknown>>; readonly old?: unknown; readonly expect: 'accepted' | 'rejected'; readonly message?: string }

const { cases } = parse(readFileSync(new URL('../../crds/examples/cases.yaml', import.meta.url), 'utf8')) as { cases: readonly Case[] };
const kinds = new Map([...apiCrds, ...systemCrds].map((file) => readCrd(readFileSync(new URL(`../../crds/${file}`, import.meta.url), 'utf8'), file)).map((crd) => [crd.kind, crd]));

function problemsOf(schema: StructuralSchema, each: Case): readonly FieldProblem[] {
  const complete = withDefaults(schema, each.object);
  const shape = [...validateMetadata(each.object['metadata'], kinds.get(String(each.object['kind']))?.scope ?? 'Namespaced'), ...validateSchema(schema, complete)];
  return shape.length > 0 ? shape : checkValidationRules(schema, complete, each.old === undefined ? undefined : withDefaults(schema, each.old));
}

function verdict(each: Case): string {
  const crd = kinds.get(String(each.object['kind']));
  if (crd === undefined) return 'no such kind';
  const problems = problemsOf(crd.schema, each);
  return problems.length === 0 ? 'accepted' : problems.map(formatFieldProblem).join('\n');
}

describe('every case of crds/examples gets the stated verdict from our own reader', () => {
  test.each(cases.map((each) => [`${String(each.object['kind'])}: ${each.name}`, each] as const))('%s', (_name, each) => {
    if (each.expect === 'accepted') expect(verdict(each)).toBe('accepted');
    else expect(verdict(each)).toContain(each.message ?? 'a message that the case must state');
  });
});

test.each(['identityprovider', 'target', 'accesspolicy', 'accessrequest', 'accessdecision'])('the example of %s is accepted by our own reader', (name) => {
  const objects = parseAllDocuments(readFileSync(new URL(`../../crds/examples/${name}.yaml`, import.meta.url), 'utf8')).map((document) => document.toJS() as Case['object']);
  expect(objects.map((object) => verdict({ name, object, expect: 'accepted' }))).toEqual(objects.map(() => 'accepted'));
});

test.each([...kinds.values()].map((crd) => [crd.kind, crd] as const))('%s: every rule, replaced by true, changes the verdict of a case', (kind, crd) => {
  const own = cases.filter((each) => each.object['kind'] === kind);
  const verdicts = (schema: StructuralSchema): string => JSON.stringify(own.map((each) => problemsOf(schema, each).length > 0));
  const before = verdicts(crd.schema);
  expect(rulesOf(crd.schema).filter((_, place) => verdicts(withRuleTrue(crd.schema, { place })) === before)).toEqual([]);
});

function innerSchemas(schema: StructuralSchema): readonly StructuralSchema[] {
  return [...Object.values(schema.properties ?? {}), ...(schema.items === undefined ? [] : [schema.items])];
}

function rulesOf(schema: StructuralSchema): readonly string[] {
  return [...(schema['x-kubernetes-validations'] ?? []).map((rule) => rule.rule), ...innerSchemas(schema).flatMap(rulesOf)];
}

/** The schema with the rule at a place (in the order of `rulesOf`) replaced by true. */
function withRuleTrue(schema: StructuralSchema, at: { place: number }): StructuralSchema {
  const rules = (schema['x-kubernetes-validations'] ?? []).map((rule) => (at.place-- === 0 ? { ...rule, rule: 'true' } : rule));
  const properties = Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, inner]) => [name, withRuleTrue(inner, at)]));
  return {
    ...schema, 'x-kubernetes-validations': rules,
    ...(schema.properties === undefined ? {} : { properties }),
    ...(schema.items === undefined ? {} : { items: withRuleTrue(schema.items, at) }),
  };
}
