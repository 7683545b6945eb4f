import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { statementClasses } from '../proxy-config.ts';
import { formatFieldProblem, isKindName, readResource } from './read-resource.ts';
import { resourceKinds } from './schemas.gen.ts';

interface Case { readonly name: string; readonly object: Record<string, unknown>; readonly old?: unknown; readonly expect: 'accepted' | 'rejected'; readonly message?: string }

const { cases } = parse(readFileSync(new URL('../../crds/examples/cases.yaml', import.meta.url), 'utf8')) as { cases: readonly Case[] };

const target = (spec: unknown, metadata: unknown = { name: 'orders-db', namespace: 'payments' }): unknown => ({ apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', metadata, spec });
const postgres = { host: 'db', credentials: { secretRef: { name: 's' } }, databases: ['orders'] };

function verdict(value: unknown, old?: unknown): string {
  const read = readResource(value, { old });
  return read.outcome === 'read' ? 'accepted' : read.problems.map(formatFieldProblem).join('\n');
}

describe('the cases of crds/examples about kinds that people write get the verdict of the API server', () => {
  test.each(cases.filter((each) => isKindName(each.object['kind'])).map((each) => [`${String(each.object['kind'])}: ${each.name}`, each] as const))('%s', (_name, each) => {
    if (each.expect === 'accepted') expect(verdict(each.object, each.old)).toBe('accepted');
    else expect(verdict(each.object, each.old)).toContain(each.message);
  });
});

test('the statement classes of the schema are those of the classifier, and DDL', () => {
  const list = resourceKinds.AccessPolicy.schema.properties?.['spec']?.properties?.['rules']?.items?.properties?.['postgres']?.properties?.['statements']?.items?.enum;
  expect([...(list ?? [])].sort()).toEqual([...statementClasses, 'DDL'].sort());
});

test('defaults are filled in, nested ones included', () => {
  const read = readResource(target({ postgres }));
  expect(read.outcome === 'read' && read.resource.spec).toEqual({ postgres: { ...postgres, port: 5432, tls: { mode: 'VerifyFull', channelBinding: 'Prefer' } } });
});

test('all problems are reported at once, each with its path', () => {
  const read = readResource(target({ postgres: { host: 'db', port: 99999, credentials: {}, database: 'x', tls: { mode: 'None' } } }));
  expect(read.outcome === 'problems' && read.problems.map(formatFieldProblem)).toEqual([
    'spec.postgres.port: Invalid value: 99999: should be less than or equal to 65535',
    'spec.postgres.credentials.secretRef: Required value',
    'spec.postgres.database: unknown field "spec.postgres.database"',
    'spec.postgres.tls.mode: Unsupported value: "None": supported values: "VerifyFull", "VerifyCA", "Disable"',
  ]);
});

test.each([
  ['a transition rule is skipped when there is no old object', target({ ssh: { host: 'h', hostKeys: ['ssh-ed25519 AAAA'], credentials: { secretRef: { name: 's' } }, accounts: ['a'] } }), undefined, 'accepted'],
  ['a cluster-scoped object has no namespace', { apiVersion: 'sallyport.dev/v1alpha1', kind: 'IdentityProvider', metadata: { name: 'okta', namespace: 'payments' }, spec: { issuer: 'https://i.example', audiences: ['a'], claims: { username: 'sub', usernamePrefix: 'p:' } } }, undefined, 'not allowed on this type'],
  ['another version of the API is refused', { ...(target({ postgres }) as object), apiVersion: 'sallyport.dev/v2' }, undefined, 'apiVersion: Unsupported value'],
  ['an unknown kind is refused', { ...(target({ postgres }) as object), kind: 'Tarmac' }, undefined, 'kind: Unsupported value'],
  ['an unknown field beside spec is refused', { ...(target({ postgres }) as object), data: {} }, undefined, 'unknown field "data"'],
  ['an unknown field of metadata is refused', target({ postgres }, { name: 'a', label: {} }), undefined, 'unknown field "metadata.label"'],
  ['a label that is a number is refused', target({ postgres }, { name: 'a', labels: { tier: 1 } }), undefined, 'quote numbers'],
  ['a label that is too long is refused', target({ postgres }, { name: 'a', labels: { tier: 'x'.repeat(64) } }), undefined, 'metadata.labels.tier'],
  ['a field named as a prototype is an unknown field', JSON.parse('{"apiVersion":"sallyport.dev/v1alpha1","kind":"Target","metadata":{"name":"a"},"spec":{"__proto__":{"ssh":{}},"postgres":{"host":"db","credentials":{"secretRef":{"name":"s"}}}}}'), undefined, 'unknown field "spec.__proto__"'],
  ['a kind named as a member of Object is unknown', { kind: 'toString' }, undefined, 'kind: Unsupported value'],
  ['a list of resources is not a resource', [], undefined, 'a resource is an object'],
  ['a row limit that JavaScript cannot hold is refused', { apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessPolicy', metadata: { name: 'a' }, spec: { subjects: [{ kind: 'User', name: 'a' }], targets: { names: ['a'] }, limits: { rowsPerStatement: 2 ** 60 } } }, undefined, 'format int64'],
])('%s', (_name, value, old, expected) => {
  expect(verdict(value, old)).toContain(expected);
});
