import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { apiCrds, generateApi, systemCrds } from '../../tools/generate-api.ts';
import { generateDocs } from '../../tools/generate-docs.ts';
import { readCrd, withoutDescriptions } from '../../tools/read-crd.ts';
import type { Crd } from '../../tools/read-crd.ts';
import type { StructuralSchema } from './structural-schema.ts';

test('the generated files are what crds/ says', async () => {
  const root = new URL('../../', import.meta.url);
  const files = [...(await generateApi(root)), ...(await generateDocs(root))];
  for (const [path, text] of files) expect(`${path}\n${readFileSync(new URL(path, root), 'utf8')}`).toBe(`${path}\n${text}`);
});

test('every field of the API has a description, because they are its documentation', () => {
  const silent = [...apiCrds, ...systemCrds].flatMap((file) => undescribed(crdOf(file).schema, file));
  expect(silent).toEqual([]);
});

test('every column of kubectl get says what it shows, except the age that every kind has', () => {
  const silent = [...apiCrds, ...systemCrds].flatMap((file) => crdOf(file).columns.filter((each) => each.description === undefined).map((each) => `${file}: ${each.name}`));
  expect(silent).toEqual([...apiCrds, ...systemCrds].filter((file) => file !== 'accesssessions.yaml').map((file) => `${file}: Age`));
});

test('a new object is not current before the operator has seen it: every status starts with a generation that none has', () => {
  const statuses = [...apiCrds, ...systemCrds].flatMap((file) => crdOf(file).schema.properties?.['status'] ?? []);
  expect(statuses.map((each) => each.default)).toEqual(Array<unknown>(6).fill({ observedGeneration: -1 }));
});

test('conditions look the same in every kind, and every reason and type of ours fits them', () => {
  const conditions = [...apiCrds, ...systemCrds].flatMap((file) => crdOf(file).schema.properties?.['status']?.properties?.['conditions'] ?? []);
  const [first] = conditions.map(withoutDescriptions);
  for (const each of conditions) expect(withoutDescriptions(each)).toEqual(first);
  const pattern = new RegExp(first?.items?.properties?.['reason']?.pattern ?? 'none');
  for (const reason of reasonsIn(readFileSync(new URL('../conditions.ts', import.meta.url), 'utf8'))) expect(reason).toMatch(pattern);
});

/** The words of the two unions in conditions.ts. */
function reasonsIn(text: string): readonly string[] {
  const words = [...text.slice(0, text.indexOf('export interface Condition')).matchAll(/'([A-Za-z]+)'/g)].map((match) => match[1] ?? '');
  expect(words.length).toBeGreaterThan(40);
  return words;
}

test.each([...apiCrds, ...systemCrds])('%s says nothing about metadata, because the API server refuses a schema that does', (file) => {
  expect(crdOf(file).schema.properties?.['metadata']).toEqual({ type: 'object' });
});

function crdOf(file: string): Crd {
  return readCrd(readFileSync(new URL(`../../crds/${file}`, import.meta.url), 'utf8'), file);
}

function undescribed(schema: StructuralSchema, path: string): readonly string[] {
  const inner = [...Object.entries(schema.properties ?? {}), ...(schema.items === undefined ? [] : [['[]', schema.items] as const]), ...(schema.additionalProperties === undefined ? [] : [['{}', schema.additionalProperties] as const])];
  return [...(schema.description === undefined && !path.endsWith('.yaml.metadata') ? [path] : []), ...inner.flatMap(([name, each]) => undescribed(each, `${path}.${name}`))];
}

test('a schema keyword that the reader does not interpret fails the generator instead of being ignored', () => {
  const crd = (schema: string): string => `{spec: {names: {kind: A, plural: as, shortNames: []}, scope: Cluster, versions: [{schema: {openAPIV3Schema: ${schema}}}]}}`;
  expect(() => readCrd(crd('{type: object, properties: {a: {type: string, multipleOf: 2}}}'), 'a.yaml')).toThrow('a.yaml.a: the keyword multipleOf is not interpreted by the reader');
  expect(() => readCrd(crd('{type: array, items: {type: number}}'), 'a.yaml')).toThrow('a.yaml[]: the type number is not interpreted by the reader');
});
