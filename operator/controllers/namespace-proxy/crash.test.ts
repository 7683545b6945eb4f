import { describe, expect, test } from '@jest/globals';
import { crashAtCall } from '../../../tools/testkit/crash-at-call.ts';
import { aPolicy, aTarget, operatorWorld } from '../../../tools/testkit/operator-world.ts';
import type { OperatorWorld, RunningOperator } from '../../../tools/testkit/operator-world.ts';

/** Lets operator and proxies answer each other until both have nothing to say. */
async function converge(world: OperatorWorld, operator: RunningOperator): Promise<void> {
  for (let round = 0; round < 4; round++) {
    await operator.quiet();
    await world.proxiesAct();
  }
  await operator.quiet();
}

describe('a crash at any call', () => {
  /** Adds, edits and removes at once, so that every kind of write happens. */
  const scene = async (): Promise<OperatorWorld> => {
    const world = operatorWorld();
    world.secret('payments', 'gateway');
    world.put(aTarget('payments', 'a'));
    world.put(aTarget('payments', 'b'));
    world.put(aPolicy('payments', 'readers'));
    await using operator = world.start();
    await converge(world, operator);
    world.remove('Target', 'payments', 'a');
    world.put(aTarget('payments', 'c', { serviceName: 'c-svc' }));
    world.put(aPolicy('payments', 'readers', { limits: { rowsPerStatement: 5 } }));
    return world;
  };
  const final = (world: OperatorWorld): unknown => JSON.parse(JSON.stringify(world.api.finalState(['Secret', 'ConfigMap']), (key, value: unknown) => (key === 'listeners' ? [...(value as readonly { readonly target: string }[])].sort((a, b) => (a.target < b.target ? -1 : 1)) : ['revision', 'hash', 'config', 'lastTransitionTime', 'releasedAt', 'appliedAt', 'targetUID', 'podUID', 'uid', 'port', 'targetPort', 'clusterIP', 'resourceVersion', 'sallyport.dev/target-uid', 'sallyport.dev/applied', 'sshHostKeyFingerprint'].includes(key) ? undefined : value)));

  test.each(['before', 'after'] as const)('%s the API server acted leads to the same final state', async (when) => {
    const reference = await scene();
    await using operator = reference.start();
    await converge(reference, operator);
    const expected = final(reference);
    let at = 0;
    for (let isOver = false; !isOver;) {
      at += 1;
      const world = await scene();
      const client = crashAtCall(world.api.client('operator'), at, when);
      const dying = world.start(client);
      let isDead = false;
      void client.crashed.then(() => {
        isDead = true;
      });
      for (let turn = 0; turn < 8 && !isDead; turn++) {
        world.clock.advance(20);
        await new Promise((resolve) => setImmediate(resolve));
        await world.proxiesAct();
        for (let wait = 0; wait < 30 && !isDead; wait++) await new Promise((resolve) => setImmediate(resolve));
      }
      isOver = !isDead;
      await dying[Symbol.asyncDispose]();
      await using heir = world.start();
      await converge(world, heir);
      expect({ at, state: final(world) }).toEqual({ at, state: expected });
    }
    expect(at).toBeGreaterThan(30);
  }, 300_000);
});
