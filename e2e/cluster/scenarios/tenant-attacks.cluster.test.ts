import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { endClients } from '../../hosts/clients.ts';
import { pathTo } from '../cases/api-objects.ts';
import { verdictOf } from '../cases/replay.ts';
import { openCluster } from '../hosts/cluster.ts';
import { type NamespaceWorld, startNamespace } from '../hosts/namespace-world.ts';
import { openRawApi, type RawAnswer, type RawApi, type RawRequest } from '../hosts/raw-api.ts';

const cluster = openCluster();

const namespace = 'attacked';
const uid = '11111111-1111-1111-1111-111111111111';
const digest = `sha256:${'a'.repeat(64)}`;
const account = `system:serviceaccount:${namespace}:sallyport-proxy`;
const own = { labels: { 'app.kubernetes.io/managed-by': 'sallyport' } };
/** The namespace enforces the strictest level; what is refused here must not be refused by that. */
const container = { name: 'evil', image: 'evil', securityContext: { allowPrivilegeEscalation: false, runAsNonRoot: true, runAsUser: 1_000, capabilities: { drop: ['ALL'] }, seccompProfile: { type: 'RuntimeDefault' } } };
const policies = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: oncall}
spec:
  subjects: [{kind: Group, name: sre}]
  targets: {names: [orders-db]}
  rules: [{name: reads, action: Allow, postgres: {statements: [Select, Show]}}]
`;

/** What a tenant of the namespace may do beyond the built-in role edit in these tests: everything to our kinds but the virtual verbs, so that admission alone refuses. */
const tenantRole = `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: tenant, namespace: ${namespace}}
rules:
- apiGroups: [sallyport.dev]
  resources: [targets, accesspolicies, proxyconfigs, accessrequests, accessdecisions, accesssessions, proxyconfigs/status, accessrequests/status, accesssessions/status]
  verbs: [get, list, create, update, patch, delete, deletecollection]
- {apiGroups: [""], resources: [pods/ephemeralcontainers], verbs: [patch]}
`;

(cluster ? describe : describe.skip)('what a tenant, an approver or a stolen token tries in a real cluster', () => {
  if (cluster === null) return void test.todo('needs a Kubernetes node');
  let world: NamespaceWorld;
  let api: RawApi;
  let closeServer = (): void => undefined;
  let proxyPods: readonly string[] = [];
  const tokens = { alice: '', bob: '', carol: '', mallory: '', operator: '', proxy: '' };

  beforeAll(async () => {
    const { close, ...access } = await cluster.apiServer();
    closeServer = close;
    api = openRawApi(access);
    [tokens.alice, tokens.bob, tokens.carol, tokens.mallory] = await Promise.all([cluster.tokenOf('alice', ['sre']), cluster.tokenOf('bob', ['dba']), cluster.tokenOf('carol', ['authors']), cluster.tokenOf('mallory', ['tenants'])]);
    world = await startNamespace(cluster, { namespace, policies });
    await cluster.apply(tenantRole);
    await cluster.must(['create', 'rolebinding', 'tenants-edit', '--clusterrole=edit', '--group=tenants', '-n', namespace]);
    await cluster.must(['create', 'rolebinding', 'tenants', '--role=tenant', '--group=tenants', '-n', namespace]);
    await cluster.must(['create', 'rolebinding', 'authors', '--clusterrole=sallyport-policy-author', '--group=authors', '-n', namespace]);
    await cluster.must(['create', 'rolebinding', 'alice-too', '--clusterrole=sallyport-approver', '--group=sre', '-n', namespace]);
    tokens.operator = (await cluster.must(['create', 'token', 'sallyport-operator', '-n', 'sallyport-system'])).trim();
    proxyPods = (await cluster.list('pods', namespace, ['-l', 'app.kubernetes.io/name=sallyport-proxy'])).map((each) => each.metadata.name);
    // The administrator holds the verb debug by his wildcard; nobody else enters a proxy.
    tokens.proxy = (await cluster.must(['exec', '-n', namespace, proxyPods[0] ?? '', '--', 'node', '-p', 'require("fs").readFileSync("/var/run/secrets/kubernetes.io/serviceaccount/token", "utf8")'])).trim();
  }, 240_000);

  afterAll(async () => {
    endClients();
    await api?.close();
    closeServer();
    await world?.[Symbol.asyncDispose]();
  }, 60_000);

  const mine = (kind: string, name: string, spec: object): object => ({ apiVersion: 'sallyport.dev/v1alpha1', kind, metadata: { name, namespace }, spec });
  const post = (resource: string, body: object, more: Partial<RawRequest> = {}): Promise<RawAnswer> => api.send({ method: 'POST', path: pathTo(resource, namespace), body, ...more });
  const patch = (resource: string, name: string, body: object, more: Partial<RawRequest> & { readonly subresource?: string } = {}): Promise<RawAnswer> => {
    const { subresource, ...rest } = more;
    return api.send({ method: 'PATCH', path: pathTo(resource, namespace, name, subresource), body, ...rest });
  };
  const verdict = async (answer: Promise<RawAnswer>): Promise<string> => verdictOf(await answer, 'attack');
  const target = (name: string, secret: object): object => mine('Target', name, { postgres: { host: `orders-rw.${namespace}.svc`, credentials: { secretRef: secret }, databases: ['orders'] } });
  const decision = (by: string): object => mine('AccessDecision', 'forged', { requestRef: { name: 'r1', uid }, policyRef: { name: 'oncall' }, requester: { username: 'oidc:alice@bank.example' }, digest, decision: 'Approve', by });
  const request = (scope: 'Session' | 'Statement', username: string): object => mine('AccessRequest', `by-hand-${scope.toLowerCase()}`, {
    scope, requester: { username }, policyRef: { name: 'oncall', uid, generation: 1 }, targetRef: { name: 'orders-db', uid }, action: 'harmless', digest, approvers: { groups: ['dba'], required: 1 }, decideWithin: '30m',
    ...(scope === 'Session' ? { grantTTL: '1h' } : { statement: 'SELECT 1', statementHMAC: `hmac-sha256:k1:${'a'.repeat(64)}` }),
  });
  const session = (pod: string): object => mine('AccessSession', 'forged', { user: { username: 'oidc:alice@bank.example' }, targetRef: { name: 'orders-db', uid }, protocol: 'PostgreSQL', startedAt: '2026-05-01T10:00:00Z', pod, sessionID: 'forged' });

  describe('other people\'s Secrets (K4)', () => {
    test('an author who may not read a Secret cannot make a Target that sends it, and is told the same of one that does not exist', async () => {
      const there = await post('targets', target('mine', { name: 'orders-gateway' }), { token: tokens.carol });
      const absent = await post('targets', target('mine', { name: 'no-such-secret' }), { token: tokens.carol });
      expect(verdictOf(there, 'CREATE')).toBe('denied may-read-credentials');
      expect(absent.message).toBe(there.message);
    });

    test('nor lead an existing Target to a host of their own, by whatever kind of patch', async () => {
      expect(await verdict(patch('targets', 'orders-db', { spec: { postgres: { host: 'evil.example' } } }, { token: tokens.carol }))).toBe('denied may-read-credentials');
      expect(await verdict(patch('targets', 'orders-db', [{ op: 'replace', path: '/spec/postgres/host', value: 'evil.example' }], { token: tokens.carol, contentType: 'application/json-patch+json' }))).toBe('denied may-read-credentials');
      const applied = { apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', metadata: { name: 'orders-db', namespace }, spec: { postgres: { host: 'evil.example' } } };
      expect(await verdict(patch('targets', 'orders-db', applied, { token: tokens.carol, contentType: 'application/apply-patch+yaml', query: { fieldManager: 'carol', force: 'true' } }))).toBe('denied may-read-credentials');
      expect(await verdict(patch('targets', 'orders-db', { metadata: { annotations: { 'example.com/note': 'seen' } } }, { token: tokens.carol }))).toBe('allowed');
    });

    test('no field names a Secret of another namespace', async () => {
      const refused = await cluster.kubectl(['apply', '-f', '-'], { token: tokens.mallory, input: JSON.stringify(target('mine', { name: 'orders-gateway', namespace: 'sallyport-system' })) });
      expect(refused).toMatchObject({ code: 1 });
      expect(refused.err).toContain('unknown field "spec.postgres.credentials.secretRef.namespace"');
    });
  });

  describe('the proxy\'s config and identity', () => {
    test('nobody but the operator writes a ProxyConfig', async () => {
      expect(await verdict(patch('proxyconfigs', 'sallyport-proxy', { spec: { revision: 9_000_000_000_000_000, hash: digest, config: '{}' } }, { token: tokens.mallory }))).toBe('denied operator-only');
      expect(await verdict(patch('proxyconfigs', 'sallyport-proxy', { spec: { revision: 9_000_000_000_000_000, hash: digest, config: '{}' } }))).toBe('denied operator-only');
      expect(await verdict(api.send({ method: 'DELETE', path: pathTo('proxyconfigs', namespace, 'sallyport-proxy'), token: tokens.mallory }))).toBe('denied operator-only');
    });

    test('a proxy acknowledges for itself only, and a real token of one pod changes nothing of another', async () => {
      const token = tokens.proxy;
      const [self = '', sibling = ''] = proxyPods;
      const ack = (pod: string): object => ({ apiVersion: 'sallyport.dev/v1alpha1', kind: 'ProxyConfig', metadata: { name: 'sallyport-proxy', namespace }, status: { proxies: [{ pod, revision: 1, hash: digest, state: 'Applied' }] } });
      const apply = { token, subresource: 'status', contentType: 'application/apply-patch+yaml' } as const;
      expect(await verdict(patch('proxyconfigs', 'sallyport-proxy', ack(sibling), { ...apply, query: { fieldManager: `sallyport-proxy/${sibling}`, force: 'true' } }))).toBe('denied own-entry');
      expect(await verdict(patch('proxyconfigs', 'sallyport-proxy', ack('sallyport-proxy-ghost'), { ...apply, query: { fieldManager: 'sallyport-proxy/ghost', force: 'true' } }))).toBe('denied own-entry');
      expect(await verdict(patch('proxyconfigs', 'sallyport-proxy', { status: { integrityCheckedAt: '2030-01-01T00:00:00Z' } }, { token, subresource: 'status' }))).toBe('denied proxies-only');
      expect(await verdict(patch('proxyconfigs', 'sallyport-proxy', ack(self), { ...apply, query: { fieldManager: `sallyport-proxy/${self}`, force: 'true', dryRun: 'All' } }))).toBe('allowed');
    });

    test('with the built-in role edit one may impersonate the account, but not its pod', async () => {
      const as = { token: tokens.mallory, as: { user: account } };
      const withPod = { token: tokens.mallory, as: { user: account, extra: { 'authentication.kubernetes.io/pod-name': [proxyPods[0] ?? ''] } } };
      expect(await verdict(patch('proxyconfigs', 'sallyport-proxy', { status: { proxies: [] } }, { ...as, subresource: 'status' }))).toBe('denied pod-bound');
      expect(await verdict(post('accesssessions', session(proxyPods[0] ?? ''), as))).toBe('denied created-by-proxy');
      expect(await verdict(post('accessrequests', request('Statement', account), as))).toBe('denied statement-from-proxy');
      expect(await verdict(post('accessrequests', request('Session', 'oidc:alice@bank.example'), as))).toBe('denied pod-bound');
      expect((await post('accesssessions', session(proxyPods[0] ?? ''), withPod)).message).toContain('cannot impersonate resource "userextras/authentication.kubernetes.io/pod-name"');
    });

    test('no pod of a tenant runs as the proxy or passes for one', async () => {
      const pod = (metadata: object, spec: object): object => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'evil', namespace, ...metadata }, spec: { containers: [container], ...spec } });
      expect(await verdict(post('pods', pod({}, { serviceAccountName: 'sallyport-proxy' }), { token: tokens.mallory }))).toBe('denied proxy-account');
      expect(await verdict(post('pods', pod({}, { serviceAccount: 'sallyport-proxy' }), { token: tokens.mallory }))).toBe('denied proxy-account');
      expect(await verdict(post('pods', pod({ labels: { 'app.kubernetes.io/name': 'sallyport-proxy' } }, {}), { token: tokens.mallory }))).toBe('denied proxy-label');
      const image = { spec: { containers: [{ name: 'proxy', image: 'evil' }] } };
      expect(await verdict(patch('pods', proxyPods[0] ?? '', image, { token: tokens.mallory, contentType: 'application/strategic-merge-patch+json' }))).toBe('denied proxy-account');
      expect(await verdict(patch('deployments', 'sallyport-proxy', { spec: { template: image } }, { token: tokens.mallory, contentType: 'application/strategic-merge-patch+json' }))).toBe('denied proxy-account');
    });

    test('a Job as the proxy never gets a pod, and says why', async () => {
      await cluster.apply(JSON.stringify({ apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'as-proxy', namespace }, spec: { template: { spec: { serviceAccountName: 'sallyport-proxy', restartPolicy: 'Never', containers: [container] } } } }), { token: tokens.mallory });
      await cluster.waitFor('jsonpath={.reason}=FailedCreate', ['events', '--field-selector', 'involvedObject.name=as-proxy'], namespace, 30);
      expect(await cluster.must(['get', 'events', '-n', namespace, '--field-selector', 'involvedObject.name=as-proxy', '-o', 'jsonpath={.items[*].message}'])).toContain('proxy-account');
      expect(await cluster.list('pods', namespace, ['-l', 'job-name=as-proxy'])).toEqual([]);
    });

    test('nobody enters a proxy, and nobody is given a token of its account', async () => {
      const entered = await cluster.kubectl(['exec', '-n', namespace, proxyPods[0] ?? '', '--', 'node', '-p', '1'], { token: tokens.mallory });
      expect(entered.err).toContain('no-exec');
      const attached = await cluster.kubectl(['attach', '-n', namespace, proxyPods[0] ?? ''], { token: tokens.mallory });
      expect(attached.err).toContain('no-exec');
      const debug = { spec: { ephemeralContainers: [{ ...container, targetContainerName: 'proxy' }] } };
      expect(await verdict(patch('pods', proxyPods[0] ?? '', debug, { token: tokens.mallory, subresource: 'ephemeralcontainers', contentType: 'application/strategic-merge-patch+json' }))).toBe('denied no-exec');
      for (const as of [{ token: tokens.mallory }, {}]) expect((await cluster.kubectl(['create', 'token', 'sallyport-proxy', '-n', namespace], as)).err).toContain('no-token');
    });
  });

  describe('approvals', () => {
    test.each([
      ['an approver in the name of another', 'bob', 'oidc:carol@bank.example', 'denied by-is-caller'],
      ['a tenant in the name of an approver', 'mallory', 'oidc:bob@bank.example', 'denied by-is-caller'],
      ['a tenant in their own name', 'mallory', 'oidc:mallory@bank.example', 'denied may-approve'],
      ['the requester', 'alice', 'oidc:alice@bank.example', 'schema the approver must differ'],
    ] as const)('a decision by %s is refused', async (_who, token, by, refusedBy) => {
      const answer = verdictOf(await post('accessdecisions', decision(by), { token: tokens[token] }), 'CREATE');
      if (refusedBy.startsWith('schema')) expect(answer).toContain(refusedBy.slice('schema '.length));
      else expect(answer).toBe(refusedBy);
    });

    test('cluster-admin cannot decide in another\'s name, and no service account decides, whatever it may do', async () => {
      expect(await verdict(post('accessdecisions', decision('oidc:bob@bank.example')))).toBe('denied by-is-caller');
      expect(await verdict(post('accessdecisions', decision('system:serviceaccount:kube-system:default'), { as: { user: 'system:serviceaccount:kube-system:default', groups: ['system:masters'] } }))).toBe('denied humans-only');
      expect(await verdict(post('accessdecisions', decision(account), { as: { user: account, groups: ['system:masters'], extra: { 'authentication.kubernetes.io/pod-name': [proxyPods[0] ?? ''] } } }))).toBe('denied humans-only');
    });

    test('an approval of a statement is asked for by the proxy that holds it, and by nobody else', async () => {
      expect(await verdict(post('accessrequests', request('Statement', 'oidc:mallory@bank.example'), { token: tokens.mallory }))).toBe('denied statement-from-proxy');
      expect(await verdict(post('accessrequests', request('Session', 'oidc:alice@bank.example'), { token: tokens.mallory }))).toBe('denied requester-is-caller');
      expect(await verdict(post('accessrequests', request('Statement', 'admin')))).toBe('denied statement-from-proxy');
    });

    test('neither a tenant nor cluster-admin writes a request to be approved, ends it, or has it collected', async () => {
      const made = await post('accessrequests', request('Session', 'oidc:mallory@bank.example'), { token: tokens.mallory });
      expect(made.message).toBe('');
      // The schema speaks first once the operator has found the made-up digest and closed the request.
      const refusedStatus = /^denied status-writers$|a final phase cannot change/;
      const approved = { status: { phase: 'Approved', decidedAt: '2026-05-01T10:00:00Z', expiresAt: '2030-05-01T10:00:00Z' } };
      const gone = { metadata: { ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'gone', uid }] } };
      expect(await verdict(patch('accessrequests', 'by-hand-session', approved, { token: tokens.mallory, subresource: 'status' }))).toMatch(refusedStatus);
      expect(await verdict(patch('accessrequests', 'by-hand-session', approved, { subresource: 'status' }))).toMatch(refusedStatus);
      expect(await verdict(patch('accessrequests', 'by-hand-session', { status: { phase: 'Approved' } }, { token: tokens.proxy, subresource: 'status' }))).toMatch(/^denied proxy-use-only$|^403 .*cannot patch|a final phase cannot change/);
      expect(await verdict(patch('accessrequests', 'by-hand-session', gone, { token: tokens.mallory }))).toBe('denied no-owners');
      expect(await verdict(api.send({ method: 'DELETE', path: pathTo('accessrequests', namespace), token: tokens.mallory }))).toBe('denied no-delete');
    });
  });

  test('a record of a session is made by the proxy that holds it, and by nobody else', async () => {
    expect(await verdict(post('accesssessions', session(proxyPods[0] ?? ''), { token: tokens.mallory }))).toBe('denied created-by-proxy');
    expect(await verdict(post('accesssessions', session(proxyPods[0] ?? '')))).toBe('denied created-by-proxy');
    expect(await verdict(post('accesssessions', session(proxyPods[1] ?? ''), { token: tokens.proxy }))).toBe('denied created-by-proxy');
  });

  describe('a stolen token of the operator', () => {
    const role = (name: string, rules: readonly object[]): object => ({ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name, namespace, ...own }, rules });
    const getSecrets = { apiGroups: [''], resources: ['secrets'], verbs: ['get'] };
    const roleBinding = (kind: string, name: string, subject: object): object => ({ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata: { name: 'stolen', namespace, ...own }, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name }, subjects: [subject] });
    const secret = (name: string, more: object): object => ({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace, ...more }, type: 'Opaque' });
    const byOperator = (): { readonly token: string } => ({ token: tokens.operator });

    test('grants nothing but the reading of named Secrets to the proxy of the same namespace', async () => {
      expect(await verdict(post('roles', role('other', [{ ...getSecrets, resourceNames: ['orders-gateway'] }]), byOperator()))).toBe('denied named-secrets');
      expect(await verdict(post('roles', role('sallyport-proxy-secrets', [getSecrets]), byOperator()))).toBe('denied named-secrets');
      expect(await verdict(post('rolebindings', roleBinding('ClusterRole', 'sallyport-proxy', { kind: 'ServiceAccount', name: 'default', namespace }), byOperator()))).toBe('denied own-proxy');
      expect(await verdict(post('rolebindings', roleBinding('ClusterRole', 'sallyport-proxy', { kind: 'ServiceAccount', name: 'sallyport-proxy', namespace: 'default' }), byOperator()))).toBe('denied own-proxy');
      // More than it holds itself is refused by RBAC before admission is asked; of what it holds, admission lets it bind its own two roles only.
      expect((await post('rolebindings', roleBinding('ClusterRole', 'sallyport-view', { kind: 'ServiceAccount', name: 'sallyport-proxy', namespace }), byOperator())).message).toContain('attempting to grant RBAC permissions not currently held');
      expect((await post('roles', role('held-too', [{ apiGroups: ['sallyport.dev'], resources: ['targets'], verbs: ['list'] }]))).status).toBe(201);
      expect(await verdict(post('rolebindings', roleBinding('Role', 'held-too', { kind: 'ServiceAccount', name: 'sallyport-proxy', namespace }), byOperator()))).toBe('denied known-roles');
    });

    test('RBAC itself keeps it from cluster-wide grants and from Secrets\' lists', async () => {
      const binding = { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRoleBinding', metadata: { name: 'stolen' }, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' }, subjects: [] };
      expect((await api.send({ method: 'POST', path: pathTo('clusterrolebindings', undefined), body: binding, ...byOperator() })).message).toContain('cannot create resource "clusterrolebindings"');
      expect((await post('rolebindings', roleBinding('ClusterRole', 'cluster-admin', { kind: 'ServiceAccount', name: 'sallyport-proxy', namespace }), byOperator())).message).toContain('attempting to grant RBAC permissions not currently held');
      expect((await api.send({ method: 'GET', path: pathTo('secrets', namespace), ...byOperator() })).status).toBe(403);
    });

    test('makes no Secret but its own, and none that is filled with a token', async () => {
      expect(await verdict(post('secrets', secret('orders-other', {}), byOperator()))).toBe('denied own-secrets');
      const minted = { ...secret('sallyport-x', { annotations: { 'kubernetes.io/service-account.name': 'default' } }), type: 'kubernetes.io/service-account-token' };
      expect(await verdict(post('secrets', minted, byOperator()))).toBe('denied plain-secrets');
    });

    test('runs nothing but the proxy, and changes and deletes nothing that it did not make', async () => {
      const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'stolen', namespace, ...own }, spec: { selector: { matchLabels: { a: 'b' } }, template: { metadata: { labels: { a: 'b' } }, spec: { containers: [container] } } } };
      expect(await verdict(post('deployments', deployment, byOperator()))).toBe('denied own-deployment');
      expect(await verdict(patch('services', 'orders-rw', { spec: { selector: { app: 'evil' } } }, byOperator()))).toMatch(/^denied (found-own|own-services)$/);
      expect(await verdict(api.send({ method: 'DELETE', path: pathTo('services', namespace, 'orders-rw'), ...byOperator() }))).toBe('denied found-own');
    });

    test('decides nothing', async () => {
      const inOwn = { ...decision('system:serviceaccount:sallyport-system:sallyport-operator'), metadata: { name: 'forged', namespace: 'sallyport-system' } };
      expect(await verdict(api.send({ method: 'POST', path: pathTo('accessdecisions', 'sallyport-system'), body: inOwn, ...byOperator() }))).toBe('denied humans-only');
      expect((await post('accessdecisions', decision('oidc:bob@bank.example'), byOperator())).status).toBe(403);
    });
  });

  test('after all that the service is as it was', async () => {
    expect(await world.psql(tokens.alice, 'select count(*) from orders')).toEqual({ code: 0, err: '', out: '20\n' });
    const target = await cluster.get('target', 'orders-db', namespace);
    expect(target?.spec.postgres.host).toBe(`orders-rw.${namespace}.svc`);
    expect(await cluster.list('accessdecisions', namespace)).toEqual([]);
  });
});
