import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { applyAdmission, applyCrds, create, eventually, pathTo } from '../cases/api-objects.ts';
import { grantBase, verdictOf } from '../cases/replay.ts';
import { type ControlPlane, startControlPlane } from '../hosts/control-plane.ts';
import { missingForNode } from '../hosts/node.ts';
import type { Caller, RawAnswer, RawApi, RawRequest } from '../hosts/raw-api.ts';

const namespace = 'payments';
const pod = 'sallyport-proxy-6c9f-abcde';
const uid = '11111111-1111-1111-1111-111111111111';
const other = '22222222-2222-2222-2222-222222222222';
const digest = `sha256:${'a'.repeat(64)}`;
const operator: Caller = { user: 'system:serviceaccount:sallyport-system:sallyport-operator' };
const account = `system:serviceaccount:${namespace}:sallyport-proxy`;
const proxy: Caller = { user: account, extra: { 'authentication.kubernetes.io/pod-name': [pod] } };
const bob: Caller = { user: 'oidc:bob', groups: ['dba'] };
const dev: Caller = { user: 'oidc:dev', groups: ['dev'] };

const metadata = (name: string, more: object = {}): object => ({ name, namespace, ...more });
const mine = (kind: string, name: string, spec: object, more: object = {}): object => ({ apiVersion: 'sallyport.dev/v1alpha1', kind, metadata: metadata(name, more), spec });
const decisionSpec = { requestRef: { name: 'r1', uid }, policyRef: { name: 'oncall' }, requester: { username: 'oidc:alice' }, digest, decision: 'Approve', by: 'oidc:bob' };
const requestSpec = { scope: 'Session', requester: { username: 'oidc:dev' }, policyRef: { name: 'oncall', uid, generation: 1 }, targetRef: { name: 'orders-db', uid }, action: 'session', digest, approvers: { groups: ['dba'], required: 1 }, decideWithin: '30m', grantTTL: '2h' };
const statement = { ...requestSpec, scope: 'Statement', statement: 'SELECT 1', statementHMAC: `hmac-sha256:k1:${'a'.repeat(64)}`, grantTTL: undefined };
const sessionSpec = { user: { username: 'oidc:alice' }, targetRef: { name: 'orders-db', uid }, protocol: 'PostgreSQL', startedAt: '2026-05-01T10:00:00Z', pod, sessionID: '1' };
const configSpec = { revision: 1, hash: digest, config: '{}' };
const targetSpec = { postgres: { host: 'db', credentials: { secretRef: { name: 'orders-gateway' } } } };
const gone = [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'gone', uid: other }];
const container = { name: 'proxy', image: 'a', securityContext: { allowPrivilegeEscalation: false } };
const template = { metadata: { labels: { 'app.kubernetes.io/name': 'sallyport-proxy' } }, spec: { serviceAccountName: 'sallyport-proxy', containers: [container] } };
const own = { labels: { 'app.kubernetes.io/managed-by': 'sallyport' } };

const applyPatch = 'application/apply-patch+yaml';
const jsonPatch = 'application/json-patch+json';
const strategic = 'application/strategic-merge-patch+json';
const applied = { fieldManager: 'someone', force: 'true' };

/** A request that must not get through, and what refuses it. */
type Attack = readonly [name: string, request: RawRequest, refusedBy: string];

const missing = missingForNode();
(missing.length === 0 ? describe : describe.skip)('no detour leads round the admission policies', () => {
  let plane: ControlPlane;
  let api: RawApi;

  beforeAll(async () => {
    plane = await startControlPlane();
    api = plane.api;
    await applyCrds(api);
    await grantBase(api);
    await create(api, 'namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    for (const name of ['default', 'sallyport-proxy']) await create(api, 'serviceaccounts', { apiVersion: 'v1', kind: 'ServiceAccount', metadata: metadata(name) });
    await create(api, 'roles', { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: metadata('approver'), rules: [{ apiGroups: ['sallyport.dev'], resources: ['accesspolicies'], verbs: ['approve'] }, { apiGroups: [''], resources: ['secrets'], verbs: ['get'] }] });
    await create(api, 'rolebindings', { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata: metadata('approver'), roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'approver' }, subjects: [{ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: 'oidc:bob' }] });
    await create(api, 'configmaps', { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'coredns', namespace: 'kube-system' }, data: { Corefile: '' } });
    await applyAdmission(api);
    // The policies come into force one by one; each of these is refused by another of them.
    for (const probe of probes) await eventually(() => api.send(probe), (answer) => /denied request/.test(answer.message));
    await must({ method: 'POST', path: pathTo('accessdecisions', namespace), body: mine('AccessDecision', 'd1', { ...decisionSpec, decision: 'Deny' }), as: bob });
    await must({ method: 'POST', path: pathTo('accessrequests', namespace), body: mine('AccessRequest', 'r1', requestSpec), as: dev });
    await must({ method: 'POST', path: pathTo('accesssessions', namespace), body: mine('AccessSession', 's1', sessionSpec), as: proxy });
    await must({ method: 'POST', path: pathTo('proxyconfigs', namespace), body: mine('ProxyConfig', 'sallyport-proxy', configSpec), as: operator });
    await eventually(() => api.send({ method: 'PATCH', path: `${config}/status`, query: { dryRun: 'All' }, body: { status: { proxies: [] } }, as: dev }), (answer) => /denied request/.test(answer.message));
    await must({ method: 'POST', path: pathTo('targets', namespace), body: mine('Target', 'orders-db', targetSpec), as: bob });
    await must({ method: 'POST', path: pathTo('deployments', namespace), body: { apiVersion: 'apps/v1', kind: 'Deployment', metadata: metadata('sallyport-proxy', own), spec: { replicas: 1, selector: { matchLabels: template.metadata.labels }, template } }, as: operator });
    await must({ method: 'POST', path: pathTo('pods', namespace), body: { apiVersion: 'v1', kind: 'Pod', metadata: metadata(pod, template.metadata), spec: template.spec }, as: { user: 'system:serviceaccount:kube-system:replicaset-controller' } });
  }, 120_000);
  afterAll(async () => {
    await plane[Symbol.asyncDispose]();
  });

  async function must(request: RawRequest): Promise<RawAnswer> {
    const answer = await eventually(() => api.send(request), (each) => each.status !== 403 || /denied request/.test(each.message));
    if (answer.status >= 300) throw new Error(`${request.method} ${request.path}: ${answer.message}`);
    return answer;
  }

  const probes: readonly RawRequest[] = [
    { method: 'POST', path: pathTo('accessdecisions', namespace), query: { dryRun: 'All' }, body: mine('AccessDecision', 'd0', decisionSpec), as: dev },
    { method: 'POST', path: pathTo('accessrequests', namespace), query: { dryRun: 'All' }, body: mine('AccessRequest', 'r0', statement), as: dev },
    { method: 'POST', path: pathTo('accesssessions', namespace), query: { dryRun: 'All' }, body: mine('AccessSession', 's0', sessionSpec), as: dev },
    { method: 'POST', path: pathTo('proxyconfigs', namespace), query: { dryRun: 'All' }, body: mine('ProxyConfig', 'sallyport-proxy', configSpec), as: dev },
    { method: 'POST', path: pathTo('targets', namespace), query: { dryRun: 'All' }, body: mine('Target', 'orders-db', targetSpec), as: dev },
    { method: 'POST', path: pathTo('pods', namespace), query: { dryRun: 'All' }, body: { apiVersion: 'v1', kind: 'Pod', metadata: metadata('x'), spec: template.spec }, as: dev },
    { method: 'POST', path: pathTo('serviceaccounts', namespace, 'sallyport-proxy', 'token'), query: { dryRun: 'All' }, body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} }, as: dev },
    { method: 'POST', path: pathTo('secrets', namespace), query: { dryRun: 'All' }, body: { apiVersion: 'v1', kind: 'Secret', metadata: metadata('x') }, as: operator },
    { method: 'POST', path: pathTo('configmaps', namespace), query: { dryRun: 'All' }, body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: metadata('x') }, as: operator },
    { method: 'POST', path: pathTo('roles', namespace), query: { dryRun: 'All' }, body: { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: metadata('x', own), rules: [] }, as: operator },
    { method: 'POST', path: pathTo('clusterroles', undefined), query: { dryRun: 'All' }, body: { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata: { name: 'x' }, rules: [] }, as: operator },
    { method: 'POST', path: pathTo('rolebindings', namespace), query: { dryRun: 'All' }, body: { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata: metadata('x', own), roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'approver' } }, as: operator },
    { method: 'POST', path: pathTo('deployments', namespace), query: { dryRun: 'All' }, body: { apiVersion: 'apps/v1', kind: 'Deployment', metadata: metadata('x', own), spec: { selector: { matchLabels: template.metadata.labels }, template: { ...template, spec: { containers: [container] } } } }, as: operator },
    { method: 'POST', path: pathTo('services', namespace), query: { dryRun: 'All' }, body: { apiVersion: 'v1', kind: 'Service', metadata: metadata('x', own), spec: { ports: [{ port: 1 }] } }, as: operator },
  ];

  const decision = pathTo('accessdecisions', namespace, 'd1');
  const request = pathTo('accessrequests', namespace, 'r1');
  const session = pathTo('accesssessions', namespace, 's1');
  const config = pathTo('proxyconfigs', namespace, 'sallyport-proxy');
  const target = pathTo('targets', namespace, 'orders-db');
  const runningPod = pathTo('pods', namespace, pod);
  const deployment = pathTo('deployments', namespace, 'sallyport-proxy');

  const forgedDecisions: readonly Attack[] = [
    ['a decision applied by server-side apply', { method: 'PATCH', path: pathTo('accessdecisions', namespace, 'd2'), query: applied, contentType: applyPatch, body: mine('AccessDecision', 'd2', decisionSpec), as: dev }, 'denied by-is-caller'],
    ['a decision with a generated name', { method: 'POST', path: pathTo('accessdecisions', namespace), body: { apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessDecision', metadata: { generateName: 'd-', namespace }, spec: decisionSpec }, as: dev }, 'denied by-is-caller'],
    ['a decision as a dry run', { method: 'POST', path: pathTo('accessdecisions', namespace), query: { dryRun: 'All' }, body: mine('AccessDecision', 'd2', decisionSpec), as: dev }, 'denied by-is-caller'],
    ['a decision by the administrator in the name of another', { method: 'POST', path: pathTo('accessdecisions', namespace), body: mine('AccessDecision', 'd2', decisionSpec) }, 'denied by-is-caller'],
    ['another spelling of the own name', { method: 'POST', path: pathTo('accessdecisions', namespace), body: mine('AccessDecision', 'd2', { ...decisionSpec, by: 'OIDC:bob' }), as: bob }, 'denied by-is-caller'],
    ['the own name with a space', { method: 'POST', path: pathTo('accessdecisions', namespace), body: mine('AccessDecision', 'd2', { ...decisionSpec, by: 'oidc:bob ' }), as: bob }, 'denied by-is-caller'],
    ['a group that the caller has not', { method: 'POST', path: pathTo('accessdecisions', namespace), body: mine('AccessDecision', 'd2', { ...decisionSpec, asGroups: ['dba', 'sre-leads'] }), as: bob }, 'denied own-groups'],
    ['a service account with a pod that decides as itself', { method: 'POST', path: pathTo('accessdecisions', namespace), body: mine('AccessDecision', 'd2', { ...decisionSpec, by: account }), as: proxy }, 'denied humans-only'],
    ['a node that decides as itself', { method: 'POST', path: pathTo('accessdecisions', namespace), body: mine('AccessDecision', 'd2', { ...decisionSpec, by: 'system:node:n1' }), as: { user: 'system:node:n1', groups: ['system:nodes'] } }, 'denied humans-only'],
    ['an edit by merge patch', { method: 'PATCH', path: decision, body: { spec: { decision: 'Approve' } }, as: bob }, 'schema decisions are immutable'],
    ['an edit by JSON patch', { method: 'PATCH', path: decision, contentType: jsonPatch, body: [{ op: 'replace', path: '/spec/decision', value: 'Approve' }], as: bob }, 'schema decisions are immutable'],
    ['an edit by server-side apply', { method: 'PATCH', path: decision, query: applied, contentType: applyPatch, body: mine('AccessDecision', 'd1', { decision: 'Approve' }), as: bob }, 'schema decisions are immutable'],
    ['an owner by merge patch', { method: 'PATCH', path: decision, body: { metadata: { ownerReferences: gone } }, as: dev }, 'denied no-owners'],
    ['an owner by JSON patch', { method: 'PATCH', path: decision, contentType: jsonPatch, body: [{ op: 'add', path: '/metadata/ownerReferences', value: gone }], as: dev }, 'denied no-owners'],
    ['an owner by server-side apply', { method: 'PATCH', path: decision, query: applied, contentType: applyPatch, body: { apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessDecision', metadata: metadata('d1', { ownerReferences: gone }) }, as: dev }, 'denied no-owners'],
    ['a finalizer by JSON patch', { method: 'PATCH', path: decision, contentType: jsonPatch, body: [{ op: 'add', path: '/metadata/finalizers', value: ['example.com/keep'] }], as: dev }, 'denied no-finalizers'],
    ['deletion of one', { method: 'DELETE', path: decision, as: dev }, 'denied no-delete'],
    ['deletion by the administrator', { method: 'DELETE', path: decision }, 'denied no-delete'],
    ['deletion in the foreground', { method: 'DELETE', path: decision, query: { propagationPolicy: 'Foreground' }, as: dev }, 'denied no-delete'],
    ['deletion of the collection', { method: 'DELETE', path: pathTo('accessdecisions', namespace), as: dev }, 'denied no-delete'],
  ];

  const forgedRequests: readonly Attack[] = [
    ['a statement applied by server-side apply', { method: 'PATCH', path: pathTo('accessrequests', namespace, 'r2'), query: applied, contentType: applyPatch, body: mine('AccessRequest', 'r2', statement), as: dev }, 'denied statement-from-proxy'],
    ['a statement by the administrator for himself', { method: 'POST', path: pathTo('accessrequests', namespace), body: mine('AccessRequest', 'r2', { ...statement, requester: { username: 'admin' } }) }, 'denied statement-from-proxy'],
    ['a statement by the operator', { method: 'POST', path: pathTo('accessrequests', namespace), body: mine('AccessRequest', 'r2', { ...statement, requester: { username: operator.user } }), as: operator }, 'denied statement-from-proxy'],
    ['a statement by the proxy account with a credential id but no pod', { method: 'POST', path: pathTo('accessrequests', namespace), body: mine('AccessRequest', 'r2', { ...statement, requester: { username: account } }), as: { user: account, extra: { 'authentication.kubernetes.io/credential-id': ['JTI=1'], 'authentication.kubernetes.io/node-name': ['n1'] } } }, 'denied statement-from-proxy'],
    ['a session turned into a statement', { method: 'PATCH', path: request, body: { spec: { scope: 'Statement', statement: 'DROP TABLE x', statementHMAC: statement.statementHMAC, grantTTL: null } }, as: dev }, 'schema spec is immutable'],
    ['status by merge patch', { method: 'PATCH', path: `${request}/status`, body: { status: { phase: 'Approved' } }, as: dev }, 'denied status-writers'],
    ['status by JSON patch', { method: 'PATCH', path: `${request}/status`, contentType: jsonPatch, body: [{ op: 'add', path: '/status/phase', value: 'Approved' }], as: dev }, 'denied status-writers'],
    ['status by server-side apply', { method: 'PATCH', path: `${request}/status`, query: applied, contentType: applyPatch, body: { apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessRequest', metadata: metadata('r1'), status: { phase: 'Approved' } }, as: dev }, 'denied status-writers'],
    ['status by the administrator', { method: 'PATCH', path: `${request}/status`, body: { status: { phase: 'Approved' } } }, 'denied status-writers'],
    ['a phase by the proxy beside its use', { method: 'PATCH', path: `${request}/status`, body: { status: { phase: 'Approved', use: { state: 'Waiting', pod } } }, as: proxy }, 'denied proxy-use-only'],
    ['an owner by merge patch', { method: 'PATCH', path: request, body: { metadata: { ownerReferences: gone } }, as: dev }, 'denied no-owners'],
    ['a finalizer by merge patch', { method: 'PATCH', path: request, body: { metadata: { finalizers: ['example.com/keep'] } }, as: dev }, 'denied no-finalizers'],
    ['deletion of the collection', { method: 'DELETE', path: pathTo('accessrequests', namespace), as: dev }, 'denied no-delete'],
  ];

  const forgedSessions: readonly Attack[] = [
    ['a session applied by server-side apply', { method: 'PATCH', path: pathTo('accesssessions', namespace, 's2'), query: applied, contentType: applyPatch, body: mine('AccessSession', 's2', sessionSpec), as: dev }, 'denied created-by-proxy'],
    ['a session by the operator', { method: 'POST', path: pathTo('accesssessions', namespace), body: mine('AccessSession', 's2', sessionSpec), as: operator }, 'denied created-by-proxy'],
    ['a session by the administrator', { method: 'POST', path: pathTo('accesssessions', namespace), body: mine('AccessSession', 's2', sessionSpec) }, 'denied created-by-proxy'],
    ['an end in the name of another by JSON patch', { method: 'PATCH', path: session, contentType: jsonPatch, body: [{ op: 'add', path: '/spec/terminate', value: { by: 'oidc:bob' } }], as: dev }, 'denied terminate-as-self'],
    ['an end without the verb by server-side apply', { method: 'PATCH', path: session, query: applied, contentType: applyPatch, body: mine('AccessSession', 's1', { terminate: { by: 'oidc:dev' } }), as: dev }, 'denied may-terminate'],
    ['other facts', { method: 'PATCH', path: session, body: { spec: { user: { username: 'oidc:mallory' } } }, as: dev }, "schema a session's facts are immutable"],
    ['an owner by merge patch', { method: 'PATCH', path: session, body: { metadata: { ownerReferences: gone } }, as: dev }, 'denied no-owners'],
    ['a finalizer by merge patch', { method: 'PATCH', path: session, body: { metadata: { finalizers: ['example.com/keep'] } }, as: dev }, 'denied no-finalizers'],
    ['counters by merge patch', { method: 'PATCH', path: `${session}/status`, body: { status: { denied: 0 } }, as: dev }, 'denied status-writers'],
    ['deletion of the collection', { method: 'DELETE', path: pathTo('accesssessions', namespace), as: dev }, 'denied no-delete'],
  ];

  const forgedConfigs: readonly Attack[] = [
    ['a newer config by merge patch', { method: 'PATCH', path: config, body: { spec: { ...configSpec, revision: 2, config: '{"a":1}' } }, as: dev }, 'denied operator-only'],
    ['a newer config by server-side apply', { method: 'PATCH', path: config, query: applied, contentType: applyPatch, body: mine('ProxyConfig', 'sallyport-proxy', { ...configSpec, revision: 2, config: '{"a":1}' }), as: dev }, 'denied operator-only'],
    ['a newer config by the administrator', { method: 'PATCH', path: config, body: { spec: { ...configSpec, revision: 2, config: '{"a":1}' } } }, 'denied operator-only'],
    ['an owner', { method: 'PATCH', path: config, body: { metadata: { ownerReferences: gone } }, as: dev }, 'denied operator-only'],
    ['deletion of the collection', { method: 'DELETE', path: pathTo('proxyconfigs', namespace), as: dev }, 'denied operator-only'],
    ['an acknowledgement of another pod by server-side apply', { method: 'PATCH', path: `${config}/status`, query: { fieldManager: 'sallyport-proxy/x', force: 'true' }, contentType: applyPatch, body: { apiVersion: 'sallyport.dev/v1alpha1', kind: 'ProxyConfig', metadata: metadata('sallyport-proxy'), status: { proxies: [{ pod: 'x', revision: 1, hash: digest, state: 'Applied' }] } }, as: proxy }, 'denied own-entry'],
    ['an acknowledgement without a pod', { method: 'PATCH', path: `${config}/status`, body: { status: { proxies: [{ pod, revision: 1, hash: digest, state: 'Applied' }] } }, as: { user: account } }, 'denied pod-bound'],
    ['an acknowledgement with an empty pod', { method: 'PATCH', path: `${config}/status`, body: { status: { proxies: [{ pod, revision: 1, hash: digest, state: 'Applied' }] } }, as: { user: account, extra: { 'authentication.kubernetes.io/pod-name': [''] } } }, 'denied pod-bound'],
    ['an acknowledgement by a tenant', { method: 'PATCH', path: `${config}/status`, body: { status: { proxies: [] } }, as: dev }, 'denied pod-bound'],
    ['approvals declared sound by the proxy', { method: 'PATCH', path: `${config}/status`, body: { status: { integrityCheckedAt: '2026-05-01T10:00:00Z' } }, as: proxy }, 'denied proxies-only'],
  ];

  const foreignSecrets: readonly Attack[] = [
    ['another host by JSON patch', { method: 'PATCH', path: target, contentType: jsonPatch, body: [{ op: 'replace', path: '/spec/postgres/host', value: 'evil.example' }], as: dev }, 'denied may-read-credentials'],
    ['another host by server-side apply', { method: 'PATCH', path: target, query: applied, contentType: applyPatch, body: mine('Target', 'orders-db', { postgres: { ...targetSpec.postgres, host: 'evil.example' } }), as: dev }, 'denied may-read-credentials'],
    ['encryption switched off', { method: 'PATCH', path: target, body: { spec: { postgres: { tls: { mode: 'Disable' } } } }, as: dev }, 'denied may-read-credentials'],
    ['a new Target by server-side apply', { method: 'PATCH', path: pathTo('targets', namespace, 'mine'), query: applied, contentType: applyPatch, body: mine('Target', 'mine', targetSpec), as: dev }, 'denied may-read-credentials'],
    ['a new Target with a generated name', { method: 'POST', path: pathTo('targets', namespace), body: { apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', metadata: { generateName: 'mine-', namespace }, spec: targetSpec }, as: dev }, 'denied may-read-credentials'],
    ['a Secret of another namespace', { method: 'POST', path: pathTo('targets', namespace), query: { fieldValidation: 'Strict' }, body: mine('Target', 'mine', { postgres: { host: 'db', credentials: { secretRef: { name: 'orders-gateway', namespace: 'other' } } } }), as: bob }, '400 unknown field'],
  ];

  const foreignWorkloads: readonly Attack[] = [
    ['a pod by the old name of the field', { method: 'POST', path: pathTo('pods', namespace), body: { apiVersion: 'v1', kind: 'Pod', metadata: metadata('x'), spec: { serviceAccount: 'sallyport-proxy', containers: [container] } }, as: dev }, 'denied proxy-account'],
    ['a pod with a generated name', { method: 'POST', path: pathTo('pods', namespace), body: { apiVersion: 'v1', kind: 'Pod', metadata: { generateName: 'x-', namespace }, spec: template.spec }, as: dev }, 'denied proxy-account'],
    ['a pod by server-side apply', { method: 'PATCH', path: pathTo('pods', namespace, 'x'), query: applied, contentType: applyPatch, body: { apiVersion: 'v1', kind: 'Pod', metadata: metadata('x'), spec: template.spec }, as: dev }, 'denied proxy-account'],
    ['a pod by the administrator', { method: 'POST', path: pathTo('pods', namespace), body: { apiVersion: 'v1', kind: 'Pod', metadata: metadata('x'), spec: template.spec } }, 'denied proxy-account'],
    ['a Deployment by the old name of the field', { method: 'POST', path: pathTo('deployments', namespace), body: { apiVersion: 'apps/v1', kind: 'Deployment', metadata: metadata('x'), spec: { selector: { matchLabels: template.metadata.labels }, template: { ...template, spec: { serviceAccount: 'sallyport-proxy', containers: [container] } } } }, as: dev }, 'denied proxy-account'],
    ['a ReplicaSet of a tenant', { method: 'POST', path: pathTo('replicasets', namespace), body: { apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: metadata('x'), spec: { selector: { matchLabels: template.metadata.labels }, template } }, as: dev }, 'denied proxy-account'],
    ['the image of a running pod by strategic merge patch', { method: 'PATCH', path: runningPod, contentType: strategic, body: { spec: { containers: [{ name: 'proxy', image: 'evil' }] } }, as: dev }, 'denied proxy-account'],
    ['the image of a running pod by JSON patch', { method: 'PATCH', path: runningPod, contentType: jsonPatch, body: [{ op: 'replace', path: '/spec/containers/0/image', value: 'evil' }], as: dev }, 'denied proxy-account'],
    ['the image of a running pod by server-side apply', { method: 'PATCH', path: runningPod, query: applied, contentType: applyPatch, body: { apiVersion: 'v1', kind: 'Pod', metadata: metadata(pod), spec: { containers: [{ name: 'proxy', image: 'evil' }] } }, as: dev }, 'denied proxy-account'],
    ['the image of a running pod by the administrator', { method: 'PATCH', path: runningPod, contentType: strategic, body: { spec: { containers: [{ name: 'proxy', image: 'evil' }] } } }, 'denied proxy-account'],
    ['a deadline for a running pod', { method: 'PATCH', path: runningPod, body: { spec: { activeDeadlineSeconds: 1 } }, as: dev }, 'denied proxy-account'],
    ['the label of the proxies on a pod of the tenant', { method: 'POST', path: pathTo('pods', namespace), body: { apiVersion: 'v1', kind: 'Pod', metadata: metadata('x', template.metadata), spec: { containers: [container] } }, as: dev }, 'denied proxy-label'],
    ["the Deployment's image by strategic merge patch", { method: 'PATCH', path: deployment, contentType: strategic, body: { spec: { template: { spec: { containers: [{ name: 'proxy', image: 'evil' }] } } } }, as: dev }, 'denied proxy-account'],
    ["the Deployment's image by server-side apply", { method: 'PATCH', path: deployment, query: applied, contentType: applyPatch, body: { apiVersion: 'apps/v1', kind: 'Deployment', metadata: metadata('sallyport-proxy'), spec: { template: { spec: { containers: [{ name: 'proxy', image: 'evil' }] } } } }, as: dev }, 'denied proxy-account'],
    ['one more container in the Deployment', { method: 'PATCH', path: deployment, contentType: strategic, body: { spec: { template: { spec: { containers: [{ name: 'spy', image: 'evil' }] } } } }, as: dev }, 'denied proxy-account'],
    ['an environment variable in the Deployment', { method: 'PATCH', path: deployment, contentType: strategic, body: { spec: { template: { spec: { containers: [{ name: 'proxy', env: [{ name: 'NODE_OPTIONS', value: '--require /tmp/evil.js' }] }] } } } }, as: dev }, 'denied proxy-account'],
    ['a debug container by strategic merge patch', { method: 'PATCH', path: `${runningPod}/ephemeralcontainers`, contentType: strategic, body: { spec: { ephemeralContainers: [{ name: 'debug', image: 'evil' }] } }, as: dev }, 'denied no-exec'],
    ['exec over GET', { method: 'GET', path: `${runningPod}/exec`, query: { command: 'sh' }, as: dev }, 'denied no-exec'],
    ['attach over POST', { method: 'POST', path: `${runningPod}/attach`, query: { stdin: 'true' }, as: dev }, 'denied no-exec'],
    ['a token for the running pod', { method: 'POST', path: pathTo('serviceaccounts', namespace, 'sallyport-proxy', 'token'), body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod } } }, as: dev }, 'denied no-token'],
    ['a token by the administrator', { method: 'POST', path: pathTo('serviceaccounts', namespace, 'sallyport-proxy', 'token'), body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} } }, 'denied no-token'],
  ];

  const stolenOperator: readonly Attack[] = [
    ['a Role of another name by server-side apply', { method: 'PATCH', path: pathTo('roles', namespace, 'x'), query: applied, contentType: applyPatch, body: { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: metadata('x', own), rules: [] }, as: operator }, 'denied named-secrets'],
    ['a Role for every Secret by server-side apply', { method: 'PATCH', path: pathTo('roles', namespace, 'sallyport-proxy-secrets'), query: applied, contentType: applyPatch, body: { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: metadata('sallyport-proxy-secrets', own), rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['get'], resourceNames: [] }] }, as: operator }, 'denied named-secrets'],
    ['a Role with a wildcard', { method: 'POST', path: pathTo('roles', namespace), body: { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: metadata('sallyport-proxy-secrets', own), rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'], resourceNames: ['x'] }] }, as: operator }, 'denied named-secrets'],
    ['a ClusterRole by server-side apply', { method: 'PATCH', path: pathTo('clusterroles', undefined, 'x'), query: applied, contentType: applyPatch, body: { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata: { name: 'x' }, rules: [] }, as: operator }, 'denied namespaced-only'],
    ['one more subject in a ClusterRoleBinding', { method: 'PATCH', path: pathTo('clusterrolebindings', undefined, 'cluster-admin'), body: { subjects: [{ kind: 'ServiceAccount', name: 'sallyport-operator', namespace: 'sallyport-system' }] }, as: operator }, 'denied namespaced-only'],
    ['a token Secret by server-side apply', { method: 'PATCH', path: pathTo('secrets', namespace, 'sallyport-x'), query: applied, contentType: applyPatch, body: { apiVersion: 'v1', kind: 'Secret', metadata: metadata('sallyport-x', { annotations: { 'kubernetes.io/service-account.name': 'default' } }), type: 'kubernetes.io/service-account-token' }, as: operator }, 'denied plain-secrets'],
    ['a Deployment as another account', { method: 'PATCH', path: deployment, contentType: strategic, body: { spec: { template: { spec: { serviceAccountName: 'default', serviceAccount: 'default' } } } }, as: operator }, 'denied own-deployment'],
    ['a folder of the node in the Deployment', { method: 'PATCH', path: deployment, contentType: strategic, body: { spec: { template: { spec: { volumes: [{ name: 'root', hostPath: { path: '/' } }] } } } }, as: operator }, 'denied plain-volumes'],
    ["the cluster's DNS settings", { method: 'PATCH', path: pathTo('configmaps', 'kube-system', 'coredns'), body: { data: { a: 'b' } }, as: operator }, 'denied found-own'],
    ["the cluster's DNS settings with our label", { method: 'PATCH', path: pathTo('configmaps', 'kube-system', 'coredns'), body: { metadata: own, data: { a: 'b' } }, as: operator }, 'denied found-own'],
    ['deletion of all Services', { method: 'DELETE', path: pathTo('services', 'default'), as: operator }, 'denied found-own'],
    ['deletion of all ConfigMaps', { method: 'DELETE', path: pathTo('configmaps', 'kube-system'), as: operator }, 'denied found-own'],
  ];

  describe.each([
    ['decisions', forgedDecisions], ['requests', forgedRequests], ['sessions', forgedSessions], ['configs and acknowledgements', forgedConfigs],
    ["other people's Secrets", foreignSecrets], ['workloads', foreignWorkloads], ['a stolen token of the operator', stolenOperator],
  ] as const)('%s', (_what, attacks) => {
    test.each(attacks)('%s', async (_name, attack, refusedBy) => {
      const answer = await api.send(attack);
      const verdict = verdictOf(answer, 'attack');
      if (refusedBy.startsWith('denied')) expect(verdict).toBe(refusedBy);
      else for (const part of refusedBy.split(/(?<=^\w+) /)) expect(verdict).toContain(part);
    });
  });

  test('nothing of all that has left a trace: the objects are as they were', async () => {
    const names = async (resource: string): Promise<readonly string[]> => ((await api.send({ method: 'GET', path: pathTo(resource, namespace) })).at('items') as readonly { readonly metadata: { readonly name: string } }[]).map((each) => each.metadata.name);
    expect({ decisions: await names('accessdecisions'), requests: await names('accessrequests'), sessions: await names('accesssessions'), configs: await names('proxyconfigs'), targets: await names('targets') })
      .toEqual({ decisions: ['d1'], requests: ['r1'], sessions: ['s1'], configs: ['sallyport-proxy'], targets: ['orders-db'] });
    for (const path of [decision, request, session, config]) {
      const answer = await api.send({ method: 'GET', path });
      expect({ generation: answer.at('metadata.generation'), finalizers: answer.at('metadata.finalizers'), owners: answer.at('metadata.ownerReferences'), phase: answer.at('status.phase') }).toEqual({ generation: 1 });
    }
  });

  test.each([
    ['a status in the main resource is dropped', { method: 'PATCH', path: request, body: { status: { phase: 'Approved' } }, as: dev }],
    ['a status in a creation is dropped', { method: 'POST', path: pathTo('accessrequests', namespace), query: { dryRun: 'All' }, body: { ...mine('AccessRequest', 'r3', requestSpec), status: { phase: 'Approved' } }, as: dev }],
    ['a status applied in the main resource is dropped', { method: 'PATCH', path: request, query: applied, contentType: applyPatch, body: { apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessRequest', metadata: metadata('r1'), status: { phase: 'Approved' } }, as: dev }],
  ] as const)('%s', async (_name, sent) => {
    const answer = await api.send(sent);
    expect({ code: answer.status < 300, status: answer.at('status') }).toEqual({ code: true, status: { observedGeneration: -1 } });
  });

  test.each([
    ['metadata sent with a status is dropped', `${request}/status`], ['metadata sent with the status of a session is dropped', `${session}/status`],
  ])('%s', async (_name, path) => {
    const answer = await api.send({ method: 'PATCH', path, query: { dryRun: 'All' }, body: { metadata: { finalizers: ['example.com/keep'], ownerReferences: gone, labels: { a: 'b' } } }, as: operator });
    expect({ code: answer.status, metadata: [answer.at('metadata.finalizers'), answer.at('metadata.ownerReferences'), answer.at('metadata.labels')] }).toEqual({ code: 200, metadata: [undefined, undefined, undefined] });
  });

  test('a resize of a running proxy cannot carry another image', async () => {
    const answer = await api.send({ method: 'PATCH', path: `${runningPod}/resize`, contentType: strategic, body: { spec: { containers: [{ name: 'proxy', image: 'evil' }] } }, as: dev });
    expect((await api.send({ method: 'GET', path: runningPod })).at('spec.containers.0.image')).toBe('a');
    expect(answer.status === 200 ? answer.at('spec.containers.0.image') : 'a').toBe('a');
  });

  test('scaling and restarting the proxies stays possible, and changes nothing of what they run', async () => {
    const before = (await api.send({ method: 'GET', path: deployment })).at('spec.template.spec');
    const scaled = await api.send({ method: 'PATCH', path: `${deployment}/scale`, body: { spec: { replicas: 2 } }, as: dev });
    const restarted = await api.send({ method: 'PATCH', path: deployment, contentType: strategic, body: { spec: { template: { metadata: { annotations: { 'kubectl.kubernetes.io/restartedAt': '2026-05-01T10:00:00Z' } } } } }, as: dev });
    expect([scaled.message, restarted.message]).toEqual(['', '']);
    expect(restarted.at('spec.template.spec')).toEqual(before);
  });

  test('objects as large as their schemas allow stay within what the API server spends on a rule', async () => {
    const long = 'x'.repeat(63);
    const failedTargets = Array.from({ length: 64 }, (_, index) => ({ name: `${long.slice(4)}-${index}`, reason: long }));
    const entry = (name: string): object => ({ pod: name, podUID: uid, revision: 1, hash: digest, state: 'Applied', reason: long, message: 'm'.repeat(1_024), appliedAt: '2026-05-01T10:00:00Z', failedTargets });
    const proxies = [...Array.from({ length: 31 }, (_, index) => entry(`sallyport-proxy-${index}`)), entry(pod)];
    await must({ method: 'PATCH', path: `${config}/status`, body: { status: { proxies } }, as: operator });
    const changed = [...proxies.slice(0, 31), { ...entry(pod), revision: 2 }];
    expect((await api.send({ method: 'PATCH', path: `${config}/status`, body: { status: { proxies: changed } }, as: proxy })).message).toBe('');

    const facts = Array.from({ length: 16 }, (_, index) => ({ name: `fact-${index}`, value: 'v'.repeat(512) }));
    const largest = { ...statement, requester: { username: 'oidc:dev' }, statement: 's'.repeat(32_768), parameters: Array.from({ length: 256 }, () => 'p'.repeat(32)), facts, reason: 'r'.repeat(1_024) };
    await create(api, 'rolebindings', { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata: metadata('on-behalf'), roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'on-behalf' }, subjects: [{ kind: 'ServiceAccount', name: 'sallyport-proxy', namespace }] });
    await create(api, 'roles', { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: metadata('on-behalf'), rules: [{ apiGroups: ['sallyport.dev'], resources: ['accessrequests'], verbs: ['requestonbehalf'] }] });
    await eventually(() => api.send({ method: 'POST', path: pathTo('accessrequests', namespace), body: mine('AccessRequest', 'largest', largest), as: proxy }), (answer) => answer.status === 201 || !answer.message.includes('requester-is-caller'));
    const request = pathTo('accessrequests', namespace, 'largest');
    const decisions = Array.from({ length: 16 }, (_, index) => ({ name: `d-${index}`, uid, by: 'b'.repeat(253), decision: 'Approve', at: '2026-05-01T10:00:00Z', counted: false, ignoredReason: long }));
    await must({ method: 'PATCH', path: `${request}/status`, body: { status: { phase: 'Pending', approvals: '0/1', decisions } }, as: operator });
    expect((await api.send({ method: 'PATCH', path: `${request}/status`, body: { status: { use: { state: 'Waiting', pod } } }, as: proxy })).message).toBe('');
    expect((await api.send({ method: 'PATCH', path: request, body: { metadata: { labels: { a: 'b' } } }, as: dev })).message).toBe('');

    const groups = Array.from({ length: 400 }, (_, index) => `${'g'.repeat(60)}-${index}`);
    const inMany = mine('AccessDecision', 'in-many-groups', { ...decisionSpec, asGroups: groups.slice(-8), comment: 'c'.repeat(1_024) });
    expect((await api.send({ method: 'POST', path: pathTo('accessdecisions', namespace), query: { dryRun: 'All' }, body: inMany, as: { user: 'oidc:bob', groups } })).message).toBe('');

    const env = Array.from({ length: 400 }, (_, index) => ({ name: `NAME_${index}`, value: 'v'.repeat(512) }));
    const large = { ...template, spec: { ...template.spec, containers: [{ ...container, env }] } };
    await must({ method: 'PATCH', path: deployment, contentType: strategic, body: { spec: { template: large } }, as: operator });
    expect((await api.send({ method: 'PATCH', path: deployment, contentType: strategic, body: { spec: { template: { metadata: { annotations: { 'kubectl.kubernetes.io/restartedAt': '2026-05-01T12:00:00Z' } } } } }, as: dev })).message).toBe('');
  });

  test.each([
    ['Job', 'jobs', { template: { spec: { ...template.spec, restartPolicy: 'Never' } } }, 'batch/v1'],
    ['StatefulSet', 'statefulsets', { serviceName: 'x', selector: { matchLabels: { a: 'b' } }, template: { metadata: { labels: { a: 'b' } }, spec: template.spec } }, 'apps/v1'],
    ['ReplicationController', 'replicationcontrollers', { replicas: 1, selector: { a: 'b' }, template: { metadata: { labels: { a: 'b' } }, spec: template.spec } }, 'v1'],
    ['CronJob', 'cronjobs', { schedule: '* * * * *', jobTemplate: { spec: { template: { spec: { ...template.spec, restartPolicy: 'Never' } } } } }, 'batch/v1'],
  ] as const)('a %s may be made as the proxy, but none of its pods is', async (kind, resource, spec, apiVersion) => {
    const name = `as-proxy-${kind.toLowerCase()}`;
    const made = await api.send({ method: 'POST', path: pathTo(resource, namespace), body: { apiVersion, kind, metadata: metadata(name), spec }, as: dev });
    expect(made.message).toBe('');
    // A CronJob waits for its minute: its Job is what the Job above is.
    if (kind === 'CronJob') return;
    const said = await eventually(() => api.send({ method: 'GET', path: pathTo('events', namespace), query: { fieldSelector: `involvedObject.name=${name}` } }), (answer) => JSON.stringify(answer.body).includes('proxy-account'));
    expect(JSON.stringify(said.body)).toContain('only the operator');
    const answer = await api.send({ method: 'GET', path: pathTo('pods', namespace) });
    expect((answer.at('items') as readonly { readonly metadata: { readonly name: string } }[]).filter((each) => each.metadata.name.startsWith(name))).toEqual([]);
  });

  test('a tenant with the built-in role edit may impersonate the account of the proxy, but gains nothing by it', async () => {
    await create(api, 'serviceaccounts', { apiVersion: 'v1', kind: 'ServiceAccount', metadata: metadata('tenant') });
    await create(api, 'rolebindings', { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata: metadata('tenant-edit'), roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'edit' }, subjects: [{ kind: 'ServiceAccount', name: 'tenant', namespace }] });
    const answer = await api.send({ method: 'POST', path: pathTo('serviceaccounts', namespace, 'tenant', 'token'), body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} } });
    const as = { token: String(answer.at('status.token')) };
    const forge = (caller: Caller): Promise<RawAnswer> => api.send({ method: 'POST', path: pathTo('accesssessions', namespace), query: { dryRun: 'All' }, body: mine('AccessSession', 's3', sessionSpec), as: caller, ...as });
    const impersonated = await eventually(() => forge({ user: account }), (answer) => answer.message.includes('denied request'));
    expect(verdictOf(impersonated, 'CREATE')).toBe('denied created-by-proxy');
    // The pod is a part of the identity that edit does not cover.
    expect((await forge(proxy)).message).toContain('cannot impersonate resource "userextras/authentication.kubernetes.io/pod-name"');
    expect((await forge({ user: 'system:serviceaccount:kube-system:replicaset-controller' })).message).toContain('cannot impersonate resource "serviceaccounts"');
  });

  test('a legacy token Secret of the proxy account has no pod in it', async () => {
    await create(api, 'secrets', { apiVersion: 'v1', kind: 'Secret', metadata: metadata('legacy', { annotations: { 'kubernetes.io/service-account.name': 'sallyport-proxy' } }), type: 'kubernetes.io/service-account-token' });
    const filled = await eventually(() => api.send({ method: 'GET', path: pathTo('secrets', namespace, 'legacy') }), (answer) => answer.at('data.token') !== undefined);
    const token = Buffer.from(String(filled.at('data.token')), 'base64').toString();
    const answer = await api.send({ method: 'POST', path: pathTo('accesssessions', namespace), query: { dryRun: 'All' }, body: mine('AccessSession', 's3', sessionSpec), token });
    expect(verdictOf(answer, 'CREATE')).toBe('denied created-by-proxy');
  });

  test('the kinds that the policies watch are served in no version that they do not name', async () => {
    const watched = new Set(['pods', 'deployments', 'replicasets', 'secrets', 'roles', 'rolebindings', 'clusterroles', 'clusterrolebindings', 'services', 'serviceaccounts', 'configmaps', 'networkpolicies', 'poddisruptionbudgets', 'targets', 'proxyconfigs', 'accessrequests', 'accessdecisions', 'accesssessions']);
    const groups = (await api.send({ method: 'GET', path: '/apis' })).at('groups') as readonly { readonly versions: readonly { readonly groupVersion: string }[] }[];
    const served = await Promise.all(['v1', ...groups.flatMap((group) => group.versions.map((version) => version.groupVersion))].map(async (version) => {
      const answer = await api.send({ method: 'GET', path: version === 'v1' ? '/api/v1' : `/apis/${version}` });
      return (answer.at('resources') as readonly { readonly name: string }[]).filter((each) => watched.has(each.name)).map((each) => `${version}/${each.name}`);
    }));
    expect(served.flat().sort()).toEqual([
      'apps/v1/deployments', 'apps/v1/replicasets', 'networking.k8s.io/v1/networkpolicies', 'policy/v1/poddisruptionbudgets', 'rbac.authorization.k8s.io/v1/clusterrolebindings', 'rbac.authorization.k8s.io/v1/clusterroles',
      'rbac.authorization.k8s.io/v1/rolebindings', 'rbac.authorization.k8s.io/v1/roles', 'sallyport.dev/v1alpha1/accessdecisions', 'sallyport.dev/v1alpha1/accessrequests', 'sallyport.dev/v1alpha1/accesssessions',
      'sallyport.dev/v1alpha1/proxyconfigs', 'sallyport.dev/v1alpha1/targets', 'v1/configmaps', 'v1/pods', 'v1/secrets', 'v1/serviceaccounts', 'v1/services',
    ]);
  });
});
