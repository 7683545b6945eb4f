import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { AccessSessionResource } from '../contract/api/v1alpha1.gen.ts';
import { type ControlPlane, startControlPlane } from '../e2e/cluster/hosts/control-plane.ts';
import { installChartObjects, type OperatorProcess, put, startOperatorProcess } from '../e2e/cluster/hosts/operator-process.ts';
import type { Caller, RawApi } from '../e2e/cluster/hosts/raw-api.ts';
import type { ManifestObject } from '../tools/testkit/chart.ts';

/** Sizes; the environment narrows them for a quick look. */
const size = { namespaces: number('SCALE_NAMESPACES', 100), targets: number('SCALE_TARGETS', 10), policies: number('SCALE_POLICIES', 2), sessions: number('SCALE_SESSIONS', 100), idleSeconds: number('SCALE_IDLE', 60) };
const names = Array.from({ length: size.namespaces }, (_, index) => `scale-${String(index).padStart(3, '0')}`);
const sallyport = '/apis/sallyport.dev/v1alpha1';

await main();

/** Runs the real operator against a real control plane (nothing runs pods) and prints what each step took. */
async function main(): Promise<void> {
  await using plane = await startControlPlane();
  const { api } = plane;
  await installChartObjects(api);
  await timed('objects made', () => makeTenants(api));
  let operator = await converge(plane);
  await changeEveryPolicy(api, operator);
  await watchIdle(operator);
  operator = await restart(plane, operator, 'restart');
  await timed(`${size.sessions * size.namespaces} finished sessions made`, () => makeSessions(api));
  operator = await restart(plane, operator, `restart with ${size.sessions * size.namespaces} sessions`);
  await operator.stop();
  await retain(plane);
}

async function converge(plane: ControlPlane): Promise<OperatorProcess> {
  const startedMs = performance.now();
  const operator = await startOperatorProcess(plane);
  await until(async () => (await converged(plane.api)) === size.namespaces * size.targets);
  await report(`${size.namespaces * size.targets} Targets in ${size.namespaces} namespaces converged after ${seconds(startedMs)}`, operator);
  await calm(operator);
  await report('everything written', operator);
  return operator;
}

async function changeEveryPolicy(api: RawApi, operator: OperatorProcess): Promise<void> {
  const before = await writes(operator);
  const startedMs = performance.now();
  await inParallel(names, async (namespace) => {
    const answer = await api.send({ method: 'PATCH', path: `${sallyport}/namespaces/${namespace}/accesspolicies/policy-0`, body: { spec: { limits: { rowsPerStatement: 4_711 } } } });
    if (answer.status !== 200) throw new Error(answer.message);
  });
  await until(async () => (await list(api, 'proxyconfigs')).every((config) => String((config['spec'] as { readonly config: string }).config).includes('4711')));
  print(`one policy of each of ${size.namespaces} namespaces changed at once: in every ProxyConfig after ${seconds(startedMs)}`);
  await calm(operator);
  print(`  writes for it: ${(await writes(operator)) - before}`);
}

async function watchIdle(operator: OperatorProcess): Promise<void> {
  const [before, cpuBefore] = [await writes(operator), cpuSeconds(operator.pid)];
  await delay(size.idleSeconds * 1_000);
  print(`idle for ${size.idleSeconds} s with ${size.namespaces * size.policies} policies: ${(await writes(operator)) - before} writes, ${((cpuSeconds(operator.pid) - cpuBefore) * 1_000).toFixed(0)} ms of CPU`);
}

async function restart(plane: ControlPlane, operator: OperatorProcess, what: string): Promise<OperatorProcess> {
  await operator.stop();
  const startedMs = performance.now();
  // The proof of integrity, one write per namespace and interval, would be due by chance.
  const next = await startOperatorProcess(plane, { integrityProbeSeconds: 900 });
  const readyAfter = seconds(startedMs);
  await calm(next);
  await report(`${what}: ready after ${readyAfter}`, next);
  return next;
}

/** Ten too many in each namespace: they must go, the oldest first, and no faster than promised. */
async function retain(plane: ControlPlane): Promise<void> {
  const keep = Math.max(1, size.sessions - 10);
  const retention = { sessionHours: 24, sessionsPerNamespace: keep, sessionsPerCluster: keep * size.namespaces, requestHours: 168, requestsPerNamespace: 1_000, requestsPerCluster: 10_000 };
  const operator = await startOperatorProcess(plane, { retention });
  const startedMs = performance.now();
  const deletes: number[] = [];
  let fastest = 0;
  for (let left = await counted(plane.api); left > keep * size.namespaces; left = await counted(plane.api)) {
    deletes.push(await requests(operator, 'DELETE'));
    const lastSecond = (deletes.at(-1) ?? 0) - (deletes.at(-2) ?? deletes.at(-1) ?? 0);
    fastest = Math.max(fastest, lastSecond);
    await delay(1_000);
  }
  const perNamespace = new Map<string, number>();
  for (const session of await list(plane.api, 'accesssessions')) perNamespace.set(String(session.metadata.namespace), (perNamespace.get(String(session.metadata.namespace)) ?? 0) + 1);
  print(`retention: down to ${keep} a namespace after ${seconds(startedMs)} (${[...new Set(perNamespace.values())].join(', ')} left in each); at most ${fastest} deletes between two looks a second apart`);
  await operator.stop();
}

async function makeTenants(api: RawApi): Promise<void> {
  await put(api, { apiVersion: 'sallyport.dev/v1alpha1', kind: 'IdentityProvider', metadata: { name: 'company' }, spec: { issuer: 'https://idp.bank.example', audiences: ['sallyport'], claims: { username: 'email', groups: 'groups', usernamePrefix: 'oidc:' } } });
  await inParallel(names, async (namespace) => {
    await put(api, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    await put(api, { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'gateway', namespace }, stringData: { username: 'u', password: 'p' } });
    await put(api, { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata: { name: 'bench', namespace }, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'sallyport-proxy' }, subjects: [{ kind: 'ServiceAccount', name: 'sallyport-proxy', namespace }] });
    for (let index = 0; index < size.targets; index++) await put(api, target(namespace, index));
    for (let index = 0; index < size.policies; index++) await put(api, policy(namespace, index));
  });
}

function target(namespace: string, index: number): ManifestObject {
  return { apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', metadata: { name: `db-${index}`, namespace, labels: { env: 'prod' } }, spec: { postgres: { host: `db-${index}.example`, credentials: { secretRef: { name: 'gateway' } }, databases: ['app'] } } };
}

function policy(namespace: string, index: number): ManifestObject {
  return {
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessPolicy', metadata: { name: `policy-${index}`, namespace },
    spec: {
      subjects: [{ kind: 'Group', name: `team-${index}` }], targets: { selector: { matchLabels: { env: 'prod' } } },
      rules: [{ name: 'reads', action: 'Allow', postgres: { statements: ['Select'] } }, { name: 'ddl', action: 'RequireApproval', postgres: { statements: ['Alter'] }, approval: { groups: ['dba'], required: 2 } }],
    },
  };
}

async function makeSessions(api: RawApi): Promise<void> {
  await inParallel(names, async (namespace) => {
    const as: Caller = { user: `system:serviceaccount:${namespace}:sallyport-proxy`, groups: ['system:serviceaccounts', 'system:authenticated'], extra: { 'authentication.kubernetes.io/pod-name': ['proxy-1'] } };
    for (let index = 0; index < size.sessions; index++) {
      const session: AccessSessionResource = {
        apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessSession', metadata: { name: `s-${index}`, namespace },
        spec: { sessionID: `id-${index}`, user: { username: 'oidc:alice@bank.example' }, targetRef: { name: 'db-0', uid: '33333333-3333-3333-3333-333333333333' }, protocol: 'PostgreSQL', pod: 'proxy-1', startedAt: '2026-11-24T10:00:00Z' },
      };
      const made = await api.send({ method: 'POST', path: `${sallyport}/namespaces/${namespace}/accesssessions`, body: session, as });
      if (made.status !== 201) throw new Error(made.message);
      const ended = await api.send({ method: 'PATCH', path: `${sallyport}/namespaces/${namespace}/accesssessions/s-${index}/status`, body: { status: { observedGeneration: 1, phase: 'Ended', endedAt: new Date().toISOString().replace(/\.\d+Z/, 'Z'), endReason: 'ClientLeft' } }, as });
      if (ended.status !== 200) throw new Error(ended.message);
    }
  });
}

/** Targets that the operator has answered at their present generation and that a ProxyConfig serves. */
async function converged(api: RawApi): Promise<number> {
  const targets = await list(api, 'targets');
  const seen = targets.filter((one) => (one['status'] as { readonly observedGeneration?: number } | undefined)?.observedGeneration === (one.metadata as { readonly generation?: number }).generation);
  if (seen.length < targets.length) return seen.length;
  const configs = await list(api, 'proxyconfigs');
  return configs.reduce((sum, config) => sum + ((config['spec'] as { readonly compiled?: readonly { readonly kind: string }[] }).compiled ?? []).filter((one) => one.kind === 'Target').length, 0);
}

async function counted(api: RawApi): Promise<number> {
  const answer = await api.send({ method: 'GET', path: `${sallyport}/accesssessions`, query: { limit: '1' } });
  return ((answer.at('metadata.remainingItemCount') as number | undefined) ?? 0) + 1;
}

async function list(api: RawApi, plural: string): Promise<readonly ManifestObject[]> {
  const answer = await api.send({ method: 'GET', path: `${sallyport}/${plural}` });
  return (answer.body as { readonly items: readonly ManifestObject[] }).items;
}

/** Requests that changed something: probes are refused, and asking who one is (one POST of each process) changes nothing. */
async function writes(operator: OperatorProcess): Promise<number> {
  return -1 + counts(await operator.metrics()).filter(({ code, method }) => method !== 'GET' && code.startsWith('2')).reduce((sum, { value }) => sum + value, 0);
}

async function requests(operator: OperatorProcess, method: string): Promise<number> {
  return counts(await operator.metrics()).filter((one) => one.method === method && one.code.startsWith('2')).reduce((sum, { value }) => sum + value, 0);
}

function counts(metrics: string): readonly { readonly code: string; readonly method: string; readonly value: number }[] {
  return [...metrics.matchAll(/^rest_client_requests_total\{code="([^"]+)",method="([^"]+)",host="[^"]*"\} (\d+)$/gm)].map(([, code = '', method = '', value = '0']) => ({ code, method, value: Number(value) }));
}

async function report(what: string, operator: OperatorProcess): Promise<void> {
  const calls = counts(await operator.metrics()).map(({ code, method, value }) => `${method} ${code} ${value}`).sort().join(', ');
  print(`${what}; ${await writes(operator)} writes\n  memory ${memory(operator.pid)}, CPU ${cpuSeconds(operator.pid).toFixed(1)} s\n  API calls so far: ${calls}`);
}

/** Waits until two seconds pass without a write. */
async function calm(operator: OperatorProcess): Promise<void> {
  let before = -1;
  for (let now = await writes(operator); now !== before; now = await writes(operator)) {
    before = now;
    await delay(2_000);
  }
}

function memory(pid: number): string {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const megabytes = (field: string): string => `${Math.round(Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / 1_024)} MB`;
  return `${megabytes('VmRSS')} now, ${megabytes('VmHWM')} at most`;
}

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function inParallel<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items];
  await Promise.all(Array.from({ length: 12 }, async () => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await run(item);
  }));
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 900_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error('it does not converge within 15 minutes');
    await delay(100);
  }
}

async function timed(what: string, run: () => Promise<void>): Promise<void> {
  const startedMs = performance.now();
  await run();
  print(`${what} in ${seconds(startedMs)}`);
}

function seconds(sinceMs: number): string {
  return `${((performance.now() - sinceMs) / 1_000).toFixed(1)} s`;
}

function number(name: string, otherwise: number): number {
  return Number(process.env[name] ?? otherwise);
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
