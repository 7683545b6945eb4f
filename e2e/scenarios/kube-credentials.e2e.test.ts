import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { operatorClient } from '../../operator/kube/client.ts';
import { kinds } from '../../operator/kube/kinds.ts';
import type { RequestFacts } from '../../runtime/kube/http-client.ts';
import { inClusterClient } from '../../runtime/kube/in-cluster.ts';
import { listObjects } from '../../runtime/kube/verbs.ts';
import { fakeApiServer } from '../../tools/testkit/fake-api-server.ts';
import { type Authority, type CertificatePair, createAuthority } from '../hosts/certificates.ts';

let authority: Authority;
let pair: CertificatePair;
let folder = '';

beforeAll(async () => {
  authority = await createAuthority();
  pair = await authority.issue({ commonName: 'kube-apiserver', ips: ['127.0.0.1'] });
  folder = await mkdtemp(join(tmpdir(), 'sallyport-kube-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const tls = (): { readonly cert: string; readonly key: string } => ({ cert: pair.certificate, key: pair.key });

describe('credentials', () => {
  test('a pod’s token is read anew after 60 s, and at once after a 401; a token that is the same is not tried twice', async () => {
    const api = fakeApiServer();
    let users: Record<string, string> = { one: 'pod' };
    await using server = await api.listen({ tls: tls(), users: () => users });
    await Promise.all([writeFile(join(folder, 'token'), 'one\n'), writeFile(join(folder, 'ca.crt'), authority.ca)]);
    let nowMs = 0;
    const facts: RequestFacts[] = [];
    const client = inClusterClient({ serviceAccountDirectory: folder, host: '127.0.0.1', port: server.port, now: () => nowMs, onRequest: (each) => void facts.push(each) });
    const ask = (): Promise<unknown> => listObjects(client, kinds.configMap, 'shop');
    await ask();
    await writeFile(join(folder, 'token'), 'two\n');
    users = { one: 'pod', two: 'pod' };
    await ask();
    expect(server.lastHeaders()).toContain('Bearer one');
    nowMs = 60_001;
    await ask();
    expect(server.lastHeaders()).toContain('Bearer two');
    await writeFile(join(folder, 'token'), 'three\n');
    users = { three: 'pod' };
    await ask();
    expect(server.lastHeaders()).toContain('Bearer three');
    users = {};
    const before = facts.length;
    await expect(ask()).rejects.toMatchObject({ status: 401, reason: 'Unauthorized' });
    expect(facts.length - before).toBe(1);
    await client.close();
  });

  test('a kubeconfig with a client certificate and impersonated user works; the developer’s environment is never looked at', async () => {
    const api = fakeApiServer();
    await using server = await api.listen({ tls: tls() });
    const own = await authority.issue({ commonName: 'admin', client: true });
    const path = join(folder, 'kubeconfig');
    const base64 = (text: string): string => Buffer.from(text).toString('base64');
    const write = (user: object): Promise<void> => writeFile(path, JSON.stringify({
      apiVersion: 'v1', kind: 'Config', 'current-context': 'c', contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
      clusters: [{ name: 'k', cluster: { server: server.url, 'certificate-authority-data': base64(authority.ca) } }], users: [{ name: 'u', user }],
    }));
    await write({ 'client-certificate-data': base64(own.certificate), 'client-key-data': base64(own.key), as: 'somebody' });
    process.env['KUBECONFIG'] = '/nowhere';
    process.env['KUBERNETES_SERVICE_HOST'] = '192.0.2.1';
    try {
      const client = await operatorClient({ from: 'kubeconfig', path });
      await listObjects(client, kinds.configMap, 'shop');
      expect(server.lastHeaders()).toEqual(expect.arrayContaining(['Impersonate-User', 'somebody', 'sallyport-operator']));
      await client.close();
      await write({ token: 'canary' });
      const other = await operatorClient({ from: 'kubeconfig', path });
      await listObjects(other, kinds.configMap, 'shop');
      expect(server.lastHeaders()).toContain('Bearer canary');
      await other.close();
    } finally {
      delete process.env['KUBECONFIG'];
      delete process.env['KUBERNETES_SERVICE_HOST'];
    }
  });

  test('an exec plugin is asked once for requests at the same time and again after a 401', async () => {
    const api = fakeApiServer();
    const accepted: Record<string, string> = {};
    await using server = await api.listen({ tls: tls(), users: () => accepted });
    const [count, plugin, path] = [join(folder, 'count'), join(folder, 'plugin.mjs'), join(folder, 'exec-kubeconfig')];
    await writeFile(count, '0');
    await writeFile(plugin, `import { readFileSync, writeFileSync } from 'node:fs'; const n = Number(readFileSync(${JSON.stringify(count)}, 'utf8')) + 1; writeFileSync(${JSON.stringify(count)}, String(n));
      console.log(JSON.stringify({ apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status: { token: 'exec-' + n, expirationTimestamp: new Date(Date.now() + 3600000).toISOString() } }));`);
    await writeFile(path, JSON.stringify({
      apiVersion: 'v1', kind: 'Config', 'current-context': 'c', contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
      clusters: [{ name: 'k', cluster: { server: server.url, 'certificate-authority-data': Buffer.from(authority.ca).toString('base64') } }],
      users: [{ name: 'u', user: { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: process.execPath, args: [plugin] } } }],
    }));
    const client = await operatorClient({ from: 'kubeconfig', path });
    accepted['exec-1'] = 'u';
    await Promise.all([1, 2, 3].map(() => listObjects(client, kinds.configMap, 'shop')));
    delete accepted['exec-1'];
    accepted['exec-2'] = 'u';
    await listObjects(client, kinds.configMap, 'shop');
    expect(server.lastHeaders()).toContain('Bearer exec-2');
    await client.close();
  });
});
