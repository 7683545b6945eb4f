import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse, parseAllDocuments } from 'yaml';
import { apiCrds, systemCrds } from '../../../tools/generate-api.ts';
import { readCrd } from '../../../tools/read-crd.ts';
import { expectedAdmission } from '../../../contract/api/expected-admission.ts';
import { withDefaults } from '../../../contract/api/validate-schema.ts';
import { applyAdmission, applyCrds, create, documentsIn, eventually, pathTo, type Stated } from '../cases/api-objects.ts';
import { type AdmissionCase, grantBase, type PreparedCase, prepare, verdictOf } from '../cases/replay.ts';
import { type ControlPlane, startControlPlane } from '../hosts/control-plane.ts';
import { missingForNode } from '../hosts/node.ts';
import type { RawAnswer, RawApi } from '../hosts/raw-api.ts';

interface SchemaCase { readonly name: string; readonly object: Stated; readonly old?: Stated; readonly expect: 'accepted' | 'rejected'; readonly message?: string }

const repository = new URL('../../../', import.meta.url);
const { cases: schemaCases } = parse(readFileSync(new URL('crds/examples/cases.yaml', repository), 'utf8')) as { cases: readonly SchemaCase[] };
const { cases: admissionCases } = parse(readFileSync(new URL('e2e/cluster/cases/vap-cases.yaml', repository), 'utf8')) as { cases: readonly AdmissionCase[] };
const crds = new Map([...apiCrds, ...systemCrds].map((file) => readCrd(readFileSync(new URL(`crds/${file}`, repository), 'utf8'), file)).map((crd) => [crd.kind, crd]));

// A control plane of its own: a case's stored object can only be made while its policy is not in force yet.
const missing = missingForNode();
(missing.length === 0 ? describe : describe.skip)('what the API server accepts, from whom', () => {
  let plane: ControlPlane;
  let api: RawApi;
  let conditions: ReadonlyMap<string, readonly string[]>;
  const prepared: PreparedCase[] = [];

  beforeAll(async () => {
    plane = await startControlPlane();
    api = plane.api;
    conditions = await applyCrds(api);
    await create(api, 'namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'payments' } });
  }, 120_000);
  afterAll(async () => {
    await plane[Symbol.asyncDispose]();
  });

  test('every CRD is served, and none has a schema that is not structural', () => {
    for (const [name, each] of conditions) expect({ name, conditions: [...each].sort() }).toEqual({ name, conditions: ['Established=True', 'NamesAccepted=True'] });
    expect(conditions.size).toBe(7);
  });

  describe('schemas: every case of crds/examples', () => {
    test.each(schemaCases.map((each) => [`${each.object.kind}: ${each.name}`, each] as const))('%s', async (_name, each) => {
      const answer = await sendObject(api, each);
      if (each.expect === 'rejected') {
        expect(answer.status).toBeGreaterThanOrEqual(400);
        expect(answer.message).toContain(each.message);
      } else {
        expect(answer.message).toBe('');
        expect(answer.at('spec')).toEqual((withDefaults(crdOf(each.object.kind).schema, each.object) as Stated).spec);
      }
    });
  });

  test('every manifest of crds/examples and examples is accepted as it stands', async () => {
    const found = manifests();
    for (const { file, object } of found) {
      const { plural, scope } = crdOf(object.kind);
      const answer = await api.send({ method: 'POST', path: pathTo(plural, scope === 'Cluster' ? undefined : 'payments'), query: { dryRun: 'All', fieldValidation: 'Strict' }, body: scope === 'Cluster' ? object : { ...object, metadata: { ...object.metadata, namespace: 'payments' } } });
      expect({ file, name: object.metadata.name, message: answer.message }).toEqual({ file, name: object.metadata.name, message: '' });
    }
    expect(new Set(found.map(({ object }) => object.kind)).size).toBe(5);
  });

  describe('admission: every case of vap-cases.yaml, as its own user, all policies in force', () => {
    beforeAll(async () => {
      await grantBase(api);
      for (const [index, each] of admissionCases.entries()) prepared.push(await prepare(api, each, index));
      await applyAdmission(api);
      for (const { name } of expectedAdmission('sallyport-system')) await inForce(name);
    }, 180_000);

    async function inForce(policy: string): Promise<void> {
      const one = prepared.find(({ each }) => each.policy === policy && each.rule !== undefined && each.schema === undefined);
      if (one === undefined) throw new Error(`no case shows that ${policy} is in force`);
      await eventually(() => one.replay(), (answer) => verdictOf(answer, one.each.operation) === `denied ${one.each.rule ?? ''}`);
    }

    test.each(admissionCases.map((each, index) => [`${each.policy}: ${each.name}`, index] as const))('%s', async (_name, index) => {
      const { each, replay } = prepared[index] as PreparedCase;
      const verdict = verdictOf(await replay(), each.operation);
      if (each.expect === 'allowed') expect(verdict).toBe('allowed');
      else if (each.schema === undefined) expect(verdict).toBe(`denied ${each.rule ?? ''}`);
      else expect(verdict).toContain(each.schema);
    });

    test('the API server stores the specs as we expect them, so the integrity check compares equal', async () => {
      for (const { name, policySpec, bindingSpec } of expectedAdmission('sallyport-system')) {
        const [policy, binding] = await Promise.all(['validatingadmissionpolicies', 'validatingadmissionpolicybindings'].map((resource) => api.send({ method: 'GET', path: pathTo(resource, undefined, name) })));
        expect({ name, policy: policy?.at('spec'), binding: binding?.at('spec') }).toEqual({ name, policy: policySpec, binding: bindingSpec });
      }
    });

    test('the type checker of Kubernetes finds nothing in any policy, and finds a misspelt field in one', async () => {
      const checked = (name: string): Promise<RawAnswer> => eventually(() => api.send({ method: 'GET', path: pathTo('validatingadmissionpolicies', undefined, name) }), (each) => each.at('status.typeChecking') !== undefined);
      for (const { name } of expectedAdmission('sallyport-system')) expect({ name, typeChecking: (await checked(name)).at('status.typeChecking') }).toEqual({ name, typeChecking: {} });

      const [first] = documentsIn(new URL('crds/admission/', repository));
      const misspelt = JSON.parse(JSON.stringify({ ...first, metadata: { name: 'misspelt.example.com' } }).replaceAll('object.spec.by ', 'object.spec.bye ')) as Stated;
      await create(api, 'validatingadmissionpolicies', misspelt);
      expect(JSON.stringify((await checked('misspelt.example.com')).at('status.typeChecking.expressionWarnings'))).toContain('undefined field');
    });
  });

  /** Objects of ours in YAML files that people copy. */
  function manifests(): readonly { readonly file: string; readonly object: Stated }[] {
    return ['crds/examples/', 'examples/'].flatMap((folder) => readdirSync(new URL(folder, repository), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.yaml') && file !== 'cases.yaml').flatMap((file) =>
      parseAllDocuments(readFileSync(new URL(`${folder}${file}`, repository), 'utf8')).map((document) => ({ file: `${folder}${file}`, object: document.toJS() as Stated })).filter(({ object }) => object?.apiVersion === 'sallyport.dev/v1alpha1' && crds.has(object.kind))));
  }

  function crdOf(kind: string): ReturnType<typeof readCrd> {
    const crd = crds.get(kind);
    if (crd === undefined) throw new Error(`no CRD defines ${kind}`);
    return crd;
  }

  /** Creates the object, or changes the stored one into it; the change and a plain creation are dry runs. */
  async function sendObject(to: RawApi, each: SchemaCase): Promise<RawAnswer> {
    const { plural, scope } = crdOf(each.object.kind);
    const namespace = scope === 'Cluster' ? undefined : 'payments';
    const query = { dryRun: 'All', fieldValidation: 'Strict' };
    if (each.old === undefined) return to.send({ method: 'POST', path: pathTo(plural, namespace), query, body: each.object });
    const path = pathTo(plural, namespace, each.old.metadata.name);
    const stored = await create(to, plural, each.old);
    const withStatus = each.old.status === undefined ? stored : await to.send({ method: 'PUT', path: `${path}/status`, body: { ...(stored.body as Stated), status: each.old.status } });
    const changesStatus = each.object.status !== undefined && JSON.stringify(each.object.spec) === JSON.stringify(each.old.spec);
    const body = { ...each.object, metadata: { ...each.object.metadata, resourceVersion: withStatus.at('metadata.resourceVersion') } };
    const answer = await to.send({ method: 'PUT', path: changesStatus ? `${path}/status` : path, query, body });
    await to.send({ method: 'DELETE', path });
    return answer;
  }
});
