import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { parseAllDocuments } from 'yaml';
import type { RawAnswer, RawApi } from '../hosts/raw-api.ts';

/** A Kubernetes object as a case states it. */
export interface Stated {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [field: string]: unknown };
  readonly spec?: unknown;
  readonly status?: unknown;
}

const sallyport = '/apis/sallyport.dev/v1alpha1';
const rbac = '/apis/rbac.authorization.k8s.io/v1';
const roots: Readonly<Record<string, string>> = {
  targets: sallyport, accesspolicies: sallyport, identityproviders: sallyport, proxyconfigs: sallyport, accessrequests: sallyport, accessdecisions: sallyport, accesssessions: sallyport,
  pods: '/api/v1', services: '/api/v1', serviceaccounts: '/api/v1', secrets: '/api/v1', configmaps: '/api/v1', events: '/api/v1', namespaces: '/api/v1', replicationcontrollers: '/api/v1',
  deployments: '/apis/apps/v1', replicasets: '/apis/apps/v1', statefulsets: '/apis/apps/v1', daemonsets: '/apis/apps/v1', jobs: '/apis/batch/v1', cronjobs: '/apis/batch/v1',
  roles: rbac, rolebindings: rbac, clusterroles: rbac, clusterrolebindings: rbac,
  networkpolicies: '/apis/networking.k8s.io/v1', poddisruptionbudgets: '/apis/policy/v1',
  customresourcedefinitions: '/apis/apiextensions.k8s.io/v1',
  validatingadmissionpolicies: '/apis/admissionregistration.k8s.io/v1', validatingadmissionpolicybindings: '/apis/admissionregistration.k8s.io/v1',
};

/** Path of a collection, or of one object in it. */
export function pathTo(resource: string, namespace: string | undefined, name?: string, subresource?: string): string {
  const root = roots[resource];
  if (root === undefined) throw new Error(`the test knows no resource ${resource}`);
  return `${root}${namespace === undefined ? '' : `/namespaces/${namespace}`}/${resource}${name === undefined ? '' : `/${name}`}${subresource === undefined ? '' : `/${subresource}`}`;
}

/** Sends until the answer is right, at most 30 s. @throws with the last answer. */
export async function eventually(ask: () => Promise<RawAnswer>, isRight: (answer: RawAnswer) => boolean): Promise<RawAnswer> {
  const giveUp = performance.now() + 30_000;
  for (;;) {
    const answer = await ask();
    if (isRight(answer)) return answer;
    if (performance.now() > giveUp) throw new Error(`still ${answer.status} ${answer.message || JSON.stringify(answer.body).slice(0, 500)}`);
    await delay(50);
  }
}

/** Creates an object as the administrator. @throws when it is refused, except because it exists. */
export async function create(api: RawApi, resource: string, object: object): Promise<RawAnswer> {
  const { metadata } = object as Stated;
  const answer = await api.send({ method: 'POST', path: pathTo(resource, metadata.namespace), body: object });
  if (answer.status >= 300 && answer.status !== 409) throw new Error(`${resource} ${metadata.name}: ${answer.message}`);
  return answer;
}

/** All documents of the YAML files of a folder. */
export function documentsIn(folder: URL): readonly Stated[] {
  return readdirSync(folder).filter((file) => file.endsWith('.yaml')).toSorted().flatMap((file) => parseAllDocuments(readFileSync(new URL(file, folder), 'utf8')).map((each) => each.toJS() as Stated));
}

/** Creates the CRDs and waits until each is served. @returns their conditions as `Type=Status`, by name. */
export async function applyCrds(api: RawApi): Promise<ReadonlyMap<string, readonly string[]>> {
  const crds = documentsIn(new URL('../../../crds/', import.meta.url));
  for (const crd of crds) await create(api, 'customresourcedefinitions', crd);
  const conditionsOf = (answer: RawAnswer): readonly string[] => ((answer.at('status.conditions') ?? []) as readonly { readonly type: string; readonly status: string }[]).map((each) => `${each.type}=${each.status}`);
  const found = new Map<string, readonly string[]>();
  for (const { metadata } of crds) {
    const answer = await eventually(() => api.send({ method: 'GET', path: pathTo('customresourcedefinitions', undefined, metadata.name) }), (each) => conditionsOf(each).includes('Established=True'));
    found.set(metadata.name, conditionsOf(answer));
    const [plural = ''] = metadata.name.split('.');
    // Established says that it will be served soon.
    await eventually(() => api.send({ method: 'GET', path: pathTo(plural, undefined) }), (each) => each.status === 200);
  }
  return found;
}

/** Creates the policies and bindings of crds/admission. They take effect some time later: ask until one denies. */
export async function applyAdmission(api: RawApi): Promise<void> {
  for (const object of documentsIn(new URL('../../../crds/admission/', import.meta.url))) await create(api, object.kind === 'ValidatingAdmissionPolicy' ? 'validatingadmissionpolicies' : 'validatingadmissionpolicybindings', object);
}
