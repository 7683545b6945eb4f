import { expect, test } from '@jest/globals';
import type { ProxyConfig } from '../contract/proxy-config.ts';
import { aConfig, aPolicy } from '../tools/testkit/policies.ts';
import { followPolicyChanges } from './policy-changes.ts';

/** A config in force, and what is recorded of its changes. */
function start(first: ProxyConfig | null) {
  let config = first;
  let changed: () => void = () => {};
  const recorded: unknown[] = [];
  const errors: unknown[] = [];
  followPolicyChanges(
    { current: () => config, subscribe: (listener) => { changed = listener; } },
    async (facts) => {
      if (facts['policy'] === 'unrecordable') throw new Error('the disk is full');
      recorded.push([facts['change'], facts['policy'], facts['previousGeneration'], facts['generation']]);
    },
    { error: (_message, fields) => void errors.push(fields) },
  );
  return { recorded, errors, swap: (next: ProxyConfig | null) => {
    config = next;
    changed();
  } };
}

test('each policy that a swap adds, changes or removes is recorded', () => {
  const seen = start(null);
  seen.swap(aConfig([aPolicy('stays'), aPolicy('goes'), aPolicy('changes')]));
  expect(seen.recorded).toEqual([]);
  seen.swap(aConfig([aPolicy('stays'), aPolicy('comes'), aPolicy('changes', { generation: 2 })]));
  seen.swap(null);
  expect(seen.recorded).toEqual([['Removed', 'goes', 1, null], ['Changed', 'changes', 1, 2], ['Added', 'comes', null, 1]]);
});

test('the first change is recorded too when the config was there before anybody followed it', () => {
  const seen = start(aConfig([aPolicy('frozen')]));
  seen.swap(aConfig([]));
  expect(seen.recorded).toEqual([['Removed', 'frozen', 1, null]]);
});

test('a change that cannot be recorded is logged: it is in force already', async () => {
  const seen = start(aConfig([]));
  seen.swap(aConfig([aPolicy('unrecordable')]));
  await Promise.resolve();
  await Promise.resolve();
  expect(seen.errors).toEqual([{ policy: 'unrecordable', error: 'the disk is full' }]);
});
