import { mkdtemp, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createDirectoryCompiler } from './compile-directory.ts';
import type { CompileOutcome } from './compile-directory.ts';
import { formatFileProblem } from './file-problem.ts';
import { generationMemory } from './generation-file.ts';

let dir = '';
let compiler: ReturnType<typeof createDirectoryCompiler>;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sallyport-compile-'));
  compiler = createDirectoryCompiler({ dir, namespace: null, generations: generationMemory() });
});
afterEach(async () => rm(dir, { recursive: true }));

const write = (name: string, text: string): Promise<void> => writeFile(join(dir, name), text);
const secret = (name: string, password = 'x'): string => `{apiVersion: v1, kind: Secret, metadata: {name: ${name}}, stringData: {username: app, password: ${password}}}\n---\n`;
const target = (name: string): string => `${secret(name)}{apiVersion: sallyport.dev/v1alpha1, kind: Target, metadata: {name: ${name}}, spec: {postgres: {host: db, credentials: {secretRef: {name: ${name}}}, databases: [d]}}}\n`;
const policy = (name: string, on: string, rest = 'rules: [{name: r, action: Allow, postgres: {statements: [Select]}}]'): string =>
  `{apiVersion: sallyport.dev/v1alpha1, kind: AccessPolicy, metadata: {name: ${name}}, spec: {subjects: [{kind: Group, name: sre}], targets: {names: [${on}]}, ${rest}}}\n`;
const denies = 'rules: [{name: r, action: Deny, postgres: {statements: [Drop]}}]';
const broken = 'kind: [\n';

/** What is in force, in short. */
function shown(outcome: CompileOutcome): unknown {
  const problems = outcome.problems.map((each) => formatFileProblem(each).replaceAll(`${dir}/`, ''));
  if (outcome.outcome === 'problems') return { problems };
  return { targets: outcome.config.targets.map((each) => each.name).join(' '), policies: outcome.config.policies.map((each) => `${each.name}@${each.generation}`).join(' '), problems };
}

test('a directory becomes a config, its Secrets, and generations that grow with each change', async () => {
  await write('t.yaml', target('orders'));
  await write('p.yaml', policy('reads', 'orders'));
  const first = await compiler.load();
  await write('p.yaml', policy('reads', 'orders', denies));
  expect([shown(first), shown(await compiler.load())]).toEqual([{ targets: 'orders', policies: 'reads@1', problems: [] }, { targets: 'orders', policies: 'reads@2', problems: [] }]);
  expect(first.outcome === 'config' && Buffer.from(first.secrets.get('orders')?.get('password') ?? []).toString()).toBe('x');
});

describe('the first load is strict', () => {
  test('a file that cannot be read gives no config', async () => {
    await write('t.yaml', target('orders'));
    await write('x.yaml', broken);
    expect((await compiler.load()).outcome).toBe('problems');
  });
  test('a policy that cannot be enforced gives no config', async () => {
    await write('t.yaml', target('orders') + '---\n' + policy('a', 'orders', 'when: [{timeZone: Mars/Olympus}]'));
    expect((await compiler.load()).outcome).toBe('problems');
  });
  test('a missing Secret is a warning', async () => {
    await write('t.yaml', target('orders').replace(secret('orders'), ''));
    expect(shown(await compiler.load())).toEqual({ targets: 'orders', policies: '', problems: [expect.stringMatching(/^t\.yaml:1:\d+: warning: spec\.postgres\.credentials\.secretRef\.name: there is no Secret orders in this directory$/)] });
  });
});

describe('later, a broken file', () => {
  beforeEach(async () => {
    await write('t.yaml', `${target('orders')}---\n${target('cards')}`);
    await write('allow.yaml', policy('allow', 'orders'));
    await write('deny.yaml', policy('deny', 'cards', denies));
    await write('other.yaml', policy('other', 'orders, cards'));
    await compiler.load();
  });

  test('keeps its own last good version while everything else applies', async () => {
    await write('allow.yaml', broken);
    await write('other.yaml', policy('other', 'cards'));
    expect(shown(await compiler.load())).toEqual({ targets: 'cards orders', policies: 'allow@1 deny@1 other@2', problems: [expect.stringContaining('allow.yaml:2:1:')] });
  });
  test('does not keep a grant alive whose file was deleted', async () => {
    await write('other.yaml', broken);
    await unlink(join(dir, 'allow.yaml'));
    expect(shown(await compiler.load())).toMatchObject({ targets: 'cards orders', policies: 'deny@1 other@1' });
  });
  test('may hold the Deny that is gone elsewhere, so the Targets of that Deny are not served until all files can be read', async () => {
    await unlink(join(dir, 'deny.yaml'));
    await write('moved.yaml', broken);
    expect(shown(await compiler.load())).toMatchObject({ targets: 'orders', policies: 'allow@1 other@1' });
    await write('allow.yaml', `${policy('allow', 'orders')}# a change that has nothing to do with it\n`);
    expect(shown(await compiler.load())).toMatchObject({ targets: 'orders' });
    await write('moved.yaml', policy('deny', 'cards', denies));
    expect(shown(await compiler.load())).toEqual({ targets: 'cards orders', policies: 'allow@1 deny@2 other@1', problems: [] });
  });
  test('keeps the Secrets that it held', async () => {
    await write('t.yaml', broken);
    const outcome = await compiler.load();
    expect(outcome.outcome === 'config' && [...outcome.secrets.keys()].sort()).toEqual(['cards', 'orders']);
  });
  test('that is repaired applies again', async () => {
    await write('allow.yaml', broken);
    await compiler.load();
    await write('allow.yaml', policy('allow', 'orders', denies));
    expect(shown(await compiler.load())).toEqual({ targets: 'cards orders', policies: 'allow@2 deny@1 other@1', problems: [] });
  });
  test('that is deleted takes its objects with it', async () => {
    await write('allow.yaml', broken);
    await compiler.load();
    await unlink(join(dir, 'allow.yaml'));
    expect(shown(await compiler.load())).toEqual({ targets: 'cards orders', policies: 'deny@1 other@1', problems: [] });
  });
  test('with a policy that is readable but cannot be enforced keeps the last good version of that policy', async () => {
    await write('deny.yaml', policy('deny', 'cards', 'rules: [{name: r, action: Deny, postgres: {tables: [cards]}}]'));
    expect(shown(await compiler.load())).toEqual({ targets: 'cards orders', policies: 'allow@1 deny@1 other@1', problems: [expect.stringMatching(/^deny\.yaml:1:\d+: spec\.rules\[0\]\.postgres\.tables\[0\]: not of the form schema\.table \(its last good version stays in force\)$/)] });
  });
  test('with a new policy that restricts and cannot be enforced withholds the Targets that it selects', async () => {
    await write('new.yaml', policy('new', 'cards', 'masking: [{columns: [pan], style: Redact}]'));
    expect(shown(await compiler.load())).toEqual({ targets: 'orders', policies: 'allow@1 deny@1 other@1', problems: [expect.stringContaining('until this is repaired, these Targets are not served: cards')] });
  });
});

test('a directory that vanishes gives no config, so the last good one stays', async () => {
  await write('t.yaml', target('orders'));
  await compiler.load();
  await rm(dir, { recursive: true });
  expect((await compiler.load()).outcome).toBe('problems');
  dir = await mkdtemp(join(tmpdir(), 'sallyport-compile-'));
});

describe('one gateway serves one namespace', () => {
  const both = `${target('a')}---\n${target('b').replace(secret('b'), '').replace('{name: b}', '{name: b, namespace: billing}')}`;
  test('with several and no choice there is no config, and the message says how to choose', async () => {
    await write('t.yaml', both);
    expect(shown(await compiler.load())).toEqual({ problems: [expect.stringMatching(/^t\.yaml:\d+:\d+: metadata\.namespace: one gateway serves one namespace and there are billing, default: choose with --namespace$/)] });
  });
  test('the chosen one is served and objects of the others are warned about', async () => {
    await write('t.yaml', both);
    const chosen = await createDirectoryCompiler({ dir, namespace: 'default', generations: generationMemory() }).load();
    expect(shown(chosen)).toEqual({ targets: 'a', policies: '', problems: [expect.stringContaining('warning: metadata.namespace: not of the namespace default, so it has no effect here')] });
  });
  test('it stays what it was when another appears', async () => {
    await write('t.yaml', target('a'));
    await compiler.load();
    await write('t.yaml', both);
    expect(shown(await compiler.load())).toMatchObject({ targets: 'a', problems: [expect.stringContaining('not of the namespace default')] });
  });
});
