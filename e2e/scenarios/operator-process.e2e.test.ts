import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { kinds } from '../../operator/kube/kinds.ts';
import { fakeApiServer } from '../../tools/testkit/fake-api-server.ts';
import { aTarget } from '../../tools/testkit/operator-world.ts';
import { type Authority, type CertificatePair, createAuthority } from '../hosts/certificates.ts';
import { eventually } from '../hosts/clients.ts';

/** The program as its image starts it, beside an API server in memory. */
interface Running {
  readonly child: ChildProcess;
  readonly exit: Promise<number | null>;
  log(): string;
}

describe('the operator\'s process', () => {
  let folder = '';
  const running: Running[] = [];
  let authority: Authority;
  let pair: CertificatePair;
  const tls = (): { readonly cert: string; readonly key: string } => ({ cert: pair.certificate, key: pair.key });

  beforeAll(async () => {
    authority = await createAuthority();
    pair = await authority.issue({ commonName: 'kube-apiserver', ips: ['127.0.0.1'] });
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sallyport-operator-'));
  });
  afterEach(async () => {
    for (const { child, exit } of running.splice(0)) {
      child.kill('SIGKILL');
      await exit;
    }
    rmSync(folder, { recursive: true });
  });

  function start(server: string, settings: unknown = { namespace: 'sallyport-system', proxy: { image: 'i' } }): Running {
    const [kubeconfig, file] = [join(folder, 'kubeconfig'), join(folder, 'settings.json')];
    writeFileSync(kubeconfig, JSON.stringify({ apiVersion: 'v1', kind: 'Config', 'current-context': 't', contexts: [{ name: 't', context: { cluster: 't', user: 'u' } }], clusters: [{ name: 't', cluster: { server, 'certificate-authority-data': Buffer.from(authority.ca).toString('base64') } }], users: [{ name: 'u', user: { token: 'x' } }] }));
    writeFileSync(file, JSON.stringify(settings));
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', 'operator/main.ts', '--kubeconfig', kubeconfig, '--settings', file], {
      cwd: join(import.meta.dirname, '../..'), stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env['PATH'], POD_NAME: 'operator-0', SALLYPORT_HEALTH_PORT: '0', SALLYPORT_METRICS_PORT: '0' },
    });
    let text = '';
    child.stderr?.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    const one: Running = { child, exit: new Promise((resolve) => child.once('exit', (code) => resolve(code))), log: () => text };
    running.push(one);
    return one;
  }
  /** The health port that it wrote to its log. */
  const healthPort = (one: Running): Promise<string> => eventually('listening', () => /"healthPort":(\d+)/.exec(one.log())?.[1], 30_000);
  const ask = async (port: string, path: string): Promise<number> => (await fetch(`http://127.0.0.1:${port}${path}`)).status;

  test('serves a namespace, is ready, and after SIGTERM ends with 0 and gives the Lease back', async () => {
    const api = fakeApiServer();
    await using listener = await api.listen({ tls: tls() });
    api.put(kinds.target, aTarget('payments', 'a'));
    const one = start(listener.url);
    const port = await healthPort(one);
    await eventually('ready', async () => (await ask(port, '/readyz')) === 200, 20_000).catch((error: unknown) => { throw new Error(one.log(), { cause: error }); });
    await eventually('a Deployment', () => api.get(kinds.deployment, 'payments', 'sallyport-proxy'), 20_000);
    expect(await ask(port, '/healthz')).toBe(200);
    one.child.kill('SIGTERM');
    expect(await one.exit).toBe(0);
    expect(api.get(kinds.lease, 'sallyport-system', 'sallyport-operator')?.spec).toMatchObject({ holderIdentity: '' });
  }, 90_000);

  test('waits for an API server that is away, answers its probes meanwhile, and can be stopped', async () => {
    const api = fakeApiServer();
    const listener = await api.listen({ tls: tls() });
    const { url } = listener;
    await listener[Symbol.asyncDispose]();
    const one = start(url);
    const port = await healthPort(one);
    await eventually('it tries', () => one.log().includes('does not answer yet'), 30_000);
    expect([await ask(port, '/healthz'), await ask(port, '/readyz')]).toEqual([200, 503]);
    one.child.kill('SIGTERM');
    expect(await one.exit).toBe(0);
  }, 60_000);

  test('with a misspelt setting does not start, and says which', async () => {
    const one = start('https://127.0.0.1:1', { namespace: 's', proxy: { image: 'i', replica: 3 } });
    expect(await one.exit).toBe(1);
    expect(one.log()).toContain('replica');
  }, 30_000);
});
