import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { operatorName, systemNamespace } from '../../../contract/names.ts';
import { findAsset } from '../../../tools/e2e-assets.ts';
import { type ManifestObject, renderChart } from '../../../tools/testkit/chart.ts';
import { applyCrds } from '../cases/api-objects.ts';
import type { ControlPlane } from './control-plane.ts';
import type { RawApi } from './raw-api.ts';

/** The real operator as a process beside a control plane, as its service account and with the rights that the chart gives it. */
export interface OperatorProcess extends AsyncDisposable {
  readonly pid: number;
  /** Everything it wrote. */
  log(): string;
  /** Its metrics, as text. */
  metrics(): Promise<string>;
  /** SIGTERM; @returns the exit status. */
  stop(): Promise<number | null>;
}

/** What the chart installs, without what runs: definitions, rights and admission policies. @returns the objects. */
export async function installChartObjects(api: RawApi): Promise<readonly ManifestObject[]> {
  await applyCrds(api);
  await put(api, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: systemNamespace } });
  const helm = findAsset('helm') ?? findAsset('helm3');
  if (helm === null) throw new Error('no helm');
  const runs = new Set(['Deployment', 'CustomResourceDefinition', 'PodDisruptionBudget', 'NetworkPolicy', 'Service', 'ConfigMap']);
  const objects = renderChart({ helm: helm.path }).filter((object) => !runs.has(object.kind));
  for (const object of objects) await put(api, object);
  return objects;
}

/** Creates an object or puts it back as it was rendered: server-side apply, everything in it by force. @throws when it is refused. */
export async function put(api: RawApi, object: ManifestObject): Promise<void> {
  const answer = await api.send({ method: 'PATCH', path: objectPath(object), query: { fieldManager: 'helm', force: 'true' }, contentType: 'application/apply-patch+yaml', body: object });
  if (answer.status >= 300) throw new Error(`${object.kind} ${object.metadata.name}: ${answer.message}`);
}

/** Where an object lives. */
export function objectPath(object: { readonly apiVersion: string; readonly kind: string; readonly metadata: { readonly name?: string; readonly namespace?: string } }, name = object.metadata.name): string {
  const root = object.apiVersion.includes('/') ? `/apis/${object.apiVersion}` : `/api/${object.apiVersion}`;
  const plural = `${object.kind.toLowerCase().replace(/y$/, 'ie')}s`;
  return `${root}${object.metadata.namespace === undefined ? '' : `/namespaces/${object.metadata.namespace}`}/${plural}${name === undefined ? '' : `/${name}`}`;
}

/**
 * Starts the operator and waits until it is ready.
 *
 * @param settings more of its settings file.
 */
export async function startOperatorProcess(plane: Pick<ControlPlane, 'api' | 'access'>, settings: Readonly<Record<string, unknown>> = {}, nodeFlags: readonly string[] = []): Promise<OperatorProcess> {
  const root = mkdtempSync(join(tmpdir(), 'sallyport-operator-'));
  const answer = await plane.api.send({
    method: 'POST', path: `/api/v1/namespaces/${systemNamespace}/serviceaccounts/${operatorName}/token`, body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 86_400 } },
  });
  const kubeconfig = {
    apiVersion: 'v1', kind: 'Config', 'current-context': 'plane', contexts: [{ name: 'plane', context: { cluster: 'plane', user: 'operator' } }],
    clusters: [{ name: 'plane', cluster: { server: plane.access.server, 'certificate-authority-data': Buffer.from(plane.access.ca).toString('base64') } }],
    users: [{ name: 'operator', user: { token: answer.at('status.token') } }],
  };
  writeFileSync(join(root, 'kubeconfig'), JSON.stringify(kubeconfig), { mode: 0o600 });
  writeFileSync(join(root, 'settings.json'), JSON.stringify({ namespace: systemNamespace, leaderElection: false, proxy: { image: 'sallyport:test' }, ...settings }));
  const program = fileURLToPath(new URL('../../../operator/main.ts', import.meta.url));
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...nodeFlags, program, '--kubeconfig', join(root, 'kubeconfig'), '--settings', join(root, 'settings.json')], {
    env: { PATH: process.env['PATH'] ?? '', POD_NAME: 'operator-under-test', SALLYPORT_HEALTH_PORT: '0', SALLYPORT_METRICS_PORT: '0' }, stdio: ['ignore', 'ignore', 'pipe'],
  });
  const endNow = (): void => void child.kill('SIGKILL');
  process.once('exit', endNow);
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const stop = async (): Promise<number | null> => {
    child.kill('SIGTERM');
    const status = await exited;
    process.removeListener('exit', endNow);
    rmSync(root, { recursive: true, force: true });
    return status;
  };
  const ports = await whenReady(() => text, exited).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return {
    pid: child.pid ?? 0, log: () => text, stop,
    metrics: async () => (await fetch(`http://127.0.0.1:${ports.metricsPort}/metrics`)).text(),
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
}

interface Ports {
  readonly healthPort: number;
  readonly metricsPort: number;
}

async function whenReady(log: () => string, exited: Promise<unknown>): Promise<Ports> {
  let isOver = false;
  void exited.then(() => {
    isOver = true;
  });
  const deadline = performance.now() + 60_000;
  for (;;) {
    const started = log().split('\n').find((line) => line.includes('"message":"started"'));
    if (started !== undefined) {
      const ports = JSON.parse(started) as Ports;
      const ready = await fetch(`http://127.0.0.1:${ports.healthPort}/readyz`).then((answer) => answer.ok, () => false);
      if (ready) return ports;
    }
    if (isOver || performance.now() > deadline) throw new Error(`the operator does not become ready:\n${log().slice(-4_000)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
