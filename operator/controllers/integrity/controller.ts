import { type ExpectedAdmission, expectedAdmission } from '../../../contract/api/expected-admission.ts';
import type { ProxyConfigResource } from '../../../contract/api/v1alpha1.gen.ts';
import { fieldManagers } from '../../../contract/names.ts';
import type { KubeObject } from '../../../runtime/kube/kube-client.ts';
import { applyObject } from '../../../runtime/kube/verbs.ts';
import { type Controller, type ReconcileAnswer, startController } from '../../kube/controller.ts';
import { kinds } from '../../kube/kinds.ts';
import type { ControllerDeps } from '../deps.ts';
import { admissionEvidence, compareAdmission, newestAdmissionMs, type StoredAdmission } from './compare.ts';
import type { Integrity } from './integrity.ts';
import { configStatus, type IntegrityState, judgeIntegrity, storedSince } from './plan.ts';
import { probeForgery, type ProbeOutcome, whoAmI } from './probe.ts';

const checkKey = '*check';
/** While approvals do not count: often enough to be back soon. */
const retryMs = 2_000;

/**
 * Guards the admission policies that make approvals unforgeable: compares them with what this version ships, tries to forge a decision (as a dry run) every `integrityProbeSeconds` and after
 * any change, and says on every namespace's ProxyConfig whether a decision counts. Whatever is not proven is False.
 */
export function startIntegrityController(deps: ControllerDeps): Controller & { readonly integrity: Integrity } {
  const listeners = new Set<() => void>();
  const state: State = { deps, expected: expectedAdmission(deps.settings.namespace), last: null, ownName: null };
  const configs = deps.caches.of<ProxyConfigResource>('proxyConfig');
  deps.registry.gauge({ name: 'sallyport_approval_integrity', help: '1 while approvals count: the admission policies are present, unchanged and effective.', labels: {} }, () => (state.last?.holds === true ? 1 : 0));
  const controller = startController({
    name: 'integrity', metrics: deps.metrics, log: deps.log, clock: deps.clock, mayWork: deps.mayWork,
    reconcile: async (key, signal) => {
      await deps.caches.whenSynced();
      if (key !== checkKey) return tell(state, key, signal);
      const before = state.last;
      const answer = await check(state, signal);
      for (const config of configs.list()) controller.enqueue(`${config.metadata.namespace ?? ''}/${config.metadata.name}`);
      if (before?.holds !== state.last?.holds || before?.sinceMs !== state.last?.sinceMs) for (const listener of listeners) listener();
      return answer;
    },
  });
  configs.subscribe(controller.enqueue);
  for (const kind of ['admissionPolicy', 'admissionBinding'] as const) {
    deps.caches.of(kind).subscribe((key) => {
      if (state.expected.some((one) => key === `/${one.name}`)) controller.enqueue(checkKey);
    });
  }
  controller.enqueue(checkKey);
  const unknown = { holds: false, sinceMs: null, reason: 'ProbeFailed' as const, message: 'the admission policies were not checked yet' };
  return { ...controller, integrity: { facts: () => state.last ?? unknown, subscribe: (listener) => void listeners.add(listener) } };
}

interface State {
  readonly deps: ControllerDeps;
  readonly expected: readonly ExpectedAdmission[];
  last: IntegrityState | null;
  /** Username of this process; asked once. */
  ownName: string | null;
}

async function check(state: State, signal: AbortSignal): Promise<ReconcileAnswer> {
  const { deps, expected, last } = state;
  const stored = storedAdmission(deps);
  const findings = compareAdmission(expected, stored);
  const evidence = admissionEvidence(expected, stored);
  const probe = findings.some((finding) => finding.guardsApprovals) ? null : await tryForging(state, signal);
  const knownSinceMs = last !== null && last.evidence === evidence ? last.sinceMs : last === null ? storedSince(deps.caches.of<ProxyConfigResource>('proxyConfig').list(), evidence) : null;
  state.last = judgeIntegrity({ findings, evidence, probe, knownSinceMs, madeMs: newestAdmissionMs(expected, stored), nowMs: deps.clock.now() });
  if (last === null ? !state.last.holds : last.holds !== state.last.holds || last.reason !== state.last.reason) deps.log[state.last.holds ? 'info' : 'error']('approval integrity changed', { holds: state.last.holds, reason: state.last.reason, message: state.last.message });
  return { requeueAfterMs: state.last.holds ? deps.settings.integrityProbeSeconds * 1_000 : retryMs };
}

/** An API server that cannot be asked proves nothing; the next try comes soon. */
async function tryForging(state: State, signal: AbortSignal): Promise<ProbeOutcome> {
  try {
    state.ownName ??= await whoAmI(state.deps.client, signal);
    return await probeForgery(state.deps.client, state.deps.settings.namespace, state.ownName, signal);
  } catch (error) {
    signal.throwIfAborted();
    return { outcome: 'unknown', message: `the probe could not be made: ${error instanceof Error ? error.message.slice(0, 300) : 'unknown error'}` };
  }
}

function storedAdmission(deps: ControllerDeps): StoredAdmission {
  const [policies, bindings] = [deps.caches.of<KubeObject>('admissionPolicy'), deps.caches.of<KubeObject>('admissionBinding')];
  return { policy: (name) => policies.get('', name), binding: (name) => bindings.get('', name) };
}

/** Says it on one ProxyConfig: its own fields by server-side apply, so that what the other manager of the status writes stays. */
async function tell(state: State, key: string, signal: AbortSignal): Promise<void> {
  const { deps, last } = state;
  const slash = key.indexOf('/');
  const config = deps.caches.of<ProxyConfigResource>('proxyConfig').get(key.slice(0, slash), key.slice(slash + 1));
  if (last === null || config === null || config.metadata.deletionTimestamp !== undefined) return;
  const status = configStatus(config.status, last, deps.settings.integrityProbeSeconds);
  if (status === null) return;
  const { namespace = '', name, uid } = config.metadata;
  await applyObject(deps.client, kinds.proxyConfig, { metadata: { name, namespace }, status } as never, { fieldManager: fieldManagers.operatorIntegrity, force: true, subresource: 'status', signal });
  const before = config.status?.conditions?.find((condition) => condition.type === 'ApprovalIntegrity')?.status;
  if (before === undefined || (before === 'True') === last.holds) return;
  deps.events.record({
    regarding: { apiVersion: config.apiVersion, kind: 'ProxyConfig', namespace, name, ...(uid === undefined ? {} : { uid }) }, type: last.holds ? 'Normal' : 'Warning',
    reason: last.holds ? 'ApprovalIntegrityRegained' : 'ApprovalIntegrityLost', action: 'CheckIntegrity', note: last.holds ? 'decisions made from now on count' : `no decision counts: ${last.message}`,
  });
}
