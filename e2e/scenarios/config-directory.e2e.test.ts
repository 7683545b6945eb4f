import { mkdir, mkdtemp, readFile, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createDirectoryCompiler } from '../../cli/compile-directory.ts';
import { generationFile } from '../../cli/generation-file.ts';
import { watchConfigDirectory } from '../../sidecar/adapters/directory/config-directory.ts';
import type { DirectoryConfig } from '../../sidecar/adapters/directory/config-directory.ts';

// Real files and the real clock: a change of a config directory is in force within one second, whatever way it is made.

const target = (name: string): string => `{apiVersion: sallyport.dev/v1alpha1, kind: Target, metadata: {name: ${name}}, spec: {postgres: {host: db, credentials: {secretRef: {name: s}}, databases: [d]}}}\n`;
const policy = (name: string, group = 'sre'): string =>
  `{apiVersion: sallyport.dev/v1alpha1, kind: AccessPolicy, metadata: {name: ${name}}, spec: {subjects: [{kind: Group, name: ${group}}], targets: {names: [orders]}, rules: [{name: r, action: Allow, postgres: {statements: [Select]}}]}}\n`;

let base = '';
let dir = '';
let logged: string[] = [];
let stop: AbortController;
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'sallyport-watch-'));
  dir = join(base, 'config');
  await mkdir(dir);
  logged = [];
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort();
  await rm(base, { recursive: true });
});

function start(): Promise<DirectoryConfig> {
  const compiler = createDirectoryCompiler({ dir, namespace: null, generations: generationFile(join(base, 'data')) });
  const write = (message: string, fields: object = {}): void => void logged.push(`${message} ${JSON.stringify(fields)}`);
  return watchConfigDirectory({ dir, load: () => compiler.load(), log: { error: write, info: write, debug: write }, signal: stop.signal });
}

/** Milliseconds until the policies in force are those named; fails after five seconds. */
async function timeUntil(config: DirectoryConfig, names: string, change: () => Promise<unknown>): Promise<number> {
  const inForce = (): boolean => config.current()?.config.policies.map((each) => each.name).join(' ') === names;
  expect(inForce()).toBe(false);
  const begun = performance.now();
  const done = Promise.withResolvers<void>();
  const leave = config.subscribe(() => (inForce() ? done.resolve() : undefined));
  const limit = setTimeout(() => done.reject(new Error(`still ${config.current()?.config.policies.map((each) => each.name).join(' ')}`)), 5_000);
  await change();
  await done.promise.finally(() => {
    clearTimeout(limit);
    leave();
  });
  return performance.now() - begun;
}

test('a deleted policy file is in force within a second, and so is one that is written, renamed into place or edited', async () => {
  await writeFile(join(dir, 't.yaml'), target('orders'));
  await writeFile(join(dir, 'a.yaml'), policy('a'));
  const config = await start();
  const times = [
    await timeUntil(config, '', () => unlink(join(dir, 'a.yaml'))),
    await timeUntil(config, 'b', () => writeFile(join(dir, 'b.yaml'), policy('b'))),
    await timeUntil(config, 'c', async () => {
      await writeFile(join(dir, '.b.yaml.tmp'), policy('c'));
      await rename(join(dir, '.b.yaml.tmp'), join(dir, 'b.yaml'));
    }),
    await timeUntil(config, 'd', () => writeFile(join(dir, 'b.yaml'), policy('d'))),
  ];
  expect(times.filter((each) => each > 1_000)).toEqual([]);
});

test('a mounted ConfigMap, whose link is swapped, is in force within a second', async () => {
  const generation = async (name: string, policies: string): Promise<void> => {
    await mkdir(join(dir, name));
    await writeFile(join(dir, name, 'all.yaml'), `${target('orders')}---\n${policies}`);
    await symlink(name, join(dir, '..data_tmp'));
    await rename(join(dir, '..data_tmp'), join(dir, '..data'));
  };
  await generation('..1', policy('a'));
  await symlink('..data/all.yaml', join(dir, 'all.yaml'));
  const config = await start();
  expect(await timeUntil(config, 'b', () => generation('..2', policy('b')))).toBeLessThan(1_000);
});

test('a directory that is replaced as a whole is in force within a second', async () => {
  await writeFile(join(dir, 'all.yaml'), `${target('orders')}---\n${policy('a')}`);
  const config = await start();
  await mkdir(join(base, 'next'));
  await writeFile(join(base, 'next', 'all.yaml'), `${target('orders')}---\n${policy('b')}`);
  const time = await timeUntil(config, 'b', async () => {
    await rename(dir, join(base, 'previous'));
    await rename(join(base, 'next'), dir);
  });
  expect(time).toBeLessThan(1_000);
});

test('a broken file keeps its last good version, is logged with file and line, and does not stop the deletion of another', async () => {
  await writeFile(join(dir, 't.yaml'), target('orders'));
  await writeFile(join(dir, 'a.yaml'), policy('a'));
  await writeFile(join(dir, 'b.yaml'), policy('b'));
  const config = await start();
  await writeFile(join(dir, 'a.yaml'), 'kind: AccessPolicy\nspec: {subjects: [\n');
  expect(await timeUntil(config, 'a', () => unlink(join(dir, 'b.yaml')))).toBeLessThan(1_000);
  expect(logged.find((line) => line.startsWith('config file rejected'))).toMatch(/"file":"[^"]*a\.yaml","line":3,"column":1/);
});

test('generations go on after a restart, and a damaged state refuses to start anew', async () => {
  await writeFile(join(dir, 't.yaml'), `${target('orders')}---\n${policy('a')}`);
  await start();
  stop.abort();
  stop = new AbortController();
  await writeFile(join(dir, 't.yaml'), `${target('orders')}---\n${policy('a', 'dba')}`);
  const restarted = await start();
  expect(restarted.current()?.config.policies.map((each) => each.generation)).toEqual([2]);
  stop.abort();
  stop = new AbortController();
  const state = join(base, 'data', 'generations.json');
  await writeFile(state, (await readFile(state, 'utf8')).slice(0, 40));
  expect([(await start()).current(), logged.at(-1)]).toEqual([null, expect.stringContaining('CONFIG_INVALID')]);
});
