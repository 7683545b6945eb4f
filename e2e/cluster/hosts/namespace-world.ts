import { type Authority, createAuthority } from '../../hosts/certificates.ts';
import type { LiveProgram, Ran } from '../../hosts/clients.ts';
import { testImages } from '../images/test-images.ts';
import type { Cluster } from './cluster.ts';

/** One team's namespace: a PostgreSQL server with TLS, its Secrets, a Target `orders-db`, policies, and a pod with psql. */
export interface NamespaceWorld extends AsyncDisposable {
  readonly namespace: string;
  /** What users connect to: `orders-db.NAMESPACE`. */
  readonly host: string;
  /** Runs one statement, or a script on standard input, as whoever's token is given: through Sallyport, TLS verified in full. */
  psql(token: string, sql: string, options?: PsqlOptions): Promise<Ran>;
  /** psql with its input open: `say` statements, `until` an answer. */
  live(token: string, options?: PsqlOptions): LiveProgram;
  /** Runs SQL on the server itself, as its superuser. */
  direct(sql: string): Promise<Ran>;
  /** Statements that the server ran for Sallyport's account, as its own log has them. */
  serverLog(): Promise<string>;
  /** Applies policies of this namespace and waits until every proxy runs them. */
  applyPolicies(yaml: string): Promise<void>;
  /** The certificate authority that clients verify the proxies with. */
  listenerCa(): Promise<string>;
}

/** How psql is started. */
export interface PsqlOptions {
  /** More psql arguments. */
  readonly args?: readonly string[];
  /** More words of the connection string; later ones win. */
  readonly conninfo?: string;
  /** Seconds for connecting; default 15. */
  readonly connectSeconds?: number;
}

/** What a namespace is made with. */
export interface NamespaceOptions {
  readonly namespace: string;
  /** YAML of AccessPolicies (without a namespace: they get this one); default `allowSre`. */
  readonly policies?: string;
  /** SQL run on the server by its superuser before the Target exists; default: tables orders and customers. */
  readonly schema?: string;
  /** Password of the gateway's account. */
  readonly password?: string;
  /** More lines of the Target's `spec`, indented by two spaces. */
  readonly targetSpec?: string;
  /** Groups whose members may approve here by Kubernetes' own rules (ClusterRole sallyport-approver); default dba. */
  readonly approverGroups?: readonly string[];
  /** Wait until Target and policies are Ready; default true. */
  readonly wait?: boolean;
}

/** Who is in group sre may do everything. */
export const allowSre = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: sre}
spec:
  subjects: [{kind: Group, name: sre}]
  targets: {names: [orders-db]}
  rules:
  - name: all
    action: Allow
    postgres: {statements: [Select, Insert, Update, Delete, DDL, Transaction, Set, Show, Explain, FunctionCall, CopyIn, CopyOut]}
`;

/** Tables that the scenarios read. */
export const defaultSchema = `create table orders (id int primary key, amount numeric not null);
insert into orders select n, n * 10.5 from generate_series(1, 20) n;
create table customers (id int primary key, name text not null, ssn text not null);
insert into customers values (1, 'Alice Meyer', '536-22-7841'), (2, 'Bob Stone', '219-09-9999');
`;

const superuserPassword = 'test-superuser';

/** Makes the namespace and waits until psql can log in; dispose deletes it. */
export async function startNamespace(cluster: Cluster, options: NamespaceOptions): Promise<NamespaceWorld> {
  const { namespace } = options;
  const authority = await createAuthority(`Authority of ${namespace}`);
  const password = options.password ?? 'gateway-password-of-tests';
  // The strictest level: what Sallyport and the tests run must need no exception.
  await cluster.apply(`apiVersion: v1\nkind: Namespace\nmetadata: {name: ${namespace}, labels: {pod-security.kubernetes.io/enforce: restricted}}\n`);
  await cluster.apply(await databaseYaml(namespace, authority, password));
  await cluster.waitFor('condition=Ready', ['pod/orders-0', 'pod/client'], namespace);
  const direct = (sql: string): Promise<Ran> => cluster.kubectl(['exec', '-i', '-n', namespace, 'client', '--', 'env', `PGPASSWORD=${superuserPassword}`, 'psql', `host=orders-rw.${namespace} user=postgres dbname=orders sslmode=require`, '-v', 'ON_ERROR_STOP=1', '-At'], { input: sql });
  const created = await cluster.kubectl(['exec', '-i', '-n', namespace, 'client', '--', 'env', `PGPASSWORD=${superuserPassword}`, 'psql', `host=orders-rw.${namespace} user=postgres dbname=postgres sslmode=require`, '-v', 'ON_ERROR_STOP=1', '-At'],
    { input: `create role sallyport login password '${password}'; create database orders owner sallyport;` });
  if (created.code !== 0) throw new Error(created.err);
  const filled = await direct(`set role sallyport; ${options.schema ?? defaultSchema}`);
  if (filled.code !== 0) throw new Error(filled.err);
  await cluster.apply(targetYaml(options));
  await cluster.must(['apply', '-n', namespace, '-f', '-'], { input: options.policies ?? allowSre });
  for (const group of options.approverGroups ?? ['dba']) await cluster.must(['create', 'rolebinding', `approver-${group}`, '--clusterrole=sallyport-approver', `--group=${group}`, '-n', namespace]);
  const host = `orders-db.${namespace}`;
  const world: NamespaceWorld = {
    namespace, host, direct,
    psql: (token, sql, more = {}) => run(token, more, sql),
    live: (token, more = {}) => {
      const program = cluster.live(['exec', '-i', '-n', namespace, 'client', '--', ...psqlWords(host, more)]);
      program.say(token);
      return program;
    },
    serverLog: () => cluster.must(['logs', '-n', namespace, 'orders-0']),
    applyPolicies: async (yaml) => {
      await cluster.must(['apply', '-n', namespace, '-f', '-'], { input: yaml });
      await cluster.waitFor('condition=Ready', ['accesspolicy', '--all'], namespace);
    },
    listenerCa: () => cluster.must(['get', 'configmap', 'sallyport-ca', '-n', namespace, '-o', 'jsonpath={.data.ca\\.crt}']),
    [Symbol.asyncDispose]: async () => {
      await cluster.kubectl(['delete', 'namespace', namespace, '--wait=false']);
      // Proxies of a namespace that goes would drain for minutes: nobody waits for their records here.
      await cluster.kubectl(['delete', 'pods', '--all', '-n', namespace, '--force', '--grace-period=0']);
    },
  };
  if (options.wait === false) return world;
  await cluster.waitFor('condition=Ready', ['target/orders-db'], namespace, 90);
  // Ready means: on every proxy that is ready. Tests count on all of them.
  await cluster.must(['rollout', 'status', 'deployment/sallyport-proxy', '-n', namespace, '--timeout=90s']);
  await cluster.waitFor('condition=Ready', ['accesspolicy', '--all'], namespace, 30);
  await trust(world);
  return world;

  function run(token: string, more: PsqlOptions, sql: string): Promise<Ran> {
    return cluster.kubectl(['exec', '-i', '-n', namespace, 'client', '--', ...psqlWords(host, more)], { input: `${token}\n${sql}\n` });
  }
  async function trust(of: NamespaceWorld): Promise<void> {
    const written = await cluster.kubectl(['exec', '-i', '-n', namespace, 'client', '--', 'sh', '-c', 'cat > /tmp/ca.crt'], { input: await of.listenerCa() });
    if (written.code !== 0) throw new Error(written.err);
  }
}

/** psql in the client's pod; the token is the first line of its input, so that it stands in no list of processes. */
function psqlWords(host: string, options: PsqlOptions): readonly string[] {
  const conninfo = `host=${host} user=me dbname=orders sslmode=verify-full sslrootcert=/tmp/ca.crt connect_timeout=${options.connectSeconds ?? 15} ${options.conninfo ?? ''}`;
  return ['sh', '-c', 'IFS= read -r PGPASSWORD; export PGPASSWORD; exec psql "$@"', 'psql', conninfo, '-At', ...(options.args ?? [])];
}

async function databaseYaml(namespace: string, authority: Authority, password: string): Promise<string> {
  const tls = await authority.issue({ commonName: 'orders', dnsNames: [`orders-rw.${namespace}.svc`, `orders-rw.${namespace}`] });
  const restricted = 'allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, runAsNonRoot: true, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}';
  const documents = [
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'orders-tls', namespace }, stringData: { 'tls.crt': tls.certificate, 'tls.key': tls.key } },
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'orders-ca', namespace }, stringData: { 'ca.crt': authority.ca } },
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'orders-gateway', namespace }, stringData: { username: 'sallyport', password } },
  ].map((object) => JSON.stringify(object));
  return `${documents.join('\n---\n')}
---
apiVersion: v1
kind: Service
metadata: {name: orders-rw, namespace: ${namespace}}
spec: {selector: {app: orders}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Pod
metadata: {name: orders-0, namespace: ${namespace}, labels: {app: orders}}
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  securityContext: {runAsUser: 70, runAsGroup: 70, fsGroup: 70}
  containers:
  - name: postgres
    image: ${testImages.postgres}
    imagePullPolicy: IfNotPresent
    env: [{name: POSTGRES_PASSWORD, value: ${superuserPassword}}]
    readinessProbe: {tcpSocket: {port: 5432}, periodSeconds: 1, failureThreshold: 60}
    securityContext: {${restricted}}
    volumeMounts: [{name: data, mountPath: /data}, {name: tmp, mountPath: /tmp}, {name: tls, mountPath: /tls, readOnly: true}]
  volumes: [{name: data, emptyDir: {}}, {name: tmp, emptyDir: {}}, {name: tls, secret: {secretName: orders-tls, defaultMode: 288}}]
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: ${namespace}}
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  containers:
  - name: client
    image: ${testImages.client}
    imagePullPolicy: IfNotPresent
    securityContext: {${restricted}, runAsUser: 1000}
    volumeMounts: [{name: tmp, mountPath: /tmp}]
  volumes: [{name: tmp, emptyDir: {}}]
`;
}

function targetYaml(options: NamespaceOptions): string {
  return `apiVersion: sallyport.dev/v1alpha1
kind: Target
metadata: {name: orders-db, namespace: ${options.namespace}, labels: {env: prod}}
spec:
  postgres:
    host: orders-rw.${options.namespace}.svc
    tls: {mode: VerifyFull, caSecretRef: {name: orders-ca, key: ca.crt}}
    credentials: {secretRef: {name: orders-gateway}}
    databases: [orders]
${options.targetSpec ?? ''}`;
}
