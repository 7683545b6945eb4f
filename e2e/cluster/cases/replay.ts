import type { AdmissionRequest, Grant } from '../../../tools/testkit/evaluate-admission.ts';
import type { Caller, RawAnswer, RawApi } from '../hosts/raw-api.ts';
import { create, eventually, pathTo, type Stated } from './api-objects.ts';

/** One case of vap-cases.yaml. */
export interface AdmissionCase extends AdmissionRequest {
  readonly name: string;
  readonly policy: string;
  readonly expect: 'allowed' | 'denied';
  readonly rule?: string;
  readonly schema?: string;
  readonly object?: Stated;
  readonly oldObject?: Stated;
}

/** A case in namespaces of its own, its stored object and its caller's permissions in place. */
export interface PreparedCase {
  readonly each: AdmissionCase;
  /** Sends the request of the case as a dry run. */
  replay(): Promise<RawAnswer>;
}

/**
 * What every caller of a case may do by RBAC, so that admission alone decides: everything but the virtual verbs and reading Secrets,
 * which `authorizer` of a case grants.
 */
export async function grantBase(api: RawApi): Promise<void> {
  const write = ['create', 'update', 'patch', 'delete', 'deletecollection'];
  const rules = [
    { apiGroups: ['sallyport.dev'], resources: ['targets', 'accesspolicies', 'proxyconfigs', 'accessrequests', 'accessdecisions', 'accesssessions', 'accessrequests/status', 'proxyconfigs/status', 'accesssessions/status', 'targets/status'], verbs: ['get', 'list', ...write] },
    { apiGroups: ['apps'], resources: ['deployments', 'replicasets', 'statefulsets', 'daemonsets', 'deployments/scale'], verbs: ['get', ...write] },
    { apiGroups: ['batch'], resources: ['jobs', 'cronjobs'], verbs: ['get', ...write] },
    { apiGroups: ['rbac.authorization.k8s.io'], resources: ['roles', 'rolebindings', 'clusterroles', 'clusterrolebindings'], verbs: [...write, 'escalate', 'bind'] },
    { apiGroups: ['policy'], resources: ['poddisruptionbudgets'], verbs: write },
    { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies'], verbs: write },
    { apiGroups: [''], resources: ['secrets'], verbs: write },
    { apiGroups: [''], resources: ['pods', 'pods/ephemeralcontainers', 'pods/resize', 'pods/status', 'services', 'serviceaccounts', 'serviceaccounts/token', 'configmaps', 'replicationcontrollers'], verbs: ['get', ...write] },
    { apiGroups: [''], resources: ['pods/exec', 'pods/attach'], verbs: ['create', 'get'] },
  ];
  await create(api, 'clusterroles', { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata: { name: 'case-base' }, rules });
  await create(api, 'clusterrolebindings', binding('ClusterRoleBinding', { name: 'case-base' }, 'ClusterRole', 'case-base', [{ kind: 'Group', apiGroup: 'rbac.authorization.k8s.io', name: 'system:authenticated' }]));
}

/** Prepares a case while admission is not in force yet: afterwards its stored object could not be made. @param index makes the namespaces unique. */
export async function prepare(api: RawApi, stated: AdmissionCase, index: number): Promise<PreparedCase> {
  const each = await ownedByReal(api, await namespaced(api, inOwnNamespaces(stated, index)));
  const as = callerOf(each);
  await Promise.all((each.authorizer ?? []).map((grant, place) => grantTo(api, as, grant, `case-${index}-${place}`)));
  if (each.oldObject !== undefined) await store(api, each, each.oldObject);
  return { each, replay: () => replay(api, each, as) };
}

/** `payments` and `other` become namespaces of this case, in names of accounts too. */
function inOwnNamespaces(stated: AdmissionCase, index: number): AdmissionCase {
  const { name, ...rest } = stated;
  return { name, ...(JSON.parse(JSON.stringify(rest).replaceAll(/\b(payments|other)\b/g, `$1-${index}`)) as Omit<AdmissionCase, 'name'>) };
}

async function namespaced(api: RawApi, each: AdmissionCase): Promise<AdmissionCase> {
  const named = new Set([...JSON.stringify(each).matchAll(/\b(?:payments|other)-\d+\b/g)].map((match) => match[0]));
  for (const name of named) await create(api, 'namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  if (/"kind":"(Pod|TokenRequest|Deployment|ReplicaSet)"/.test(JSON.stringify(each))) {
    for (const name of ['default', 'app', 'sallyport-proxy']) await create(api, 'serviceaccounts', { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: each.namespace ?? '' } });
  }
  return each;
}

/** The garbage collector is real: an owner that a stored object names must be there, with the uid that it has. */
async function ownedByReal(api: RawApi, each: AdmissionCase): Promise<AdmissionCase> {
  const [owner] = (each.oldObject?.metadata['ownerReferences'] ?? []) as readonly { readonly kind: string; readonly name: string; readonly uid: string }[];
  if (owner?.kind !== 'AccessRequest') return each;
  const request = {
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessRequest', metadata: { name: owner.name, namespace: each.namespace },
    spec: { scope: 'Session', requester: { username: 'oidc:alice' }, policyRef: { name: 'oncall', uid: owner.uid, generation: 1 }, targetRef: { name: 'orders-db', uid: owner.uid }, action: 'session', digest: `sha256:${'a'.repeat(64)}`, approvers: { groups: ['dba'], required: 1 }, decideWithin: '30m', grantTTL: '2h' },
  };
  const owning = await create(api, 'accessrequests', request);
  const { name, ...rest } = each;
  return { name, ...(JSON.parse(JSON.stringify(rest).replaceAll(owner.uid, String(owning.at('metadata.uid')))) as Omit<AdmissionCase, 'name'>) };
}

function callerOf(each: AdmissionCase): Caller {
  return { user: each.user, ...(each.groups === undefined ? {} : { groups: each.groups }), ...(each.extra === undefined ? {} : { extra: each.extra }) };
}

async function grantTo(api: RawApi, as: Caller, grant: Grant, name: string): Promise<void> {
  const rules = [{ verbs: [grant.verb], apiGroups: [grant.group ?? ''], resources: [grant.subresource === undefined ? grant.resource : `${grant.resource}/${grant.subresource}`], ...(grant.name === undefined || grant.name === '' ? {} : { resourceNames: [grant.name] }) }];
  const metadata = { name, ...(grant.namespace === undefined ? {} : { namespace: grant.namespace }) };
  const [roles, bindings, kind] = grant.namespace === undefined ? (['clusterroles', 'clusterrolebindings', 'ClusterRole'] as const) : (['roles', 'rolebindings', 'Role'] as const);
  await create(api, roles, { apiVersion: 'rbac.authorization.k8s.io/v1', kind, metadata, rules });
  await create(api, bindings, binding(`${kind}Binding`, metadata, kind, name, [{ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: as.user }]));
  const resourceAttributes = { verb: grant.verb, group: grant.group ?? '', resource: grant.resource, subresource: grant.subresource ?? '', namespace: grant.namespace ?? '', name: grant.name ?? '' };
  // The authorizer learns of a binding some time later.
  await eventually(() => api.send({ method: 'POST', path: '/apis/authorization.k8s.io/v1/subjectaccessreviews', body: { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec: { user: as.user, resourceAttributes } } }), (answer) => answer.at('status.allowed') === true);
}

function binding(kind: string, metadata: object, role: string, name: string, subjects: readonly object[]): object {
  return { apiVersion: 'rbac.authorization.k8s.io/v1', kind, metadata, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: role, name }, subjects };
}

async function store(api: RawApi, each: AdmissionCase, object: Stated): Promise<void> {
  const stored = await create(api, each.resource, object);
  if (object.status === undefined) return;
  const body = { ...(stored.body as Stated), status: { ...(stored.at('status') as object), ...(object.status as object) } };
  const answer = await api.send({ method: 'PUT', path: pathTo(each.resource, object.metadata.namespace, object.metadata.name, 'status'), body });
  if (answer.status >= 300) throw new Error(`${each.name}: the status was not stored: ${answer.message}`);
}

async function replay(api: RawApi, each: AdmissionCase, as: Caller): Promise<RawAnswer> {
  const query = { dryRun: 'All' };
  switch (each.operation) {
    case 'CREATE': return api.send({ method: 'POST', path: each.subResource === undefined ? pathTo(each.resource, each.namespace) : pathTo(each.resource, each.namespace, each.objectName, each.subResource), query, body: each.object, as });
    case 'CONNECT': return api.send({ method: 'POST', path: pathTo(each.resource, each.namespace, each.objectName, each.subResource), query: { command: 'sh', stdout: 'true' }, as });
    case 'DELETE': return api.send({ method: 'DELETE', path: pathTo(each.resource, each.namespace, each.objectName), query, as });
    case 'UPDATE': {
      const path = pathTo(each.resource, each.namespace, each.objectName);
      const update = async (): Promise<RawAnswer> => {
        const stored = await api.send({ method: 'GET', path });
        return api.send({ method: 'PUT', path: each.subResource === undefined ? path : `${path}/${each.subResource}`, query, body: withChange(stored.body, each.oldObject, each.object), as });
      };
      // Controllers of the cluster write to what is stored as well.
      return eventually(update, (answer) => answer.status !== 409);
    }
    default: return each.operation satisfies never;
  }
}

/**
 * The stored object with the change that the case states. A case says what matters; the stored object has defaults and injected fields too, and sending
 * the case's object as it is would remove them: the `observedGeneration` of a status, the volumes of a pod.
 */
function withChange(stored: unknown, before: unknown, after: unknown): unknown {
  if (JSON.stringify(before) === JSON.stringify(after)) return stored;
  if (Array.isArray(before) && Array.isArray(after) && Array.isArray(stored) && before.length === after.length) return stored.map((item, index) => withChange(item, before[index], after[index]));
  if (!isRecord(after) || !isRecord(stored)) return after;
  const old = isRecord(before) ? before : {};
  const kept = Object.entries(stored).filter(([key]) => !(key in old) || key in after);
  return { ...Object.fromEntries(kept), ...Object.fromEntries(Object.entries(after).map(([key, value]) => [key, withChange(stored[key], old[key], value)])) };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `allowed`, `denied RULE`, `schema MESSAGE`, or what else was said. A connection that is let through ends at a pod that nobody runs. */
export function verdictOf(answer: RawAnswer, operation: string): string {
  const rule = /denied request: ([a-z0-9-]+):/.exec(answer.message)?.[1];
  if (rule !== undefined) return `denied ${rule}`;
  if (answer.status < 300) return 'allowed';
  if (operation === 'CONNECT' && (answer.status === 404 || answer.status === 400)) return 'allowed';
  return answer.status === 422 ? `schema ${answer.message}` : `${answer.status} ${answer.message}`;
}
