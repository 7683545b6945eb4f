import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { apiCrds, generateApi, systemCrds } from '../../tools/generate-api.ts';
import { generateDocs } from '../../tools/generate-docs.ts';
import { readCrd } from '../../tools/read-crd.ts';
import type { Crd } from '../../tools/read-crd.ts';
import type { StructuralSchema } from './structural-schema.ts';

test('the generated files are what crds/ says', async () => {
  const root = new URL('../../', import.meta.url);
  const files = [...(await generateApi(root)), ...(await generateDocs(root))];
  for (const [path, text] of files) expect(`${path}\n${readFileSync(new URL(path, root), 'utf8')}`).toBe(`${path}\n${text}`);
});

test('every field of the API has a description, because they are its documentation', () => {
  const silent = apiCrds.flatMap((file) => undescribed(crdOf(file).schema, file));
  expect(silent).toEqual([]);
});

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
