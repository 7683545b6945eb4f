import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findAsset } from '../../../tools/e2e-assets.ts';
import { createAuthority } from '../../hosts/certificates.ts';
import { eventually, type Ran } from '../../hosts/clients.ts';
import { openCluster, type Printed } from '../hosts/cluster.ts';

const cluster = openCluster();
const kubectl = findAsset('kubectl');
const crds = findAsset('gitops-crds');
const namespace = 'payments';
const account = `system:serviceaccount:${namespace}:gitops`;
const stages = ['staging', 'production'] as const;

(cluster && kubectl ? describe : describe.skip)('the GitOps repository on a real API server', () => {
  if (cluster === null || kubectl === null) return void test.todo('needs a Kubernetes node');

  beforeAll(async () => {
    // The platform team's folder; the shared node has an IdentityProvider of that name and prefix already.
    await cluster.apply(withoutIdentityProvider(kustomize('infrastructure/access')));
    const { ca } = await createAuthority();
    await cluster.apply(['orders-gateway', 'orders-ca'].map((name) => JSON.stringify({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace }, stringData: { username: 'sallyport', password: 'none', 'ca.crt': ca } })).join('\n---\n'));
  }, 60_000);
  afterAll(async () => {
    await cluster.kubectl(['delete', 'namespace', namespace, '--wait=false']);
    await cluster.kubectl(['delete', 'pods', '--all', '-n', namespace, '--force', '--grace-period=0']);
  }, 60_000);

  test('what the platform team writes is accepted', async () => {
    expect(await plan(kustomize('infrastructure/access').replace('name: company', 'name: gitops-company'))).toMatchObject({ code: 0, err: '' });
  });

  test.each(stages)('what the tenant writes for %s is accepted from the tenant\'s own account', async (stage) => {
    expect(await asTenant(stage, ['--dry-run=server'])).toMatchObject({ code: 0, out: expect.stringContaining('target.sallyport.dev/orders-db serverside-applied') });
  });

  test('without the right to read the named Secrets the same account is refused', async () => {
    const binding = await cluster.must(['get', 'rolebinding', 'gitops-may-name-secrets', '-n', namespace, '-o', 'json']);
    await cluster.must(['delete', 'rolebinding', 'gitops-may-name-secrets', '-n', namespace]);
    try {
      await eventually('the tenant is refused', async () => /may-read-credentials/.test((await asTenant('production', ['--dry-run=server'])).err), 10_000);
    } finally {
      const { kind, apiVersion, metadata, ...rest } = JSON.parse(binding) as Printed;
      await cluster.apply(JSON.stringify({ kind, apiVersion, metadata: { name: metadata.name, namespace }, ...rest }));
    }
  });

  test('that account can neither approve nor write anywhere else', async () => {
    const can = async (verb: string, resource: string, where: string): Promise<string> => (await cluster.kubectl(['auth', 'can-i', verb, resource, '-n', where, `--as=${account}`])).out.trim();
    expect(await Promise.all([can('create', 'accesspolicies.sallyport.dev', namespace), can('approve', 'accesspolicies.sallyport.dev/oncall', namespace), can('create', 'accessdecisions.sallyport.dev', namespace), can('create', 'targets.sallyport.dev', 'default'), can('list', 'secrets', namespace)]))
      .toEqual(['yes', 'no', 'no', 'no', 'no']);
  });

  test('nothing drifts: the operator writes the status of what people wrote, and no other field of it, and copies none of its labels', async () => {
    expect(await asTenant('production')).toMatchObject({ code: 0 });
    const tracked = ['label', 'target/orders-db', 'accesspolicy/oncall', '-n', namespace, 'argocd.argoproj.io/instance=payments', '--overwrite', '--field-manager=argocd'];
    await cluster.must(tracked);
    await cluster.must(['annotate', ...tracked.slice(1, -3), 'argocd.argoproj.io/tracking-id=payments:sallyport.dev/Target', '--field-manager=argocd']);
    await cluster.waitFor('condition=Ready', ['target/orders-db', 'accesspolicy/oncall'], namespace, 120);

    const written = JSON.parse(await cluster.must(['get', 'target/orders-db', 'accesspolicy/oncall', 'identityprovider/company', '-n', namespace, '--show-managed-fields', '-o', 'json'])) as { readonly items: readonly Managed[] };
    for (const { kind, metadata: { managedFields, finalizers } } of written.items) {
      const others = managedFields.filter((entry) => !['gitops', 'argocd', 'kubectl-client-side-apply'].includes(entry.manager));
      expect([kind, finalizers, others.map((entry) => [entry.manager, entry.subresource, Object.keys(entry.fieldsV1)])]).toEqual([kind, undefined, [['sallyport-operator-status', 'status', ['f:status']]]]);
    }
    const diff = await cluster.kubectl(['diff', '--server-side', '--field-manager=gitops', `--as=${account}`, '-f', '-'], { input: kustomize('tenants/payments/overlays/production') });
    expect(diff).toEqual({ code: 0, out: '', err: '' });

    const generated = (await Promise.all(['serviceaccount', 'role', 'rolebinding', 'deployment', 'service', 'poddisruptionbudget', 'networkpolicy', 'proxyconfig', 'pod', 'configmap', 'secret'].map((kind) => cluster.list(kind, namespace, ['-l', 'app.kubernetes.io/managed-by=sallyport'])))).flat();
    expect(generated.map((object) => `${object.kind}/${object.metadata.name}`)).toEqual(expect.arrayContaining(['Deployment/sallyport-proxy', 'Service/orders-db', 'ProxyConfig/sallyport-proxy']));
    expect(generated.filter((object) => /argocd|"data":/.test(JSON.stringify([object.metadata.labels, object.metadata.annotations])))).toEqual([]);
  }, 180_000);

  test('a second sync changes nothing, and no generation moves by itself', async () => {
    const versions = async (): Promise<string> => cluster.must(['get', 'target/orders-db', 'accesspolicy/oncall', '-n', namespace, '-o', 'jsonpath={range .items[*]}{.metadata.generation} {end}']);
    const before = await versions();
    expect(await asTenant('production')).toMatchObject({ code: 0 });
    expect(await versions()).toBe(before);
  });

  (crds === null ? test.skip : test)('Flux and Argo CD would accept their files: no unknown field, every required one', async () => {
    const definitions = readdirSync(crds?.path ?? '').map((name) => readFileSync(join(crds?.path ?? '', name), 'utf8'));
    const install = ['apply', '--server-side', '-f', '-'];
    for (const definition of definitions) await cluster.must(install, { input: definition });
    await cluster.apply(['flux-system', 'argocd'].map((name) => JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })).join('\n---\n'));
    try {
      await cluster.must(['wait', '--for=condition=Established', 'crd', '-l', '!app.kubernetes.io/managed-by', '--timeout=60s']);
      const files = ['clusters/production/flux', 'clusters/production/tenants', 'clusters/staging/flux', 'clusters/staging/tenants', 'infrastructure/sallyport', 'argocd'].map((folder) => [folder, kustomize(folder)] as const);
      files.push(['clusters/production/argocd', readFileSync('examples/gitops/clusters/production/argocd/applications.yaml', 'utf8')]);
      for (const [folder, yaml] of files) {
        await eventually(`${folder} is planned`, async () => !/no matches for kind|not found/.test((await plan(yaml)).err), 30_000);
        expect([folder, await plan(yaml)]).toEqual([folder, expect.objectContaining({ code: 0, err: '' })]);
        const misspelt = await plan(yaml.replace(/^ {2}(interval|project|url):/m, '  misspelt:'));
        if (folder !== 'argocd') expect([folder, misspelt.code, /misspelt|unknown field/.test(misspelt.err)]).toEqual([folder, 1, true]);
      }
    } finally {
      for (const definition of definitions) await cluster.kubectl(['delete', '-f', '-', '--wait=false'], { input: definition });
      await cluster.kubectl(['delete', 'namespace', 'flux-system', 'argocd', '--wait=false']);
    }
  }, 240_000);

  function plan(yaml: string): Promise<Ran> {
    return cluster?.kubectl(['apply', '--server-side', '--dry-run=server', '--validate=strict', '--field-manager=gitops', '-f', '-'], { input: yaml }) ?? Promise.reject(new Error('no cluster'));
  }

  function asTenant(stage: (typeof stages)[number], more: readonly string[] = []): Promise<Ran> {
    return cluster?.kubectl(['apply', '--server-side', '--field-manager=gitops', `--as=${account}`, ...more, '-f', '-'], { input: kustomize(`tenants/payments/overlays/${stage}`) }) ?? Promise.reject(new Error('no cluster'));
  }

  function kustomize(folder: string): string {
    return execFileSync(kubectl?.path ?? '', ['kustomize', `examples/gitops/${folder}`], { encoding: 'utf8' });
  }
});

interface Managed {
  readonly kind: string;
  readonly metadata: { readonly finalizers?: readonly string[]; readonly managedFields: readonly { readonly manager: string; readonly subresource?: string; readonly fieldsV1: object }[] };
}

function withoutIdentityProvider(yaml: string): string {
  return yaml.split(/^---$/m).filter((document) => !document.includes('kind: IdentityProvider')).join('---');
}
