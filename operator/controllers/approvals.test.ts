import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { expectedAdmission } from '../../contract/api/expected-admission.ts';
import type { AccessDecisionResource, AccessRequestResource, AccessSessionResource, ProxyConfigResource } from '../../contract/api/v1alpha1.gen.ts';
import { nameLabel, proxyName } from '../../contract/names.ts';
import { operatorSettingsSchema } from '../../contract/operator-settings.ts';
import { requestDigest } from '../../contract/request-digest.ts';
import type { KubeClient, KubeObject } from '../../runtime/kube/kube-client.ts';
import { createLog } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { type FakeApi, fakeApiServer } from '../../tools/testkit/fake-api-server.ts';
import { type FakeClock, fakeClock } from '../../tools/testkit/fake-clock.ts';
import { pass, until } from '../../tools/testkit/settle.ts';
import { startCaches } from '../kube/caches.ts';
import { kinds } from '../kube/kinds.ts';
import { createOperatorMetrics } from '../kube/metrics.ts';
import { approvalCaches, startApprovalControllers } from './approvals.ts';

const operatorUser = 'system:serviceaccount:sallyport-system:sallyport-operator';
const namespace = 'payments';
const uids = { policy: '22222222-2222-2222-2222-222222222222', target: '33333333-3333-3333-3333-333333333333' };
let running: World | null = null;

// Minutes of a fake clock pass in each test; on a busy machine that takes seconds.
jest.setTimeout(60_000);

afterEach(async () => {
  await running?.[Symbol.asyncDispose]();
  running = null;
});

describe('requests', () => {
  test('are counted, told by Events, and written once', async () => {
    const world = await start();
    world.ask('r-1');
    await until(() => world.request('r-1').status?.phase === 'Pending', world);
    world.decide('r-1', 'oidc:bob');
    world.decide('r-1', 'oidc:carol');
    await until(() => world.request('r-1').status?.phase === 'Approved', world);
    expect(world.events).toEqual(['Requested AccessRequest/r-1', 'Approved AccessRequest/r-1']);
    await pass(world.clock, 5_000);
    world.api.forgetCalls();
    await pass(world.clock, 30_000);
    expect(world.changes()).toEqual([]);
  }, 30_000);

  test('expire by the stored times, also when the operator was away', async () => {
    const world = await start();
    world.ask('r-1');
    await until(() => world.request('r-1').status?.phase === 'Pending', world);
    await world.stop();
    world.clock.advance(700_000);
    await world.again();
    await until(() => world.request('r-1').status?.phase === 'Expired', world);
  });

  test('that a proxy marks Used while the operator counts stay as the proxy left them', async () => {
    const world = await start();
    world.ask('r-1', { state: 'Waiting', pod: 'proxy-1' });
    await until(() => world.request('r-1').status?.phase === 'Pending', world);
    world.pod('proxy-1', null);
    const asked = world.request('r-1');
    world.api.put<AccessRequestResource>(kinds.accessRequest, { ...asked, status: { ...asked.status, use: { state: 'Used', pod: 'proxy-1', at: '2027-01-15T08:00:05Z' } } }, 'proxy');
    world.decide('r-1', 'oidc:bob');
    world.decide('r-1', 'oidc:carol');
    await until(() => world.request('r-1').status?.phase === 'Approved', world);
    expect(world.request('r-1').status).toMatchObject({ phase: 'Approved', use: { state: 'Used' } });
  });

  test('end as HolderGone when their proxy is gone', async () => {
    const world = await start();
    world.ask('r-1', { state: 'Waiting', pod: 'proxy-1' });
    await until(() => world.request('r-1').status?.phase === 'Pending', world);
    world.pod('proxy-1', null);
    await until(() => world.request('r-1').status?.phase === 'Withdrawn', world);
    expect(world.request('r-1').status?.conditions?.[0]).toMatchObject({ reason: 'HolderGone' });
  });

  test('that only an older config would end are judged by the stored one, which the cache does not have yet', async () => {
    const world = await start();
    for (const watch of world.api.watches) if (watch.route.kind.kind === 'ProxyConfig') watch.stall();
    world.config(4);
    world.ask('r-new', undefined, 4);
    world.ask('r-old', undefined, 2);
    await until(() => world.request('r-new').status?.phase !== undefined && world.request('r-old').status?.phase !== undefined, { clock: world.clock, stepMs: 20 });
    expect([world.request('r-new').status?.phase, world.request('r-old').status?.phase]).toEqual(['Pending', 'Superseded']);
  });

  test('are deleted with their decisions when retention is over, and decisions on nothing after an hour', async () => {
    const world = await start({ requestHours: 2 });
    world.ask('r-1');
    world.decide('r-1', 'oidc:bob', 'Deny');
    world.decide('r-nothing', 'oidc:bob');
    await until(() => world.request('r-1').status?.phase === 'Denied', world);
    await pass(world.clock, 3_700_000, 60_000);
    expect(world.api.list(kinds.accessDecision).map((decision) => decision.metadata.name)).toEqual(['d-r-1-oidc:bob'.replaceAll(':', '-')]);
    await pass(world.clock, 3_700_000, 60_000);
    expect(world.api.list(kinds.accessRequest)).toEqual([]);
    expect(world.api.list(kinds.accessDecision)).toEqual([]);
  }, 60_000);
});

describe('sessions', () => {
  test('of a pod that is gone become Lost; those of a living pod, and those that ended, stay', async () => {
    const world = await start();
    world.pod('proxy-2', 'Running');
    world.session('s-lost', 'proxy-1');
    world.session('s-new', 'proxy-1', null);
    world.session('s-alive', 'proxy-2');
    world.session('s-ended', 'proxy-1', 'Ended');
    world.pod('proxy-1', null);
    await until(() => world.phase('s-lost') === 'Lost' && world.phase('s-new') === 'Lost', world);
    expect([world.phase('s-alive'), world.phase('s-ended')]).toEqual(['Active', 'Ended']);
    expect(world.api.get<AccessSessionResource>(kinds.accessSession, namespace, 's-lost')?.status).toMatchObject({ endReason: 'PodGone', endedAt: expect.any(String) });
    expect(world.events).toContain('SessionLost AccessSession/s-lost');
  });

  test('are closed and deleted as well where the API server does not select custom resources by field', async () => {
    const world = await start({ sessionsPerNamespace: 1, sessionsPerCluster: 1 }, undefined, (api) => api.faults.add({ fault: { kind: 'status', status: 400, reason: 'BadRequest' }, when: (call) => (call.query['fieldSelector'] ?? '').includes('status.phase'), times: Infinity }));
    world.session('s-lost', 'proxy-1');
    world.session('s-old', 'proxy-1', 'Ended');
    world.pod('proxy-1', null);
    await until(() => world.phase('s-lost') === 'Lost', world);
    await pass(world.clock, 130_000, 500);
    expect(world.api.list(kinds.accessSession)).toHaveLength(1);
  }, 30_000);

  test('of a pod that was evicted become Lost too', async () => {
    const world = await start();
    world.session('s-1', 'proxy-1');
    world.pod('proxy-1', 'Failed');
    await until(() => world.phase('s-1') === 'Lost', world);
  });

  test('are deleted by number, oldest first, at 20 a second at most, and never while they live', async () => {
    const world = await start({ sessionsPerNamespace: 30, sessionsPerCluster: 30 });
    world.pod('proxy-1', 'Running');
    world.session('s-alive', 'proxy-1');
    for (let index = 0; index < 70; index++) {
      world.session(`s-${String(index).padStart(2, '0')}`, 'proxy-1', 'Ended');
      world.clock.advance(1_000);
    }
    const left = (): string[] => world.api.list(kinds.accessSession).map((session) => session.metadata.name).sort();
    let before = left().length;
    let fastest = 0;
    for (let second = 0; second < 90; second++) {
      await pass(world.clock, 1_000, 25);
      fastest = Math.max(fastest, before - left().length);
      before = left().length;
    }
    expect(left()).toEqual([...Array.from({ length: 30 }, (_, index) => `s-${index + 40}`), 's-alive']);
    expect(fastest).toBeGreaterThan(5);
    expect(fastest).toBeLessThanOrEqual(21);
  }, 60_000);

  test('are kept for their time from their end, not from their beginning', async () => {
    const world = await start({ sessionHours: 2 });
    world.session('s-1', 'proxy-1', 'Ended', 1);
    await pass(world.clock, 2.5 * 3_600_000, 120_000);
    expect(world.phase('s-1')).toBe('Ended');
    await pass(world.clock, 3_600_000, 120_000);
    expect(world.phase('s-1')).toBeUndefined();
  }, 60_000);
});

describe('integrity', () => {
  test('is told on a ProxyConfig that comes later, and lost and regained with a policy', async () => {
    const world = await start();
    await until(() => world.integrity() === 'True', world);
    const policy = world.api.get(kinds.admissionPolicy, null, 'accessdecision-integrity.sallyport.dev');
    world.api.remove(kinds.admissionPolicy, null, 'accessdecision-integrity.sallyport.dev');
    await until(() => world.integrity() === 'False', world);
    world.api.put(kinds.admissionPolicy, policy!);
    await until(() => world.integrity() === 'True', world);
    expect(world.events).toEqual(['ApprovalIntegrityLost ProxyConfig/sallyport-proxy', 'ApprovalIntegrityRegained ProxyConfig/sallyport-proxy']);
  });

  test.each<[string, (by: string) => string | null, string]>([
    ['a forgery is accepted', () => null, 'ForgeryAccepted'],
    ['the refusal is by another rule', () => "ValidatingAdmissionPolicy 'accessdecision-integrity.sallyport.dev' with binding 'x' denied request: may-approve: no", 'ProbeFailed'],
    ['the refusal is by another policy', (by) => `ValidatingAdmissionPolicy 'mine' with binding 'mine' denied request: ${by === operatorUser ? 'humans-only' : 'by-is-caller'}: no`, 'ProbeFailed'],
    ['a service account may decide', (by) => (by === operatorUser ? null : refusal('by-is-caller')), 'ForgeryAccepted'],
  ])('does not hold when %s', async (_name, answer, reason) => {
    const world = await start({}, answer);
    await until(() => world.integrity() === 'False', world);
    expect(world.proxyConfig().status?.conditions?.find((condition) => condition.type === 'ApprovalIntegrity')?.reason).toBe(reason);
    world.ask('r-1');
    world.decide('r-1', 'oidc:bob');
    world.decide('r-1', 'oidc:carol');
    await until(() => world.request('r-1').status?.conditions?.[0]?.status === 'Unknown', world);
    expect(world.request('r-1').status).toMatchObject({ phase: 'Pending', approvals: '0/2' });
  });

  test('an idle operator writes nothing but one proof an interval', async () => {
    const world = await start();
    await until(() => world.integrity() === 'True', world);
    await pass(world.clock, 10_000);
    world.api.forgetCalls();
    await pass(world.clock, 60_000);
    expect(world.changes()).toEqual([]);
    await pass(world.clock, 300_000, 1_000);
    expect(world.changes()).toEqual(['patch proxyconfigs/sallyport-proxy']);
  }, 30_000);
});

interface World extends AsyncDisposable {
  readonly api: FakeApi;
  readonly clock: FakeClock;
  readonly events: string[];
  stop(): Promise<void>;
  again(): Promise<void>;
  ask(name: string, use?: NonNullable<AccessRequestResource['status']>['use'], generation?: number): void;
  decide(request: string, by: string, decision?: 'Approve' | 'Deny'): void;
  session(name: string, pod: string, phase?: 'Active' | 'Ended' | null, endedHoursLater?: number): void;
  /** Null takes it away. */
  pod(name: string, phase: 'Running' | 'Failed' | null): void;
  config(generation: number): void;
  request(name: string): AccessRequestResource;
  phase(session: string): string | undefined;
  proxyConfig(): ProxyConfigResource;
  integrity(): string | undefined;
  /** What was written, dry runs and refusals aside. */
  changes(): readonly string[];
}

/** The server in memory has no SelfSubjectReview. */
function knowsItself(client: KubeClient): KubeClient {
  return { ...client, request: (request) => (request.path.endsWith('/selfsubjectreviews') ? Promise.resolve({ metadata: { name: '' }, status: { userInfo: { username: operatorUser } } }) : client.request(request)) };
}

function refusal(rule: string): string {
  return `accessdecisions.sallyport.dev "x" is forbidden: ValidatingAdmissionPolicy 'accessdecision-integrity.sallyport.dev' with binding 'accessdecision-integrity.sallyport.dev' denied request: ${rule}: no`;
}

async function start(retention: Readonly<Record<string, number>> = {}, admit: (by: string) => string | null = (by) => refusal(by === operatorUser ? 'humans-only' : 'by-is-caller'), prepare: (api: FakeApi) => void = () => undefined): Promise<World> {
  const clock = fakeClock(Date.parse('2027-01-15T08:00:00Z'));
  const api = fakeApiServer({
    clock,
    admit: (attempt) => {
      const spec = (attempt as unknown as { readonly object?: { readonly kind?: string; readonly spec?: { readonly by?: string } } }).object;
      return spec?.kind === 'AccessDecision' && spec.spec?.by !== undefined ? admit(spec.spec.by) : null;
    },
  });
  prepare(api);
  const settings = operatorSettingsSchema.parse({
    namespace: 'sallyport-system', proxy: { image: 'x' },
    retention: { sessionHours: 24, sessionsPerNamespace: 500, sessionsPerCluster: 10_000, requestHours: 168, requestsPerNamespace: 1_000, requestsPerCluster: 10_000, ...retention },
  });
  for (const one of expectedAdmission('sallyport-system')) {
    api.put<KubeObject>(kinds.admissionPolicy, { apiVersion: 'admissionregistration.k8s.io/v1', kind: 'ValidatingAdmissionPolicy', metadata: { name: one.name }, spec: one.policySpec });
    api.put<KubeObject>(kinds.admissionBinding, { apiVersion: 'admissionregistration.k8s.io/v1', kind: 'ValidatingAdmissionPolicyBinding', metadata: { name: one.name }, spec: one.bindingSpec });
  }
  const events: string[] = [];
  let stop = async (): Promise<void> => undefined;
  const now = (): string => new Date(clock.now()).toISOString().replace(/\.\d+Z/, 'Z');
  const again = async (): Promise<void> => {
    const client = knowsItself(api.client(operatorUser));
    const registry = createMetrics({ process: false });
    const metrics = createOperatorMetrics(registry.registry);
    const log = createLog({ level: 'error', now: () => clock.now(), stream: { writableLength: 0, write: () => true } });
    const { plans, selectsByPhase } = await approvalCaches(client, []);
    const caches = startCaches({ client, clock, random: () => 0.5, metrics, log, namespaces: [], plans: [...plans, { kind: 'proxyConfig' }, { kind: 'pod' }] });
    const controllers = startApprovalControllers({
      client, settings, caches, metrics, registry, log, clock, random: () => 0.5, mayWork: () => caches.synced,
      events: { record: ({ reason, regarding }) => void events.push(`${reason} ${regarding.kind}/${regarding.name}`), dropped: () => 0, isIdle: true, [Symbol.asyncDispose]: () => Promise.resolve() },
    }, { selectsByPhase });
    await until(() => caches.synced, { clock });
    for (const controller of controllers) controller.wake();
    stop = async () => {
      await Promise.all(controllers.map((controller) => controller[Symbol.asyncDispose]()));
      await caches[Symbol.asyncDispose]();
    };
  };
  const world: World = {
    api, clock, events, again,
    stop: () => stop(),
    ask(name, use, generation = 3) {
      const spec = {
        scope: 'Statement' as const, requester: { username: 'oidc:alice' }, policyRef: { name: 'orders', uid: uids.policy, generation, rule: 'ddl' }, targetRef: { name: 'orders-db', uid: uids.target },
        action: 'Alter on orders', statement: 'ALTER TABLE a', statementHMAC: `hmac-sha256:k:${'a'.repeat(64)}`, approvers: { groups: ['dba'], required: 2 }, decideWithin: '10m',
      };
      api.put<AccessRequestResource>(kinds.accessRequest, { apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessRequest', metadata: { name, namespace }, spec: { ...spec, digest: requestDigest(spec) }, ...(use === undefined ? {} : { status: { use } }) });
    },
    decide(request, by, decision = 'Approve') {
      const asked = api.get<AccessRequestResource>(kinds.accessRequest, namespace, request);
      api.put<AccessDecisionResource>(kinds.accessDecision, {
        apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessDecision', metadata: { name: `d-${request}-${by.replaceAll(':', '-')}`, namespace },
        spec: {
          requestRef: { name: request, uid: asked?.metadata.uid ?? '00000000-0000-0000-0000-000000000000' }, policyRef: { name: 'orders' }, requester: { username: 'oidc:alice' }, digest: asked?.spec.digest ?? `sha256:${'0'.repeat(64)}`, decision, by, asGroups: ['dba'],
        },
      });
    },
    session(name, pod, phase = 'Active', endedHoursLater = 0) {
      const ended = new Date(clock.now() + endedHoursLater * 3_600_000).toISOString().replace(/\.\d+Z/, 'Z');
      api.put<AccessSessionResource>(kinds.accessSession, {
        apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessSession', metadata: { name, namespace },
        spec: { sessionID: name, user: { username: 'oidc:alice' }, targetRef: { name: 'orders-db', uid: uids.target }, protocol: 'PostgreSQL', pod, startedAt: now() },
        ...(phase === null ? {} : { status: { phase, ...(phase === 'Ended' ? { endedAt: ended } : {}) } }),
      });
    },
    pod(name, phase) {
      if (phase !== null) api.put<KubeObject>(kinds.pod, { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, labels: { [nameLabel]: proxyName } }, status: { phase } });
      else if (api.get(kinds.pod, namespace, name) !== null) api.remove(kinds.pod, namespace, name);
    },
    config: (generation) => void api.put<ProxyConfigResource>(kinds.proxyConfig, proxyConfigOf(generation, Math.max(clock.now(), generation))),
    request: (name) => {
      const found = api.get<AccessRequestResource>(kinds.accessRequest, namespace, name);
      if (found === null) throw new Error(`${name} is gone`);
      return found;
    },
    phase: (session) => api.get<AccessSessionResource>(kinds.accessSession, namespace, session)?.status?.phase,
    proxyConfig: () => api.get<ProxyConfigResource>(kinds.proxyConfig, namespace, proxyName)!,
    integrity: () => world.proxyConfig().status?.conditions?.find((condition) => condition.type === 'ApprovalIntegrity')?.status,
    changes: () => api.writes().filter((call) => call.query['dryRun'] === undefined).map((call) => `${call.verb} ${call.resource}/${call.name ?? ''}`),
    [Symbol.asyncDispose]: () => stop(),
  };
  world.pod('proxy-1', 'Running');
  world.config(3);
  await again();
  // Decisions count from three seconds after the first proof on.
  if (admit('somebody')?.includes('by-is-caller: ') === true) await until(() => world.integrity() !== undefined, world);
  await pass(clock, 4_000);
  running = world;
  return world;
}

function proxyConfigOf(generation: number, revision: number): ProxyConfigResource {
  const config = JSON.stringify({
    schemaVersion: 1, namespace,
    identityProviders: [{
      name: 'people', uid: 'i', generation: 1, type: 'OIDC', issuer: 'https://idp', audiences: ['a'], usernameClaim: 'sub', usernamePrefix: 'oidc:', groupsClaim: null, groupsPrefix: '', uidClaim: null,
      jwksUri: null, caBundle: null, algorithms: ['RS256'], clockSkewSeconds: 0,
    }],
    targets: [{
      name: 'orders-db', uid: uids.target, generation: 1, labels: {}, listenPort: 20_000,
      postgres: { host: 'db', port: 5432, tls: { mode: 'VerifyFull', serverName: null, channelBinding: 'Prefer', caSecret: null }, credentialsSecret: 's', databases: [] },
    }],
    policies: [{
      name: 'orders', uid: uids.policy, generation, digest: 'd', subjects: [{ kind: 'User', name: 'oidc:alice' }], targets: ['orders-db'], access: { mode: 'Standing', approval: null }, when: [],
      limits: { sessionSeconds: null, idleSeconds: null, concurrentSessions: null, rowsPerStatement: null, bytesPerStatement: null },
      rules: [{
        name: 'ddl', action: 'RequireApproval', message: null, postgres: { statements: ['Alter'], databases: null, tables: null, where: null },
        approval: { groups: ['dba'], required: 2, decideWithinSeconds: 900, scope: 'Statement', grantTtlSeconds: null },
      }],
      masking: [], recording: { content: 'Full', durability: 'Write' },
    }],
  });
  return { apiVersion: 'sallyport.dev/v1alpha1', kind: 'ProxyConfig', metadata: { name: proxyName, namespace }, spec: { revision: revision + generation, hash: `sha256:${String(generation).repeat(64).slice(0, 64)}`, config } };
}
