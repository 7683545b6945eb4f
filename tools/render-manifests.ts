import { mkdir, writeFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { systemNamespace } from '../contract/names.ts';
import { findAsset } from './e2e-assets.ts';
import { renderChart } from './testkit/chart.ts';
import type { ManifestObject } from './testkit/chart.ts';

/**
 * The charts as plain files, for `kubectl apply --server-side -f`: `install.yaml` is everything with its namespace, `crds.yaml` the definitions alone.
 *
 * @param helm program of Helm 3 or 4.
 * @param image `repository@sha256:...` or `repository:tag`; null is what the chart says.
 * @returns text of each file, by its name.
 */
export function renderManifests(helm: string, image: string | null): ReadonlyMap<string, string> {
  const objects = renderChart({ helm, namespace: systemNamespace, values: image === null ? {} : { image: imageValues(image) } });
  return new Map([
    ['crds.yaml', manifest(renderChart({ helm, chart: 'sallyport-crds', namespace: systemNamespace }))],
    ['install.yaml', manifest([namespace, ...objects.toSorted((a, b) => order(a) - order(b))])],
  ]);
}

/** Definitions and policies stand first: nothing starts before it is guarded. */
function order({ kind }: ManifestObject): number {
  const first = ['CustomResourceDefinition', 'ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding'].indexOf(kind);
  return first === -1 ? 3 : first;
}

function imageValues(image: string): Readonly<Record<string, string>> {
  const [repository = '', digest] = image.split('@');
  if (digest !== undefined) return { repository, digest };
  const [, name = repository, tag = ''] = /^(.+):([^/:]+)$/.exec(image) ?? [];
  return { repository: name, tag };
}

const namespace: ManifestObject = {
  apiVersion: 'v1', kind: 'Namespace', metadata: { name: systemNamespace, labels: { 'app.kubernetes.io/part-of': 'sallyport', 'pod-security.kubernetes.io/enforce': 'restricted' } },
};

function manifest(objects: readonly ManifestObject[]): string {
  return objects.map((object) => `---\n${stringify(withoutHelm(object), { lineWidth: 0, aliasDuplicateObjects: false })}`).join('');
}

/** No release owns these objects, so none of Helm's marks stays. */
function withoutHelm(object: ManifestObject): ManifestObject {
  const template = (object['spec'] as { readonly template?: Pick<ManifestObject, 'metadata'> } | undefined)?.template;
  const metadata = withoutMarks(object.metadata);
  return template === undefined ? { ...object, metadata } : { ...object, metadata, spec: { ...(object['spec'] as object), template: { ...template, metadata: withoutMarks(template.metadata) } } };
}

function withoutMarks({ labels = {}, annotations = {}, ...rest }: ManifestObject['metadata']): ManifestObject['metadata'] {
  const { 'app.kubernetes.io/managed-by': _manager, 'helm.sh/chart': _chart, ...ours } = labels;
  const { 'helm.sh/resource-policy': _policy, ...notes } = annotations;
  return { ...rest, labels: ours, ...(Object.keys(notes).length === 0 ? {} : { annotations: notes }) };
}

async function main(): Promise<number> {
  const helm = findAsset('helm') ?? findAsset('helm3');
  if (helm === null) {
    console.error('helm is missing: install it, or build the programs of the real node (e2e/cluster)');
    return 1;
  }
  const directory = new URL('../dist/manifests/', import.meta.url);
  await mkdir(directory, { recursive: true });
  for (const [name, text] of renderManifests(helm.path, process.argv[2] ?? null)) {
    await writeFile(new URL(name, directory), text);
    console.log(`dist/manifests/${name}`);
  }
  return 0;
}

if (import.meta.main) process.exitCode = await main();
