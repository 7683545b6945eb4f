import { globSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

/**
 * What @kubernetes/client-node does and we do not (the design's 14 traps). Those that show on a wire are in e2e/scenarios/kube-{client,credentials}.e2e.test.ts: connections per request (3), HTTP/2 (4), deadlines (5),
 * repeated headers (12), rotation (13), the developer's environment (14); apply's content type (6) and the case of paths (7) in runtime/kube/verbs.test.ts; the informer's deaths (8) in
 * runtime/kube/reflector-faults.test.ts; raw JSON (9) in verbs.test.ts; errors of one shape (10) in kube-client.e2e.test.ts; leader election and Events of our own (11) in lease.test.ts and events.test.ts.
 */
const root = join(import.meta.dirname, '../..');
const sources = globSync('{cli,contract,operator,runtime,sidecar}/**/*.ts', { cwd: root }).filter((file) => !/\.test\.ts$|\.d\.ts$|(^|\/)dist\//.test(file));
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const manifest = (path: string): { readonly version: string; readonly type?: string; readonly engines?: { readonly node?: string }; readonly dependencies?: Readonly<Record<string, string>> } => JSON.parse(readFileSync(path, 'utf8'));

test('1: everything of ours is an ES module, as @kubernetes/client-node is', () => {
  expect(manifest(join(root, 'package.json')).type).toBe('module');
});

test('2: the Node.js that we ask for can load the undici of @kubernetes/client-node, and there is one undici', () => {
  const fromClient = createRequire(join(root, 'node_modules/@kubernetes/client-node/package.json'));
  const undici = manifest(fromClient.resolve('undici/package.json'));
  expect(undici.version).toBe(manifest(join(root, 'node_modules/undici/package.json')).version);
  const needed = /(\d+)\.(\d+)/.exec(undici.engines?.node ?? '')?.slice(1).map(Number) ?? [];
  const ours = /(\d+)\.(\d+)/.exec(manifest(join(root, 'package.json')).engines?.node ?? '')?.slice(1).map(Number) ?? [];
  expect((ours[0] ?? 0) * 1_000 + (ours[1] ?? 0)).toBeGreaterThanOrEqual((needed[0] ?? 99) * 1_000 + (needed[1] ?? 0));
});

test('3, 5 to 8: one file imports @kubernetes/client-node, it takes KubeConfig alone, and of that only where credentials come from', () => {
  expect(sources.filter((file) => read(file).includes("'@kubernetes/client-node'"))).toEqual(['operator/kube/kubeconfig-client.ts']);
  const text = read('operator/kube/kubeconfig-client.ts');
  expect(/import \{([^}]*)\} from '@kubernetes\/client-node'/.exec(text)?.[1]?.trim()).toBe('KubeConfig');
  expect([...text.matchAll(/\bconfig\.(\w+)/g)].map((match) => match[1]).filter((name) => !['loadFromFile', 'getCurrentCluster', 'applyToHTTPSOptions'].includes(name ?? ''))).toEqual([]);
});

test('4: no Agent is made without switching HTTP/2 off', () => {
  const agents = sources.filter((file) => /new (Agent|Pool|Client)\(/.test(read(file)) && read(file).includes("'undici'"));
  expect(agents).toContain('runtime/kube/http-client.ts');
  for (const file of agents.filter((each) => each.includes('kube'))) expect(read(file)).toContain('allowH2: false');
});

test('11: no other Kubernetes library is a dependency', () => {
  expect(Object.keys(manifest(join(root, 'package.json')).dependencies ?? {}).filter((name) => /kube|k8s/.test(name))).toEqual(['@kubernetes/client-node']);
});

test('13, 14: nothing of the Kubernetes client reads the environment or a default place', () => {
  const files = sources.filter((file) => /^(runtime|operator)\/kube\//.test(file));
  expect(files.filter((file) => /process\.env|loadFromDefault|loadFromCluster|homedir/.test(read(file)))).toEqual([]);
});
