import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { aPolicy, aTarget, operatorWorld } from '../../../tools/testkit/operator-world.ts';
import type { OperatorWorld } from '../../../tools/testkit/operator-world.ts';

/** What people, proxies and operators may do, each in its turn; the last word on every object is the same in all orders. */
const steps: Readonly<Record<string, (world: OperatorWorld) => void>> = {
  secret: (world) => world.secret('payments', 'gateway'),
  'target a': (world) => world.put(aTarget('payments', 'a')),
  'target b': (world) => world.put(aTarget('payments', 'b', { serviceName: 'b-svc' })),
  'target c': (world) => world.put(aTarget('payments', 'c', {}, { env: 'test' })),
  'policy readers': (world) => world.put(aPolicy('payments', 'readers', { limits: { rowsPerStatement: 10 } })),
  'policy denies': (world) => world.put(aPolicy('payments', 'denies', { rules: [{ name: 'r', action: 'Deny', postgres: { statements: ['Drop'] } }] })),
  'policy of nothing': (world) => world.put(aPolicy('payments', 'nothing', { targets: { names: ['nowhere'] } })),
};

const volatile = new Set(['revision', 'generation', 'observedGeneration', 'hash', 'config', 'lastTransitionTime', 'appliedAt', 'targetUID', 'podUID', 'uid', 'port', 'targetPort', 'clusterIP', 'resourceVersion', 'sallyport.dev/target-uid', 'sallyport.dev/applied', 'sshHostKeyFingerprint']);
const final = (world: OperatorWorld): unknown => JSON.parse(JSON.stringify(world.api.finalState(['Secret', 'ConfigMap']), (key, value: unknown) => {
  if (key === 'listeners') return [...(value as readonly { readonly target: string; readonly releasedAt?: string }[])].filter((listener) => listener.releasedAt === undefined).map((listener) => listener.target).sort();
  if (key === 'compiled') return (value as readonly { readonly kind: string; readonly name: string }[]).map(({ kind, name }) => `${kind}/${name}`).sort();
  return volatile.has(key) ? undefined : value;
}));

async function run(order: readonly string[], pauses: readonly boolean[]): Promise<unknown> {
  const world = operatorWorld();
  let operator = world.start();
  for (const [index, name] of order.entries()) {
    steps[name]?.(world);
    if (pauses[index] !== true) continue;
    await operator.quiet();
    await world.proxiesAct();
    // And sometimes another operator goes on.
    if (index % 2 === 0) {
      await operator[Symbol.asyncDispose]();
      operator = world.start();
    }
  }
  world.clock.advance(15_000);
  for (let round = 0; round < 3; round++) {
    await operator.quiet();
    await world.proxiesAct();
  }
  await operator.quiet();
  await operator[Symbol.asyncDispose]();
  return final(world);
}

test('any order of events, with pauses and restarts anywhere, leads to the same objects and statuses', async () => {
  const names = Object.keys(steps);
  const expected = await run(names, []);
  await fc.assert(fc.asyncProperty(fc.shuffledSubarray(names, { minLength: names.length }), fc.array(fc.boolean(), { minLength: names.length, maxLength: names.length }), async (order, pauses) => {
    expect(await run(order, pauses)).toEqual(expected);
  }), { numRuns: 12 });
}, 180_000);
