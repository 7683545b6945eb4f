import { randomBytes } from 'node:crypto';
import type { RuntimeClock } from '../../../runtime/clock.ts';
import type { KubeKind } from '../../../runtime/kube/kube-client.ts';
import { Refusal } from './answers.ts';
import { keysOfBuiltins, keysOfSchema, type ListKeys } from './field-paths.ts';
import { canonical, isJson, type Json, mergePatched, type Stored } from './json.ts';
import { applyFields, managedFieldsOf, type Owners, ownerId, updateFields } from './ownership.ts';
import type { Route } from './route.ts';
import { admitBySchema, schemaOf } from './schemas.ts';
import type { Store } from './store.ts';

/** One write before it is stored, as admission policies see it. */
export interface Attempt {
  readonly operation: 'CREATE' | 'UPDATE' | 'DELETE';
  readonly kind: KubeKind;
  readonly subresource: string | null;
  readonly user: string;
  readonly object: Json | null;
  readonly oldObject: Stored | null;
  readonly dryRun: boolean;
}

/** A write as it came. */
export interface Write {
  readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly route: Route;
  readonly query: Readonly<Record<string, string>>;
  readonly contentType: string;
  readonly body: unknown;
  readonly user: string;
  readonly userAgent: string;
}

/** What writes need of the server. */
export interface WriteContext {
  readonly store: Store;
  readonly clock: RuntimeClock;
  /** Checks by crds/ schemas and CEL rules. */
  readonly validate: boolean;
  /** Message of a refusal, or null. */
  readonly admit: (attempt: Attempt) => string | null;
  readonly isTerminating: (namespace: string) => boolean;
}

/** Carries out a write. @throws Refusal. */
export function carryOut(context: WriteContext, write: Write): { readonly status: number; readonly object: Json } {
  switch (write.method) {
    case 'POST': return create(context, write, readBody(write.body));
    case 'PUT': return update(context, write, existing(context, write), readBody(write.body), 'replace');
    case 'PATCH': return patch(context, write);
    case 'DELETE': return remove(context, write, existing(context, write));
    default: throw write.method satisfies never;
  }
}

function create(context: WriteContext, write: Write, body: Json & { readonly metadata: Json }): { readonly status: number; readonly object: Json } {
  const { kind, namespace } = write.route;
  const name = typeof body.metadata['name'] === 'string' ? body.metadata['name'] : typeof body.metadata['generateName'] === 'string' ? `${body.metadata['generateName']}${randomBytes(3).toString('hex')}` : '';
  if (name === '') throw new Refusal(422, 'Invalid', 'metadata.name: Required value: name or generateName is required');
  if (kind.namespaced && namespace === null) throw new Refusal(405, 'MethodNotAllowed', 'an object of this kind is created in a namespace');
  if (body.metadata['namespace'] !== undefined && body.metadata['namespace'] !== namespace) throw new Refusal(400, 'BadRequest', 'the namespace of the provided object does not match the namespace sent on the request');
  if (context.store.get(kind, namespace, name) !== null) throw new Refusal(409, 'AlreadyExists', `${kind.plural} "${name}" already exists`, { name });
  if (namespace !== null && context.isTerminating(namespace)) {
    throw new Refusal(403, 'Forbidden', `${kind.plural} "${name}" is forbidden: unable to create new content in namespace ${namespace} because it is being terminated`, { causes: [{ reason: 'NamespaceTerminating' }] });
  }
  const metadata = { ...without(body.metadata, ['uid', 'resourceVersion', 'generation', 'creationTimestamp', 'managedFields', 'generateName']), name, ...(namespace === null ? {} : { namespace }), generation: 1 };
  const fresh = { ...head(kind), ...(hasStatus(kind) ? without(body, ['status']) : body), metadata };
  const object = checked(context, kind, fresh, null);
  return store(context, write, { object, before: null, owners: updateFields({ before: {}, after: object, owners: new Map(), owner: ownerOf(write, 'Update'), keys: keysOf(kind) }) });
}

function update(context: WriteContext, write: Write, before: Stored, body: Json & { readonly metadata: Json }, by: 'replace' | 'patch'): { readonly status: number; readonly object: Json } {
  const { kind, subresource } = write.route;
  precondition(write, before, body);
  if (by === 'replace' && body.metadata['name'] !== before.metadata.name) throw new Refusal(400, 'BadRequest', 'the name of the object does not match the name on the URL');
  const object = checked(context, kind, merged(kind, subresource, before, body), before);
  return store(context, write, { object, before, owners: updateFields({ before, after: object, owners: context.store.owners(before.metadata.uid), owner: ownerOf(write, 'Update'), keys: keysOf(kind) }) });
}

function patch(context: WriteContext, write: Write): { readonly status: number; readonly object: Json } {
  const type = write.contentType.split(';')[0];
  if (type === 'application/apply-patch+yaml') return apply(context, write);
  if (type !== 'application/merge-patch+json') throw new Refusal(415, 'UnsupportedMediaType', `the body of the request was in an unknown format - the fake server reads merge patches and apply patches, not ${type}`);
  if (!isJson(write.body)) throw new Refusal(400, 'BadRequest', 'json: cannot unmarshal array into Go value of type map[string]interface {}');
  const before = existing(context, write);
  return update(context, write, before, mergePatched(before, write.body) as Json & { readonly metadata: Json }, 'patch');
}

function apply(context: WriteContext, write: Write): { readonly status: number; readonly object: Json } {
  const { kind, namespace, name, subresource } = write.route;
  if (write.query['fieldManager'] === undefined) throw new Refusal(400, 'BadRequest', 'fieldManager is required for apply patch');
  const body = readBody(write.body);
  if (body.metadata['managedFields'] !== undefined) throw new Refusal(400, 'BadRequest', 'metadata.managedFields must be nil');
  if (body['kind'] !== kind.kind || body['apiVersion'] !== head(kind)['apiVersion']) throw new Refusal(400, 'BadRequest', 'apiVersion and kind of the applied object must be those of the URL');
  const before = context.store.get(kind, namespace, name ?? '');
  if (before === null && subresource !== null) throw new Refusal(404, 'NotFound', `${kind.plural} "${name ?? ''}" not found`);
  if (before === null && namespace !== null && context.isTerminating(namespace)) throw new Refusal(403, 'Forbidden', `unable to create new content in namespace ${namespace} because it is being terminated`, { causes: [{ reason: 'NamespaceTerminating' }] });
  if (before !== null) precondition(write, before, body);
  const wanted: Json = { ...(subresource === 'status' ? { ...head(kind), status: body['status'] } : hasStatus(kind) ? without(body, ['status']) : body), metadata: without(body.metadata, ['resourceVersion', 'uid']) };
  const live: Json = before ?? { ...head(kind), metadata: { name, ...(namespace === null ? {} : { namespace }), generation: 1 } };
  const result = applyFields({ live, wanted, owners: before === null ? new Map() : context.store.owners(before.metadata.uid), owner: ownerOf(write, 'Apply'), force: write.query['force'] === 'true', keys: keysOf(kind) });
  const next = result.object as Json & { readonly metadata: Json };
  const object = checked(context, kind, before === null ? next : merged(kind, subresource, before, next), before);
  const answer = store(context, write, { object, before, owners: result.owners });
  return before === null ? { ...answer, status: 201 } : answer;
}

function remove(context: WriteContext, write: Write, before: Stored): { readonly status: number; readonly object: Json } {
  const wanted = isJson(write.body) && isJson(write.body['preconditions']) ? write.body['preconditions'] : {};
  for (const [field, value] of Object.entries(wanted)) {
    if (before.metadata[field] !== value) throw new Refusal(409, 'Conflict', `Precondition failed: ${field} in precondition: ${String(value)}, ${field} in object meta: ${String(before.metadata[field])}`);
  }
  ask(context, write, 'DELETE', null, before);
  if (write.query['dryRun'] === 'All') return { status: 200, object: before };
  const finalizers = before.metadata['finalizers'];
  if (Array.isArray(finalizers) && finalizers.length > 0) {
    const deletionTimestamp = before.metadata.deletionTimestamp ?? new Date(context.clock.now()).toISOString();
    return { status: 200, object: context.store.put(write.route.kind, { ...before, metadata: { ...before.metadata, deletionTimestamp } }, context.store.owners(before.metadata.uid)) };
  }
  context.store.remove(write.route.kind, before);
  return { status: 200, object: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details: { name: before.metadata.name, uid: before.metadata.uid } } };
}

function store(context: WriteContext, write: Write, next: { readonly object: Json; readonly before: Stored | null; readonly owners: Owners }): { readonly status: number; readonly object: Json } {
  const { object, before, owners } = next;
  const { kind } = write.route;
  ask(context, write, before === null ? 'CREATE' : 'UPDATE', object, before);
  const status = before === null ? 201 : 200;
  const metadata = object['metadata'] as Json;
  if (write.query['dryRun'] === 'All') return { status, object: { ...object, metadata: { uid: 'dry-run', creationTimestamp: new Date(context.clock.now()).toISOString(), ...metadata } } };
  const complete = { ...object, metadata: { ...metadata, managedFields: managedFieldsOf(owners) } };
  const stored = context.store.put(kind, complete, owners);
  // The last finalizer of an object that is being deleted went.
  if (stored.metadata.deletionTimestamp !== undefined && !(Array.isArray(stored.metadata['finalizers']) && stored.metadata['finalizers'].length > 0)) context.store.remove(kind, stored);
  return { status, object: stored };
}

function ask(context: WriteContext, write: Write, operation: Attempt['operation'], object: Json | null, oldObject: Stored | null): void {
  const message = context.admit({ operation, kind: write.route.kind, subresource: write.route.subresource, user: write.user, object, oldObject, dryRun: write.query['dryRun'] === 'All' });
  if (message !== null) throw new Refusal(422, 'Invalid', message);
}

/** `/status` changes status only; the main resource changes all but status. `generation` counts changes of anything but metadata and status. */
function merged(kind: KubeKind, subresource: string | null, before: Stored, body: Json & { readonly metadata: Json }): Json {
  if (subresource !== null) return { ...before, [subresource === 'status' ? 'status' : 'spec']: body[subresource === 'status' ? 'status' : 'spec'] };
  const metadata = { ...body.metadata, uid: before.metadata.uid, creationTimestamp: before.metadata.creationTimestamp, resourceVersion: before.metadata.resourceVersion, generation: before.metadata.generation };
  const next: Json = { ...body, metadata, ...(hasStatus(kind) && before['status'] !== undefined ? { status: before['status'] } : {}) };
  const isSame = canonical(without(next, ['metadata', 'status'])) === canonical(without(before, ['metadata', 'status']));
  return { ...next, metadata: { ...metadata, generation: (before.metadata.generation ?? 1) + (isSame ? 0 : 1) } };
}

function precondition(write: Write, before: Stored, body: Json & { readonly metadata: Json }): void {
  // A merge patch carries these only when it names them.
  const given = write.method === 'PATCH' && isJson(write.body) && isJson(write.body['metadata']) ? write.body['metadata'] : body.metadata;
  const { uid, resourceVersion } = given;
  if (uid !== undefined && uid !== before.metadata.uid) throw new Refusal(409, 'Conflict', `Precondition failed: UID in precondition: ${String(uid)}, UID in object meta: ${before.metadata.uid}`);
  if (resourceVersion !== undefined && resourceVersion !== '' && resourceVersion !== before.metadata.resourceVersion) {
    throw new Refusal(409, 'Conflict', `Operation cannot be fulfilled on ${write.route.kind.plural} "${before.metadata.name}": the object has been modified; please apply your changes to the latest version and try again`);
  }
}

function checked(context: WriteContext, kind: KubeKind, object: Json, before: Stored | null): Json {
  const schema = context.validate ? schemaOf(kind) : null;
  return schema === null ? object : admitBySchema(schema, object, before);
}

function existing(context: WriteContext, { route }: Write): Stored {
  const object = context.store.get(route.kind, route.namespace, route.name ?? '');
  if (object === null) throw new Refusal(404, 'NotFound', `${route.kind.plural} "${route.name ?? ''}" not found`, { name: route.name, kind: route.kind.plural });
  return object;
}

function readBody(body: unknown): Json & { readonly metadata: Json } {
  if (!isJson(body) || !isJson(body['metadata'])) throw new Refusal(400, 'BadRequest', 'the body is not an object with metadata');
  return body as Json & { readonly metadata: Json };
}

function ownerOf(write: Write, operation: 'Apply' | 'Update'): string {
  return ownerId(write.query['fieldManager'] ?? (write.userAgent.split('/')[0] || 'unknown'), operation, write.route.subresource);
}

function keysOf(kind: KubeKind): ListKeys {
  const schema = schemaOf(kind);
  return schema === null ? keysOfBuiltins : keysOfSchema(schema);
}

function head(kind: KubeKind): Json {
  return { apiVersion: kind.group === '' ? kind.version : `${kind.group}/${kind.version}`, kind: kind.kind };
}

/** Kinds whose status is a subresource; the others have none. */
function hasStatus(kind: KubeKind): boolean {
  return !['Secret', 'ConfigMap', 'ServiceAccount', 'Role', 'RoleBinding', 'Lease', 'Event'].includes(kind.kind);
}

function without(object: Json, names: readonly string[]): Json {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));
}
