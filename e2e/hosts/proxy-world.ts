import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { canonicalJson } from '../../contract/canonical-json.ts';
import type { ProxyEnvironment } from '../../contract/operator-settings.ts';
import type { ProxyConfig } from '../../contract/proxy-config.ts';
import type { KubeObject } from '../../runtime/kube/kube-client.ts';
import { hashOf } from '../../sidecar/adapters/cluster/judge-config.ts';
import { proxyConfigKind, secretKind } from '../../sidecar/adapters/cluster/kinds.ts';
import { type FakeApi, fakeApiServer } from '../../tools/testkit/fake-api-server.ts';
import type { FakeListener } from '../../tools/testkit/fake-api/listen.ts';
import { aPolicy, type ShortPolicy } from '../../tools/testkit/policies.ts';
import { type Authority, createAuthority } from './certificates.ts';
import { eventually } from './clients.ts';
import { type IssuerHost, startIssuer } from './issuer.ts';
import { freePort, type PostgresHost, startPostgres } from './postgres.ts';

/** Proxies as in pods: child processes in front of a real PostgreSQL, with a real issuer and an API server in memory behind a real socket. */
export interface ProxyWorld extends AsyncDisposable {
  readonly api: FakeApi;
  readonly postgres: PostgresHost;
  readonly issuer: IssuerHost;
  readonly caFile: string;
  readonly ca: string;
  /** Port of the listener of Target `db`, on the address of each pod. */
  readonly port: number;
  /** Offers a config with these policies (name to spec) at the next revision, or at the one given; returns the revision. */
  putConfig(policies: Readonly<Record<string, ShortPolicy>>, over?: { readonly revision?: number; readonly credentialsSecret?: string }): number;
  putSecret(name: string, values: Readonly<Record<string, string>>): void;
  /** What a pod said about its config. */
  ack(pod: string): Readonly<Record<string, unknown>> | null;
  /** Starts a proxy, or gives the one of that name that runs; its state directory stays between two. Resolves when it is ready, or else when its probes answer. */
  start(pod: string, options?: ProxyOptions): Promise<PodProcess>;
  /** Ends the API server's socket and every connection to it; `apiUp` brings it back at the same address. */
  apiDown(): Promise<void>;
  apiUp(): Promise<void>;
  token(name: string, groups: readonly string[], expiresInSeconds?: number): Promise<string>;
}

export interface ProxyOptions {
  readonly settings?: Partial<ProxyEnvironment>;
  /** Default true. */
  readonly untilReady?: boolean;
}

/** One proxy process. */
export interface PodProcess {
  readonly pod: string;
  readonly child: ChildProcess;
  /** Where its listeners are: every pod has its own loopback address. */
  readonly host: string;
  readonly stateDirectory: string;
  stderr(): string;
  /** OCSF lines. */
  stdout(): string;
  /** Status of `/readyz` and its text. */
  ready(): Promise<{ readonly status: number; readonly text: string }>;
  health(): Promise<number>;
  metric(name: string): Promise<number>;
  /** Sends SIGTERM. */
  terminate(): void;
  readonly exited: Promise<number | null>;
  /** SIGTERM twice: the deadline is now. Resolves with the exit status. */
  stop(): Promise<number | null>;
  kill(): Promise<void>;
}

const program = fileURLToPath(new URL('../../sidecar/main.ts', import.meta.url));
const namespace = 'payments';

/** Starts everything but the proxies; dispose ends them too and removes all files. */
export async function startProxyWorld(): Promise<ProxyWorld> {
  const root = mkdtempSync(join(tmpdir(), 'sp-pods-'));
  const authority = await createAuthority();
  const ips = Array.from({ length: 8 }, (_, i) => `127.0.0.${i + 1}`);
  const [postgres, issuer, serving, port, apiPort] = await Promise.all([
    authority.issue({ commonName: 'db', ips: ['127.0.0.1'] }).then((tls) => startPostgres({ tls })),
    startIssuer({ authority, clients: [], ttlSeconds: 3_600 }), authority.issue({ commonName: 'proxy', ips, dnsNames: ['localhost'] }), freePort(), freePort(),
  ]);
  const caFile = join(root, 'ca.crt');
  writeFileSync(caFile, authority.ca);
  writeKeys(join(root, 'keys'), authority, serving);
  const api = fakeApiServer();
  const users = (): Readonly<Record<string, string>> => Object.fromEntries(names.map((pod) => [`token-of-${pod}`, `system:serviceaccount:${namespace}:sallyport-proxy`]));
  const listen = (): Promise<FakeListener> => api.listen({ port: apiPort, tls: { cert: serving.certificate, key: serving.key }, users });
  let listener: FakeListener | null = await listen();
  /** In the order of their addresses. */
  const names: string[] = [];
  const pods = new Map<string, PodProcess>();
  let revision = 0;
  const world: ProxyWorld = {
    api, postgres, issuer, caFile, ca: authority.ca, port,
    putConfig: (policies, over = {}) => {
      revision = over.revision ?? revision + 1;
      const config: ProxyConfig = { ...baseConfig({ port, postgres, issuer, ca: authority.ca, credentialsSecret: over.credentialsSecret ?? 'db-account' }), policies: Object.entries(policies).map(([name, spec]) => aPolicy(name, { targets: ['db'], generation: revision, ...spec })) };
      const text = canonicalJson(config);
      const before = api.get<KubeObject>(proxyConfigKind, namespace, 'sallyport-proxy');
      api.put(proxyConfigKind, {
        apiVersion: 'sallyport.dev/v1alpha1', kind: 'ProxyConfig', metadata: before?.metadata ?? { name: 'sallyport-proxy', namespace },
        spec: { revision, hash: hashOf(text), config: text, compiled: [], listeners: [] }, ...(before?.status === undefined ? {} : { status: before.status }),
      } as KubeObject, 'sallyport-operator');
      return revision;
    },
    putSecret: (name, values) => void api.put(secretKind, { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace }, data: Object.fromEntries(Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString('base64')])) } as KubeObject),
    ack: (pod) => (api.get<KubeObject & { readonly status?: { readonly proxies?: readonly Readonly<Record<string, unknown>>[] } }>(proxyConfigKind, namespace, 'sallyport-proxy')?.status?.proxies ?? []).find((entry) => entry['pod'] === pod) ?? null,
    start: async (pod, options = {}) => {
      const running = pods.get(pod);
      if (running && running.child.exitCode === null && running.child.signalCode === null) return running;
      if (!names.includes(pod)) names.push(pod);
      const process_ = await startPod({ root, pod, host: `127.0.0.${names.indexOf(pod) + 1}`, apiPort, options });
      pods.set(pod, process_);
      await eventually(`${pod} answers`, async () => (await process_.health().catch(() => 0)) === 200, 20_000);
      if (options.untilReady !== false) await eventually(`${pod} is ready: ${process_.stderr()}`, async () => (await process_.ready()).status === 200, 20_000);
      return process_;
    },
    apiDown: async () => {
      await listener?.[Symbol.asyncDispose]();
      listener = null;
    },
    apiUp: async () => { listener ??= await listen(); },
    token: (name, groups, expiresInSeconds) => issuer.sign({ sub: name, email: `${name}@bank.example`, groups }, expiresInSeconds === undefined ? {} : { expiresInSeconds }),
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...pods.values()].map((pod) => pod.kill()));
      await Promise.all([listener?.[Symbol.asyncDispose](), postgres.stop(), issuer.stop()]);
      rmSync(root, { recursive: true, force: true });
    },
  };
  world.putSecret('db-account', { username: postgres.owner, password: postgres.password });
  world.putSecret('ca', { 'ca.crt': authority.ca });
  return world;
}

function writeKeys(directory: string, authority: Authority, serving: { readonly certificate: string; readonly key: string }): void {
  mkdirSync(directory);
  for (const name of ['digest', 'masking', 'peers']) writeFileSync(join(directory, name), randomBytes(32));
  writeFileSync(join(directory, 'tls.crt'), serving.certificate);
  writeFileSync(join(directory, 'tls.key'), serving.key);
  writeFileSync(join(directory, 'ca.crt'), authority.ca);
}

function baseConfig({ port, postgres, issuer, ca, credentialsSecret }: { readonly port: number; readonly postgres: PostgresHost; readonly issuer: IssuerHost; readonly ca: string; readonly credentialsSecret: string }): ProxyConfig {
  return {
    schemaVersion: 1, namespace, policies: [],
    identityProviders: [{
      name: 'test-issuer', uid: 'uid-issuer', generation: 1, type: 'OIDC', issuer: issuer.issuer, audiences: [issuer.audience], usernameClaim: 'email', usernamePrefix: 'oidc:', groupsClaim: 'groups', groupsPrefix: '',
      uidClaim: null, jwksUri: null, caBundle: ca, algorithms: ['ES256'], clockSkewSeconds: 30,
    }],
    targets: [{
      name: 'db', uid: 'uid-db', generation: 1, labels: {}, listenPort: port,
      postgres: {
        host: '127.0.0.1', port: postgres.port, tls: { mode: 'VerifyFull', serverName: null, channelBinding: 'Prefer', caSecret: { name: 'ca', key: 'ca.crt' } }, credentialsSecret, databases: ['postgres'],
      },
    }],
  };
}

async function startPod(input: { readonly root: string; readonly pod: string; readonly host: string; readonly apiPort: number; readonly options: ProxyOptions }): Promise<PodProcess> {
  const { root, pod, host, apiPort, options } = input;
  const [serviceAccount, stateDirectory] = [join(root, `sa-${pod}`), join(root, `state-${pod}`)];
  for (const directory of [serviceAccount, stateDirectory]) mkdirSync(directory, { recursive: true });
  writeFileSync(join(serviceAccount, 'token'), `token-of-${pod}`);
  writeFileSync(join(serviceAccount, 'ca.crt'), readFileSync(join(root, 'ca.crt')));
  const [health, metrics, peers] = await Promise.all([freePort(), freePort(), freePort()]);
  const settings: ProxyEnvironment = {
    drainSeconds: 5, staleness: 'KeepLast', maxStalenessSeconds: 900, maxSessions: 500, sessionObjects: 'None', logLevel: 'debug', identityAliases: {}, persistentState: false, ...options.settings,
  };
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'] ?? '', POD_NAME: pod, POD_UID: `uid-${pod}`, POD_NAMESPACE: namespace, SALLYPORT_PROXY: JSON.stringify(settings), KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(apiPort),
      SALLYPORT_SERVICE_ACCOUNT_DIR: serviceAccount, SALLYPORT_STATE_DIR: stateDirectory, SALLYPORT_KEYS_DIR: join(root, 'keys'), SALLYPORT_BIND: host,
      SALLYPORT_HEALTH_PORT: String(health), SALLYPORT_METRICS_PORT: String(metrics), SALLYPORT_PEERS_PORT: String(peers), SALLYPORT_MIN_FREE_MIB: '0', SALLYPORT_RESERVE_MIB: '1',
    },
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text; });
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text; });
  const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  const killNow = (): void => { child.kill('SIGKILL'); };
  process.once('exit', killNow);
  void exited.then(() => process.removeListener('exit', killNow));
  const isAlive = (): boolean => child.exitCode === null && child.signalCode === null;
  return {
    pod, child, host, stateDirectory, exited, stderr: () => stderr, stdout: () => stdout,
    ready: async () => {
      if (!isAlive()) throw new Error(`${pod} ended: ${stderr}`);
      const answer = await fetch(`http://${host}:${health}/readyz`);
      return { status: answer.status, text: await answer.text() };
    },
    health: async () => {
      if (!isAlive()) throw new Error(`${pod} ended: ${stderr}`);
      return (await fetch(`http://${host}:${health}/healthz`)).status;
    },
    metric: async (name) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(await (await fetch(`http://${host}:${metrics}/metrics`)).text())?.[1] ?? Number.NaN),
    terminate: () => void child.kill('SIGTERM'),
    stop: async () => {
      if (isAlive()) child.kill('SIGTERM');
      await eventually(`${pod} drains`, () => stderr.includes('"draining"') || !isAlive());
      if (isAlive()) child.kill('SIGTERM');
      return exited;
    },
    kill: async () => {
      if (isAlive()) child.kill('SIGKILL');
      await exited;
    },
  };
}
