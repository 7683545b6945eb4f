import type { AccessPolicyResource, ProxyConfigResource, TargetResource } from '../../../contract/api/v1alpha1.gen.ts';
import { withTransitionTimes } from '../../../contract/conditions.ts';
import type { Condition, ConditionReason } from '../../../contract/conditions.ts';
import { sshHostKeySecret } from '../../../contract/names.ts';
import { formatPath } from '../../../contract/api/validate-schema.ts';
import type { RenderOutcome } from '../../render/proxy-config.ts';
import type { RenderProblem } from '../../render/problem.ts';
import type { IsolationOutcome } from '../../render/network-policies.ts';
import { servicePortOf } from '../../render/services.ts';
import { conditionsOf, timestamp } from '../conditions-of.ts';
import type { Wanted } from '../conditions-of.ts';
import type { Refusal, Verdict } from './check.ts';
import type { NamespaceFacts } from './facts.ts';
import { isHostKeyMissing, publicHostKeys } from './plan-objects.ts';
import { progressOf } from './progress.ts';
import type { Progress } from './progress.ts';
import { sshFingerprint } from './ssh-keys.ts';

/** What the statuses are made of, beside the facts. */
export interface StatusContext {
  readonly facts: NamespaceFacts;
  readonly verdict: Verdict;
  /** As it is stored now; null: the namespace has no proxy. */
  readonly proxyConfig: ProxyConfigResource | null;
  readonly isolation: ReadonlyMap<string, IsolationOutcome>;
  /** Names of Target Services that exist, by Target. */
  readonly services: ReadonlyMap<string, string>;
}

/** Status of a Target (printer columns: endpoint, ready, programmed, reason). */
export function targetStatus(context: StatusContext, target: TargetResource): NonNullable<TargetResource['status']> {
  const { facts, verdict } = context;
  const { name, namespace = facts.namespace, generation = 0 } = target.metadata;
  const progress = progressOf(context.proxyConfig, facts.pods, { sinceRevision: sinceRevision(context, 'Target', target.metadata.uid), target: name });
  const service = context.services.get(name);
  const port = verdict.ports.ports.get(name);
  const accepted = targetAccepted(context, target);
  const resolved = secretsResolved(facts, target, progress);
  const programmed = programmedCondition(progress, isServed(context, 'Target', target.metadata.uid), service === undefined ? 'the Service comes once every ready proxy has opened the port' : null);
  const conditions = conditionsOf(target, facts.nowMs, [accepted, resolved, programmed], [bypass(context, target)], 'clients are served');
  const secrets = secretNames(target).map((secret) => ({ name: secret, ...versionOf(facts, secret) }));
  return {
    observedGeneration: generation,
    ...(service === undefined ? {} : { endpoint: `${service}.${namespace}:${servicePortOf(target)}`, service: { name: service, port: servicePortOf(target) } }),
    programmed: `${progress.applied}/${progress.ready}`,
    ...(port === undefined ? {} : { listener: { port } }),
    ...(secrets.length === 0 ? {} : { secrets }),
    conditions,
  };
}

/** Status of an AccessPolicy (printer columns: targets, ready, programmed, reason). */
export function policyStatus(context: StatusContext, policy: AccessPolicyResource): NonNullable<AccessPolicyResource['status']> {
  const { facts, verdict } = context;
  const { name, uid, generation = 0 } = policy.metadata;
  const problems = problemsOf(verdict.render, 'AccessPolicy', name);
  const progress = progressOf(context.proxyConfig, facts.pods, { sinceRevision: sinceRevision(context, 'AccessPolicy', uid) });
  const accepted = acceptedCondition(verdict, 'AccessPolicy', name, problems.filter(({ reason }) => !isReference(reason)), null);
  const unresolved = problems.find(({ reason }) => isReference(reason));
  const resolved: Wanted = unresolved === undefined
    ? { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: 'it selects Targets that exist' }
    : { type: 'ResolvedRefs', status: 'False', reason: unresolved.reason, message: unresolved.message };
  const isVolatile = policy.spec.recording?.durability === 'Fsync' && facts.settings.proxy.stateClaim === null;
  const programmed: Wanted = isVolatile
    ? { type: 'Programmed', status: 'False', reason: 'SpoolNotPersistent', message: 'recording.durability Fsync needs a spool that outlives the pod: set proxy.stateClaim in the chart' }
    : programmedCondition(progress, isServed(context, 'AccessPolicy', uid), null);
  return { observedGeneration: generation, matchedTargets: verdict.render.selected.get(name)?.length ?? 0, programmed: `${progress.applied}/${progress.ready}`, conditions: conditionsOf(policy, facts.nowMs, [accepted, resolved, programmed], [], 'in force on every ready proxy') };
}

/** What the namespace controller says about the ProxyConfig; the integrity conditions are another controller's. */
export function proxyConfigStatus(facts: NamespaceFacts, proxyConfig: ProxyConfigResource): { readonly observedGeneration: number; readonly programmed: string; readonly sshHostKeyFingerprint?: string; readonly conditions: readonly Condition[] } {
  const progress = progressOf(proxyConfig, facts.pods, { sinceRevision: proxyConfig.spec.revision });
  const generation = proxyConfig.metadata.generation ?? 0;
  const available: Wanted = progress.ready > 0
    ? { type: 'Available', status: 'True', reason: 'Available', message: `${progress.ready} of ${facts.settings.proxy.replicas} proxies ready` }
    : { type: 'Available', status: 'False', reason: 'ProxyUnavailable', message: `no proxy is ready (${facts.pods.length} pods)` };
  const wanted = [programmedCondition(progress, true, null), available].map((condition) => ({ ...condition, observedGeneration: generation }));
  const fingerprint = hostKeyFingerprint(facts, proxyConfig);
  return { observedGeneration: generation, programmed: `${progress.applied}/${progress.ready}`, ...(fingerprint === undefined ? {} : { sshHostKeyFingerprint: fingerprint }), conditions: withTransitionTimes(proxyConfig.status?.conditions ?? [], wanted, timestamp(facts.nowMs)) };
}

/** Of the Secret as it is; where it is gone, what was known of it: as long as that stands, no new key is made. */
function hostKeyFingerprint(facts: NamespaceFacts, proxyConfig: ProxyConfigResource): string | undefined {
  const secret = facts.secrets.get(sshHostKeySecret);
  if (secret === null || secret === undefined) return proxyConfig.status?.sshHostKeyFingerprint;
  const [first] = publicHostKeys(facts);
  return first === undefined ? 'unknown' : sshFingerprint(first);
}

function targetAccepted(context: StatusContext, target: TargetResource): Wanted {
  const { verdict } = context;
  const { name } = target.metadata;
  return acceptedCondition(verdict, 'Target', name, problemsOf(verdict.render, 'Target', name), withholding(verdict, name));
}

/** A policy that is broken and restricts: without it the Target would be open wider than what was written. */
function withholding(verdict: Verdict, target: string): Refusal | null {
  const broken = verdict.render.problems.find((problem) => problem.withholds?.includes(target) === true);
  return broken === undefined ? null : { reason: 'Withheld', message: `not served until AccessPolicy ${broken.name} is repaired: it restricts this Target and cannot be enforced as written` };
}

function acceptedCondition(verdict: Verdict, kind: 'Target' | 'AccessPolicy', name: string, problems: readonly RenderProblem[], withheld: Refusal | null): Wanted {
  const carried = verdict.render.carried.find((each) => each.kind === kind && each.name === name);
  const stays = carried === undefined ? '' : `; generation ${carried.generation} stays in force`;
  const rejected = problems.find((problem) => problem.severity === 'rejected');
  const refusal = verdict.refusals.get(`${kind}/${name}`) ?? (rejected === undefined ? withheld : { reason: rejected.reason, message: describe(rejected) });
  if (refusal !== null) return { type: 'Accepted', status: 'False', reason: refusal.reason, message: `${refusal.message}${stays}` };
  const warnings = problems.map(describe);
  return { type: 'Accepted', status: 'True', reason: 'Accepted', message: warnings.length === 0 ? 'it can be enforced as written' : warnings.join('; ') };
}

function describe(problem: RenderProblem): string {
  const path = formatPath(problem.path);
  return path === '' ? problem.message : `${path}: ${problem.message}`;
}

function secretsResolved(facts: NamespaceFacts, target: TargetResource, progress: Progress): Wanted {
  const missing = secretNames(target).filter((name) => facts.secrets.get(name) === null);
  const no = (reason: ConditionReason, message: string): Wanted => ({ type: 'ResolvedRefs', status: 'False', reason, message });
  if (missing.length > 0) return no('SecretNotFound', `there is no Secret ${missing.join(', ')} in this namespace`);
  if (target.spec.ssh !== undefined && isHostKeyMissing(facts)) {
    return no('HostKeyMissing', `Secret ${sshHostKeySecret} is gone, and clients remember its key (${facts.proxyConfig?.status?.sshHostKeyFingerprint ?? ''}): restore it, or make a new one by hand (docs/operator.md)`);
  }
  if (progress.secretProblem === 'SecretNotFound') return no('SecretNotFound', 'the proxies do not find a Secret that the Target names');
  if (progress.secretProblem === 'InvalidSecret') return no('InvalidSecret', 'the proxies cannot use a Secret that the Target names: docs/operator.md lists the keys');
  return { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: 'every Secret exists' };
}

function bypass({ isolation }: StatusContext, target: TargetResource): Wanted {
  const outcome = isolation.get(target.metadata.name);
  const of = (status: Wanted['status'], reason: ConditionReason, message: string): Wanted => ({ type: 'BypassBlocked', status, reason, message });
  if (target.spec.isolation?.mode !== 'ProxyOnly') return of('False', 'NotRequested', 'spec.isolation.mode is None: clients that can reach the host can go around the proxy');
  if (outcome === undefined) return of('Unknown', 'Pending', 'the NetworkPolicy comes with the proxy');
  return outcome.outcome === 'policy' ? of('True', 'BypassBlocked', `NetworkPolicy ${outcome.object.metadata.name} is in place, as far as the network plugin enforces it`) : of('Unknown', 'NotExpressible', outcome.message);
}

function programmedCondition(progress: Progress, isIn: boolean, waitsFor: string | null): Wanted {
  const no = (reason: ConditionReason, message: string): Wanted => ({ type: 'Programmed', status: 'False', reason, message });
  const count = `${progress.applied}/${progress.ready} proxies`;
  if (!isIn) return no('Pending', 'it is in no proxy\'s config');
  if (progress.ready === 0) return no('ProxyUnavailable', 'no proxy is ready');
  if (progress.rejection !== null && progress.applied < progress.ready) return no('Rejected', `${count}; ${progress.rejection}`);
  if (progress.unopened.length > 0) return no(progress.applied === 0 ? 'Pending' : 'Partial', `${count}; the port is not open on ${progress.unopened.join(', ')}`);
  if (progress.applied < progress.ready) return no(progress.applied === 0 ? 'Pending' : 'Partial', count);
  return waitsFor === null ? { type: 'Programmed', status: 'True', reason: 'Programmed', message: count } : no('Pending', waitsFor);
}

function sinceRevision({ proxyConfig }: StatusContext, kind: 'Target' | 'AccessPolicy', uid: string | undefined): number | null {
  const entry = proxyConfig?.spec.compiled?.find((each) => each.kind === kind && each.uid === uid);
  return entry === undefined || proxyConfig === null ? null : entry.revision ?? proxyConfig.spec.revision;
}

function isServed(context: StatusContext, kind: 'Target' | 'AccessPolicy', uid: string | undefined): boolean {
  return sinceRevision(context, kind, uid) !== null;
}

function problemsOf(render: RenderOutcome, kind: RenderProblem['kind'], name: string): readonly RenderProblem[] {
  return render.problems.filter((problem) => problem.kind === kind && problem.name === name);
}

function isReference(reason: ConditionReason): reason is 'TargetNotFound' | 'NoMatchingTarget' {
  return reason === 'TargetNotFound' || reason === 'NoMatchingTarget';
}

/** Secrets that a Target names, sorted, each once. */
export function secretNames({ spec }: TargetResource): readonly string[] {
  const named = [
    spec.postgres?.credentials.secretRef.name, spec.postgres?.tls.caSecretRef?.name, spec.ssh?.credentials.secretRef.name,
    ...(spec.ssh?.accountCredentials ?? []).map((credential) => credential.secretRef.name),
  ];
  return [...new Set(named.filter((name) => name !== undefined))].sort();
}

function versionOf(facts: NamespaceFacts, name: string): { readonly resourceVersion?: string } {
  const secret = facts.secrets.get(name);
  return secret === null || secret === undefined ? {} : { resourceVersion: secret.resourceVersion };
}
