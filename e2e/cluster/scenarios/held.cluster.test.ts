import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { requestDigest } from '../../../contract/request-digest.ts';
import { endClients, eventually, type Ran } from '../../hosts/clients.ts';
import { openCluster, type Printed } from '../hosts/cluster.ts';
import { interruptClients } from '../hosts/interrupt.ts';
import { type NamespaceWorld, startNamespace } from '../hosts/namespace-world.ts';
import { recordsOf } from '../hosts/proxy-records.ts';

const cluster = openCluster();
const namespace = 'held';
const policies = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: oncall}
spec:
  subjects: [{kind: Group, name: sre}]
  targets: {names: [orders-db]}
  rules:
  - {name: reads, action: Allow, postgres: {statements: [Select, Show, Call]}}
  - {name: writes, action: RequireApproval, postgres: {statements: [Update]}, approval: {groups: [dba], required: 1, decideWithin: 5m, scope: Window, grantTTL: 1h}}
  - {name: schema, action: RequireApproval, postgres: {statements: [Alter]}, approval: {groups: [dba], required: 1, decideWithin: 5m}}
---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: on-request}
spec:
  subjects: [{kind: Group, name: guests}]
  targets: {names: [orders-db]}
  access: {mode: OnRequest, approval: {groups: [dba], required: 1, decideWithin: 5m, scope: Session, grantTTL: 1h}}
  rules:
  - {name: reads, action: Allow, postgres: {statements: [Select, Show, Call]}}
`;

interface Evidence {
  readonly facts?: Readonly<Record<string, unknown>>;
  readonly approvals?: readonly unknown[];
}

(cluster ? describe : describe.skip)('held statements in a cluster', () => {
  if (cluster === null) return void test.todo('needs a Kubernetes node');
  let world: NamespaceWorld;
  let alice = '';
  let bob = '';

  beforeAll(async () => {
    [alice, bob] = await Promise.all([cluster.tokenOf('alice', ['sre']), cluster.tokenOf('bob', ['dba'])]);
    world = await startNamespace(cluster, { namespace, policies });
  }, 240_000);

  afterAll(async () => {
    endClients();
    await world?.[Symbol.asyncDispose]();
  }, 60_000);

  test('two sessions that ask the same share one request; its approval runs once, the other asks anew', async () => {
    const sql = 'alter table orders add column shared int;';
    const [one, two] = [world.live(alice), world.live(alice)];
    one.say(sql);
    const request = await pendingRequest();
    two.say(sql);
    await Promise.all([one, two].map((live) => live.until(new RegExp(`statement held: waiting for approval by group dba \\(${request.metadata.name}\\)`))));
    expect(one.text()).toContain(`an approver can run: sallyport approve ${request.metadata.name} -n ${namespace}`);
    expect((await cluster.list('areq', namespace)).length).toBe(1);

    expect(await decide(request, 'Approve')).toMatchObject({ code: 0 });
    const next = await eventually('the loser asks anew', async () => (await cluster.list('areq', namespace)).find(({ metadata }) => metadata.name === request.metadata.name.replace(/-1$/, '-2')), 20_000);
    await eventually('one of them has run it', () => [one, two].filter((live) => live.text().includes('ALTER TABLE')).length === 1);
    expect((await cluster.get('areq', request.metadata.name, namespace))?.status.use).toMatchObject({ state: 'Used', pod: expect.stringContaining('sallyport-proxy-') });
    expect(await decide(next, 'Deny')).toMatchObject({ code: 0 });
    await eventually('the other is denied', () => [one, two].filter((live) => live.text().includes('APPROVAL_DENIED')).length === 1);
    await Promise.all([one.end(), two.end()]);
    expect((await world.serverLog()).match(/add column shared/g)?.length ?? 0).toBeLessThanOrEqual(1);
  }, 120_000);

  test('Ctrl-C takes the request back, and an approval that comes then runs nothing', async () => {
    const live = world.live(alice);
    live.say('alter table orders add column regretted int;');
    const request = await pendingRequest();
    await live.until(/statement held/);
    await interruptClients(cluster, namespace);
    await live.until(/HOLD_CANCELLED/);
    await cluster.waitFor('jsonpath={.status.use.state}=Withdrawn', [`areq/${request.metadata.name}`], namespace, 20);
    await cluster.waitFor('jsonpath={.status.phase}=Withdrawn', [`areq/${request.metadata.name}`], namespace, 20);
    await decide(request, 'Approve');
    // psql that reads a script ends with it.
    await live.end();
    expect((await world.psql(alice, "select 'still here'")).out).toBe('still here\n');
    expect((await world.direct("select count(*) from information_schema.columns where column_name = 'regretted'")).out).toBe('0\n');
  }, 120_000);

  test('the client that hangs up takes the request back', async () => {
    const live = world.live(alice);
    live.say('alter table orders add column gone int;');
    const request = await pendingRequest();
    await interruptClients(cluster, namespace, 'KILL');
    await cluster.waitFor('jsonpath={.status.use.state}=Withdrawn', [`areq/${request.metadata.name}`], namespace, 20);
    await live.end();
  }, 120_000);

  test('a session that needs an approval opens once another person has approved it, and no second one opens under it', async () => {
    const guest = await cluster.tokenOf('gina', ['guests']);
    const first = world.live(guest, { connectSeconds: 60 });
    const request = await pendingRequest();
    expect(request.spec).toMatchObject({ scope: 'Session', action: 'session on orders', requester: { username: 'oidc:gina@bank.example' }, grantTTL: '3600s' });
    expect(await decide(request, 'Approve')).toMatchObject({ code: 0 });
    first.say("select 'let in';");
    await first.until(/let in/);
    const second = world.live(guest, { connectSeconds: 60 });
    const another = await pendingRequest();
    expect(another.metadata.name).not.toBe(request.metadata.name);
    expect(await decide(another, 'Deny')).toMatchObject({ code: 0 });
    await second.until(/APPROVAL_DENIED/);
    first.say('select pg_sleep(120);');
    await eventually('the server runs it', async () => (await world.direct("select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'")).out === '1\n', 20_000);
    // What was given is taken back by those who may give it: the session ends.
    expect(await decide(request, 'Revoke')).toMatchObject({ code: 0 });
    const revoked = performance.now();
    await first.until(/FATAL/);
    expect(performance.now() - revoked).toBeLessThan(2_000);
    await Promise.all([first.end(), second.end()]);
  }, 120_000);

  test('a window that a person asks for with kubectl, in their own name only, covers their statements on both replicas until it is revoked', async () => {
    await cluster.must(['create', 'rolebinding', 'requesters', '--clusterrole=sallyport-requester', '--group=sre', '-n', namespace]);
    const [target, policy] = [await cluster.get('target', 'orders-db', namespace), await cluster.get('accesspolicy', 'oncall', namespace)];
    const ask = (username: string): ReturnType<typeof cluster.kubectl> => {
      const spec = {
        scope: 'Window' as const, requester: { username }, policyRef: { name: 'oncall', uid: policy?.metadata.uid ?? '', generation: policy?.metadata.generation ?? 0, rule: 'writes' }, targetRef: { name: 'orders-db', uid: target?.metadata.uid ?? '' },
        action: 'corrections of the month', approvers: { groups: ['dba'], required: 1 }, decideWithin: '5m', grantTTL: '30m', reason: 'ticket 4711',
      };
      return cluster.kubectl(['create', '-f', '-'], { token: alice, input: JSON.stringify({ apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessRequest', metadata: { name: 'corrections', namespace }, spec: { ...spec, digest: requestDigest(spec) } }) });
    };
    expect(await ask('oidc:dan@bank.example')).toMatchObject({ code: 1, err: expect.stringContaining('requester-is-caller') });
    expect(await ask('oidc:alice@bank.example')).toMatchObject({ code: 0 });
    const request = await eventually('the request', () => cluster.get('areq', 'corrections', namespace));
    expect(await decide(request, 'Approve')).toMatchObject({ code: 0 });
    await cluster.waitFor('jsonpath={.status.phase}=Approved', ['areq/corrections'], namespace, 20);
    for (let n = 1; n <= 6; n++) expect(await world.psql(alice, `update orders set amount = ${n} where id = 3`)).toMatchObject({ code: 0, out: 'UPDATE 1\n' });
    expect((await cluster.list('areq', namespace)).filter(({ status }) => status?.phase === 'Pending')).toEqual([]);

    expect(await decide(request, 'Revoke')).toMatchObject({ code: 0 });
    await cluster.waitFor('jsonpath={.status.phase}=Revoked', ['areq/corrections'], namespace, 20);
    const held = world.live(alice);
    held.say('update orders set amount = 99 where id = 3;');
    const next = await pendingRequest();
    expect(next.spec).toMatchObject({ scope: 'Window', grantTTL: '3600s' });
    expect(await decide(next, 'Deny')).toMatchObject({ code: 0 });
    await held.until(/APPROVAL_DENIED/);
    await held.end();
  }, 120_000);

  test('the records of both replicas verify, and name who decided on what was run', async () => {
    const records = await recordsOf(cluster, namespace);
    for (const { verified } of records) expect(verified).toMatchObject({ exit: 0 });
    const evidence = (code: string): readonly Evidence[] => records.flatMap(({ events }) => events).filter((event) => event.code === code).map(({ line }) => (JSON.parse(line) as { readonly evidence: Evidence }).evidence);
    expect(evidence('request.decided').map(({ facts }) => facts)).toContainEqual(expect.objectContaining({ decision: 'Approve', approver: expect.objectContaining({ username: 'oidc:bob@bank.example' }), method: 'kubernetes', asGroups: ['dba'] }));
    expect(evidence('request.withdrawn').map(({ facts }) => facts?.['reason'])).toEqual(expect.arrayContaining(['HOLD_CANCELLED', 'CONNECTION_LOST']));
    // One approval, one execution.
    expect(evidence('statement.intent').flatMap(({ approvals }) => approvals ?? [])).toEqual([expect.objectContaining({ approver: expect.objectContaining({ name: 'oidc:bob@bank.example' }), method: 'kubernetes' })]);
  }, 60_000);

  function pendingRequest(): Promise<Printed> {
    return eventually('a request is pending', async () => (await cluster!.list('areq', namespace)).find(({ status }) => status?.phase === 'Pending'), 30_000);
  }

  /** With the approver's own token, as the API server's admission lets them. */
  function decide(request: Printed, decision: 'Approve' | 'Deny' | 'Revoke'): Promise<Ran> {
    const { requester, digest, policyRef } = request.spec;
    return cluster!.kubectl(['create', '-f', '-'], { token: bob, input: JSON.stringify({
      apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessDecision', metadata: { name: `${request.metadata.name}-${decision.toLowerCase()}`, namespace },
      spec: { requestRef: { name: request.metadata.name, uid: request.metadata.uid }, policyRef: { name: policyRef.name }, requester: { username: requester.username }, digest, decision, by: 'oidc:bob@bank.example', asGroups: ['dba'] },
    }) });
  }
});
