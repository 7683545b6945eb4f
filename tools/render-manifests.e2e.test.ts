import { describe, expect, test } from '@jest/globals';
import { findAsset } from './e2e-assets.ts';
import { renderManifests } from './render-manifests.ts';
import { readManifest, renderChart } from './testkit/chart.ts';
import type { ManifestObject } from './testkit/chart.ts';

const helm = findAsset('helm') ?? findAsset('helm3');

(helm === null ? describe.skip : describe)('plain manifests', () => {
  const path = helm?.path ?? '';
  const read = (file: string, image: string | null = null): readonly ManifestObject[] => readManifest(renderManifests(path, image).get(file) ?? '');
  const key = ({ kind, metadata: { namespace, name } }: ManifestObject): string => `${kind} ${namespace ?? ''} ${name}`;

  test('install.yaml holds what the chart holds, and the namespace before all else', () => {
    const [first, ...rest] = read('install.yaml');
    expect(first).toMatchObject({ kind: 'Namespace', metadata: { name: 'sallyport-system', labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } } });
    const chart = renderChart({ helm: path });
    expect(rest.map(key).sort()).toEqual(chart.map(key).sort());
    for (const object of rest) expect({ ...object, metadata: undefined, spec: undefined }).toEqual({ ...chart.find((each) => key(each) === key(object)), metadata: undefined, spec: undefined });
    const specs = (objects: readonly ManifestObject[]): unknown => objects.filter((object) => object.kind !== 'Deployment').map((object) => [key(object), object['spec']] as const).sort(([a], [b]) => a.localeCompare(b));
    expect(specs(rest)).toEqual(specs(chart));
  });

  test('guards stand before what they guard: definitions, policies, bindings, then the rest', () => {
    const kinds = read('install.yaml').map((object) => object.kind);
    const ranks = kinds.slice(1).map((kind) => ['CustomResourceDefinition', 'ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding'].indexOf(kind)).map((rank) => (rank === -1 ? 3 : rank));
    expect(ranks).toEqual(ranks.toSorted((a, b) => a - b));
  });

  test('crds.yaml holds the definitions alone', () => {
    expect(read('crds.yaml').map((object) => object.kind)).toEqual(Array.from({ length: 7 }, () => 'CustomResourceDefinition'));
  });

  test('no object bears a mark of Helm, so that a later release does not take it for its own', () => {
    for (const file of ['install.yaml', 'crds.yaml']) expect(renderManifests(path, null).get(file)).not.toMatch(/helm/i);
  });

  test.each([
    [`registry.bank.example:5000/sallyport@sha256:${'a'.repeat(64)}`, `registry.bank.example:5000/sallyport@sha256:${'a'.repeat(64)}`],
    ['registry.bank.example:5000/sallyport:v9', 'registry.bank.example:5000/sallyport:v9'],
    ['registry.bank.example:5000/sallyport', expect.stringMatching(/^registry\.bank\.example:5000\/sallyport:\d/)],
  ])('the image %s is the operator\'s and the proxies\'', (image, expected) => {
    const objects = read('install.yaml', image);
    const deployment = objects.find((object) => object.kind === 'Deployment')?.['spec'] as { readonly template: { readonly spec: { readonly containers: readonly [{ readonly image: string }] } } };
    expect(deployment.template.spec.containers[0].image).toEqual(expected);
    const settings = objects.find((object) => object.kind === 'ConfigMap')?.['data'] as { readonly 'settings.json': string };
    expect(JSON.parse(settings['settings.json'])).toMatchObject({ proxy: { image: expected } });
  });
});
