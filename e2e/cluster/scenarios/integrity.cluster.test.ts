import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { AccessDecisionResource, AccessRequestResource, ProxyConfigResource } from '../../../contract/api/v1alpha1.gen.ts';
import { requestDigest } from '../../../contract/request-digest.ts';
import type { ManifestObject } from '../../../tools/testkit/chart.ts';
import { type ControlPlane, startControlPlane } from '../hosts/control-plane.ts';
import { missingForNode } from '../hosts/node.ts';
import { installChartObjects, objectPath, type OperatorProcess, put, startOperatorProcess } from '../hosts/operator-process.ts';
import type { Caller, RawApi } from '../hosts/raw-api.ts';

const namespace = 'payments';
const aliases = { 'alice-admin': 'oidc:alice@bank.example' };
const person = (user: string, group = 'oidc:dba'): Caller => ({ user, groups: [group, 'system:authenticated'] });
const alice = person('oidc:alice@bank.example');
const aliceAdmin = person('alice-admin');
const bob = person('oidc:bob@bank.example');
const carol = person('oidc:carol@bank.example');
const dan = person('oidc:dan@bank.example', 'oidc:sre');
const iam = person('kubernetes-admin');
const proxy: Caller = { user: `system:serviceaccount:${namespace}:sallyport-proxy`, groups: ['system:serviceaccounts', 'system:authenticated'], extra: { 'authentication.kubernetes.io/pod-name': ['proxy-1'] } };
const guards = ['accessdecision-integrity.sallyport.dev', 'accessrequest-integrity.sallyport.dev'] as const;

// A control plane of its own: the shared node's policies must stay.
(missingForNode().length === 0 ? describe : describe.skip)('approvals that cannot be forged', () => {
  let plane: ControlPlane;
  let api: RawApi;
  let operator: OperatorProcess;
  let installed: readonly ManifestObject[];

  beforeAll(async () => {
    plane = await startControlPlane();
    api = plane.api;
    installed = await installChartObjects(api);
    await prepareNamespace();
    operator = await startOperatorProcess(plane, { identityAliases: aliases, integrityProbeSeconds: 5 });
    await integrityIs('True');
  }, 120_000);
  afterAll(async () => {
    await operator?.[Symbol.asyncDispose]();
    await plane?.[Symbol.asyncDispose]();
  });

  describe('approval integrity', () => {
    const edits: readonly (readonly [string, 'Policy' | 'PolicyBinding', string, (spec: Spec) => Spec])[] = guards.flatMap((name) => [
      [`another expression in ${name}`, 'Policy', name, (spec: Spec) => ({ ...spec, validations: (spec['validations'] as readonly Spec[]).map((rule) => ({ ...rule, expression: 'true' })) })],
      [`${name} that fails open`, 'Policy', name, (spec: Spec) => ({ ...spec, failurePolicy: 'Ignore' })],
      [`a condition on ${name}`, 'Policy', name, (spec: Spec) => ({ ...spec, matchConditions: [{ name: 'nobody', expression: 'false' }] })],
      [`${name} for some namespaces only`, 'Policy', name, (spec: Spec) => ({ ...spec, matchConstraints: { ...(spec['matchConstraints'] as Spec), namespaceSelector: { matchLabels: { team: 'other' } } } })],
      [`a binding of ${name} that only audits`, 'PolicyBinding', name, (spec: Spec) => ({ ...spec, validationActions: ['Audit'] })],
      [`a binding of ${name} for some namespaces only`, 'PolicyBinding', name, (spec: Spec) => ({ ...spec, matchResources: { namespaceSelector: { matchLabels: { team: 'other' } } } })],
    ] as const);

    test.each(edits)('is lost within 10 s of %s, and comes back when it is put back', async (_what, kind, name, change) => {
      const object = await stored(kind, name);
      try {
        await replace(kind, name, change(object.spec));
        await integrityIs('False', kind === 'Policy' ? 'PolicyChanged' : 'BindingChanged');
      } finally {
        await replace(kind, name, object.spec);
      }
      await integrityIs('True');
    }, 60_000);

    test.each(guards.flatMap((name) => [['Policy', name], ['PolicyBinding', name]] as const))('is lost within 10 s when ValidatingAdmission%s %s is deleted, and comes back with it', async (kind, name) => {
      await api.send({ method: 'DELETE', path: admission(kind, name) });
      await integrityIs('False', 'PolicyMissing');
      await restore(name);
      await integrityIs('True');
    }, 60_000);

    test('tells of the other admission policies by a condition of their own', async () => {
      const name = 'target-secrets.sallyport.dev';
      await api.send({ method: 'DELETE', path: admission('Policy', name) });
      await until('the other condition', async () => (await condition('AdmissionIntegrity'))?.status === 'False');
      expect(await condition('AdmissionIntegrity')).toMatchObject({ reason: 'PolicyMissing', message: expect.stringContaining(name) });
      expect(await condition('ApprovalIntegrity')).toMatchObject({ status: 'True' });
      await restore(name);
      await until('the other condition', async () => (await condition('AdmissionIntegrity'))?.status === 'True');
    }, 60_000);

    test('says when it was last proven', async () => {
      const before = (await config()).status?.integrityCheckedAt ?? '';
      await until('another probe', async () => ((await config()).status?.integrityCheckedAt ?? '') > before);
    }, 30_000);

    test('is a metric and tells of loss and regain by Events', async () => {
      expect(await operator.metrics()).toMatch(/^sallyport_approval_integrity 1$/m);
      const { body } = await api.send({ method: 'GET', path: `/apis/events.k8s.io/v1/namespaces/${namespace}/events` });
      const reasons = ((body as { readonly items: unknown }).items as readonly { readonly reason: string }[]).map((event) => event.reason);
      expect(reasons).toEqual(expect.arrayContaining(['ApprovalIntegrityLost', 'ApprovalIntegrityRegained']));
    });
  });

  describe('counting', () => {
    test('two people of the approving group release a request; every other decision is listed with the reason why it does not count', async () => {
      const request = await ask('r-quorum');
      await decide(request, bob, 'd1');
      await decide(request, bob, 'd2');
      await decide(request, aliceAdmin, 'd3');
      await decide(request, dan, 'd4', { asGroups: ['oidc:sre'] });
      await decide(request, iam, 'd5');
      await decide(request, bob, 'd6', { digest: `sha256:${'0'.repeat(64)}` });
      await decide(request, bob, 'd7', { requester: { username: 'oidc:dan@bank.example' } });
      await decide(request, bob, 'd8', { requestRef: { name: 'r-quorum', uid: '00000000-1111-2222-3333-444444444444' } });
      await until('eight decisions', async () => (await statusOf('r-quorum')).decisions?.length === 8);
      const reasons = Object.fromEntries(((await statusOf('r-quorum')).decisions ?? []).map((decision) => [decision.name, decision.ignoredReason ?? 'counts']));
      expect(reasons).toEqual({ d1: 'counts', d2: 'Duplicate', d3: 'SelfApproval', d4: 'NotInApproverGroup', d5: 'UnmappedIdentity', d6: 'DigestMismatch', d7: 'RequesterMismatch', d8: 'UIDMismatch' });
      expect(await statusOf('r-quorum')).toMatchObject({ phase: 'Pending', approvals: '1/2' });

      await decide(request, carol, 'd9');
      await until('the approval', async () => (await statusOf('r-quorum')).phase === 'Approved');
      expect(await statusOf('r-quorum')).toMatchObject({ approvals: '2/2', decidedAt: expect.any(String), expiresAt: expect.any(String) });
    }, 60_000);

    test('a grant ends when its time is over', async () => {
      const request = await ask('r-short', { ...(await windowOf('5s')) }, alice);
      await decide(request, bob, 's1');
      await decide(request, carol, 's2');
      await until('the approval', async () => (await statusOf('r-short')).phase === 'Approved');
      await until('its end', async () => (await statusOf('r-short')).phase === 'Expired');
    }, 30_000);

    test('nobody decides in another\'s name, and the requester not at all, whatever they are at the cluster', async () => {
      const request = await ask('r-forged');
      const forge = async (by: string, as: Caller | undefined): Promise<string> => (await send(decisionOn(request, by, 'forged'), as)).message;
      expect(await forge(carol.user, bob)).toContain('by-is-caller: ');
      expect(await forge(bob.user, undefined)).toContain('by-is-caller: ');
      // The operator may not even try outside its own namespace, where its probe is refused all the time.
      expect(await forge(bob.user, { user: 'system:serviceaccount:sallyport-system:sallyport-operator', groups: ['system:serviceaccounts'] })).toContain('cannot create resource');
      expect(await forge(alice.user, alice)).toContain('must differ from the requester');
      expect((await statusOf('r-forged')).decisions ?? []).toEqual([]);
    }, 30_000);

    test('a request that nobody decides on expires by itself', async () => {
      await ask('r-expires', { decideWithin: '3s' });
      await until('its end', async () => (await statusOf('r-expires')).phase === 'Expired');
      expect(await statusOf('r-expires')).toMatchObject({ approvals: '0/2', conditions: [{ type: 'Decided', status: 'True', reason: 'Expired' }] });
    }, 30_000);

    test('a window ends when an approver revokes it, and no later approval brings it back', async () => {
      const request = await ask('r-window', await windowOf('1h'), alice);
      await decide(request, bob, 'w1');
      await decide(request, carol, 'w2');
      await until('the approval', async () => (await statusOf('r-window')).phase === 'Approved');
      await decide(request, carol, 'w3', { decision: 'Revoke' });
      await until('the revocation', async () => (await statusOf('r-window')).phase === 'Revoked');
      await decide(request, bob, 'w4');
      await until('the late decision', async () => (await statusOf('r-window')).phase === 'Revoked');
      expect(((await statusOf('r-window')).conditions ?? [])[0]).toMatchObject({ reason: 'Revoked', message: 'revoked by oidc:carol@bank.example' });
    }, 30_000);

    test('a policy that changes ends what waits under it', async () => {
      const reference = await policyRef();
      await ask('r-superseded', { policyRef: { ...reference, generation: reference.generation + 5, rule: 'ddl' } });
      await until('its end', async () => (await statusOf('r-superseded')).phase === 'Superseded');
    }, 30_000);

    test('a request whose text is not what its digest says is denied', async () => {
      const spec = await specOf({});
      const answer = await send({ apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessRequest', metadata: { name: 'r-changed', namespace }, spec: { ...spec, statement: 'DROP TABLE orders' } }, proxy);
      expect(answer.status).toBe(201);
      await until('its end', async () => (await statusOf('r-changed')).phase === 'Denied');
      expect(((await statusOf('r-changed')).conditions ?? [])[0]).toMatchObject({ reason: 'InvalidDigest' });
    }, 30_000);

    test('the 21st waiting request of one person is denied', async () => {
      for (let index = 0; index < 24; index++) await ask(`r-many-${index}`, { requester: { username: 'oidc:erin@bank.example' }, action: `Alter ${index}`, decideWithin: '1h' });
      const phases = async (): Promise<readonly string[]> => (await Promise.all(Array.from({ length: 24 }, (_, index) => statusOf(`r-many-${index}`)))).map((status) => status.phase ?? '');
      await until('all of them', async () => (await phases()).every((phase) => phase !== ''));
      expect((await phases()).filter((phase) => phase === 'Pending')).toHaveLength(20);
      expect((await phases()).filter((phase) => phase === 'Denied')).toHaveLength(4);
    }, 60_000);
  });

  test('a decision that was forged while a policy was missing does not count when it is back, and says so', async () => {
    const request = await ask('r-gap');
    await api.send({ method: 'DELETE', path: admission('PolicyBinding', guards[0]) });
    await integrityIs('False');
    await until('the forgery', async () => (await send(decisionOn(request, bob.user, 'gap-1'), undefined)).status === 201);
    await send(decisionOn(request, carol.user, 'gap-2'), undefined);
    expect(await statusOf('r-gap')).toMatchObject({ phase: 'Pending' });
    await restore(guards[0]);
    await integrityIs('True');
    await until('both decisions', async () => (await statusOf('r-gap')).decisions?.length === 2);
    expect(await statusOf('r-gap')).toMatchObject({ phase: 'Pending', approvals: '0/2', decisions: [{ counted: false, ignoredReason: 'BeforeIntegrity' }, { counted: false, ignoredReason: 'BeforeIntegrity' }] });
  }, 60_000);

  test('a policy that was taken away and put back while the operator was down is noticed by its new uid', async () => {
    const before = (await config()).status?.integritySince ?? '';
    await operator.stop();
    await api.send({ method: 'DELETE', path: admission('Policy', guards[0]) });
    await restore(guards[0]);
    operator = await startOperatorProcess(plane, { identityAliases: aliases, integrityProbeSeconds: 5 });
    await until('a later beginning', async () => ((await config()).status?.integritySince ?? '') > before && (await condition('ApprovalIntegrity'))?.status === 'True');
  }, 60_000);

  test('a restart without any change keeps the beginning', async () => {
    const before = (await config()).status?.integritySince;
    await operator.stop();
    operator = await startOperatorProcess(plane, { identityAliases: aliases, integrityProbeSeconds: 5 });
    const checked = (await config()).status?.integrityCheckedAt ?? '';
    await until('a probe of the new process', async () => ((await config()).status?.integrityCheckedAt ?? '') > checked);
    expect((await config()).status?.integritySince).toBe(before);
  }, 60_000);

  type Spec = Readonly<Record<string, unknown>>;

  async function prepareNamespace(): Promise<void> {
    const meta = (name: string): ManifestObject['metadata'] => ({ name, namespace });
    const subjects = (names: readonly (readonly [string, string])[]): unknown[] => names.map(([kind, name]) => ({ kind, name, apiGroup: 'rbac.authorization.k8s.io' }));
    const bind = (name: string, role: string, to: unknown[]): ManifestObject => ({ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata: meta(name), roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role }, subjects: to });
    const approval = { groups: ['oidc:dba'], required: 2, decideWithin: '15m' };
    const objects: readonly ManifestObject[] = [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
      { apiVersion: 'v1', kind: 'Secret', metadata: meta('orders-gateway'), stringData: { username: 'u', password: 'p' } },
      bind('approvers', 'sallyport-approver', subjects([['Group', 'oidc:dba'], ['Group', 'oidc:sre']])), bind('requesters', 'sallyport-requester', subjects([['User', alice.user]])),
      bind('proxy', 'sallyport-proxy', [{ kind: 'ServiceAccount', name: 'sallyport-proxy', namespace }]),
      { apiVersion: 'sallyport.dev/v1alpha1', kind: 'IdentityProvider', metadata: { name: 'company' }, spec: { issuer: 'https://idp.bank.example', audiences: ['sallyport'], claims: { username: 'email', groups: 'groups', usernamePrefix: 'oidc:', groupsPrefix: 'oidc:' } } },
      { apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', metadata: { ...meta('orders-db'), labels: { env: 'prod' } }, spec: { postgres: { host: 'db', credentials: { secretRef: { name: 'orders-gateway' } }, databases: ['orders'] } } },
      {
        apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessPolicy', metadata: meta('oncall'),
        spec: {
          subjects: [{ kind: 'Group', name: 'oidc:oncall' }], targets: { selector: { matchLabels: { env: 'prod' } } },
          rules: [
            { name: 'ddl', action: 'RequireApproval', postgres: { statements: ['Alter'] }, approval },
            { name: 'window', action: 'RequireApproval', postgres: { statements: ['Update'] }, approval: { ...approval, scope: 'Window', grantTTL: '2h' } },
          ],
        },
      },
    ];
    for (const object of objects) await put(api, object);
  }

  function admission(kind: 'Policy' | 'PolicyBinding', name: string): string {
    return objectPath({ apiVersion: 'admissionregistration.k8s.io/v1', kind: `ValidatingAdmission${kind}`, metadata: { name } });
  }

  async function stored(kind: 'Policy' | 'PolicyBinding', name: string): Promise<{ readonly spec: Spec }> {
    return (await api.send({ method: 'GET', path: admission(kind, name) })).body as { readonly spec: Spec };
  }

  /** The controller manager writes the status of policies meanwhile: a conflict is tried again. */
  async function replace(kind: 'Policy' | 'PolicyBinding', name: string, spec: Spec): Promise<void> {
    await until(`the edit of ${name}`, async () => {
      const { body } = await api.send({ method: 'GET', path: admission(kind, name) });
      const answer = await api.send({ method: 'PUT', path: admission(kind, name), body: { ...(body as Spec), spec } });
      if (answer.status !== 200 && answer.status !== 409) throw new Error(answer.message);
      return answer.status === 200;
    });
  }

  async function restore(name: string): Promise<void> {
    for (const object of installed) if (object.metadata.name === name && object.kind.startsWith('ValidatingAdmission')) await put(api, object);
  }

  async function config(): Promise<ProxyConfigResource> {
    return (await api.send({ method: 'GET', path: `/apis/sallyport.dev/v1alpha1/namespaces/${namespace}/proxyconfigs/sallyport-proxy` })).body as ProxyConfigResource;
  }

  async function condition(type: string): Promise<{ readonly status: string; readonly reason: string; readonly message: string } | undefined> {
    return (await config()).status?.conditions?.find((one) => one.type === type);
  }

  /** Within the 10 s that are promised. */
  async function integrityIs(status: 'True' | 'False', reason?: string): Promise<void> {
    await until(`ApprovalIntegrity ${status}`, async () => (await condition('ApprovalIntegrity'))?.status === status);
    if (reason !== undefined) expect(await condition('ApprovalIntegrity')).toMatchObject({ reason });
  }

  async function policyRef(): Promise<{ name: string; uid: string; generation: number }> {
    const policy = await api.send({ method: 'GET', path: `/apis/sallyport.dev/v1alpha1/namespaces/${namespace}/accesspolicies/oncall` });
    return { name: 'oncall', uid: policy.at('metadata.uid') as string, generation: policy.at('metadata.generation') as number };
  }

  async function windowOf(grantTTL: string): Promise<Parameters<typeof specOf>[0]> {
    return { scope: 'Window', grantTTL, statement: undefined, statementHMAC: undefined, policyRef: { ...(await policyRef()), rule: 'window' } };
  }

  async function specOf(change: Partial<{ [Field in keyof AccessRequestResource['spec']]: AccessRequestResource['spec'][Field] | undefined }>): Promise<AccessRequestResource['spec']> {
    const target = await api.send({ method: 'GET', path: `/apis/sallyport.dev/v1alpha1/namespaces/${namespace}/targets/orders-db` });
    const spec = JSON.parse(JSON.stringify({
      scope: 'Statement', requester: { username: alice.user }, policyRef: { ...(await policyRef()), rule: 'ddl' }, targetRef: { name: 'orders-db', uid: target.at('metadata.uid') }, action: 'Alter on public.orders',
      statement: 'ALTER TABLE orders ADD COLUMN note text', statementHMAC: `hmac-sha256:k1:${'a'.repeat(64)}`, approvers: { groups: ['oidc:dba'], required: 2 }, decideWithin: '10m', ...change,
    })) as AccessRequestResource['spec'];
    return { ...spec, digest: requestDigest(spec) };
  }

  async function ask(name: string, change: Parameters<typeof specOf>[0] = {}, as: Caller = proxy): Promise<AccessRequestResource> {
    const answer = await send({ apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessRequest', metadata: { name, namespace }, spec: await specOf(change) }, as);
    if (answer.status !== 201) throw new Error(answer.message);
    return answer.body as AccessRequestResource;
  }

  function decisionOn(request: AccessRequestResource, by: string, name: string, change: Partial<AccessDecisionResource['spec']> = {}): AccessDecisionResource {
    return {
      apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessDecision', metadata: { name, namespace },
      spec: {
        requestRef: { name: request.metadata.name, uid: request.metadata.uid ?? '' }, policyRef: { name: request.spec.policyRef.name }, requester: { username: request.spec.requester.username },
        digest: request.spec.digest, decision: 'Approve', by, asGroups: ['oidc:dba'], ...change,
      },
    };
  }

  async function decide(request: AccessRequestResource, by: Caller, name: string, change: Partial<AccessDecisionResource['spec']> = {}): Promise<void> {
    const answer = await send(decisionOn(request, by.user, name, change), by);
    if (answer.status !== 201) throw new Error(answer.message);
  }

  function send(object: AccessRequestResource | AccessDecisionResource, as: Caller | undefined): ReturnType<RawApi['send']> {
    return api.send({ method: 'POST', path: objectPath(object).replace(/\/[^/]+$/, ''), body: object, ...(as === undefined ? {} : { as }) });
  }

  async function statusOf(name: string): Promise<NonNullable<AccessRequestResource['status']>> {
    return ((await api.send({ method: 'GET', path: `/apis/sallyport.dev/v1alpha1/namespaces/${namespace}/accessrequests/${name}` })).body as AccessRequestResource).status ?? {};
  }

  async function until(what: string, holds: () => Promise<boolean>, limitMs = 10_000): Promise<void> {
    const deadline = performance.now() + limitMs;
    while (!(await holds())) {
      if (performance.now() > deadline) throw new Error(`never within ${limitMs} ms: ${what}\n${operator?.log().slice(-2_000) ?? ''}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
});
