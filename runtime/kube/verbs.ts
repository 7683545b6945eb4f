import { type KubeClient, KubeError, type KubeKind, type KubeList, type KubeObject, pathOf } from './kube-client.ts';

/** What every verb takes. */
export interface VerbOptions {
  readonly signal?: AbortSignal;
  /** Default 15 s. */
  readonly timeoutMs?: number;
}

/** Which objects of a kind, as the API server filters them. */
export interface ListQuery extends VerbOptions {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Objects come as PartialObjectMetadata: `metadata` alone. */
  readonly metadataOnly?: boolean;
}

/** Reads one object; null when there is none. `metadataOnly` asks for nothing but its metadata (no value of a Secret crosses the wire). */
export async function getObject<T extends KubeObject>(client: KubeClient, kind: KubeKind, namespace: string | null, name: string, options: VerbOptions & { readonly metadataOnly?: boolean; readonly fromCache?: boolean } = {}): Promise<T | null> {
  try {
    return await client.request({
      method: 'GET', path: pathOf(kind, namespace, name), ...callOf(options), ...(options.metadataOnly === true ? { accept: partialObject } : {}),
      ...(options.fromCache === true ? { query: { resourceVersion: '0' } } : {}),
    }) as T;
  } catch (error) {
    if (error instanceof KubeError && error.status === 404) return null;
    throw error;
  }
}

/** Lists all objects, in pages of 500; a list that expires between two pages begins anew, at most three times. `namespace` null = all namespaces. */
export async function listObjects<T extends KubeObject>(client: KubeClient, kind: KubeKind, namespace: string | null, query: ListQuery = {}): Promise<KubeList<T>> {
  for (let attempt = 1; ; attempt++) {
    try {
      const items: T[] = [];
      let resourceVersion = '';
      for await (const page of listPages<T>(client, kind, namespace, query)) {
        items.push(...page.items);
        resourceVersion = page.metadata.resourceVersion;
      }
      return { metadata: { resourceVersion }, items };
    } catch (error) {
      if (attempt === 3 || !(error instanceof KubeError && error.status === 410)) throw error;
    }
  }
}

/** The pages of a list, each as it comes; items of built-in kinds get their `apiVersion` and `kind`, which the API server leaves out in lists. */
export async function* listPages<T extends KubeObject>(client: KubeClient, kind: KubeKind, namespace: string | null, query: ListQuery = {}): AsyncGenerator<KubeList<T>> {
  const head = query.metadataOnly === true ? {} : { apiVersion: kind.group === '' ? kind.version : `${kind.group}/${kind.version}`, kind: kind.kind };
  let next = '';
  do {
    const page = await client.request({
      method: 'GET', path: pathOf(kind, namespace), query: { ...selectorsOf(query), limit: '500', ...(next === '' ? {} : { continue: next }) },
      ...callOf(query), ...(query.metadataOnly === true ? { accept: partialList } : {}),
    }) as KubeList<T>;
    next = page.metadata.continue ?? '';
    // The API server writes null for an empty list of some kinds.
    yield { metadata: page.metadata, items: (page.items ?? []).map((item) => ({ ...head, ...item })) };
  } while (next !== '');
}

/** Creates an object. @throws KubeError 409 `AlreadyExists`. */
export async function createObject<T extends KubeObject>(client: KubeClient, kind: KubeKind, namespace: string | null, body: T, options: VerbOptions & { readonly dryRun?: boolean; readonly fieldManager?: string } = {}): Promise<T> {
  return await client.request({
    method: 'POST', path: pathOf(kind, namespace), body, ...callOf(options),
    query: { ...(options.dryRun === true ? { dryRun: 'All' } : {}), ...(options.fieldManager === undefined ? {} : { fieldManager: options.fieldManager }) },
  }) as T;
}

/** Replaces an object (PUT). With a `resourceVersion` in the body: @throws KubeError 409 `Conflict` when the stored object has another. */
export async function replaceObject<T extends KubeObject>(client: KubeClient, kind: KubeKind, body: T, options: VerbOptions & { readonly subresource?: string; readonly fieldManager?: string } = {}): Promise<T> {
  return await client.request({
    method: 'PUT', path: pathOf(kind, body.metadata.namespace ?? null, body.metadata.name, options.subresource), body, ...callOf(options),
    ...(options.fieldManager === undefined ? {} : { query: { fieldManager: options.fieldManager } }),
  }) as T;
}

/** What an apply needs of an object: owned fields only. */
export interface ApplyBody {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/**
 * Server-side apply: sets the fields of `body`, gives up those that this manager owned before and that are not in it. `apiVersion` and `kind` are filled in.
 *
 * @throws KubeError 409 `Conflict` when another manager owns a field with another value, unless `force`.
 */
export async function applyObject<T extends KubeObject>(client: KubeClient, kind: KubeKind, body: ApplyBody, options: VerbOptions & { readonly fieldManager: string; readonly force?: boolean; readonly subresource?: string; readonly dryRun?: boolean }): Promise<T> {
  return await client.request({
    method: 'PATCH', path: pathOf(kind, body.metadata.namespace ?? null, body.metadata.name, options.subresource), contentType: 'application/apply-patch+yaml', ...callOf(options),
    body: { apiVersion: kind.group === '' ? kind.version : `${kind.group}/${kind.version}`, kind: kind.kind, ...body },
    query: { fieldManager: options.fieldManager, force: String(options.force === true), ...(options.dryRun === true ? { dryRun: 'All' } : {}) },
  }) as T;
}

/** JSON merge patch: null removes a field, lists are replaced whole. `metadata.uid` or `metadata.resourceVersion` in it are preconditions (409). */
export async function mergePatch<T extends KubeObject>(client: KubeClient, kind: KubeKind, namespace: string | null, name: string, patch: unknown, options: VerbOptions & { readonly subresource?: string; readonly fieldManager?: string } = {}): Promise<T> {
  return await client.request({
    method: 'PATCH', path: pathOf(kind, namespace, name, options.subresource), contentType: 'application/merge-patch+json', body: patch, ...callOf(options),
    ...(options.fieldManager === undefined ? {} : { query: { fieldManager: options.fieldManager } }),
  }) as T;
}

/** Deletes an object; one that is gone is done. @throws KubeError 409 `Conflict` when a precondition fails. */
export async function deleteObject(client: KubeClient, kind: KubeKind, namespace: string | null, name: string, options: VerbOptions & { readonly uid?: string; readonly resourceVersion?: string } = {}): Promise<void> {
  const preconditions = { ...(options.uid === undefined ? {} : { uid: options.uid }), ...(options.resourceVersion === undefined ? {} : { resourceVersion: options.resourceVersion }) };
  try {
    await client.request({
      method: 'DELETE', path: pathOf(kind, namespace, name), ...callOf(options),
      body: { kind: 'DeleteOptions', apiVersion: 'v1', propagationPolicy: 'Background', ...(Object.keys(preconditions).length === 0 ? {} : { preconditions }) },
    });
  } catch (error) {
    if (!(error instanceof KubeError && error.status === 404)) throw error;
  }
}

/** The query of a list or watch. */
export function selectorsOf(query: ListQuery): Readonly<Record<string, string>> {
  return {
    ...(query.labelSelector === undefined ? {} : { labelSelector: query.labelSelector }),
    ...(query.fieldSelector === undefined ? {} : { fieldSelector: query.fieldSelector }),
  };
}

/** Media type that asks for the metadata of objects alone; watches and gets. */
export const partialObject = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
const partialList = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';

function callOf(options: VerbOptions): VerbOptions {
  return { ...(options.signal === undefined ? {} : { signal: options.signal }), ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }) };
}
