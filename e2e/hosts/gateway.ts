import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { type Authority, createAuthority } from './certificates.ts';
import { type IssuerClient, type IssuerHost, startIssuer } from './issuer.ts';
import { freePort, type PostgresHost, type PostgresOptions, startPostgres } from './postgres.ts';

/** The gateway as a child process in directory mode, in front of a real PostgreSQL, with a real issuer. */
export interface World extends AsyncDisposable {
  readonly postgres: PostgresHost;
  readonly issuer: IssuerHost;
  readonly gateway: GatewayProcess;
  /** PEM that verifies gateway, issuer and server. */
  readonly ca: string;
  readonly caFile: string;
  readonly configDirectory: string;
  readonly dataDirectory: string;
  /** Port of the gateway's listener for the Target `db`. */
  readonly port: number;
  /** A token of `engineer`, `approver`, `second-approver`, `ci-job`, or one of the clients given. */
  token(clientId: string): Promise<string>;
  /** Replaces a config file atomically; null deletes it. */
  writeConfig(file: string, text: string | null): void;
  /** Starts the gateway again on the same data directory. */
  restart(): Promise<void>;
}

export interface GatewayProcess {
  readonly child: ChildProcess;
  readonly httpUrl: string;
  /** What it wrote: logs (stderr) and audit events (stdout). */
  stderr(): string;
  stdout(): string;
  /** SIGTERM; resolves with the exit status. */
  stop(): Promise<number | null>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

export interface WorldOptions {
  /** YAML of AccessPolicy documents, written to policy.yaml; default: sre may do everything. */
  readonly policies?: string;
  readonly clients?: readonly IssuerClient[];
  readonly databases?: readonly string[];
  readonly postgres?: PostgresOptions;
  readonly tokenTtlSeconds?: number;
  /** YAML of the Target's `tls`; default VerifyFull. */
  readonly targetTls?: string;
  /** More options of `sallyport serve`. */
  readonly serve?: readonly string[];
  /** A server that is running already: it is not stopped with the world. */
  readonly sharedPostgres?: PostgresHost;
  /** Account that the gateway uses; default the superuser. */
  readonly account?: { readonly username: string; readonly password: string };
  /** Run before the gateway starts, e.g. to make a role. */
  readonly prepare?: (postgres: PostgresHost) => Promise<void>;
  readonly auditToStdout?: boolean;
  /** How the process is started; default: node on the sources. */
  readonly command?: readonly string[];
  /** Where the data directory is; default: inside the world's temporary directory. */
  readonly dataDirectory?: string;
}

/** Policy of most tests: group sre, everything but what the test adds. */
export const allowEverything = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: everything}
spec:
  subjects: [{kind: Group, name: sre}]
  targets: {names: [db]}
  rules:
  - name: all
    action: Allow
    postgres: {statements: [Select, Insert, Update, Delete, Merge, CopyOut, CopyIn, Explain, Call, Do, FunctionCall, Truncate, Create, Alter, Drop, Comment, Function, Extension, Grant, Role, Maintenance, Lock, Notify, Set, SetRole, Show, Transaction, TwoPhase, ServerFile, System, Other]}
`;

const clients: readonly IssuerClient[] = [
  { id: 'engineer', secret: 'engineer-secret', claims: { email: 'engineer@bank.example', groups: ['sre'] } },
  { id: 'approver', secret: 'approver-secret', claims: { email: 'approver@bank.example', groups: ['dba'] } },
  { id: 'second-approver', secret: 'second-secret', claims: { email: 'second@bank.example', groups: ['dba'] } },
  { id: 'ci-job', secret: 'ci-secret', claims: { email: 'ci@bank.example', groups: ['ci'], repository: 'bank/orders' } },
];

/** Starts everything; dispose ends it and removes its files. */
export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const root = mkdtempSync(join(tmpdir(), 'sp-world-'));
  const configDirectory = join(root, 'config');
  const dataDirectory = options.dataDirectory ?? join(root, 'data');
  mkdirSync(configDirectory);
  const authority = await createAuthority();
  const [postgres, issuer] = await Promise.all([
    options.sharedPostgres ?? authority.issue({ commonName: 'db', ips: ['127.0.0.1'] }).then((tls) => startPostgres({ tls, ...options.postgres })),
    startIssuer({ authority, clients: options.clients ?? clients, ttlSeconds: options.tokenTtlSeconds ?? 3600 }),
  ]);
  await options.prepare?.(postgres);
  const caFile = join(root, 'ca.crt');
  writeFileSync(caFile, authority.ca);
  const port = await freePort();
  const httpPort = await freePort();
  await writeFiles({ root, configDirectory, authority, postgres, issuer, port, options });
  const serve = [
    'serve', '--config', configDirectory, '--data', dataDirectory, '--tls-cert', join(root, 'gateway.crt'), '--tls-key', join(root, 'gateway.key'), '--http', `127.0.0.1:${httpPort}`, '--drain-seconds', '2',
    ...(options.auditToStdout ? [] : ['--no-audit-stdout']), ...(options.serve ?? []),
  ];
  const start = (): Promise<GatewayProcess> => startGateway([...(options.command ?? [process.execPath, '--disable-warning=ExperimentalWarning', programPath]), ...serve], `http://127.0.0.1:${httpPort}`);
  let gateway = await start();
  return {
    postgres, issuer, ca: authority.ca, caFile, configDirectory, dataDirectory, port,
    get gateway() { return gateway; },
    token: (clientId) => issuer.token(clientId),
    writeConfig: (file, text) => writeConfig(configDirectory, file, text),
    restart: async () => { gateway = await start(); },
    [Symbol.asyncDispose]: async () => {
      await gateway.stop();
      await Promise.all([options.sharedPostgres ? undefined : postgres.stop(), issuer.stop()]);
      rmSync(root, { recursive: true, force: true });
    },
  };
}

const programPath = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));

async function writeFiles(world: { readonly root: string; readonly configDirectory: string; readonly authority: Authority; readonly postgres: PostgresHost; readonly issuer: IssuerHost; readonly port: number; readonly options: WorldOptions }): Promise<void> {
  const { root, configDirectory, authority, postgres, issuer, port, options } = world;
  const pair = await authority.issue({ commonName: 'gateway', ips: ['127.0.0.1'], dnsNames: ['localhost'] });
  writeFileSync(join(root, 'gateway.crt'), pair.certificate);
  writeFileSync(join(root, 'gateway.key'), pair.key, { mode: 0o600 });
  const account = options.account ?? { username: postgres.owner, password: postgres.password };
  writeConfig(configDirectory, 'target.yaml', `apiVersion: sallyport.dev/v1alpha1
kind: Target
metadata: {name: db, labels: {env: test}, annotations: {sallyport.dev/listen-port: "${port}"}}
spec:
  postgres:
    host: 127.0.0.1
    port: ${postgres.port}
    tls: ${options.targetTls ?? '{mode: VerifyFull, caSecretRef: {name: ca, key: ca.crt}}'}
    credentials: {secretRef: {name: db-account}}
    databases: ${JSON.stringify(options.databases ?? ['postgres'])}
---
apiVersion: v1
kind: Secret
metadata: {name: db-account}
stringData: ${JSON.stringify(account)}
---
apiVersion: v1
kind: Secret
metadata: {name: ca}
stringData: {ca.crt: ${JSON.stringify(authority.ca)}}
`);
  writeConfig(configDirectory, 'issuer.yaml', `apiVersion: sallyport.dev/v1alpha1
kind: IdentityProvider
metadata: {name: test-issuer}
spec:
  issuer: ${issuer.issuer}
  audiences: [${issuer.audience}]
  algorithms: [ES256]
  caBundle: ${JSON.stringify(authority.ca)}
  claims: {username: email, usernamePrefix: "oidc:", groups: groups}
`);
  writeConfig(configDirectory, 'policy.yaml', options.policies ?? allowEverything);
}

function writeConfig(directory: string, file: string, text: string | null): void {
  const path = join(directory, file);
  if (text === null) return rmSync(path, { force: true });
  writeFileSync(`${path}.tmp`, text);
  renameSync(`${path}.tmp`, path);
}

/** Starts the gateway as a child process; resolves once it is ready. */
export async function startGateway(command: readonly string[], httpUrl: string): Promise<GatewayProcess> {
  const child = spawn(command[0] as string, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  let stderr = '';
  let stdout = '';
  const ready = Promise.withResolvers<void>();
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    if (stderr.includes('"ready"')) ready.resolve();
  });
  child.stdout?.setEncoding('utf8').on('data', (text: string) => { stdout += text; });
  const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  const killNow = (): void => { child.kill('SIGKILL'); };
  process.once('exit', killNow);
  void exited.then(() => process.removeListener('exit', killNow));
  const failed = exited.then((code) => { throw new Error(`the gateway ended with ${code}: ${stderr}`); });
  await Promise.race([ready.promise, failed]);
  failed.catch(() => undefined);
  return {
    child, httpUrl, stderr: () => stderr, stdout: () => stdout,
    stop: () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      return exited;
    },
    kill: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/**
 * All files of the data directory as one text, decompressed where compressed: for canary searches.
 * A recording is compressed when its session ends, which may happen between the listing and the reading: then the directory is read anew, so that nothing is left out.
 */
export async function readDataDirectory(directory: string): Promise<string> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return readAllFiles(directory);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === 20) throw error;
    }
  }
}

function readAllFiles(directory: string): string {
  const texts: string[] = [];
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name.endsWith('.key') || entry.name.startsWith('reserve')) continue;
    const bytes = readFileSync(join(entry.parentPath, entry.name));
    texts.push((entry.name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('latin1'));
  }
  return texts.join('\n');
}
