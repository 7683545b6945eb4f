import { describe, expect, jest, test } from '@jest/globals';
import type { AccessPolicyResource, ProxyConfigResource } from '../../../contract/api/v1alpha1.gen.ts';
import { endpointOf, type ProxyConfig } from '../../../contract/proxy-config.ts';
import { aPolicy, aTarget, operatorWorld } from '../../../tools/testkit/operator-world.ts';
import type { OperatorWorld } from '../../../tools/testkit/operator-world.ts';

// Hundreds of objects through a whole API server: a busy machine takes longer.
jest.setTimeout(120_000);

const served = (world: OperatorWorld): { readonly targets: readonly string[]; readonly policies: Readonly<Record<string, readonly [number, ...string[]]>> } => {
  const config = JSON.parse((world.config('payments') as ProxyConfigResource | null)?.spec.config ?? '{"targets":[],"policies":[]}') as ProxyConfig;
  return { targets: config.targets.map((target) => target.name), policies: Object.fromEntries(config.policies.map((policy) => [policy.name, [policy.generation, ...policy.targets]])) };
};
const accepted = (object: { readonly status?: { readonly conditions?: readonly { readonly type: string; readonly reason: string; readonly message: string }[] } | undefined }): string => {
  const condition = object.status?.conditions?.find(({ type }) => type === 'Accepted');
  return `${condition?.reason ?? ''}: ${condition?.message ?? ''}`;
};
const denies: NonNullable<AccessPolicyResource['spec']['rules']> = [{ name: 'no-drop', action: 'Deny', postgres: { statements: ['Drop'] } }];
/** An expression that the schema lets through and that nobody can compile. */
const broken: Partial<AccessPolicyResource['spec']> = { subjects: [{ kind: 'Claims', expression: 'claims.(' }] };

describe('a policy that is broken', () => {
  test('and was never accepted, is left out when it only allows', async () => {
    const world = operatorWorld();
    await using operator = world.start();
    world.put(aTarget('payments', 'a'));
    world.put(aPolicy('payments', 'p', broken));
    await operator.quiet();
    expect([served(world), accepted(world.policy('payments', 'p')).split(':')[0]]).toEqual([{ targets: ['a'], policies: {} }, 'InvalidExpression']);
  });

  test('and was never accepted, denies the Targets that it selects when it restricts, until it is repaired', async () => {
    const world = operatorWorld();
    await using operator = world.start();
    world.put(aTarget('payments', 'a'));
    world.put(aTarget('payments', 'b', {}, { env: 'test' }));
    world.put(aPolicy('payments', 'p', { ...broken, rules: denies }));
    await operator.quiet();
    expect([served(world), accepted(world.target('payments', 'a'))]).toEqual([{ targets: ['b'], policies: {} }, 'Withheld: not served until AccessPolicy p is repaired: it restricts this Target and cannot be enforced as written']);
    world.put(aPolicy('payments', 'p', { rules: denies }));
    await operator.quiet();
    expect(served(world)).toEqual({ targets: ['a', 'b'], policies: { p: [2, 'a'] } });
  });

  test('after it was accepted, stays at its last good generation, and its condition says which', async () => {
    const world = operatorWorld();
    await using operator = world.start();
    world.put(aTarget('payments', 'a'));
    world.put(aPolicy('payments', 'p', { rules: denies }));
    await operator.quiet();
    world.put(aPolicy('payments', 'p', { ...broken, rules: denies }));
    await operator.quiet();
    expect([served(world), accepted(world.policy('payments', 'p'))]).toEqual([{ targets: ['a'], policies: { p: [1, 'a'] } }, expect.stringMatching(/^InvalidExpression: .*; generation 1 stays in force$/)]);
  });

  test('holds up no revocation elsewhere', async () => {
    const world = operatorWorld();
    await using operator = world.start();
    world.put(aTarget('payments', 'a'));
    world.put(aPolicy('payments', 'p'));
    world.put(aPolicy('payments', 'other'));
    await operator.quiet();
    world.put(aPolicy('payments', 'p', broken));
    world.remove('AccessPolicy', 'payments', 'other');
    await operator.quiet();
    expect(served(world)).toEqual({ targets: ['a'], policies: { p: [1, 'a'] } });
  });

  test('does not open a Target that came, or changed its labels, while it was broken', async () => {
    const world = operatorWorld();
    await using operator = world.start();
    world.put(aTarget('payments', 'a'));
    world.put(aTarget('payments', 'b', {}, { env: 'test' }));
    world.put(aTarget('payments', 'other', {}, { env: 'dev' }));
    world.put(aPolicy('payments', 'p', { rules: denies }));
    world.put(aPolicy('payments', 'everywhere', { targets: { selector: {} } }));
    await operator.quiet();
    world.put(aPolicy('payments', 'p', { ...broken, rules: denies }));
    world.put(aTarget('payments', 'new'));
    world.put(aTarget('payments', 'b'));
    await operator.quiet();
    expect(served(world)).toEqual({ targets: ['a', 'other'], policies: { p: [1, 'a'], everywhere: [1, 'a', 'other'] } });
    // And after a restart just the same.
    await operator[Symbol.asyncDispose]();
    await using heir = world.start();
    await heir.quiet();
    expect(served(world).targets).toEqual(['a', 'other']);
  });

  test('grants nothing on a Target whose labels changed', async () => {
    const world = operatorWorld();
    await using operator = world.start();
    world.put(aTarget('payments', 'a'));
    world.put(aPolicy('payments', 'p'));
    await operator.quiet();
    world.put(aPolicy('payments', 'p', broken));
    world.put(aTarget('payments', 'a', {}, { env: 'test' }));
    await operator.quiet();
    expect(served(world)).toEqual({ targets: ['a'], policies: { p: [1] } });
  });

  test('and deleted, is gone', async () => {
    const world = operatorWorld();
    await using operator = world.start();
    world.put(aTarget('payments', 'a'));
    world.put(aPolicy('payments', 'p', { rules: denies }));
    await operator.quiet();
    world.put(aPolicy('payments', 'p', { ...broken, rules: denies }));
    await operator.quiet();
    world.remove('AccessPolicy', 'payments', 'p');
    await operator.quiet();
    expect(served(world)).toEqual({ targets: ['a'], policies: {} });
  });

  test('and made anew under its name, is a policy that was never accepted', async () => {
    const world = operatorWorld();
    await using operator = world.start();
    world.put(aTarget('payments', 'a'));
    world.put(aPolicy('payments', 'p', { rules: denies }));
    await operator.quiet();
    world.remove('AccessPolicy', 'payments', 'p');
    world.put(aPolicy('payments', 'p', { ...broken, rules: denies }));
    await operator.quiet();
    expect(served(world)).toEqual({ targets: [], policies: {} });
  });
});

test('a Target that becomes invalid is served as it was, at its port, and says so', async () => {
  const world = operatorWorld();
  await using operator = world.start();
  world.put(aTarget('payments', 'a'));
  await operator.quiet();
  const port = world.target('payments', 'a').status?.listener?.port;
  const { postgres } = aTarget('payments', 'a').spec;
  world.put(aTarget('payments', 'a', postgres === undefined ? {} : { postgres: { ...postgres, host: 'elsewhere.example', databases: [] } }));
  await operator.quiet();
  const config = JSON.parse(world.config('payments')?.spec.config ?? '{}') as ProxyConfig;
  expect([config.targets.map((target) => [target.generation, target.listenPort, endpointOf(target).host]), accepted(world.target('payments', 'a'))]).toEqual([[[1, port, 'db.example']], expect.stringMatching(/^Invalid: .*; generation 1 stays in force$/)]);
});
