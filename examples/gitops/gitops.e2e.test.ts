import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { findAsset } from '../../tools/e2e-assets.ts';
import { helmTemplate, readManifest } from '../../tools/testkit/chart.ts';
import type { ManifestObject } from '../../tools/testkit/chart.ts';

const root = 'examples/gitops';
const kubectl = findAsset('kubectl');
const helm = findAsset('helm') ?? findAsset('helm3');
const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.yaml'));
const folders = files.filter((path) => path.endsWith('/kustomization.yaml')).map((path) => dirname(path));

(kubectl === null ? describe.skip : describe)('the GitOps repository', () => {
  test.each(folders)('%s renders', (folder) => {
    expect(kustomize(folder).length).toBeGreaterThan(0);
  });

  test('has no file that nothing applies', () => {
    const used = folders.flatMap((folder) => {
      const { resources = [], configurations = [], configMapGenerator = [] } = parse(readFileSync(`${root}/${folder}/kustomization.yaml`, 'utf8')) as Kustomization;
      return [...resources, ...configurations, ...configMapGenerator.flatMap((each) => each.files.map((file) => file.replace(/^.*=/, '')))].map((path) => join(folder, path));
    });
    const applications = files.filter((path) => path.includes('/argocd/'));
    expect(files.filter((path) => !path.endsWith('/kustomization.yaml') && !used.includes(path) && !applications.includes(path))).toEqual([]);
  });

  test('Flux and Argo CD look at folders that exist, and both apply all of them', () => {
    const paths = (objects: readonly ManifestObject[]): readonly string[] => [...new Set(objects.flatMap((object) => {
      const { path, source } = (object['spec'] ?? {}) as { readonly path?: string; readonly source?: { readonly path?: string } };
      const found = path ?? source?.path;
      return found === undefined ? [] : [normalize(found)];
    }))].sort();
    const flux = paths(['clusters/production/flux', 'clusters/production/tenants'].flatMap((folder) => kustomize(folder)));
    const argo = paths(readManifest(readFileSync(`${root}/clusters/production/argocd/applications.yaml`, 'utf8')));
    for (const path of [...flux, ...argo]) expect([path, existsSync(`${root}/${path}/kustomization.yaml`)]).toEqual([path, true]);
    expect(flux).toEqual(['clusters/production/tenants', 'infrastructure/access', 'infrastructure/sallyport', 'tenants/payments/overlays/production']);
    expect(argo).toEqual(['infrastructure/access', 'tenants/payments/overlays/production']);
    expect(paths(['clusters/staging/flux', 'clusters/staging/tenants'].flatMap((folder) => kustomize(folder)))).toContain('tenants/payments/overlays/staging');
  });

  test('installs the charts of this version, with values that the chart accepts', () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { readonly version: string };
    const tags = kustomize('infrastructure/sallyport').filter((object) => object.kind === 'OCIRepository').map((object) => (object['spec'] as { readonly ref: { readonly tag: string } }).ref.tag);
    expect(tags).toEqual([version, version]);
    expect(readFileSync(`${root}/clusters/production/argocd/applications.yaml`, 'utf8').match(/targetRevision: \d.*/g)).toEqual([`targetRevision: ${version}`, `targetRevision: ${version}`]);
    if (helm === null) return;
    const { status, stdout, stderr } = helmTemplate({ helm: helm.path, values: parse(readFileSync(`${root}/infrastructure/sallyport/values.yaml`, 'utf8')) as Readonly<Record<string, unknown>> });
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).not.toContain('kind: CustomResourceDefinition');
  });

  test.each(['staging', 'production'])('lets the account of %s name the Secrets of its Targets, and people decide every approval that its policies ask for', (stage) => {
    const tenant = kustomize(`tenants/payments/overlays/${stage}`);
    const platform = kustomize('infrastructure/access');
    const named = [...JSON.stringify(tenant.filter((object) => object.kind === 'Target')).matchAll(/SecretRef":\{[^}]*"name":"([^"]+)"|secretRef":\{"name":"([^"]+)"/g)].map((match) => match[1] ?? match[2]);
    const readable = platform.filter((object) => object.kind === 'Role').flatMap((object) => (object['rules'] as readonly { readonly resourceNames: readonly string[] }[]).flatMap((rule) => rule.resourceNames));
    expect(new Set(named)).toEqual(new Set(readable));
    const asked = [...JSON.stringify(tenant.filter((object) => object.kind === 'AccessPolicy')).matchAll(/"approval":\{[^}]*"groups":\["([^"\]]+)"\]/g)].map((match) => match[1]);
    const approvers = platform.filter((object) => object.metadata.name === 'approvers').flatMap((object) => (object['subjects'] as readonly { readonly name: string }[]).map((subject) => subject.name));
    expect(asked.filter((group) => group === undefined || !approvers.includes(group))).toEqual([]);
  });

  test('keeps what only lives in the cluster out of Argo CD, and checks what people write', () => {
    const settings = kustomize('argocd')[0]?.['data'] as Readonly<Record<string, string>>;
    const kinds = readdirSync('crds').filter((name) => name.endsWith('.yaml')).map((name) => (parse(readFileSync(`crds/${name}`, 'utf8')) as { readonly spec: { readonly names: { readonly kind: string } } }).spec.names.kind);
    const excluded = (parse(settings['resource.exclusions'] ?? '') as readonly [{ readonly kinds: readonly string[] }])[0].kinds;
    const checked = Object.keys(settings).filter((key) => key.startsWith('resource.customizations.health.')).map((key) => key.replace(/^.*_/, ''));
    expect([...new Set([...excluded, ...checked])].sort()).toEqual([...kinds].sort());
  });

  function kustomize(folder: string): readonly ManifestObject[] {
    return readManifest(execFileSync(kubectl?.path ?? '', ['kustomize', `${root}/${folder}`], { encoding: 'utf8' }));
  }
});

interface Kustomization {
  readonly resources?: readonly string[];
  readonly configurations?: readonly string[];
  readonly configMapGenerator?: readonly { readonly files: readonly string[] }[];
}
