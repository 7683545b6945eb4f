import { fieldManagers, targetLabel } from '../../../contract/names.ts';
import { KubeError } from '../../../runtime/kube/kube-client.ts';
import type { KubeClient } from '../../../runtime/kube/kube-client.ts';
import { applyObject, createObject, deleteObject } from '../../../runtime/kube/verbs.ts';
import { kinds } from '../../kube/kinds.ts';
import type { GeneratedObject } from '../../render/generated-object.ts';
import { generatedKey } from './facts.ts';
import type { NamespaceFacts } from './facts.ts';
import { isApplied, withAppliedDigest } from './is-applied.ts';
import type { Lookups } from './lookups.ts';
import type { UnwantedObject, WantedObject } from './plan-objects.ts';
import type { WriteMemory } from './write-memory.ts';

/** What applying takes. */
export interface ApplyContext {
  readonly client: KubeClient;
  readonly lookups: Lookups;
  readonly memory: WriteMemory;
  readonly facts: NamespaceFacts;
  readonly signal: AbortSignal;
}

/** Somebody else's object appeared under a name that we want, after we had looked: look again. */
export class NameTaken extends Error {
  override readonly name = 'NameTaken';
}

/** Writes an object unless it is as wanted already. @throws NameTaken where somebody else's object has the name. */
export async function applyWanted(context: ApplyContext, { kind, object }: WantedObject): Promise<void> {
  const { client, facts, lookups, memory, signal } = context;
  const wanted = withAppliedDigest(object);
  const live = facts.generated.get(generatedKey(kind, object.metadata.name)) ?? null;
  if (live !== null && isApplied(wanted, live)) return;
  const key = generatedKey(kind, object.metadata.name);
  const digest = JSON.stringify(wanted.metadata.annotations);
  if (live === null) {
    const holder = await lookups.holderNow(kind, facts.namespace, object.metadata.name, signal);
    if (holder === 'somebody') throw new NameTaken(`${kind} ${object.metadata.name}`);
    // The cache does not show yet what was written a moment ago; what differs is written once it does.
    if (holder === 'us' && kind !== 'configMap') return;
  } else if (memory.hasWritten(live, key, digest)) {
    // A field that the API server writes in another way must not make us write for ever.
    return;
  }
  if (live === null && object.metadata.labels[targetLabel] !== undefined && kind === 'service') await createService(context, wanted);
  else await applyObject(client, kinds[kind], wanted, { fieldManager: fieldManagers.operator, force: true, signal });
  if (live !== null) memory.wrote(live, key, digest);
  if (kind === 'configMap') lookups.forget(kind, facts.namespace, object.metadata.name);
}

/** Removes an object of ours; a newer one of the same name stays. */
export async function removeUnwanted({ client, facts, signal }: ApplyContext, { kind, object }: UnwantedObject): Promise<void> {
  try {
    await deleteObject(client, kinds[kind], facts.namespace, object.metadata.name, { signal, ...(object.metadata.uid === undefined ? {} : { uid: object.metadata.uid }) });
  } catch (error) {
    if (!(error instanceof KubeError && error.status === 409)) throw error;
  }
}

/** People choose the names of these: a create takes over nothing, whatever happens between our look and our write. */
async function createService({ client, facts, lookups, signal }: ApplyContext, wanted: GeneratedObject): Promise<void> {
  try {
    await createObject(client, kinds.service, facts.namespace, wanted, { fieldManager: fieldManagers.operator, signal });
  } catch (error) {
    if (!(error instanceof KubeError && error.reason === 'AlreadyExists')) throw error;
    if (await lookups.holderNow('service', facts.namespace, wanted.metadata.name, signal) === 'somebody') throw new NameTaken(`service ${wanted.metadata.name}`);
    // Ours, and the cache does not show it yet; what differs is written once it does.
  }
}
