import { describe, expect, jest, test } from '@jest/globals';
import type { KubeObject } from '../../../runtime/kube/kube-client.ts';
import { aPolicy, aTarget, operatorWorld } from '../../../tools/testkit/operator-world.ts';
import type { OperatorWorld, RunningOperator } from '../../../tools/testkit/operator-world.ts';
import { until } from '../../../tools/testkit/settle.ts';
import { kinds } from '../../kube/kinds.ts';

// Hundreds of objects through a whole API server: a busy machine takes longer.
jest.setTimeout(120_000);

const day = 86_400_000;
const conditionsOf = (object: { readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string }[] } | undefined }): Readonly<Record<string, string>> =>
  Object.fromEntries((object.status?.conditions ?? []).map(({ type, status, reason }) => [type, status === 'True' ? 'True' : `${status}/${reason}`]));

/** Lets operator and proxies answer each other until both have nothing to say. */
async function converge(world: OperatorWorld, operator: RunningOperator): Promise<void> {
  for (let round = 0; round < 4; round++) {
    await operator.quiet();
    await world.proxiesAct();
  }
  await operator.quiet();
}

/** A world with Secrets, Targets a and b, a policy, and an operator that has done all. */
async function served(): Promise<{ readonly world: OperatorWorld; readonly operator: RunningOperator }> {
  const world = operatorWorld();
  world.secret('payments', 'gateway');
  world.put(aTarget('payments', 'a'));
  world.put(aTarget('payments', 'b'));
  world.put(aPolicy('payments', 'readers'));
  const operator = world.start();
  await converge(world, operator);
  return { world, operator };
}

describe('a namespace with Targets', () => {
  test('gets a proxy, and a Target is ready once its Service stands before a port that every proxy has opened', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    const { status } = world.target('payments', 'a');
    const port = world.config('payments')?.spec.listeners?.find((listener) => listener.target === 'a')?.port;
    expect({ endpoint: status?.endpoint, programmed: status?.programmed, port: status?.listener?.port, service: status?.service, conditions: conditionsOf(world.target('payments', 'a')) }).toEqual({
      endpoint: 'a.payments:5432', programmed: '2/2', port, service: { name: 'a', port: 5432 },
      conditions: { Accepted: 'True', ResolvedRefs: 'True', Programmed: 'True', Ready: 'True', BypassBlocked: 'False/NotRequested' },
    });
    expect([conditionsOf(world.policy('payments', 'readers')), world.policy('payments', 'readers').status?.matchedTargets]).toEqual([{ Accepted: 'True', ResolvedRefs: 'True', Programmed: 'True', Ready: 'True' }, 2]);
    expect(conditionsOf(world.config('payments') ?? {})).toEqual({ Programmed: 'True', Available: 'True' });
    expect(world.services('payments')).toEqual(['a', 'b', 'sallyport-proxy-peers']);
    expect(operator.lines).toEqual([]);
  });

  test('has no Service for a Target before the last ready proxy has its port open', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    world.put(aTarget('payments', 'c'));
    await operator.quiet();
    await world.proxiesAct({ only: ['proxy-0'] });
    await operator.quiet();
    expect([world.services('payments').includes('c'), conditionsOf(world.target('payments', 'c'))['Programmed'], world.target('payments', 'c').status?.programmed]).toEqual([false, 'False/Partial', '1/2']);
    await world.proxiesAct({ failed: [{ name: 'c', reason: 'PORT_NOT_OPEN' }] });
    await operator.quiet();
    expect([world.services('payments').includes('c'), conditionsOf(world.target('payments', 'c'))['Programmed']]).toEqual([false, 'False/Pending']);
    await world.proxiesAct();
    await operator.quiet();
    expect([world.services('payments').includes('c'), conditionsOf(world.target('payments', 'c'))['Ready']]).toEqual([true, 'True']);
  });

  test('keeps what is programmed as programmed while another object is being added', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    world.put(aTarget('payments', 'c'));
    await operator.quiet();
    expect([conditionsOf(world.target('payments', 'a'))['Ready'], conditionsOf(world.policy('payments', 'readers'))['Ready'], conditionsOf(world.target('payments', 'c'))['Ready']]).toEqual(['True', 'True', 'False/Pending']);
  });

  test('says of a policy that was edited that it is not programmed until every proxy has applied it', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    world.put(aPolicy('payments', 'readers', { rules: [{ name: 'writes', action: 'Deny', postgres: { statements: ['Insert'] } }] }));
    await operator.quiet();
    await world.proxiesAct({ only: ['proxy-1'] });
    await operator.quiet();
    const { status, metadata } = world.policy('payments', 'readers');
    expect([metadata.generation, status?.observedGeneration, status?.programmed, conditionsOf(world.policy('payments', 'readers'))['Ready']]).toEqual([2, 2, '1/2', 'False/Partial']);
  });

  test('does not restart a pod when a Target is added', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    const before = world.api.get(kinds.deployment, 'payments', 'sallyport-proxy');
    world.put(aTarget('payments', 'c'));
    await converge(world, operator);
    expect(world.api.get(kinds.deployment, 'payments', 'sallyport-proxy')).toEqual(before);
  });
});

test('the acknowledgement of a pod that is gone is dropped, though not at once: our list of pods may be behind', async () => {
  const { world, operator } = await served();
  await using _ = operator;
  const pods = (): readonly string[] => (world.config('payments')?.status?.proxies ?? []).map((ack) => ack.pod);
  world.api.remove(kinds.pod, 'payments', 'proxy-1');
  await operator.quiet();
  expect([pods(), world.target('payments', 'a').status?.programmed]).toEqual([['proxy-0', 'proxy-1'], '1/1']);
  world.clock.advance(61_000);
  await operator.quiet();
  expect(pods()).toEqual(['proxy-0']);
});

describe('what people own', () => {
  test('nothing that is generated bears a label or annotation of a user, and the user\'s objects keep theirs and their spec', async () => {
    const world = operatorWorld();
    await using operator = world.start();
    const marked = aTarget('payments', 'a');
    world.put({ ...marked, metadata: { ...marked.metadata, labels: { env: 'prod', 'argocd.argoproj.io/instance': 'user-mark' }, annotations: { 'argocd.argoproj.io/tracking-id': 'user-mark', 'kubectl.kubernetes.io/last-applied-configuration': 'user-mark' } } });
    const policy = aPolicy('payments', 'readers');
    world.put({ ...policy, metadata: { ...policy.metadata, annotations: { note: 'user-mark' } } });
    const before = [world.target('payments', 'a'), world.policy('payments', 'readers')].map(({ metadata, spec }) => ({ labels: metadata.labels, annotations: metadata.annotations, generation: metadata.generation, spec }));
    await converge(world, operator);
    const generated = (world.api.finalState() as unknown as readonly KubeObject[]).filter((object) => object.metadata.labels?.['app.kubernetes.io/managed-by'] === 'sallyport');
    expect(generated.length).toBeGreaterThanOrEqual(10);
    expect(generated.filter((object) => JSON.stringify(object.metadata).includes('user-mark') || (object.kind !== 'ProxyConfig' && JSON.stringify(object).includes('user-mark')))).toEqual([]);
    expect([world.target('payments', 'a'), world.policy('payments', 'readers')].map(({ metadata, spec }) => ({ labels: metadata.labels, annotations: metadata.annotations, generation: metadata.generation, spec }))).toEqual(before);
  });

  test('a foreign Service of a Target\'s name is left as it is, the Target says so, and it is served once the name is free', async () => {
    const world = operatorWorld();
    const foreign = { apiVersion: 'v1', kind: 'Service', metadata: { namespace: 'payments', name: 'a', labels: { app: 'theirs' } }, spec: { ports: [{ port: 80 }] } };
    world.api.put<KubeObject>(kinds.service, foreign);
    world.secret('payments', 'gateway');
    world.put(aTarget('payments', 'a'));
    world.put(aTarget('payments', 'b'));
    await using operator = world.start();
    const before = world.api.get(kinds.service, 'payments', 'a');
    await converge(world, operator);
    expect([conditionsOf(world.target('payments', 'a'))['Accepted'], conditionsOf(world.target('payments', 'a'))['Stalled'], conditionsOf(world.target('payments', 'b'))['Ready']]).toEqual(['False/NameConflict', 'True', 'True']);
    expect([world.api.get(kinds.service, 'payments', 'a'), operator.events]).toEqual([before, ['NameConflict Target/a']]);
    world.api.remove(kinds.service, 'payments', 'a');
    world.clock.advance(15_000);
    await converge(world, operator);
    expect([conditionsOf(world.target('payments', 'a'))['Ready'], conditionsOf(world.target('payments', 'a'))['Stalled']]).toEqual(['True', undefined]);
  });

  test('a Service that appears between our look and our write is not taken over', async () => {
    const world = operatorWorld();
    world.put(aTarget('payments', 'a'));
    await using operator = world.start();
    await operator.quiet();
    // The lookups still remember that the name was free.
    world.api.put<KubeObject>(kinds.service, { apiVersion: 'v1', kind: 'Service', metadata: { namespace: 'payments', name: 'a' }, spec: { ports: [{ port: 80 }] } });
    const before = world.api.get(kinds.service, 'payments', 'a');
    await world.proxiesAct();
    await operator.quiet();
    expect([world.api.get(kinds.service, 'payments', 'a'), conditionsOf(world.target('payments', 'a'))['Accepted']]).toEqual([before, 'False/NameConflict']);
  });

  test('a foreign Deployment named sallyport-proxy stops the namespace and is left as it is', async () => {
    const world = operatorWorld();
    world.api.put<KubeObject>(kinds.deployment, { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { namespace: 'payments', name: 'sallyport-proxy' }, spec: { replicas: 7 } });
    const before = world.api.get(kinds.deployment, 'payments', 'sallyport-proxy');
    world.put(aTarget('payments', 'a'));
    await using operator = world.start();
    await operator.quiet();
    expect([world.api.get(kinds.deployment, 'payments', 'sallyport-proxy'), world.config('payments'), conditionsOf(world.target('payments', 'a'))['Accepted']]).toEqual([before, null, 'False/NameConflict']);
  });

  test('of two Targets that want one Service name the one that has it keeps it', async () => {
    const world = operatorWorld();
    world.put(aTarget('payments', 'b'));
    await using operator = world.start();
    await converge(world, operator);
    world.put(aTarget('payments', 'a', { serviceName: 'b' }));
    await converge(world, operator);
    expect([conditionsOf(world.target('payments', 'a'))['Accepted'], conditionsOf(world.target('payments', 'b'))['Accepted']]).toEqual(['False/NameConflict', 'True']);
  });

  test('a drift of a generated object is put right, and a field that somebody added stays', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    const service = world.api.get<KubeObject & { readonly spec: object }>(kinds.service, 'payments', 'a');
    world.api.put<KubeObject>(kinds.service, { ...service, metadata: { ...service?.metadata, annotations: { ...service?.metadata.annotations, theirs: 'stays' } }, spec: { ...service?.spec, ports: [{ name: 'postgres', port: 5432, targetPort: 8081, protocol: 'TCP' }] } } as KubeObject);
    await operator.quiet();
    const after = world.api.get<KubeObject & { readonly spec: { readonly ports: readonly { readonly targetPort: number }[] } }>(kinds.service, 'payments', 'a');
    expect([after?.spec.ports.map((port) => port.targetPort), after?.metadata.annotations?.['theirs']]).toEqual([[world.target('payments', 'a').status?.listener?.port], 'stays']);
  });
});

describe('Secrets', () => {
  test('are asked for by metadata alone, never listed or watched, and ours are created once', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    const calls = world.api.calls.filter((call) => call.resource === 'secrets');
    expect(calls.filter((call) => !call.metadataOnly).map((call) => call.line)).toEqual([]);
    expect([...new Set(calls.map((call) => call.verb))].sort()).toEqual(['create', 'get']);
    const tls = world.api.get(kinds.secret, 'payments', 'sallyport-proxy-tls');
    world.clock.advance(700_000);
    await converge(world, operator);
    expect(world.api.get(kinds.secret, 'payments', 'sallyport-proxy-tls')).toEqual(tls);
    expect(tls?.metadata.ownerReferences).toBeUndefined();
  });

  test('are created anew in a namespace that was deleted and made again under its old name', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    for (const name of ['a', 'b']) world.remove('Target', 'payments', name);
    world.remove('AccessPolicy', 'payments', 'readers');
    await converge(world, operator);
    for (const name of ['gateway', 'sallyport-proxy-tls', 'sallyport-proxy-hmac']) world.api.remove(kinds.secret, 'payments', name);
    world.secret('payments', 'gateway');
    world.put(aTarget('payments', 'a'));
    await converge(world, operator);
    expect(['sallyport-proxy-tls', 'sallyport-proxy-hmac'].map((name) => world.api.get(kinds.secret, 'payments', name)?.metadata.name)).toEqual(['sallyport-proxy-tls', 'sallyport-proxy-hmac']);
  });

  test('one that was brought is left as it is, and no CA is published for it', async () => {
    const world = operatorWorld();
    world.secret('payments', 'sallyport-proxy-tls');
    const brought = world.api.get(kinds.secret, 'payments', 'sallyport-proxy-tls');
    world.put(aTarget('payments', 'a'));
    await using operator = world.start();
    await converge(world, operator);
    expect([world.api.get(kinds.secret, 'payments', 'sallyport-proxy-tls'), world.api.get(kinds.configMap, 'payments', 'sallyport-ca')]).toEqual([brought, null]);
  });

  test('a missing one shows in the Target and is noticed soon after it came', async () => {
    const world = operatorWorld();
    world.put(aTarget('payments', 'a'));
    await using operator = world.start();
    await converge(world, operator);
    expect(conditionsOf(world.target('payments', 'a'))['ResolvedRefs']).toBe('False/SecretNotFound');
    world.secret('payments', 'gateway');
    world.clock.advance(11_000);
    await operator.quiet();
    expect(conditionsOf(world.target('payments', 'a'))['ResolvedRefs']).toBe('True');
  });

  test('one that the proxies cannot use shows in the Target', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    await world.proxiesAct({ failed: [{ name: 'a', reason: 'InvalidSecret' }] });
    await operator.quiet();
    expect([conditionsOf(world.target('payments', 'a'))['ResolvedRefs'], conditionsOf(world.target('payments', 'b'))['Ready']]).toEqual(['False/InvalidSecret', 'True']);
  });

  test('the proxy may read exactly those that its config names', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    const rules = (): unknown => world.api.get<KubeObject & { readonly rules: unknown }>(kinds.role, 'payments', 'sallyport-proxy-secrets')?.rules;
    expect(rules()).toEqual([{ apiGroups: [''], resources: ['secrets'], resourceNames: ['gateway'], verbs: ['get'] }]);
    world.remove('Target', 'payments', 'a');
    world.remove('Target', 'payments', 'b');
    await operator.quiet();
    expect(rules()).toEqual([]);
  });
});

describe('writes', () => {
  test('an idle operator writes nothing in an hour, and one that starts anew writes nothing', async () => {
    const { world, operator } = await served();
    world.api.forgetCalls();
    for (let minute = 0; minute < 60; minute++) {
      world.clock.advance(60_000);
      await operator.quiet();
    }
    expect(world.api.writes().map((call) => call.line)).toEqual([]);
    await operator[Symbol.asyncDispose]();
    await using again = world.start();
    await again.quiet();
    expect(world.api.writes().map((call) => call.line)).toEqual([]);
  });

  test('a restart with 1,000 policies writes nothing', async () => {
    const world = operatorWorld();
    world.put(aTarget('payments', 'a'));
    for (let index = 0; index < 1_000; index++) world.put(aPolicy('payments', `p${index}`));
    const first = world.start();
    await first.quiet();
    await world.proxiesAct();
    await first.quiet();
    await first[Symbol.asyncDispose]();
    expect(conditionsOf(world.policy('payments', 'p999'))['Ready']).toBe('True');
    world.api.forgetCalls();
    await using second = world.start();
    await second.quiet();
    expect(world.api.writes().map((call) => call.line)).toEqual([]);
  }, 300_000);
});

describe('the end', () => {
  test('of a Target: its Service goes before its listener, and a new one of its name gets another port', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    const port = world.target('payments', 'a').status?.listener?.port;
    world.api.forgetCalls();
    world.remove('Target', 'payments', 'a');
    world.put(aTarget('payments', 'a'));
    await operator.quiet();
    const order = world.api.writes().map((call) => `${call.verb} ${call.resource}/${call.name ?? ''}`);
    expect(order.indexOf('delete services/a')).toBeGreaterThanOrEqual(0);
    expect(order.indexOf('delete services/a')).toBeLessThan(order.indexOf('patch proxyconfigs/sallyport-proxy'));
    expect(world.services('payments')).not.toContain('a');
    await converge(world, operator);
    expect(world.services('payments')).toContain('a');
    expect(world.target('payments', 'a').status?.listener?.port).not.toBe(port);
    const listeners = world.config('payments')?.spec.listeners ?? [];
    expect(listeners.filter((listener) => listener.port === port).map((listener) => listener.releasedAt !== undefined)).toEqual([true]);
    world.clock.advance(day + 5_000);
    await converge(world, operator);
    expect(world.config('payments')?.spec.listeners?.some((listener) => listener.port === port)).toBe(false);
  });

  test('of a Service that cannot be deleted: access is taken away all the same', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    const revision = world.config('payments')?.spec.revision ?? 0;
    world.api.faults.add({ fault: { kind: 'status', status: 500 }, when: (call) => call.verb === 'delete' && call.resource === 'services', times: Number.POSITIVE_INFINITY });
    world.remove('Target', 'payments', 'a');
    await operator.quiet();
    expect(world.services('payments')).toContain('a');
    expect(world.config('payments')?.spec.revision).toBeGreaterThan(revision);
    expect(JSON.parse(world.config('payments')?.spec.config ?? '{}')).toMatchObject({ targets: [{ name: 'b' }] });
  });

  test('of a policy: it is out of the config before anything that may be slow is asked for', async () => {
    const { world, operator } = await served();
    await operator[Symbol.asyncDispose]();
    world.remove('AccessPolicy', 'payments', 'readers');
    // An operator that starts has looked at no Secret yet.
    world.api.faults.add({ fault: { kind: 'hang' }, when: (call) => call.resource === 'secrets', times: Number.POSITIVE_INFINITY });
    await using heir = world.start();
    await until(() => (JSON.parse(world.config('payments')?.spec.config ?? '{}') as { readonly policies: readonly unknown[] }).policies.length === 0);
    world.api.faults.clear();
    world.clock.advance(16_000);
    await heir.quiet();
  });

  test('of the last Target: the ProxyConfig stays until every proxy has ended its sessions, then everything goes but our Secrets', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    world.remove('Target', 'payments', 'a');
    world.remove('Target', 'payments', 'b');
    await operator.quiet();
    expect([world.config('payments') === null, world.services('payments')]).toEqual([false, ['sallyport-proxy-peers']]);
    await world.proxiesAct();
    await operator.quiet();
    const left = (world.api.finalState() as unknown as readonly KubeObject[]).map((object) => `${object.kind ?? ''}/${object.metadata.name}`).sort();
    expect(left).toEqual(['AccessPolicy/readers', 'Secret/gateway', 'Secret/sallyport-proxy-hmac', 'Secret/sallyport-proxy-ssh', 'Secret/sallyport-proxy-tls', 'Secret/sallyport-ssh-user-ca']);
    expect(conditionsOf(world.policy('payments', 'readers'))).toMatchObject({ ResolvedRefs: 'False/NoMatchingTarget', Ready: 'False/NoMatchingTarget' });
  });

  test('of the last Target while the proxies say nothing: the proxy goes after 5 minutes', async () => {
    const world = operatorWorld();
    world.put(aTarget('payments', 'a'));
    await using operator = world.start();
    await converge(world, operator);
    world.remove('Target', 'payments', 'a');
    await operator.quiet();
    world.clock.advance(299_000);
    await operator.quiet();
    expect(world.config('payments')).not.toBeNull();
    world.clock.advance(5_000);
    await operator.quiet();
    expect(world.config('payments')).toBeNull();
  });

  test('of a namespace counts as done: nothing is tried again and again', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    world.api.terminate('payments');
    await operator.quiet();
    world.api.forgetCalls();
    for (let minute = 0; minute < 5; minute++) {
      world.clock.advance(60_000);
      await operator.quiet();
    }
    expect([world.api.writes().map((call) => call.line), operator.lines]).toEqual([[], []]);
  });

  test('of the ProxyConfig: 500 Targets keep their ports when it is deleted, and when one of them is', async () => {
    const world = operatorWorld();
    world.secret('payments', 'gateway');
    for (let index = 0; index < 500; index++) world.put(aTarget('payments', `t${index}`));
    const first = world.start();
    await converge(world, first);
    await first[Symbol.asyncDispose]();
    const ports = (): Readonly<Record<string, number>> => Object.fromEntries((world.config('payments')?.spec.listeners ?? []).filter((listener) => listener.releasedAt === undefined).map((listener) => [listener.target, listener.port]));
    const before = ports();
    expect(new Set(Object.values(before)).size).toBe(500);
    await using second = world.start();
    await second.quiet();
    expect(ports()).toEqual(before);
    world.remove('ProxyConfig', 'payments', 'sallyport-proxy');
    await second.quiet();
    expect(ports()).toEqual(before);
    world.remove('Target', 'payments', 't7');
    await second.quiet();
    const { t7: _gone, ...rest } = before;
    expect(ports()).toEqual(rest);
  }, 300_000);
});
