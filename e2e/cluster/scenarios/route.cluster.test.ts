import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { endClients, eventually } from '../../hosts/clients.ts';
import { openCluster, type Printed } from '../hosts/cluster.ts';
import { type NamespaceWorld, startNamespace } from '../hosts/namespace-world.ts';

const cluster = openCluster();

const policies = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: oncall}
spec:
  subjects: [{kind: Group, name: sre}]
  targets: {selector: {matchLabels: {env: prod}}}
  rules:
  - {name: reads, action: Allow, postgres: {statements: [Select, Explain, Show, Call]}}
  - {name: no-drop, action: Deny, postgres: {statements: [Drop]}}
  - name: schema-changes
    action: RequireApproval
    postgres: {statements: [Alter]}
    approval: {groups: [dba], required: 1, decideWithin: 5m}
  masking:
  - {columns: [public.customers.ssn], style: Partial, keepLast: 4}
`;

(cluster ? describe : describe.skip)('the route of a connection in a cluster', () => {
  if (cluster === null) return void test.todo('needs a Kubernetes node');
  let payments: NamespaceWorld;
  let billing: NamespaceWorld;
  let alice = '';
  let bob = '';

  beforeAll(async () => {
    [alice, bob] = await Promise.all([cluster.tokenOf('alice', ['sre']), cluster.tokenOf('bob', ['dba'])]);
    [payments, billing] = await Promise.all([
      startNamespace(cluster, { namespace: 'route-payments', policies }),
      startNamespace(cluster, { namespace: 'route-billing', policies: policies.replace('name: sre}', 'name: billing-team}'), schema: "create table invoices (id int); insert into invoices values (7);" }),
    ]);
  }, 240_000);

  afterAll(async () => {
    endClients();
    await Promise.all([payments, billing].map((world) => world?.[Symbol.asyncDispose]()));
  }, 60_000);

  test('psql in another pod logs in by the Target\'s own name, with the certificate verified in full, and a masked column is masked', async () => {
    expect(await payments.psql(alice, 'select id, name, ssn from customers order by id')).toEqual({ code: 0, err: '', out: '1|Alice Meyer|***-**-7841\n2|Bob Stone|***-**-9999\n' });
  });

  test('a wrong authority is refused by the client itself', async () => {
    const ran = await payments.psql(alice, 'select 1', { conninfo: 'sslrootcert=/etc/ssl/certs/ca-certificates.crt' });
    expect(ran.code).toBe(2);
    expect(ran.err).toContain('certificate verify failed');
  });

  test('a DROP is denied by the rule that forbids it, and the table is still there', async () => {
    const ran = await payments.psql(alice, 'drop table orders;\nselect count(*) from orders');
    expect(ran.err).toContain('STATEMENT_DENIED');
    expect(ran.out).toBe('20\n');
  });

  test('a held ALTER runs once another person has approved it by kubectl with a token of their own', async () => {
    const held = payments.live(alice);
    held.say('alter table orders add column note text;');
    const request = await pendingRequest('route-payments');
    expect(request.spec).toMatchObject({ requester: { username: 'oidc:alice@bank.example' } });
    expect(await payments.direct("select count(*) from information_schema.columns where table_name = 'orders' and column_name = 'note'")).toMatchObject({ out: '0\n' });

    await cluster.apply(decisionOn(request, 'oidc:bob@bank.example'), { token: bob });
    await held.until(/ALTER TABLE/);
    await held.end();
    expect(await payments.direct("select count(*) from information_schema.columns where table_name = 'orders' and column_name = 'note'")).toMatchObject({ out: '1\n' });
    await cluster.waitFor('jsonpath={.status.phase}=Approved', [`areq/${request.metadata.name}`], 'route-payments', 15);
    expect((await cluster.get('areq', request.metadata.name, 'route-payments'))?.status).toMatchObject({ use: { state: 'Used' } });
  });

  test('the requester cannot approve, and nobody can approve in another\'s name', async () => {
    const held = payments.live(alice);
    held.say('alter table orders add column extra text;');
    const request = await pendingRequest('route-payments');
    const forged = await cluster.kubectl(['apply', '-f', '-'], { token: bob, input: decisionOn(request, 'oidc:carol@bank.example') });
    expect(forged).toMatchObject({ code: 1 });
    expect(forged.err).toContain('by-is-caller');
    await cluster.must(['create', 'rolebinding', 'alice-too', '--clusterrole=sallyport-approver', '--user=oidc:alice@bank.example', '-n', 'route-payments']);
    const own = await cluster.kubectl(['apply', '-f', '-'], { token: alice, input: decisionOn(request, 'oidc:alice@bank.example') });
    expect(own).toMatchObject({ code: 1 });
    await cluster.must(['delete', 'rolebinding', 'alice-too', '-n', 'route-payments']);
    await cluster.apply(decisionOn(request, 'oidc:bob@bank.example', 'Deny'), { token: bob });
    await held.until(/APPROVAL_DENIED/);
    await held.end();
  });

  test('kubectl get reads as a dashboard', async () => {
    const shown = async (kind: string): Promise<readonly string[]> => columnsOf(await cluster.must(['get', kind, '-n', 'route-payments']));
    expect(await shown('tgt')).toEqual(['NAME', 'ENDPOINT', 'READY', 'PROGRAMMED', 'REASON', 'AGE']);
    expect(await shown('apol')).toEqual(['NAME', 'ACCESS', 'TARGETS', 'READY', 'PROGRAMMED', 'REASON', 'AGE']);
    expect(await shown('areq')).toEqual(['NAME', 'REQUESTER', 'TARGET', 'ACTION', 'APPROVALS', 'PHASE', 'EXPIRES', 'AGE']);
    expect(await shown('asess')).toEqual(['NAME', 'WHO', 'TARGET', 'STARTED', 'PHASE', 'COMMANDS', 'DENIED']);
    await cluster.waitFor('jsonpath={.status.programmed}=2/2', ['tgt/orders-db', 'apol/oncall'], 'route-payments', 30);
    expect(await cluster.must(['get', 'tgt', 'orders-db', '-n', 'route-payments', '--no-headers'])).toMatch(/^orders-db +orders-db\.route-payments\S*:5432 +True +2\/2 +Ready /);
    expect(await cluster.must(['get', 'apol', 'oncall', '-n', 'route-payments', '--no-headers'])).toMatch(/^oncall +Standing +1 +True +2\/2 +Ready /);
    expect(await cluster.must(['get', 'areq', '-n', 'route-payments', '--no-headers'])).toMatch(/oidc:alice@bank\.example +orders-db +Alter on public\.orders +1\/1 +Approved/);
    await eventually('the session with the held statement is shown', async () => /oidc:alice@bank\.example +orders-db .* Ended +\d+ +\d+/.test(await cluster.must(['get', 'asess', '-n', 'route-payments', '--no-headers'])), 45_000);
  });

  test('nothing crosses between two namespaces: neither a name of one team, nor a proxy, nor a Secret', async () => {
    const foreign = await billing.psql(alice, 'select 1');
    expect(foreign.code).toBe(2);
    expect(foreign.err).toContain('ACCESS_DENIED');
    expect(await billing.psql(await cluster.tokenOf('carol', ['billing-team']), 'select id from invoices')).toMatchObject({ code: 0, out: '7\n' });
    const can = (verb: string, what: string, inside: string): Promise<string> => cluster.kubectl(['auth', 'can-i', verb, what, '-n', inside, '--as=system:serviceaccount:route-billing:sallyport-proxy']).then(({ out }) => out.trim());
    expect(await can('get', 'secrets/orders-gateway', 'route-billing')).toBe('yes');
    expect(await can('get', 'secrets/orders-gateway', 'route-payments')).toBe('no');
    expect(await can('list', 'secrets', 'route-billing')).toBe('no');
    expect(await can('get', 'proxyconfigs/sallyport-proxy', 'route-payments')).toBe('no');
  });

  test('a live session is cut when its policy is deleted', async () => {
    const live = payments.live(alice);
    live.say('select 40 + 2;\nselect pg_sleep(50);');
    await live.until(/42/);
    await cluster.must(['delete', 'apol', 'oncall', '-n', 'route-payments']);
    const deleted = performance.now();
    await live.until(/FATAL:.*/);
    expect(performance.now() - deleted).toBeLessThan(5_000);
    await live.end();
    expect((await payments.psql(alice, 'select 1')).err).toContain('ACCESS_DENIED');
    expect((await billing.psql(await cluster.tokenOf('carol', ['billing-team']), 'select 1')).code).toBe(0);
  });

  async function pendingRequest(namespace: string): Promise<Printed> {
    return eventually('a request is pending', async () => (await cluster?.list('areq', namespace))?.find(({ status }) => status?.phase === 'Pending'), 20_000);
  }
});

/** What `kubectl sallyport approve` writes: the approver repeats what they saw. */
function decisionOn(request: Printed, by: string, decision: 'Approve' | 'Deny' = 'Approve'): string {
  const { requester, digest, policyRef } = request.spec;
  return JSON.stringify({
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessDecision', metadata: { name: `${request.metadata.name}-${by.replace(/[^a-z]+/g, '-')}`, namespace: request.metadata.namespace },
    spec: { requestRef: { name: request.metadata.name, uid: request.metadata.uid }, policyRef: { name: policyRef.name }, requester: { username: requester.username }, digest, decision, by, asGroups: ['dba'] },
  });
}

function columnsOf(table: string): readonly string[] {
  return (table.split('\n')[0] ?? '').trim().split(/ {2,}| +/);
}
