import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';

/** An object of a rendered chart. */
export interface ManifestObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Readonly<Record<string, string>>; readonly annotations?: Readonly<Record<string, string>> };
  readonly [field: string]: unknown;
}

/** How a chart is rendered. */
export interface RenderOptions {
  /** Program of Helm 3 or 4. */
  readonly helm: string;
  readonly chart?: 'sallyport' | 'sallyport-crds';
  readonly release?: string;
  readonly namespace?: string;
  readonly values?: Readonly<Record<string, unknown>>;
  readonly kubeVersion?: string;
}

/** What `helm template` answers: its status, manifest and complaints. */
export interface Rendered {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `helm template` without looking at any cluster. */
export function helmTemplate(options: RenderOptions): Rendered {
  const { helm, chart = 'sallyport', release = 'sallyport', namespace = 'sallyport-system', values = {}, kubeVersion = '1.36.0' } = options;
  const path = fileURLToPath(new URL(`../../helm/${chart}`, import.meta.url));
  const { status, stdout, stderr } = spawnSync(helm, ['template', release, path, '--namespace', namespace, '--kube-version', kubeVersion, '--values', '-'], {
    input: JSON.stringify(values), encoding: 'utf8', maxBuffer: 64 * 1024 * 1024, env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '' },
  });
  return { status, stdout, stderr };
}

/**
 * Objects of a rendered chart.
 *
 * @throws Error when Helm refuses, or when the YAML has an error such as a key that stands twice.
 */
export function renderChart(options: RenderOptions): readonly ManifestObject[] {
  const { status, stdout, stderr } = helmTemplate(options);
  if (status !== 0) throw new Error(stderr);
  return readManifest(stdout);
}

/** Objects of a manifest with several documents. @throws Error as {@link renderChart}. */
export function readManifest(text: string): readonly ManifestObject[] {
  return parseAllDocuments(text).flatMap((document) => {
    if ('errors' in document && document.errors[0] !== undefined) throw document.errors[0];
    const object = document.toJS() as ManifestObject | null;
    return object === null ? [] : [object];
  });
}
