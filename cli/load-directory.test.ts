import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { formatFileProblem } from './file-problem.ts';
import { loadDirectory, objectKey } from './load-directory.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sallyport-load-'));
});
afterEach(async () => rm(dir, { recursive: true }));

const target = (name: string, more = ''): string => `apiVersion: sallyport.dev/v1alpha1
kind: Target
metadata: {name: ${name}}
spec:
  postgres:
    host: db
    credentials: {secretRef: {name: s}}
    databases: [orders]
${more}`;

async function load(files: Readonly<Record<string, string | Uint8Array>>): Promise<{ readonly keys: readonly string[]; readonly problems: readonly string[]; readonly loaded: Awaited<ReturnType<typeof loadDirectory>> }> {
  for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
  const loaded = await loadDirectory(dir);
  return { loaded, keys: loaded.resources.map((each) => objectKey(each.resource)), problems: loaded.problems.map((each) => formatFileProblem(each).replaceAll(`${dir}/`, '')) };
}

test('files are read in the order of their names, documents in the order of the file, and a missing namespace is default', async () => {
  const { keys, problems } = await load({ 'b.yml': `${target('one')}---\n# nothing\n---\n${target('two')}`, 'a.yaml': target('three').replace('{name: three}', '{name: three, namespace: payments}') });
  expect([keys, problems]).toEqual([['Target/payments/three', 'Target/default/one', 'Target/default/two'], []]);
});

test('hidden files, other files and sub-directories are not read', async () => {
  await mkdir(join(dir, 'sub.yaml.d'));
  const { keys, problems } = await load({ '.hidden.yaml': 'kind: [', 'notes.txt': 'kind: [', 'README.md': '' });
  expect([keys, problems]).toEqual([[], []]);
});

test('a List stands for its items, and a problem of an item is found inside it', async () => {
  const { keys, problems } = await load({ 'a.yaml': `apiVersion: v1\nkind: List\nitems:\n- ${target('one').replaceAll('\n', '\n  ').trimEnd()}\n- kind: Gadget\n` });
  expect([keys, problems]).toEqual([['Target/default/one'], ['a.yaml:12:3: kind: unknown kind Gadget: a config directory holds Target, AccessPolicy, IdentityProvider, v1 Secret and v1 List']]);
});

describe('a problem names file, line, column and field', () => {
  test.each([
    ['a wrong value', target('one', '    port: 0\n'), 'a.yaml:9:5: spec.postgres.port: Invalid value: 0: should be greater than or equal to 1'],
    ['an unknown field', target('one', '    prot: 5432\n'), 'a.yaml:9:5: spec.postgres.prot: unknown field "spec.postgres.prot"'],
    ['a missing field, at the field around it', target('one').replace('    host: db\n', ''), 'a.yaml:5:3: spec.postgres.host: Required value'],
    ['an item of a list', target('one').replace('[orders]', '[orders, ""]'), 'a.yaml:8:25: spec.postgres.databases[1]: Invalid value: "": should be at least 1 chars long'],
    ['a rule about two fields', target('one', '    tls: {mode: Disable, caSecretRef: {name: a, key: b}}\n'), 'a.yaml:9:5: spec.postgres.tls: Invalid value: caSecretRef has no meaning with mode Disable'],
    ['a repeated key', target('one', '    host: again\n'), 'a.yaml:9:5: a key stands here twice'],
    ['a text that is no YAML', 'a: "b\n', 'a.yaml:2:1: a quote, bracket, comma, colon or space is missing'],
    ['an unknown tag', 'a: !env X\n', 'a.yaml:1:4: a value does not fit its tag, or the tag is not known'],
    ['a document that is no object', '- 1\n', 'a.yaml:1:1: Invalid value: a resource is an object with apiVersion, kind, metadata and spec'],
    ['the YAML 1.1 word for true', target('one').replace('[orders]', '[on]'), 'a.yaml:8:17: spec.postgres.databases[0]: Invalid value: boolean: must be of type string'],
  ])('%s', async (_name, text, expected) => {
    expect((await load({ 'a.yaml': text })).problems).toEqual([expected]);
  });
  test('through an alias', async () => {
    const text = `${target('one', '    tls: &tls {mode: No}\n')}---\n`;
    expect((await load({ 'a.yaml': text })).problems).toEqual(['a.yaml:9:16: spec.postgres.tls.mode: Invalid value: boolean: must be of type string']);
  });
});

test('the good documents of a file are returned beside the problems of the bad ones', async () => {
  const { keys, problems, loaded } = await load({ 'a.yaml': `${target('good')}---\n${target('bad', '    port: x\n')}` });
  expect([keys, problems, [...loaded.brokenFiles]]).toEqual([['Target/default/good'], ['a.yaml:18:5: spec.postgres.port: Invalid value: string: must be of type integer'], [join(dir, 'a.yaml')]]);
});

test('of two objects of one name neither is returned and both places are named', async () => {
  const { keys, problems } = await load({ 'a.yaml': target('one'), 'b.yaml': `${target('one')}---\n${target('two')}` });
  expect([keys, problems]).toEqual([['Target/default/two'], [
    expect.stringMatching(/^a\.yaml:3:12: metadata\.name: Target\/default\/one is defined twice: also in .*b\.yaml:3$/),
    expect.stringMatching(/^b\.yaml:3:12: metadata\.name: Target\/default\/one is defined twice: also in .*a\.yaml:3$/),
  ]]);
});

describe('a Secret', () => {
  test('has its values from data and stringData, and stringData wins', async () => {
    const { loaded, problems } = await load({ 'a.yaml': `{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: payments}, type: Opaque, data: {a: aGk=, b: "${Buffer.from([0, 255]).toString('base64')}"}, stringData: {a: ho}}` });
    expect(problems).toEqual([]);
    expect(loaded.secrets.map(({ namespace, name, values }) => [namespace, name, [...values].map(([key, value]) => [key, [...value]])])).toEqual([['payments', 's', [['a', [104, 111]], ['b', [0, 255]]]]]);
  });
  test.each([
    ['base64 that is none', '{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {password: "hunter2hunter2!"}}'],
    ['a value that is a number', '{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {password: 90210731}}'],
    ['an unknown field', '{apiVersion: v1, kind: Secret, metadata: {name: s}, password: hunter2hunter2}'],
    ['broken quotes', '{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {password: "hunter2hunter2}}'],
    ['text after the end', '{apiVersion: v1, kind: Secret, metadata: {name: s}} hunter2hunter2'],
    ['an escape that is none', '{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {password: "\\qhunter2hunter2"}}'],
    ['an alias that is none', '{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {password: *hunter2hunter2}}'],
    ['a kind that is the password', '{apiVersion: v1, kind: "hunter2hunter2!", metadata: {name: s}}'],
    ['a List of strings', '{apiVersion: v1, kind: List, items: [hunter2hunter2]}'],
  ])('with %s gives a problem that does not repeat the value', async (_name, text) => {
    const { loaded, problems } = await load({ 'a.yaml': text });
    expect([loaded.secrets.length, problems.length]).toEqual([0, expect.any(Number)]);
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.join('\n')).not.toMatch(/hunter2|90210731/);
  });
});

describe('a file that cannot be used is a problem and does not stop the others', () => {
  test.each([
    ['is too large', () => Buffer.alloc(1_048_577, '#'), '1048577 bytes, more than 1048576'],
    ['is not UTF-8', () => Buffer.from([0x61, 0x3a, 0xff]), 'not UTF-8'],
    ['is nested too deeply', () => Buffer.from('['.repeat(200_000)), 'nested too deeply'],
    ['expands without end', () => Buffer.from(`a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d]\n`), 'too many or circular aliases'],
  ])('because it %s', async (_name, text, message) => {
    const { keys, problems } = await load({ 'a.yaml': text(), 'b.yaml': target('one') });
    expect(keys).toEqual(['Target/default/one']);
    expect(problems[0]).toContain(message);
  });
  test('because it links outside the directory', async () => {
    const outside = await mkdtemp(join(tmpdir(), 'sallyport-outside-'));
    await writeFile(join(outside, 'secret.yaml'), target('stolen'));
    await symlink(join(outside, 'secret.yaml'), join(dir, 'a.yaml'));
    const { keys, problems } = await load({ 'b.yaml': target('one') });
    await rm(outside, { recursive: true });
    expect([keys, problems]).toEqual([['Target/default/one'], ['a.yaml:1:1: the link leaves the directory']]);
  });
  test('because it is a pipe, which nobody waits for', async () => {
    execFileSync('mkfifo', [join(dir, 'a.yaml')]);
    expect((await load({ 'b.yaml': target('one') })).problems).toEqual(['a.yaml:1:1: not a regular file']);
  });
});

test('a mounted ConfigMap, whose files link to a hidden directory inside, is read', async () => {
  await mkdir(join(dir, '..2026_01_01'));
  await writeFile(join(dir, '..2026_01_01', 'a.yaml'), target('one'));
  await symlink('..2026_01_01', join(dir, '..data'));
  await symlink('..data/a.yaml', join(dir, 'a.yaml'));
  expect(await load({})).toMatchObject({ keys: ['Target/default/one'], problems: [] });
});

test('a directory that does not exist is one problem and nothing else is known', async () => {
  const loaded = await loadDirectory(join(dir, 'none'));
  expect([loaded.unreadable, loaded.problems.map((each) => each.message)]).toEqual([true, ['the directory cannot be read: ENOENT']]);
});

test('more than 1,000 files are refused as a whole', async () => {
  const { loaded } = await load(Object.fromEntries(Array.from({ length: 1_001 }, (_, index) => [`${index}.yaml`, ''])));
  expect([loaded.unreadable, loaded.resources]).toEqual([true, []]);
});
