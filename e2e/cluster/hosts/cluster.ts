import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { type LiveProgram, type Ran, runClient, startClient } from '../../hosts/clients.ts';
import { signToken } from '../../hosts/issuer.ts';
import { freePort } from '../../hosts/postgres.ts';
import { type NodeFacts, readFacts } from './facts.ts';

/** As JSON gives it: objects of any kind, of which a test names the fields that it expects, and fails where they are not. */
type Fields = ReturnType<typeof JSON.parse>;

/** A Kubernetes object as kubectl prints it. */
export interface Printed {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly uid: string; readonly generation?: number; readonly resourceVersion: string; readonly creationTimestamp: string; readonly deletionTimestamp?: string; readonly labels?: Readonly<Record<string, string>>; readonly annotations?: Readonly<Record<string, string>> };
  readonly spec?: Fields;
  readonly status?: Fields;
  readonly data?: Fields;
}

/** As whom and with what kubectl runs. */
export interface KubectlOptions {
  /** A person's own token; default: the cluster's administrator. */
  readonly token?: string;
  readonly input?: string;
}

/** A process of the node that a test may disturb. */
export type NodeProcess = 'containerd' | 'etcd' | 'kube-apiserver' | 'kube-controller-manager' | 'kube-scheduler' | 'kubelet' | 'kube-proxy' | 'coredns' | 'issuer' | 'relay';

/** A way to the node. */
export interface Cluster {
  readonly facts: NodeFacts;
  /** Runs kubectl inside the node; whatever it answers is a value. */
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<Ran>;
  /** The same, for what must succeed. @returns its output. @throws with what it said. */
  must(args: readonly string[], options?: KubectlOptions): Promise<string>;
  /** kubectl with its standard input open: `exec -i`, `get -w`. */
  live(args: readonly string[], options?: KubectlOptions): LiveProgram;
  /** `kubectl apply -f -`. @throws when something is refused. */
  apply(yaml: string, options?: KubectlOptions): Promise<string>;
  /** One object; null when there is none. @throws on any other answer. */
  get(kind: string, name: string, namespace?: string): Promise<Printed | null>;
  list(kind: string, namespace?: string, more?: readonly string[]): Promise<readonly Printed[]>;
  /** `kubectl wait --for=condition=…`. @throws with the objects' conditions when it does not come. */
  waitFor(condition: string, what: readonly string[], namespace?: string, seconds?: number): Promise<void>;
  /** Runs a program inside the node (its network, not a pod's). */
  inside(program: string, args: readonly string[], input?: string): Promise<Ran>;
  /** Stops, kills, starts, pauses, resumes or restarts one process of the node. Undo it in the same test. */
  process(verb: 'stop' | 'kill' | 'start' | 'restart' | 'pause' | 'resume', name: NodeProcess): Promise<void>;
  /** What a process of the node wrote. */
  processLog(name: NodeProcess): string;
  /** A token of the issuer that API server and proxies trust: user `oidc:NAME@bank.example`. */
  tokenOf(name: string, groups: readonly string[], more?: { readonly claims?: Readonly<Record<string, unknown>>; readonly expiresInSeconds?: number }): Promise<string>;
  /** Listens on a free loopback port of this machine for a host and port as the node sees them: `10.96.0.1`, 443. Close it at the end. */
  forward(host: string, port: number): Promise<{ readonly port: number; close(): void }>;
  /** The API server for programs outside the node: address, certificate authority and the administrator's token. */
  apiServer(): Promise<{ readonly server: string; readonly ca: string; readonly token: string; close(): void }>;
}

/** The shared node; null where the machine cannot run one: `(cluster ? describe : describe.skip)('…')`. */
export function openCluster(): Cluster | null {
  const facts = readFacts();
  return facts.node === null ? null : clusterOf(facts.node);
}

/** The hands on one node. */
export function clusterOf(facts: NodeFacts): Cluster {
  const enter = ['-t', String(facts.initPid), '-m', '-n', '-u', '-p', '--'];
  const environment: NodeJS.ProcessEnv = { PATH: `${facts.bin}:${process.env['PATH'] ?? ''}`, HOME: '/nonexistent', KUBECONFIG: join(facts.state, 'admin.kubeconfig') };
  const words = (args: readonly string[], options: KubectlOptions): readonly string[] =>
    [...enter, 'kubectl', ...(options.token === undefined ? [] : ['--kubeconfig', join(facts.state, 'user.kubeconfig'), `--token=${options.token}`]), ...args];
  const kubectl = (args: readonly string[], options: KubectlOptions = {}): Promise<Ran> => runClient('nsenter', words(args, options), environment, options.input ?? '');
  const must = async (args: readonly string[], options: KubectlOptions = {}): Promise<string> => {
    const ran = await kubectl(args, options);
    if (ran.code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${ran.err}${ran.out}`);
    return ran.out;
  };
  const inNamespace = (namespace: string | undefined): readonly string[] => (namespace === undefined ? [] : ['-n', namespace]);
  const forward = (host: string, port: number): Promise<{ readonly port: number; close(): void }> => forwardThrough(join(facts.state, 'relay.sock'), host, port);
  return {
    facts, kubectl, must, forward,
    live: (args, options = {}) => startClient('nsenter', words(args, options), environment),
    apply: (yaml, options = {}) => must(['apply', '-f', '-'], { ...options, input: yaml }),
    get: async (kind, name, namespace) => {
      const text = await must(['get', kind, name, ...inNamespace(namespace), '-o', 'json', '--ignore-not-found']);
      return text.trim() === '' ? null : (JSON.parse(text) as Printed);
    },
    list: async (kind, namespace, more = []) => (JSON.parse(await must(['get', kind, ...(namespace === undefined ? ['-A'] : ['-n', namespace]), '-o', 'json', ...more])) as { readonly items: readonly Printed[] }).items,
    waitFor: async (condition, what, namespace, seconds = 60) => {
      const ran = await kubectl(['wait', `--for=${condition}`, ...what, ...inNamespace(namespace), `--timeout=${seconds}s`]);
      if (ran.code !== 0) throw new Error(`${ran.err}${ran.out}\n${await stateOf(kubectl, what, namespace)}`);
    },
    inside: (program, args, input = '') => runClient('nsenter', [...enter, program, ...args], environment, input),
    process: async (verb, name) => {
      // Not its pipes' end: a process that it starts inherits nothing of ours, and still the shell may outlive it.
      await new Promise<void>((resolve, reject) => {
        const child = spawn(facts.script, [verb, name], { env: { ...process.env, ...facts.environment }, stdio: ['ignore', 'ignore', 'inherit'] });
        child.once('error', reject).once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`cluster.sh ${verb} ${name}: ${code}`))));
      });
    },
    processLog: (name) => execFileSync(facts.script, ['log', name], { env: { ...process.env, ...facts.environment }, encoding: 'utf8', maxBuffer: 256 * 1_048_576 }),
    tokenOf: (name, groups, more = {}) => signToken({ key: facts.issuer.key, issuer: facts.issuer.url, audience: facts.issuer.audience }, { sub: name, email: `${name}@bank.example`, groups, ...more.claims }, more.expiresInSeconds === undefined ? {} : { expiresInSeconds: more.expiresInSeconds }),
    apiServer: async () => {
      const { port, close } = await forward('127.0.0.1', 6_443);
      // The API server's own certificate names localhost.
      return { server: `https://localhost:${port}`, ca: readFileSync(join(facts.state, 'certs/apiserver.crt'), 'utf8'), token: facts.adminToken, close };
    },
  };
}

async function stateOf(kubectl: Cluster['kubectl'], what: readonly string[], namespace: string | undefined): Promise<string> {
  const shown = await Promise.all([
    kubectl(['get', ...what.slice(0, 1), ...(namespace === undefined ? [] : ['-n', namespace]), '-o', 'jsonpath={range .items[*]}{.kind}/{.metadata.name} {.status}{"\\n"}{end}']),
    kubectl(['get', 'pods', '-A', '-o', 'wide']),
    kubectl(['get', 'events', ...(namespace === undefined ? ['-A'] : ['-n', namespace]), '--sort-by=.lastTimestamp']),
  ]);
  return shown.map((ran) => ran.out + ran.err).join('\n').slice(-6_000);
}

async function forwardThrough(relay: string, host: string, port: number): Promise<{ readonly port: number; close(): void }> {
  const local = await freePort();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const far = connect({ path: relay, allowHalfOpen: true });
    far.write(`${host} ${port}\n`);
    for (const [one, other] of [[socket, far], [far, socket]] as const) one.on('error', () => other.destroy()).on('close', () => other.destroy());
    socket.pipe(far).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(local, '127.0.0.1', resolve));
  server.unref();
  return { port: local, close: () => void server.close() };
}
