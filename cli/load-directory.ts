import { setImmediate } from 'node:timers/promises';
import { formatPath, isRecord } from '../contract/api/validate-schema.ts';
import { isKindName, readResource } from '../contract/api/read-resource.ts';
import type { FieldPath, FieldProblem } from '../contract/api/structural-schema.ts';
import type { SallyportResource } from '../contract/api/v1alpha1.gen.ts';
import type { FileProblem } from './file-problem.ts';
import { readConfigFiles } from './read-files.ts';
import { readSecret } from './read-secret.ts';
import type { Secret } from './read-secret.ts';
import { readYaml } from './read-yaml.ts';
import type { YamlDocument } from './read-yaml.ts';

/** A resource and where it was read; `locate` finds a field of it in the file. */
export interface LoadedResource {
  readonly resource: SallyportResource;
  readonly file: string;
  readonly locate: YamlDocument['locate'];
}

export interface LoadedSecret extends Secret {
  readonly file: string;
}

export interface LoadedDirectory {
  /** Defaults filled in; `metadata.namespace` is set on namespaced kinds. */
  readonly resources: readonly LoadedResource[];
  readonly secrets: readonly LoadedSecret[];
  readonly problems: readonly FileProblem[];
  /** Files that hold at least one document that could not be read. */
  readonly brokenFiles: ReadonlySet<string>;
  /** True when the directory as a whole could not be read: then nothing is known about what was in it. */
  readonly unreadable: boolean;
}

/**
 * Reads a config directory: the YAML that `kubectl apply` would take, of the kinds Target, AccessPolicy, IdentityProvider, v1 Secret and List.
 *
 * Everything that can be read is returned beside the problems, all of them, with file, line and field. An object without namespace is of `default`. Of two objects of one kind,
 * namespace and name neither is returned, because nobody knows which one was meant.
 */
export async function loadDirectory(dir: string): Promise<LoadedDirectory> {
  const { files, unreadable } = await readConfigFiles(dir);
  const problems: FileProblem[] = unreadable === null ? [] : [unreadable];
  const resources: LoadedResource[] = [];
  const secrets: (LoadedSecret & Pick<LoadedResource, 'locate'>)[] = [];
  for (const { file, text, problem } of files) {
    if (problem !== null) problems.push(problem);
    if (text === null) continue;
    // Reading YAML takes about 1 ms per object; live sessions get their turn between files.
    await setImmediate();
    const yaml = readYaml(text, file);
    problems.push(...yaml.problems);
    for (const document of yaml.documents.flatMap(itemsOf)) {
      const read = readObject(document.value);
      if (read.outcome === 'problems') problems.push(...read.problems.map((each) => toFileProblem(each, file, document.locate)));
      else if (read.outcome === 'secret') secrets.push({ ...read.secret, file, locate: document.locate });
      else resources.push({ resource: read.resource, file, locate: document.locate });
    }
  }
  const unique = withoutDuplicates(resources, (each) => objectKey(each.resource));
  const uniqueSecrets = withoutDuplicates(secrets, (each) => `Secret/${each.namespace}/${each.name}`);
  problems.push(...unique.problems, ...uniqueSecrets.problems);
  const brokenFiles = new Set(problems.map((each) => each.file));
  return { resources: unique.kept, secrets: uniqueSecrets.kept.map(({ locate: _, ...secret }) => secret), problems, brokenFiles, unreadable: unreadable !== null };
}

/** `Target/payments/orders-db`; the namespace of a cluster-scoped object is empty. */
export function objectKey({ kind, metadata }: SallyportResource): string {
  return `${kind}/${metadata.namespace ?? ''}/${metadata.name}`;
}

/** Says where a problem of a resource is. */
export function toFileProblem(problem: FieldProblem & { readonly severity?: FileProblem['severity'] }, file: string, locate: YamlDocument['locate']): FileProblem {
  return { severity: problem.severity ?? 'rejected', file, ...locate(problem.path), field: formatPath(problem.path), message: problem.message };
}

/** A List stands for its items. */
function itemsOf(document: YamlDocument): readonly YamlDocument[] {
  const { value } = document;
  if (!isRecord(value) || value['kind'] !== 'List' || value['apiVersion'] !== 'v1' || !Array.isArray(value['items'])) return [document];
  return value['items'].map((item: unknown, index) => ({ value: item, locate: (path: FieldPath) => document.locate(['items', index, ...path]) }));
}

type ReadObject =
  | { readonly outcome: 'resource'; readonly resource: SallyportResource }
  | { readonly outcome: 'secret'; readonly secret: Secret }
  | { readonly outcome: 'problems'; readonly problems: readonly FieldProblem[] };

function readObject(value: unknown): ReadObject {
  if (isRecord(value) && value['kind'] === 'Secret' && value['apiVersion'] === 'v1') {
    const read = readSecret(value);
    return read.outcome === 'read' ? { outcome: 'secret', secret: read.secret } : read;
  }
  if (isRecord(value) && !isKindName(value['kind'])) {
    const kind = typeof value['kind'] === 'string' && /^[A-Za-z]{1,63}$/.test(value['kind']) ? ` ${value['kind']}` : '';
    return { outcome: 'problems', problems: [{ path: ['kind'], message: `unknown kind${kind}: a config directory holds Target, AccessPolicy, IdentityProvider, v1 Secret and v1 List` }] };
  }
  const read = readResource(value);
  if (read.outcome === 'problems') return read;
  const { resource } = read;
  if (resource.kind === 'IdentityProvider') return { outcome: 'resource', resource };
  return { outcome: 'resource', resource: { ...resource, metadata: { ...resource.metadata, namespace: resource.metadata.namespace ?? 'default' } } };
}

function withoutDuplicates<T extends Pick<LoadedResource, 'file' | 'locate'>>(objects: readonly T[], keyOf: (each: T) => string): { readonly kept: readonly T[]; readonly problems: readonly FileProblem[] } {
  const byKey = Map.groupBy(objects, keyOf);
  const kept = objects.filter((each) => byKey.get(keyOf(each))?.length === 1);
  const problems = [...byKey].flatMap(([key, same]) => {
    const [first, ...others] = same.map((each) => ({ file: each.file, ...each.locate(['metadata', 'name']) }));
    if (first === undefined || others.length === 0) return [];
    const place = (at: typeof first): string => `${at.file}:${at.line}`;
    return [first, ...others].map((at, index): FileProblem => ({
      severity: 'rejected', ...at, field: 'metadata.name', message: `${key.replace('//', '/')} is defined twice: also in ${place(index === 0 ? (others[0] ?? first) : first)}`,
    }));
  });
  return { kept, problems };
}
