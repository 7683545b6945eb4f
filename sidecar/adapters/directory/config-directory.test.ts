import { expect, test } from '@jest/globals';
import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import { createDirectoryConfig } from './config-directory.ts';
import type { ConfigLoad, ConfigProblem } from './config-directory.ts';

const aConfig = (namespace: string): ProxyConfig => ({ schemaVersion: 1, namespace, identityProviders: [], targets: [], policies: [] });
const aProblem: ConfigProblem = { severity: 'rejected', file: 'conf/a.yaml', line: 7, column: 3, field: 'spec.x', message: 'no' };

function aDirectory(loads: readonly (ConfigLoad | Error)[]): { readonly config: ReturnType<typeof createDirectoryConfig>; readonly logged: string[]; readonly swaps: (number | undefined)[] } {
  const logged: string[] = [];
  const rest = [...loads];
  const write = (level: string) => (message: string, fields: object = {}): void => void logged.push(`${level} ${message} ${JSON.stringify(fields)}`);
  const config = createDirectoryConfig(async () => {
    const next = rest.shift();
    if (next === undefined || next instanceof Error) throw next ?? new Error('loaded once too often');
    return next;
  }, { error: write('error'), info: write('info'), debug: write('debug') });
  const swaps: (number | undefined)[] = [];
  config.subscribe(() => void swaps.push(config.current()?.revision));
  return { config, logged, swaps };
}
const good = (namespace: string, problems: readonly ConfigProblem[] = []): ConfigLoad => ({ outcome: 'config', config: aConfig(namespace), problems });

test('nothing is in force before the first load, and after one that gives no config', async () => {
  const { config, logged } = aDirectory([{ outcome: 'problems', problems: [aProblem] }]);
  expect(config.current()).toBeNull();
  await config.reload();
  expect([config.current(), logged.at(-1)]).toEqual([null, 'error no valid config, nobody is admitted {"problems":1}']);
});

test('each changed config is a new revision, told to subscribers after the swap; an equal one is not', async () => {
  const { config, swaps } = aDirectory([good('a'), good('a'), good('b')]);
  for (let i = 0; i < 3; i += 1) await config.reload();
  expect([swaps, config.current()]).toEqual([[1, 2], { config: aConfig('b'), revision: 2 }]);
});

test('a subscriber that left is not called', async () => {
  const { config } = aDirectory([good('a'), good('b')]);
  let calls = 0;
  const leave = config.subscribe(() => void (calls += 1));
  await config.reload();
  leave();
  await config.reload();
  expect(calls).toBe(1);
});

test('problems keep the last good config and are logged with file, line and field', async () => {
  const { config, logged, swaps } = aDirectory([good('a'), { outcome: 'problems', problems: [aProblem] }]);
  await config.reload();
  await config.reload();
  expect([config.current()?.config.namespace, swaps, config.problems()]).toEqual(['a', [1], [aProblem]]);
  expect(logged.slice(-2)).toEqual([
    'error config file rejected {"code":"CONFIG_INVALID","file":"conf/a.yaml","line":7,"column":3,"field":"spec.x","problem":"no"}',
    'error config rejected, the last good one stays {"problems":1}',
  ]);
});

test('a config with problems beside it is put in force', async () => {
  const { config } = aDirectory([good('a', [aProblem])]);
  await config.reload();
  expect([config.current()?.revision, config.problems()]).toEqual([1, [aProblem]]);
});

test('a load that throws keeps the last good config, and the next one works', async () => {
  const { config, logged, swaps } = aDirectory([good('a'), new Error('disk'), good('b')]);
  for (let i = 0; i < 3; i += 1) await config.reload();
  expect([swaps, logged.filter((line) => line.startsWith('error'))]).toEqual([[1, 2], ['error config cannot be loaded, the last good one stays {"code":"INTERNAL","error":"disk"}']]);
});

test('a config that the proxy cannot read is not put in force', async () => {
  const { config, logged } = aDirectory([{ outcome: 'config', config: { ...aConfig('a'), shadow: true } as ProxyConfig, problems: [] }]);
  await config.reload();
  expect([config.current(), logged[0]]).toEqual([null, expect.stringContaining('CONFIG_INVALID')]);
});

test('reloads that overlap never run at the same time, and the last change is never missed', async () => {
  let running = 0;
  let most = 0;
  let calls = 0;
  const config = createDirectoryConfig(async () => {
    running += 1;
    most = Math.max(most, running);
    calls += 1;
    await Promise.resolve();
    running -= 1;
    return good(`n${calls}`);
  }, { error: () => undefined, info: () => undefined, debug: () => undefined });
  await Promise.all([config.reload(), config.reload(), config.reload()]);
  expect([most, calls, config.current()?.config.namespace]).toEqual([1, 2, 'n2']);
});
