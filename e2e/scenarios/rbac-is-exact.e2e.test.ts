import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { expectedAdmission } from '../../contract/api/expected-admission.ts';
import type { AccessDecisionResource, AccessRequestResource, AccessSessionResource, IdentityProviderResource, ProxyConfigResource, TargetResource } from '../../contract/api/v1alpha1.gen.ts';
import { boundDigest } from '../../contract/approval-digest.ts';
import type { RecorderFactory, SessionSubject } from '../../contract/audit.ts';
import { fieldManagers, managedByLabel, managedByValue, nameLabel, proxyName } from '../../contract/names.ts';
import { operatorSettingsSchema } from '../../contract/operator-settings.ts';
import { requestDigest } from '../../contract/request-digest.ts';
import { kinds } from '../../operator/kube/kinds.ts';
import { createOperatorMetrics } from '../../operator/kube/metrics.ts';
import { type Operator, runOperator } from '../../operator/run-operator.ts';
import type { OwnerReference } from '../../operator/render/generated-object.ts';
import type { KubeClient, KubeKind, KubeObject } from '../../runtime/kube/kube-client.ts';
import { createLog } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { openClusterApprovals } from '../../sidecar/adapters/cluster/access-requests.ts';
import { openAccessSessions } from '../../sidecar/adapters/cluster/access-sessions.ts';
import { startAcks } from '../../sidecar/adapters/cluster/ack.ts';
import { ackEntry } from '../../sidecar/adapters/cluster/ack-entry.ts';
import { ConfigHolder } from '../../sidecar/adapters/cluster/config-holder.ts';
import { watchClusterConfig } from '../../sidecar/adapters/cluster/config-watch.ts';
import { proxyEvents } from '../../sidecar/adapters/cluster/proxy-events.ts';
import { openClusterSecrets } from '../../sidecar/adapters/cluster/secrets.ts';
import { sessionObjectName } from '../../sidecar/adapters/cluster/session-object.ts';
import { snapshotFile } from '../../sidecar/adapters/cluster/snapshot-file.ts';
import type { ApprovalAsk, PendingApproval } from '../../sidecar/core/ports.ts';
import { findAsset } from '../../tools/e2e-assets.ts';
import { type ManifestObject, renderChart } from '../../tools/testkit/chart.ts';
import { aStatementAsk } from '../../tools/testkit/cluster-approvals.ts';
import { aLog } from '../../tools/testkit/cluster-config.ts';
import type { Call } from '../../tools/testkit/fake-api/calls.ts';
import { createRbac, type Grant, grantsOf, type Rbac } from '../../tools/testkit/fake-api/rbac.ts';
import { type FakeApi, fakeApiServer } from '../../tools/testkit/fake-api-server.ts';
import { fakeClock, type FakeClock } from '../../tools/testkit/fake-clock.ts';
import { aPolicy, aTarget } from '../../tools/testkit/operator-world.ts';
import { pass, settle, until } from '../../tools/testkit/settle.ts';

// Whole: one life of one namespace, told in order; what it shares is one world, and each step rests on the one before.

const helm = findAsset('helm') ?? findAsset('helm3');
const system = 'sallyport-system';
const namespace = 'payments';
const operatorUser = `system:serviceaccount:${system}:sallyport-operator`;
const proxyUser = `system:serviceaccount:${namespace}:${proxyName}`;

/** Rights that no request asks for by their verb, each with what needs it: a call that proves that it still does. */
const heldFor: readonly { readonly right: string; readonly because: string; readonly needs: (call: Call) => boolean }[] = [
  {
    right: `${operatorUser} rbac.authorization.k8s.io/clusterroles bind`, because: 'a RoleBinding to a ClusterRole is accepted only of who may bind it',
    needs: (call) => call.resource === 'rolebindings' && (call.body as { readonly roleRef?: { readonly kind: string } } | undefined)?.roleRef?.kind === 'ClusterRole',
  },
  { right: `${proxyUser} sallyport.dev/accessrequests requestonbehalf`, because: 'a virtual verb: admission asks for it when a request is made in the name of somebody', needs: (call) => call.verb === 'create' && call.resource === 'accessrequests' },
];

(helm === null ? describe.skip : describe)('the rights that the chart gives', () => {
  test.each([['in all namespaces', []], ['in listed namespaces', [namespace]]])('to operator and proxy %s are those that a whole life needs, and no other', async (_name, watchNamespaces) => {
    const chart = renderChart({ helm: helm?.path ?? '', namespace: system, values: { watchNamespaces, retention: { sessionsPerNamespace: 1, requestsPerNamespace: 1 }, proxy: { replicas: 1 } } });
    await using world = await startWorld(chart);
    await world.comeUp();
    await world.decideOnStatements();
    await world.runSessions();
    await world.loseAndRegainIntegrity();
    await world.retire();
    await world.adopt();
    await world.goDown();
    const own = world.api.calls.filter((call) => call.user === operatorUser || call.user === proxyUser);
    // The probe's forged decisions are refused on purpose, by admission.
    expect(own.filter((call) => call.status === 403 && call.query['dryRun'] !== 'All').map((call) => `${call.user} ${call.line}`)).toEqual([]);
    for (const held of heldFor) expect([held.right, own.some((call) => held.needs(call))]).toEqual([held.right, true]);
    expect(world.unused()).toEqual(heldFor.map((held) => held.right).sort());
  }, 120_000);
});

interface Owned extends KubeObject {
  readonly metadata: KubeObject['metadata'] & { readonly ownerReferences?: readonly OwnerReference[] };
}

interface World extends AsyncDisposable {
  readonly api: FakeApi;
  /** Target, policy, provider and everything generated; the proxy runs and has acknowledged; the Target has its Service and its isolation. */
  comeUp(): Promise<void>;
  /** Requests made by two replicas at once, approved and used, denied, withdrawn, and superseded. */
  decideOnStatements(): Promise<void>;
  /** One session that a person ends, one whose pod is gone. */
  runSessions(): Promise<void>;
  loseAndRegainIntegrity(): Promise<void>;
  /** Retention takes requests, decisions and sessions away. */
  retire(): Promise<void>;
  /** Everything generated is as `kubectl delete --cascade=orphan` of the ProxyConfig leaves it, and is owned again. */
  adopt(): Promise<void>;
  /** Isolation ends, then the Target, then the proxy. */
  goDown(): Promise<void>;
  /** Rights of operator and proxy that no call used, each grant by itself. */
  unused(): readonly string[];
}

async function startWorld(chart: readonly ManifestObject[]): Promise<World> {
  const closing = new AsyncDisposableStack();
  const clock = fakeClock(Date.parse('2027-01-15T08:00:00Z'));
  const rbac = eachGrant(grantsOf(chart));
  const api = fakeApiServer({ clock, rbac, admit: (attempt) => refusedForgery(attempt.object) });
  for (const one of expectedAdmission(system)) {
    api.put<KubeObject>(kinds.admissionPolicy, { apiVersion: 'admissionregistration.k8s.io/v1', kind: 'ValidatingAdmissionPolicy', metadata: { name: one.name }, spec: one.policySpec });
    api.put<KubeObject>(kinds.admissionBinding, { apiVersion: 'admissionregistration.k8s.io/v1', kind: 'ValidatingAdmissionPolicyBinding', metadata: { name: one.name }, spec: one.bindingSpec });
  }
  const operator = await startOperator(api, clock, chart);
  closing.defer(() => finished(operator.drain(1_000), clock));
  const config = (): ProxyConfigResource | null => api.get<ProxyConfigResource>(kinds.proxyConfig, namespace, proxyName);
  const has = (kind: KubeKind, name: string): boolean => api.get(kind, namespace, name) !== null;
  const target = (): TargetResource => must(api.get<TargetResource>(kinds.target, namespace, 'orders-db'));
  const waitFor = (condition: () => boolean): Promise<void> => until(condition, { clock });
  let proxies: readonly Proxy[] = [];
  return {
    api,
    async comeUp() {
      api.put<IdentityProviderResource>(kinds.identityProvider, provider);
      api.put<KubeObject>(kinds.secret, { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'gateway', namespace }, data: { username: 'Zw==', password: 'cA==' } } as KubeObject);
      api.put<KubeObject>(kinds.service, { apiVersion: 'v1', kind: 'Service', metadata: { name: 'upstream', namespace }, spec: { selector: { app: 'db' }, ports: [{ port: 5432 }] } } as KubeObject);
      const { postgres } = aTarget(namespace, 'orders-db').spec;
      api.put(kinds.target, aTarget(namespace, 'orders-db', { postgres: { ...must(postgres ?? null), host: `upstream.${namespace}.svc` }, isolation: { mode: 'ProxyOnly' } }) as KubeObject);
      api.put(kinds.accessPolicy, aPolicy(namespace, 'oncall', { rules: [{ name: 'ddl', action: 'RequireApproval', postgres: { statements: ['Alter'] }, approval: { groups: ['dba'], required: 1 } }] }) as KubeObject);
      await waitFor(() => has(kinds.deployment, proxyName) && has(kinds.roleBinding, proxyName));
      // What a proxy may do is what the operator gave it.
      rbac.add(grantsOf([...chart, ...api.list(kinds.role, namespace), ...api.list(kinds.roleBinding, namespace)]).filter((grant) => grant.user === proxyUser));
      for (const pod of ['proxy-0', 'proxy-1', 'proxy-2']) putPod(api, pod);
      proxies = ['proxy-0', 'proxy-1'].map((pod) => startProxy(api, clock, pod));
      for (const proxy of proxies) closing.defer(() => finished(proxy[Symbol.asyncDispose](), clock));
      // The third pod is nobody's process: it only says that it has the config.
      api.put(kinds.proxyConfig, { ...must(config()), status: { proxies: [{ pod: 'proxy-2', podUID: must(api.get(kinds.pod, namespace, 'proxy-2')).metadata.uid ?? '', revision: must(config()).spec.revision, hash: must(config()).spec.hash, state: 'Applied' }] } } as KubeObject, fieldManagers.proxy('proxy-2'));
      await waitFor(() => has(kinds.service, 'orders-db') && api.list(kinds.networkPolicy, namespace).length === 2 && has(kinds.configMap, 'sallyport-ca'));
      await waitFor(() => proxies.every((proxy) => proxy.isProven()));
      // An Event about an object without a namespace is due, and again within six minutes.
      for (const usernamePrefix of ['oidc:', 'other:', 'oidc:', 'other:']) {
        api.put<IdentityProviderResource>(kinds.identityProvider, { ...provider, metadata: { name: 'zitadel' }, spec: { ...provider.spec, issuer: 'https://127.0.0.1:2', claims: { username: 'email', usernamePrefix } } });
        await waitFor(() => isAccepted(api, 'zitadel') === (usernamePrefix === 'oidc:' ? 'False' : 'True'));
      }
      // Decisions count from three seconds after the first proof on.
      await pass(clock, 4_000);
    },
    async decideOnStatements() {
      const { config: text } = must(config()).spec;
      const [policy] = (JSON.parse(text) as { readonly policies: readonly { readonly name: string; readonly uid: string; readonly generation: number; readonly digest: string }[] }).policies;
      const ask = (statement: string): ApprovalAsk => anAsk(statement, must(policy ?? null));
      const [one, two] = await Promise.all(proxies.map((proxy) => proxy.ask(ask('ALTER TABLE orders ADD note text'))));
      expect(one?.name).toBe(two?.name);
      decide(api, must(one ?? null).name);
      await waitFor(() => request(api, must(one ?? null).name).status?.phase === 'Approved');
      await settle();
      expect(await must(one ?? null).use()).toBe(true);
      const refused = await must(proxies[1] ?? null).ask(ask('ALTER TABLE orders DROP note'));
      decide(api, refused.name, 'Deny');
      await waitFor(() => request(api, refused.name).status?.phase === 'Denied');
      const dropped = await must(proxies[0] ?? null).ask(ask('ALTER TABLE orders ADD other text'));
      await dropped.withdraw('the client went away');
      await waitFor(() => request(api, dropped.name).status?.phase === 'Withdrawn');
      putRequest(api, 'r-older', { name: 'oncall', uid: must(policy ?? null).uid, generation: must(policy ?? null).generation + 7, rule: 'ddl' }, target().metadata.uid ?? '');
      await waitFor(() => request(api, 'r-older').status?.phase === 'Superseded');
    },
    async runSessions() {
      const [proxy] = proxies;
      const recorder = must(proxy ?? null).sessions.recorders.open('S1');
      await recorder.start(aSubject(clock, target().metadata.uid ?? ''), { role: 'gateway', pid: 7, startedAtMs: clock.now(), credentialRef: `Secret/${namespace}/gateway` });
      await waitFor(() => has(kinds.accessSession, sessionObjectName('S1')));
      const shown = must(api.get<AccessSessionResource>(kinds.accessSession, namespace, sessionObjectName('S1')));
      api.put<AccessSessionResource>(kinds.accessSession, { ...shown, spec: { ...shown.spec, terminate: { by: 'oidc:carol', reason: 'enough' } } });
      await waitFor(() => must(proxy ?? null).terminated.includes('S1'));
      await recorder.end('Terminated', { rows: 0, bytes: 0, denied: 0 });
      await waitFor(() => sessionPhase(api, sessionObjectName('S1')) === 'Terminated');
      api.put<AccessSessionResource>(kinds.accessSession, { ...shown, metadata: { name: 's-lost', namespace }, spec: { ...shown.spec, sessionID: 'S2', pod: 'proxy-2' }, status: { phase: 'Active' } });
      api.remove(kinds.pod, namespace, 'proxy-2');
      await waitFor(() => sessionPhase(api, 's-lost') === 'Lost');
    },
    async loseAndRegainIntegrity() {
      const policy = 'accessdecision-integrity.sallyport.dev';
      const stored = must(api.get(kinds.admissionPolicy, null, policy));
      // The same Event twice within six minutes becomes a series.
      for (let round = 0; round < 2; round++) {
        api.remove(kinds.admissionPolicy, null, policy);
        await waitFor(() => proxies.every((proxy) => !proxy.isProven()));
        api.put(kinds.admissionPolicy, stored);
        await waitFor(() => proxies.every((proxy) => proxy.isProven()));
      }
    },
    async retire() {
      await pass(clock, 130_000);
      // What was approved lasts the longest.
      expect([api.list(kinds.accessRequest), api.list(kinds.accessSession), api.list(kinds.accessDecision)].map((objects) => objects.length)).toEqual([1, 1, 1]);
    },
    async adopt() {
      const generated = [kinds.serviceAccount, kinds.role, kinds.roleBinding, kinds.configMap, kinds.service, kinds.networkPolicy, kinds.podDisruptionBudget, kinds.deployment].flatMap((kind) => api.list<Owned>(kind, namespace).map((object) => ({ kind, object })))
        .filter(({ object }) => object.metadata.ownerReferences?.[0]?.kind === 'ProxyConfig');
      for (const { kind, object } of generated) api.put(kind, { ...object, metadata: { ...object.metadata, ownerReferences: [] } } as Owned);
      const isOwned = ({ kind, object }: (typeof generated)[number]): boolean => api.get<Owned>(kind, namespace, object.metadata.name)?.metadata.ownerReferences?.[0]?.uid === config()?.metadata.uid;
      // Nobody watches ConfigMaps: that one is looked at every ten minutes.
      await until(() => generated.every(isOwned), { clock, stepMs: 1_000 });
    },
    async goDown() {
      api.put(kinds.target, { ...target(), spec: { ...target().spec, isolation: { mode: 'None' } } });
      await waitFor(() => api.list(kinds.networkPolicy, namespace).length === 1);
      api.remove(kinds.accessPolicy, namespace, 'oncall');
      api.remove(kinds.target, namespace, 'orders-db');
      await waitFor(() => config() === null && !has(kinds.service, 'orders-db') && !has(kinds.deployment, proxyName));
    },
    unused: () => rbac.unused(),
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

/** Each grant counts by itself: one that another makes needless is never used. */
function eachGrant(first: readonly Grant[]): Rbac & { add(grants: readonly Grant[]): void } {
  const parts = first.filter((grant) => grant.user === operatorUser).map((grant) => createRbac([grant]));
  return {
    add: (grants) => void parts.push(...grants.map((grant) => createRbac([grant]))),
    allows: (call) => parts.some((part) => part.allows(call)),
    unused: () => parts.flatMap((part) => part.unused()).sort(),
  };
}

async function startOperator(api: FakeApi, clock: FakeClock, chart: readonly ManifestObject[]): Promise<Operator> {
  const settings = chart.find((object) => object.kind === 'ConfigMap' && (object['data'] as Readonly<Record<string, string>> | undefined)?.['settings.json'] !== undefined)?.['data'] as Readonly<Record<string, string>>;
  const registry = createMetrics({ process: false });
  return runOperator({
    settings: operatorSettingsSchema.parse(JSON.parse(settings['settings.json'] ?? '')), client: knowsItself(api.client(operatorUser)), identity: 'operator-1', clock, random: () => 0.5, registry, metrics: createOperatorMetrics(registry.registry),
    log: createLog({ level: 'error', now: () => clock.now(), stream: { writableLength: 0, write: () => true } }), signal: new AbortController().signal,
    onLost: () => { throw new Error('the Lease is lost'); },
  });
}

/** The server in memory has no SelfSubjectReview, which everybody may make. */
function knowsItself(client: KubeClient): KubeClient {
  return { ...client, request: (asked) => (asked.path.endsWith('/selfsubjectreviews') ? Promise.resolve({ metadata: { name: '' }, status: { userInfo: { username: operatorUser } } }) : client.request(asked)) };
}

function refusedForgery(object: unknown): string | null {
  const { kind, spec } = (object ?? {}) as { readonly kind?: string; readonly spec?: { readonly by?: string } };
  if (kind !== 'AccessDecision') return null;
  const policy = 'accessdecision-integrity.sallyport.dev';
  return `accessdecisions.sallyport.dev "x" is forbidden: ValidatingAdmissionPolicy '${policy}' with binding '${policy}' denied request: ${spec?.by === operatorUser ? 'humans-only' : 'by-is-caller'}: no`;
}

interface Proxy extends AsyncDisposable {
  readonly sessions: ReturnType<typeof openAccessSessions>;
  readonly terminated: readonly string[];
  isProven(): boolean;
  ask(ask: ApprovalAsk): Promise<PendingApproval>;
}

/** What a proxy does with the API server: all adapters of serve-cluster.ts, without listeners. */
function startProxy(api: FakeApi, clock: FakeClock, pod: string): Proxy {
  const closing = new AsyncDisposableStack();
  const [client, log, random] = [api.client(proxyUser), aLog(), (): number => 0.5];
  const directory = mkdtempSync(join(tmpdir(), 'sp-rbac-'));
  closing.defer(() => rmSync(directory, { recursive: true, force: true }));
  const config = new ConfigHolder({ namespace, pod, staleness: 'KeepLast', maxStaleMs: 900_000, clock, log });
  closing.use(watchClusterConfig({ client, holder: config, namespace, snapshots: snapshotFile(directory, namespace, new Uint8Array(32)), maxStaleMs: 900_000, clock, random, log }));
  const secrets = closing.use(openClusterSecrets({ client, namespace, config, clock, random, log }));
  const events = closing.use(proxyEvents({ client, namespace, pod, clock, log }));
  const terminated: string[] = [];
  const sessions = closing.use(openAccessSessions(recorders, { client, namespace, pod, objects: 'All', config: () => config.current()?.config ?? null, clock, random, log, announce: events.session, terminate: (sessionId) => void terminated.push(sessionId) }));
  const approvals = closing.use(openClusterApprovals({ client, namespace, pod, config, aliases: {}, keyId: 'k1', sessionObject: sessionObjectName, onEvent: async () => {}, announce: events.request, clock, random, log }));
  const podUid = must(api.get(kinds.pod, namespace, pod)).metadata.uid ?? '';
  const acks = closing.use(startAcks({ client, namespace, pod, clock, random, log, stored: () => config.storedAck(), desired: () => ackEntry({ pod, podUid, state: config.state(), draining: false, failedTargets: secrets.failedTargets() }) }));
  for (const subscribe of [config.subscribe.bind(config), config.onStatus.bind(config)]) subscribe(() => acks.nudge());
  return {
    sessions, terminated,
    isProven: () => approvals.synced && config.integrity().holds,
    async ask(ask) {
      const asked = await approvals.ask(ask);
      if (asked.outcome === 'refused') throw new Error(`${asked.code}: ${log.lines.join('; ')}`);
      await settle();
      return asked.pending;
    },
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

const recorders: RecorderFactory = {
  unavailable: () => null, authFailed: async () => {}, onFailure: () => {}, close: async () => {}, event: async () => {},
  openSsh: () => { throw new Error('no SSH here'); },
    open: (sessionId) => ({
    sessionId, start: async () => {}, recordIntents: (intents) => intents.map((_, index) => index + 1), recordResult: () => {}, recordAttempt: async () => {}, describe: () => {}, row: () => {}, copy: () => {}, notice: () => {}, flush: () => {},
    end: async () => {}, seal: () => ({ recording: null, log: { origin: 'local/payments/01', firstSequence: 1, lastSequence: 2, chainHead: 'cd'.repeat(32) } }),
  }),
};

/** Nobody listens there. */
const provider: IdentityProviderResource = {
  apiVersion: 'sallyport.dev/v1alpha1', kind: 'IdentityProvider', metadata: { name: 'okta' },
  spec: { type: 'OIDC', issuer: 'https://127.0.0.1:1', audiences: ['sallyport'], claims: { username: 'email', usernamePrefix: 'oidc:' }, algorithms: ['ES256'], clockSkew: '30s' },
};

function putPod(api: FakeApi, name: string): void {
  const deployment = must(api.get(kinds.deployment, namespace, proxyName));
  api.put<KubeObject>(kinds.pod, {
    apiVersion: 'v1', kind: 'Pod', status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
    metadata: { namespace, name, labels: { [nameLabel]: proxyName, [managedByLabel]: managedByValue }, ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: proxyName, uid: deployment.metadata.uid ?? '' }] },
  });
}

function anAsk(text: string, policy: { readonly name: string; readonly uid: string; readonly generation: number; readonly digest: string }): ApprovalAsk {
  const base = aStatementAsk({ text });
  const ask = {
    ...base, requester: { ...base.requester, key: JSON.stringify([provider.spec.issuer, 'alice']) }, by: { policy: policy.name, policyUid: policy.uid, policyGeneration: policy.generation, policyDigest: policy.digest, rule: 'ddl' },
  };
  return { ...ask, digest: boundDigest(ask, ask.statementHmac ?? null) };
}

function request(api: FakeApi, name: string): AccessRequestResource {
  return must(api.get<AccessRequestResource>(kinds.accessRequest, namespace, name));
}

function decide(api: FakeApi, name: string, decision: 'Approve' | 'Deny' = 'Approve'): void {
  const { spec, metadata } = request(api, name);
  api.put<AccessDecisionResource>(kinds.accessDecision, {
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessDecision', metadata: { name: `d-${name}`, namespace },
    spec: { requestRef: { name, uid: metadata.uid ?? '' }, policyRef: { name: spec.policyRef.name }, requester: { username: spec.requester.username }, digest: spec.digest, decision, by: 'oidc:bob', asGroups: ['dba'] },
  }, 'oidc:bob');
}

function putRequest(api: FakeApi, name: string, policyRef: AccessRequestResource['spec']['policyRef'], targetUid: string): void {
  const spec = {
    scope: 'Statement' as const, requester: { username: 'oidc:alice' }, policyRef, targetRef: { name: 'orders-db', uid: targetUid }, action: 'Alter on orders', statement: 'ALTER TABLE a', statementHMAC: `hmac-sha256:k:${'a'.repeat(64)}`,
    approvers: { groups: ['dba'], required: 1 }, decideWithin: '10m',
  };
  api.put<AccessRequestResource>(kinds.accessRequest, { apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessRequest', metadata: { name, namespace }, spec: { ...spec, digest: requestDigest(spec) } });
}

function aSubject(clock: FakeClock, targetUid: string): SessionSubject {
  return {
    sessionId: 'S1', namespace,
    identity: {
      issuer: provider.spec.issuer, subject: 'alice', username: 'oidc:alice', groups: ['sre'], email: 'alice@bank.example', uid: 'u-1', provider: 'okta', actors: [], tokenId: 't-1', authTimeMs: null, acr: null, amr: [], expiresAtMs: 2e12,
    },
    client: { ip: '10.0.0.9', port: 50_000, applicationName: 'psql', requestedUser: 'alice' }, target: { name: 'orders-db', uid: targetUid, labels: {}, database: 'orders' }, transport: { tlsVersion: 'TLSv1.3', cipher: 'x' },
    policies: [{ name: 'oncall', uid: targetUid, generation: 1, digest: 'd' }], recording: { content: 'Full', durability: 'Write' }, startedAtMs: clock.now(),
  };
}

function isAccepted(api: FakeApi, name: string): string | undefined {
  return api.get<IdentityProviderResource>(kinds.identityProvider, null, name)?.status?.conditions?.find((condition) => condition.type === 'Accepted')?.status;
}

function sessionPhase(api: FakeApi, name: string): string | undefined {
  return api.get<AccessSessionResource>(kinds.accessSession, namespace, name)?.status?.phase;
}

/** Waits for what itself waits for the clock. */
async function finished(work: PromiseLike<unknown>, clock: FakeClock): Promise<void> {
  let isOver = false;
  void work.then(() => { isOver = true; }, () => { isOver = true; });
  await until(() => isOver, { clock });
}

function must<T>(value: T | null): T {
  if (value === null) throw new Error('there is no such thing');
  return value;
}
