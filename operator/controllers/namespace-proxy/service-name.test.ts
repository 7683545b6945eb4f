import { describe, expect, test } from '@jest/globals';
import type { KubeObject } from '../../../runtime/kube/kube-client.ts';
import { aTarget, operatorWorld } from '../../../tools/testkit/operator-world.ts';
import type { OperatorWorld, RunningOperator } from '../../../tools/testkit/operator-world.ts';
import { until } from '../../../tools/testkit/settle.ts';
import { kinds } from '../../kube/kinds.ts';

async function converge(world: OperatorWorld, operator: RunningOperator): Promise<void> {
  for (let round = 0; round < 3; round++) {
    await operator.quiet();
    await world.proxiesAct();
  }
  await operator.quiet();
}

async function served(): Promise<{ readonly world: OperatorWorld; readonly operator: RunningOperator }> {
  const world = operatorWorld();
  world.secret('payments', 'gateway');
  world.put(aTarget('payments', 'a'));
  const operator = world.start();
  await converge(world, operator);
  return { world, operator };
}

const reason = (world: OperatorWorld, type: string): string | undefined => world.target('payments', 'a').status?.conditions?.find((condition) => condition.type === type)?.reason;

describe('a Target that gets another Service name', () => {
  test('moves to it with its port, and the old Service goes', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    const port = world.target('payments', 'a').status?.listener?.port;
    world.put(aTarget('payments', 'a', { serviceName: 'orders' }));
    await converge(world, operator);
    const { status } = world.target('payments', 'a');
    expect([world.services('payments'), status?.endpoint, status?.listener?.port]).toEqual([['orders', 'sallyport-proxy-peers'], 'orders.payments:5432', port]);
  });

  test('that is somebody else\'s keeps the one it has, goes on being served there, and says so', async () => {
    const { world, operator } = await served();
    await using _ = operator;
    world.api.put<KubeObject>(kinds.service, { apiVersion: 'v1', kind: 'Service', metadata: { namespace: 'payments', name: 'taken' }, spec: { ports: [{ port: 80 }] } });
    const foreign = world.api.get(kinds.service, 'payments', 'taken');
    world.put(aTarget('payments', 'a', { serviceName: 'taken' }));
    await converge(world, operator);
    const config = JSON.parse(world.config('payments')?.spec.config ?? '{}') as { readonly targets: readonly { readonly name: string }[] };
    expect([world.services('payments'), world.target('payments', 'a').status?.endpoint, reason(world, 'Accepted'), config.targets.map((target) => target.name)]).toEqual([['a', 'sallyport-proxy-peers', 'taken'], 'a.payments:5432', 'NameConflict', ['a']]);
    expect(world.api.get(kinds.service, 'payments', 'taken')).toEqual(foreign);
  });

});

test.each([
  ['service', 'a'], ['service', 'sallyport-proxy-peers'], ['deployment', 'sallyport-proxy'], ['role', 'sallyport-proxy-secrets'], ['roleBinding', 'sallyport-proxy'], ['serviceAccount', 'sallyport-proxy'],
  ['networkPolicy', 'sallyport-proxy'], ['podDisruptionBudget', 'sallyport-proxy'],
] as const)('a generated %s %s that somebody deleted comes back, as often as that happens', async (kind, name) => {
  const { world, operator } = await served();
  await using _ = operator;
  for (let time = 0; time < 2; time++) {
    world.api.remove(kinds[kind], 'payments', name);
    await converge(world, operator);
    expect([world.api.get(kinds[kind], 'payments', name)?.metadata.name, reason(world, 'Ready')]).toEqual([name, 'Ready']);
  }
});

test('a ProxyConfig that is gone before its creation was ever seen comes back', async () => {
  const world = operatorWorld();
  world.secret('payments', 'gateway');
  await using operator = world.start();
  await operator.quiet();
  world.put(aTarget('payments', 'a'));
  await until(() => world.config('payments') !== null);
  world.remove('ProxyConfig', 'payments', 'sallyport-proxy');
  await converge(world, operator);
  world.clock.advance(12_000);
  await converge(world, operator);
  expect([world.config('payments')?.metadata.name, reason(world, 'Ready')]).toEqual(['sallyport-proxy', 'Ready']);
});

test('isolation writes a NetworkPolicy for the pods behind the host, and takes it away when it is wanted no longer', async () => {
  const { world, operator } = await served();
  await using _ = operator;
  world.api.put<KubeObject>(kinds.service, { apiVersion: 'v1', kind: 'Service', metadata: { namespace: 'payments', name: 'orders-rw' }, spec: { selector: { app: 'orders' }, ports: [{ port: 5432 }] } });
  const { postgres } = aTarget('payments', 'a').spec;
  const behind = postgres === undefined ? {} : { postgres: { ...postgres, host: 'orders-rw.payments.svc' } };
  world.put(aTarget('payments', 'a', { ...behind, isolation: { mode: 'ProxyOnly' } }));
  await converge(world, operator);
  expect([world.api.get<KubeObject & { readonly spec: object }>(kinds.networkPolicy, 'payments', 'sallyport-target-a')?.spec, reason(world, 'BypassBlocked')]).toMatchObject([{ podSelector: { matchLabels: { app: 'orders' } } }, 'BypassBlocked']);
  world.put(aTarget('payments', 'a', behind));
  await converge(world, operator);
  expect([world.api.get(kinds.networkPolicy, 'payments', 'sallyport-target-a'), reason(world, 'BypassBlocked')]).toEqual([null, 'NotRequested']);
});
