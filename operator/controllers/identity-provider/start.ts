import type { IdentityProviderResource } from '../../../contract/api/v1alpha1.gen.ts';
import { formatPath } from '../../../contract/api/validate-schema.ts';
import type { Condition } from '../../../contract/conditions.ts';
import { apiVersion, fieldManagers } from '../../../contract/names.ts';
import { KubeError } from '../../../runtime/kube/kube-client.ts';
import { compileIdentityProviders } from '../../render/compile-identity-provider.ts';
import type { RenderProblem } from '../../render/problem.ts';
import { startController } from '../../kube/controller.ts';
import type { Controller } from '../../kube/controller.ts';
import { kinds } from '../../kube/kinds.ts';
import { writeStatus } from '../../kube/status.ts';
import { conditionsOf, timestamp } from '../conditions-of.ts';
import type { Wanted } from '../conditions-of.ts';
import type { ControllerDeps } from '../deps.ts';
import { checkIssuer, fetchJsonOverHttps } from './check-issuer.ts';
import type { FetchJson, IssuerOutcome } from './check-issuer.ts';

/** When an issuer is asked again though nothing changed, ms. */
const recheckMs = { reachable: 600_000, failed: 30_000 } as const;

/** Starts the controller of IdentityProviders: whether each can be enforced beside the others, and whether its keys can be fetched. Keys are names. */
export function startIdentityProviderController(deps: ControllerDeps, fetchJson: FetchJson = fetchJsonOverHttps): Controller {
  const cache = deps.caches.of<IdentityProviderResource>('identityProvider');
  const reconcile = async (name: string, signal: AbortSignal): Promise<{ readonly requeueAfterMs: number } | undefined> => {
    const provider = cache.get('', name);
    if (provider === null || provider.metadata.deletionTimestamp !== undefined) return undefined;
    const issuer = await checkIssuer(provider, fetchJson, signal);
    signal.throwIfAborted();
    const { problems } = compileIdentityProviders(cache.list());
    const status = providerStatus(provider, problems, issuer, deps.clock.now());
    tell(deps, provider, status.conditions);
    try {
      await writeStatus(deps.client, kinds.identityProvider, provider, status, { fieldManager: fieldManagers.operatorStatus, signal });
    } catch (error) {
      // Deleted since it was read, or made anew.
      if (!(error instanceof KubeError && (error.status === 404 || error.status === 409))) throw error;
    }
    return { requeueAfterMs: recheckMs[issuer.outcome] };
  };
  const controller = startController({ name: 'identity-provider', reconcile, workers: 2, mayWork: deps.mayWork, metrics: deps.metrics, log: deps.log, clock: deps.clock });
  const seen = new Map<string, string>();
  cache.subscribe((key) => {
    const name = key.slice(key.indexOf('/') + 1);
    const object = cache.get('', name);
    const now = object === null ? '' : `${object.metadata.uid ?? ''} ${object.metadata.generation ?? 0}`;
    // Our own status write wakes nobody.
    if (object !== null && seen.get(name) === now) return;
    seen.set(name, now);
    if (object === null) seen.delete(name);
    // A conflict concerns others too.
    for (const each of cache.list()) controller.enqueue(each.metadata.name);
  });
  for (const each of cache.list()) controller.enqueue(each.metadata.name);
  return controller;
}

/** Status of an IdentityProvider. `keysFetchedAt` moves only when the keys become reachable: a status that changes by itself would never come to rest. Pure. */
export function providerStatus(provider: IdentityProviderResource, problems: readonly RenderProblem[], issuer: IssuerOutcome, nowMs: number): { readonly observedGeneration: number; readonly keysFetchedAt?: string; readonly conditions: Condition[] } {
  const own = problems.filter((problem) => problem.name === provider.metadata.name);
  const rejected = own.find((problem) => problem.severity === 'rejected');
  const accepted: Wanted = rejected === undefined
    ? { type: 'Accepted', status: 'True', reason: 'Accepted', message: own.length === 0 ? 'its tokens can be told from those of other providers' : own.map(describe).join('; ') }
    : { type: 'Accepted', status: 'False', reason: rejected.reason, message: describe(rejected) };
  const reachable: Wanted = issuer.outcome === 'reachable'
    ? { type: 'Reachable', status: 'True', reason: 'Reachable', message: `${issuer.keys} usable keys` }
    : { type: 'Reachable', status: 'False', reason: issuer.reason, message: issuer.message };
  const conditions = conditionsOf(provider, nowMs, [accepted, reachable], [], 'its tokens are accepted');
  const wasReachable = provider.status?.conditions?.some((condition) => condition.type === 'Reachable' && condition.status === 'True') === true;
  const fetchedAt = wasReachable || issuer.outcome !== 'reachable' ? provider.status?.keysFetchedAt : timestamp(nowMs);
  return { observedGeneration: provider.metadata.generation ?? 0, ...(fetchedAt === undefined ? {} : { keysFetchedAt: fetchedAt }), conditions };
}

function describe(problem: RenderProblem): string {
  const path = formatPath(problem.path);
  return path === '' ? problem.message : `${path}: ${problem.message}`;
}

function tell(deps: ControllerDeps, provider: IdentityProviderResource, conditions: readonly Condition[]): void {
  for (const condition of conditions.filter(({ type, status }) => (type === 'Accepted' || type === 'Reachable') && status === 'False')) {
    const before = provider.status?.conditions?.find((each) => each.type === condition.type);
    if (before?.status === 'False' && before.reason === condition.reason) continue;
    const { name, uid } = provider.metadata;
    deps.events.record({ regarding: { apiVersion, kind: 'IdentityProvider', namespace: '', name, ...(uid === undefined ? {} : { uid }) }, type: 'Warning', reason: condition.reason, action: condition.type === 'Accepted' ? 'Accept' : 'FetchKeys', note: condition.message });
  }
}
