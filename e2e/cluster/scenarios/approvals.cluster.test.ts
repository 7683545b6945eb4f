import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { endClients, eventually, type LiveProgram, type Ran } from '../../hosts/clients.ts';
import { openCluster, type Printed } from '../hosts/cluster.ts';
import { type NamespaceWorld, startNamespace } from '../hosts/namespace-world.ts';

const cluster = openCluster();
const namespace = 'approvals';
const program = fileURLToPath(new URL('../../../cli/main.ts', import.meta.url));
const guard = 'accessrequest-integrity.sallyport.dev';
const policies = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: oncall}
spec:
  subjects: [{kind: Group, name: sre}]
  targets: {selector: {matchLabels: {env: prod}}}
  rules:
  - {name: reads, action: Allow, postgres: {statements: [Select, Show]}}
  - {name: schema, action: RequireApproval, postgres: {statements: [Alter]}, approval: {groups: [dba], required: 2, decideWithin: 5m}}
  - {name: writes, action: RequireApproval, postgres: {statements: [Update]}, approval: {groups: [dba], required: 1, decideWithin: 5m, scope: Window, grantTTL: 1h}}
  - {name: removals, action: RequireApproval, postgres: {statements: [Delete]}, approval: {groups: [dba], required: 1, decideWithin: 4s}}
`;

(cluster ? describe : describe.skip)('approvals in a cluster', () => {
  if (cluster === null) return void test.todo('needs a Kubernetes node');
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-approvals-'));
  let world: NamespaceWorld;
  let alice = '';

  beforeAll(async () => {
    alice = await cluster.tokenOf('alice', ['sre', 'dba']);
    for (const [name, token] of [['alice', alice], ['bob', await cluster.tokenOf('bob', ['dba'])], ['carol', await cluster.tokenOf('carol', ['dba'])], ['dan', await cluster.tokenOf('dan', ['sre'])]] as const) await login(name, token);
    world = await startNamespace(cluster, { namespace, policies });
  }, 240_000);

  afterAll(async () => {
    endClients();
    rmSync(folder, { recursive: true, force: true });
    await world?.[Symbol.asyncDispose]();
  }, 60_000);

  test('a statement that needs two people waits for both, and runs once', async () => {
    const { held, request } = await hold('alter table orders add column quorum int;');
    expect(await sallyport('bob', 'approve', request, '--yes', '--comment', 'fine')).toMatchObject({ code: 0, out: expect.stringContaining('is now Pending (1/2)') });
    expect(await sallyport('bob', 'approve', request, '--yes')).toMatchObject({ code: 1, err: expect.stringContaining('Duplicate') });
    expect(await sallyport('alice', 'approve', request, '--yes')).toMatchObject({ code: 1, err: expect.stringContaining('APPROVAL_SELF') });
    expect(await sallyport('dan', 'approve', request, '--yes')).toMatchObject({ code: 1, err: expect.stringContaining('cannot get resource') });
    expect(await hasColumn('quorum')).toBe(false);

    expect(await sallyport('carol', 'approve', request, '--yes')).toMatchObject({ code: 0, out: expect.stringContaining('is now') });
    await held.until(/ALTER TABLE/);
    await held.end();
    expect(await hasColumn('quorum')).toBe(true);
    expect((await stored(request)).status).toMatchObject({ use: { state: 'Used' } });
  }, 90_000);

  test('what an approver is shown is what waits, and without a terminal nothing is approved unless it is said', async () => {
    const { held, request } = await hold('alter table orders add column shown int;');
    const shown = await sallyport('bob', 'requests', request);
    expect(shown.out).toContain('| alter table orders add column shown int');
    expect(shown.out).toContain('Requester  oidc:alice@bank.example');
    expect(await sallyport('bob', 'requests')).toMatchObject({ code: 0, out: expect.stringMatching(new RegExp(`${request} .*you may decide`)) });
    expect(await sallyport('bob', 'approve', request)).toMatchObject({ code: 3 });

    expect(await sallyport('bob', 'deny', request, '--reason', 'not before the backup')).toMatchObject({ code: 0, out: expect.stringContaining('is now Denied') });
    await held.until(/APPROVAL_DENIED/);
    await held.end();
    expect(await hasColumn('shown')).toBe(false);
  }, 90_000);

  test('nobody writes the status by hand; and where admission was taken away, a status that says Approved releases nothing', async () => {
    const { held, request } = await hold('alter table orders add column forged int;');
    const forge = (): Promise<Ran> => cluster.kubectl(['patch', 'areq', request, '-n', namespace, '--subresource=status', '--type=merge', '-p', JSON.stringify({ status: { phase: 'Approved', approvals: '2/2', decidedAt: new Date().toISOString() } })]);
    expect(await forge()).toMatchObject({ code: 1, err: expect.stringContaining('status-writers') });

    const bindings = await cluster.must(['get', 'validatingadmissionpolicybinding', guard, '-o', 'json']);
    await cluster.must(['delete', 'validatingadmissionpolicybinding', guard]);
    try {
      await eventually('the status to be forged', async () => (await forge()).code === 0);
      await eventually('integrity to be lost', async () => (await integrity()) === 'False');
    } finally {
      const { apiVersion, kind, metadata, spec } = JSON.parse(bindings) as Printed;
      await cluster.apply(JSON.stringify({ apiVersion, kind, metadata: { name: metadata.name, labels: metadata.labels, annotations: metadata.annotations }, spec }));
    }
    await eventually('integrity to be back', async () => (await integrity()) === 'True', 30_000);
    // What is decided before this second counts never: creation times have whole seconds.
    await eventually('decisions to count again', async () => Date.now() > Date.parse(((await cluster.get('pxc', 'sallyport-proxy', namespace))?.status?.integritySince ?? '') as string) + 1_000, 15_000);
    // Expired: while nothing counts, a claimed approval without an end is over. Revoked: no decision bears it out.
    await eventually('the claim to be taken back', async () => ['Revoked', 'Expired'].includes((await stored(request)).status?.phase), 30_000);
    expect(held.text()).not.toContain('ALTER TABLE');
    await held.until(/ERROR/);
    await held.end();
    expect(await hasColumn('forged')).toBe(false);
  }, 120_000);

  test('a window covers later statements until an approver revokes it', async () => {
    const { held, request } = await hold("update orders set amount = 1 where id = 1;");
    expect(await sallyport('bob', 'approve', request, '--yes')).toMatchObject({ code: 0 });
    await held.until(/UPDATE 1/);
    held.say("update orders set amount = 2 where id = 1;\nselect 'second done';");
    await held.until(/second done/);
    expect(await sallyport('carol', 'revoke', request)).toMatchObject({ code: 0, out: expect.stringContaining('is now Revoked') });
    held.say("update orders set amount = 3 where id = 1;");
    const next = await eventually('the next update to wait again, or the session to be over', async () => (await pending())?.metadata.name ?? (/FATAL|REVOKED/.test(held.text()) ? 'ended' : null), 20_000);
    if (next !== 'ended') await sallyport('bob', 'deny', next, '--reason', 'enough');
    await held.end();
    expect((await world.direct("select count(*) from orders where amount = 3")).out).toBe('0\n');
  }, 90_000);

  test('a statement that nobody decides on in time fails, and the request says so', async () => {
    const { held, request } = await hold('delete from orders where id = 2;');
    await held.until(/APPROVAL_EXPIRED/);
    await held.end();
    await eventually('the phase', async () => ['Expired', 'Withdrawn'].includes((await stored(request)).status?.phase));
  }, 60_000);

  /** A kubeconfig as a person has it after a login. */
  async function login(name: string, token: string): Promise<void> {
    const view = JSON.parse(await cluster!.must(['config', 'view', '--raw', '-o', 'json'])) as { readonly clusters: readonly [{ readonly name: string }]; users: unknown[]; contexts: unknown[]; 'current-context': string };
    const config = { ...view, users: [{ name, user: { token } }], contexts: [{ name, context: { cluster: view.clusters[0].name, user: name } }], 'current-context': name };
    writeFileSync(join(folder, name), JSON.stringify(config), { mode: 0o600 });
  }

  function sallyport(person: string, ...words: readonly string[]): Promise<Ran> {
    return cluster!.inside(process.execPath, ['--disable-warning=ExperimentalWarning', program, ...words, '--kubeconfig', join(folder, person), '-n', namespace]);
  }

  async function hold(sql: string): Promise<{ readonly held: LiveProgram; readonly request: string }> {
    const before = new Set((await cluster!.list('areq', namespace)).map(({ metadata }) => metadata.name));
    const held = world.live(alice);
    held.say(sql);
    const request = await eventually('the request', async () => (await cluster!.list('areq', namespace)).find(({ metadata, status }) => !before.has(metadata.name) && status?.phase === 'Pending'), 20_000);
    return { held, request: request.metadata.name };
  }

  async function pending(): Promise<Printed | null> {
    return (await cluster!.list('areq', namespace)).find(({ status }) => status?.phase === 'Pending') ?? null;
  }

  async function stored(request: string): Promise<Printed> {
    const found = await cluster!.get('areq', request, namespace);
    if (found === null) throw new Error(`${request} is gone`);
    return found;
  }

  async function integrity(): Promise<string | undefined> {
    const conditions = (await cluster!.get('proxyconfig', 'sallyport-proxy', namespace))?.status?.conditions as readonly { readonly type: string; readonly status: string }[] | undefined;
    return conditions?.find((condition) => condition.type === 'ApprovalIntegrity')?.status;
  }

  async function hasColumn(name: string): Promise<boolean> {
    return (await world.direct(`select count(*) from information_schema.columns where table_name = 'orders' and column_name = '${name}'`)).out === '1\n';
  }
});
