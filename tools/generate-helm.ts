import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments, stringify } from 'yaml';
import { operatorName, systemNamespace } from '../contract/names.ts';
import { grafanaDashboard } from './grafana-dashboard.ts';
import { crdsValuesSchema, valuesSchema, valuesTable } from './helm-values.ts';

/**
 * crds/*.yaml and crds/admission/*.yaml -> templates of the charts; the version of package.json -> both Chart.yaml; values.yaml and the operator's settings -> values.schema.json and
 * the table of docs/install.md.
 *
 * The charts' copies differ from their sources in four things only: comments are gone, blanks in descriptions are collapsed, `{{` is escaped, and the operator's
 * namespace in admission expressions is the release's.
 *
 * @returns text of each file, by its path from the root.
 * @throws Error when an admission policy names the operator's namespace other than as part of its service account's name.
 */
export async function generateHelm(root: URL): Promise<ReadonlyMap<string, string>> {
  const read = (path: string): Promise<string> => readFile(new URL(path, root), 'utf8');
  const files = new Map<string, string>();
  for (const name of await yamlFiles(root, 'crds/')) {
    const crd = renderObjects(await read(`crds/${name}`), '{{- include "sallyport.crdMetadata" . | nindent 2 }}');
    files.set(`helm/sallyport/templates/crds/${name}`, `{{- if .Values.crds.install }}\n${crd}{{- end }}\n`);
    files.set(`helm/sallyport-crds/templates/${name}`, crd);
  }
  for (const name of await yamlFiles(root, 'crds/admission/')) {
    const policies = withReleaseNamespace(renderObjects(await read(`crds/admission/${name}`), '{{- include "sallyport.metadata" . | nindent 2 }}'), name);
    files.set(`helm/sallyport/templates/admission/${name}`, `{{- if .Values.admission.install }}\n${policies}{{- end }}\n`);
  }
  const { version } = JSON.parse(await read('package.json')) as { readonly version: string };
  for (const path of ['helm/sallyport/Chart.yaml', 'helm/sallyport-crds/Chart.yaml']) files.set(path, withVersion(await read(path), version));
  files.set('helm/sallyport/values.schema.json', json(valuesSchema(await read('helm/sallyport/values.yaml'))));
  files.set('helm/sallyport-crds/values.schema.json', json(crdsValuesSchema(await read('helm/sallyport-crds/values.yaml'))));
  files.set('helm/sallyport/files/dashboard.json', `${JSON.stringify(grafanaDashboard())}\n`);
  files.set('docs/install.md', withTable(await read('docs/install.md'), valuesTable(await read('helm/sallyport/values.yaml'))));
  return files;
}

function withTable(document: string, table: string): string {
  return document.replace(/(<!-- values: [^\n]*-->\n)[\s\S]*?(<!-- end of values -->)/, (_, start: string, end: string) => `${start}\n${table}\n\n${end}`);
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

async function yamlFiles(root: URL, directory: string): Promise<readonly string[]> {
  const names = await readdir(new URL(directory, root)).catch(() => []);
  return names.filter((name) => name.endsWith('.yaml')).sort();
}

/** Objects as YAML whose `metadata` is a name and what the template `metadata` adds. */
function renderObjects(text: string, metadata: string): string {
  const objects = parseAllDocuments(text, { merge: true }).map((document) => document.toJS() as ManifestObject | null).filter((object) => object !== null);
  return objects.map(({ apiVersion, kind, metadata: { name }, ...rest }) => {
    const body = escapeTemplate(stringify(collapseDescriptions(rest), { lineWidth: 0, aliasDuplicateObjects: false }));
    return `---\napiVersion: ${apiVersion}\nkind: ${kind}\nmetadata:\n  name: ${name}\n  ${metadata}\n${body}`;
  }).join('');
}

interface ManifestObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

function collapseDescriptions(value: unknown, isDescription = false): unknown {
  if (typeof value === 'string') return isDescription ? value.replaceAll(/\s+/g, ' ').trim() : value;
  if (Array.isArray(value)) return value.map((item) => collapseDescriptions(item));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, collapseDescriptions(inner, key === 'description')]));
}

function escapeTemplate(text: string): string {
  return text.replaceAll('{{', '{{ "{{" }}');
}

function withReleaseNamespace(text: string, file: string): string {
  const account = (namespace: string): string => `serviceaccount:${namespace}:${operatorName}`;
  const replaced = text.replaceAll(account(systemNamespace), account('{{ .Release.Namespace }}'));
  if (replaced.includes(systemNamespace)) throw new Error(`${file}: names ${systemNamespace} where the chart cannot put the release's namespace`);
  return replaced;
}

function withVersion(chart: string, version: string): string {
  return chart.replace(/^version: .*$/m, `version: ${version}`).replace(/^appVersion: .*$/m, `appVersion: "${version}"`).replace(/^( +image: sallyport:).*$/m, `$1${version}`);
}

async function main(): Promise<void> {
  const root = new URL('../', import.meta.url);
  for (const [path, text] of await generateHelm(root)) {
    const file = fileURLToPath(new URL(path, root));
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }
}

if (import.meta.main) await main();
