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

test.each([...kinds.values()].map((crd) => [crd.kind, crd] as const))('%s: every rule is the only one that some case breaks, so it could not be dropped unnoticed', (kind, crd) => {
  const broken = cases.filter((each) => each.object['kind'] === kind).map((each) => [...new Set(rulesBrokenBy(crd.schema, each))]);
  const decisive = new Set(broken.filter((rules) => rules.length === 1).flat());
  expect(rulesOf(crd.schema).filter((rule) => !decisive.has(rule))).toEqual([]);
});

/** A rule by its place in the schema and its message. */
function rulesOf(schema: StructuralSchema, path = ''): readonly string[] {
  return [
    ...(schema['x-kubernetes-validations'] ?? []).map((rule) => `${path}: ${rule.message}`),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => rulesOf(inner, `${path}.${name}`)),
    ...(schema.items === undefined ? [] : rulesOf(schema.items, `${path}[]`)),
  ];
}

function rulesBrokenBy(schema: StructuralSchema, each: Case): readonly string[] {
  return problemsOf(schema, each).map(({ path, message }) => `${path.map((part) => (typeof part === 'number' ? '[]' : `.${part}`)).join('')}: ${message.replace(/^(Forbidden|Invalid value): /, '')}`);
}
