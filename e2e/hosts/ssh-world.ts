import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createAuthority } from './certificates.ts';
import { type GatewayProcess, startGateway } from './gateway.ts';
import { type IssuerClient, type IssuerHost, type IssuerOptions, startIssuer } from './issuer.ts';
import { freePort, type OpenSsh, type OpenSshOptions, type SshRun, runSsh, sshOptions, startOpenSsh } from './openssh.ts';

/** The gateway as a child process in directory mode, in front of a real sshd, with a real issuer. */
export interface SshWorld extends AsyncDisposable {
  readonly sshd: OpenSsh;
  readonly issuer: IssuerHost;
  readonly gateway: GatewayProcess;
  readonly root: string;
  readonly configDirectory: string;
  readonly dataDirectory: string;
  /** PEM that verifies the issuer. */
  readonly caFile: string;
  /** Port of the gateway's listener for the Target `web`. */
  readonly port: number;
  /** A token of `engineer`, `approver`, or one of the clients given. */
  token(clientId: string): Promise<string>;
  /** Runs the system's ssh through the gateway as `engineer` (or another), with the token as its password. */
  ssh(args: readonly string[], options?: SshWorldRun): Promise<SshRun>;
  /** The same, still running: for whoever types, waits and looks. */
  open(args: readonly string[], options?: SshWorldRun): Promise<OpenRun>;
  /** The environment in which `ssh` answers every question with the token. */
  askpass(token: string): Readonly<Record<string, string>>;
  writeConfig(file: string, text: string | null): void;
  restart(): Promise<void>;
}

export interface SshWorldRun {
  readonly as?: string;
  /** Instead of a token of `as`. */
  readonly token?: string;
  readonly input?: Buffer | string;
  readonly limitMs?: number;
  /** Options of ssh before the destination. */
  readonly options?: readonly string[];
  readonly logLevel?: string;
}

/** An ssh that runs. */
export interface OpenRun {
  readonly child: ChildProcessWithoutNullStreams;
  stdout(): string;
  stderr(): string;
  readonly ended: Promise<{ readonly status: number | null; readonly atMs: number }>;
  /** Waits until its standard error holds a text, at most five seconds, and gives the match. */
  says(text: RegExp): Promise<RegExpExecArray>;
}

export interface SshWorldOptions {
  /** Rules of the policy for group sre; default: a few harmless commands. */
  readonly rules?: readonly object[];
  /** More of the policy's spec: limits, masking, access. */
  readonly policy?: Readonly<Record<string, unknown>>;
  /** More of the Target's `ssh`: level, loginShell. */
  readonly target?: Readonly<Record<string, unknown>>;
  readonly sshd?: OpenSshOptions;
  readonly clients?: readonly IssuerClient[];
  readonly tokenTtlSeconds?: number;
  /** Login in the browser for people who have no token. */
  readonly device?: NonNullable<IssuerOptions['device']>;
  readonly serve?: readonly string[];
  /** A server that runs already: it is not stopped with the world. */
  readonly sharedSshd?: OpenSsh;
  readonly dataDirectory?: string;
}

const programPath = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));

const clients: readonly IssuerClient[] = [
  { id: 'engineer', secret: 'engineer-secret', claims: { email: 'eng@bank.example', groups: ['sre'] } },
  { id: 'approver', secret: 'approver-secret', claims: { email: 'app@bank.example', groups: ['leads'] } },
  { id: 'ci-job', secret: 'ci-secret', claims: { email: 'ci@bank.example', groups: ['ci'] } },
];

/** Harmless commands. */
export const usualRule = { name: 'look', action: 'Allow', ssh: { commands: ['uptime', 'true', 'false', 'id -un', 'echo **', 'printf **', 'cat', 'seq *', 'sleep *', 'printenv **'] } } as const;

/** An AccessPolicy for Target `web`, as YAML. */
export function sshPolicy(rules: readonly object[], spec: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({ apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessPolicy', metadata: { name: 'oncall' }, spec: { subjects: [{ kind: 'Group', name: 'sre' }], targets: { names: ['web'] }, rules, ...spec } });
}

/** Starts everything; dispose ends it and removes its files. */
export async function startSshWorld(options: SshWorldOptions = {}): Promise<SshWorld> {
  const root = mkdtempSync(join(tmpdir(), 'sp-ssh-'));
  const configDirectory = join(root, 'config');
  const dataDirectory = options.dataDirectory ?? join(root, 'data');
  mkdirSync(configDirectory);
  const authority = await createAuthority();
  const [sshd, issuer] = await Promise.all([options.sharedSshd ?? startOpenSsh(options.sshd), startIssuer({ authority, clients: options.clients ?? clients, ttlSeconds: options.tokenTtlSeconds ?? 3600, ...(options.device === undefined ? {} : { device: options.device }) })]);
  const caFile = join(root, 'ca.crt');
  writeFileSync(caFile, authority.ca);
  const [port, httpPort] = [await freePort(), await freePort()];
  const pair = await authority.issue({ commonName: 'gateway', ips: ['127.0.0.1'], dnsNames: ['localhost'] });
  writeFileSync(join(root, 'gateway.crt'), pair.certificate);
  writeFileSync(join(root, 'gateway.key'), pair.key, { mode: 0o600 });
  const writeConfig = (file: string, text: string | null): void => {
    const path = join(configDirectory, file);
    if (text === null) return rmSync(path, { force: true });
    writeFileSync(`${path}.tmp`, text);
    renameSync(`${path}.tmp`, path);
  };
  const metadata = { name: 'web', labels: { env: 'test' }, annotations: { 'sallyport.dev/listen-port': String(port) } };
  const target = { host: '127.0.0.1', port: sshd.port, hostKeys: sshd.hostKeys.map((key) => key.publicLine), accounts: [sshd.account], credentials: { secretRef: { name: 'web-account' } }, ...options.target };
  writeConfig('target.yaml', [
    { apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', metadata, spec: { ssh: target } },
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'web-account' }, stringData: { privateKey: readFileSync(sshd.userKey.path, 'utf8') } },
  ].map((document) => JSON.stringify(document)).join('\n---\n'));
  writeConfig('issuer.yaml', JSON.stringify({
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'IdentityProvider', metadata: { name: 'test-issuer' },
    spec: {
      ...(options.device === undefined ? {} : { deviceLogin: { clientID: options.device.clientId } }), issuer: issuer.issuer, audiences: [issuer.audience, ...(options.device === undefined ? [] : [options.device.clientId])], algorithms: ['ES256'], caBundle: authority.ca, claims: { username: 'email', usernamePrefix: 'oidc:', groups: 'groups' },
    },
  }));
  writeConfig('policy.yaml', sshPolicy(options.rules ?? [usualRule], options.policy));
  const askpassFile = join(root, 'askpass');
  writeFileSync(askpassFile, '#!/bin/sh\nprintf "%s\\n" "$SALLYPORT_TEST_TOKEN"\n', { mode: 0o700 });
  const serve = [
    'serve', '--config', configDirectory, '--data', dataDirectory, '--tls-cert', join(root, 'gateway.crt'), '--tls-key', join(root, 'gateway.key'), '--http', `127.0.0.1:${httpPort}`, '--no-audit-stdout',
    '--min-free-mib', '0', '--reserve-mib', '1', ...((options.serve ?? []).includes('--drain-seconds') ? [] : ['--drain-seconds', '2']), ...(options.serve ?? []),
  ];
  const start = (): Promise<GatewayProcess> => startGateway([process.execPath, '--disable-warning=ExperimentalWarning', programPath, ...serve], `http://127.0.0.1:${httpPort}`);
  const stop = async (): Promise<void> => {
    await Promise.all([options.sharedSshd === undefined ? sshd[Symbol.asyncDispose]() : undefined, issuer.stop()]);
    rmSync(root, { recursive: true, force: true });
  };
  let gateway = await start().catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  const askpass = (token: string): Readonly<Record<string, string>> => ({ SSH_ASKPASS: askpassFile, SSH_ASKPASS_REQUIRE: 'force', SALLYPORT_TEST_TOKEN: token });
  return {
    sshd, issuer, root, configDirectory, dataDirectory, caFile, port, askpass, writeConfig,
    get gateway() { return gateway; },
    token: (clientId) => issuer.token(clientId),
    ssh: async (args, run = {}) => runSsh(port, ['-o', 'PreferredAuthentications=password', '-o', 'NumberOfPasswordPrompts=1', ...(run.options ?? []), `${sshd.account}@127.0.0.1`, ...args], {
      environment: askpass(run.token ?? (await issuer.token(run.as ?? 'engineer'))), ...(run.input === undefined ? {} : { input: run.input }), ...(run.limitMs === undefined ? {} : { limitMs: run.limitMs }), ...(run.logLevel === undefined ? {} : { logLevel: run.logLevel }),
    }),
    open: async (args, run = {}) => openSsh([
      '-o', `LogLevel=${run.logLevel ?? 'ERROR'}`, ...sshOptions(port), '-o', 'PreferredAuthentications=password', '-o', 'NumberOfPasswordPrompts=1', ...(run.options ?? []), `${sshd.account}@127.0.0.1`, ...args,
    ], askpass(run.token ?? (await issuer.token(run.as ?? 'engineer')))),
    restart: async () => { gateway = await start(); },
    [Symbol.asyncDispose]: async () => {
      await gateway.stop();
      await stop();
    },
  };
}

function openSsh(args: readonly string[], environment: Readonly<Record<string, string>>): OpenRun {
  const child = spawn('ssh', args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, SSH_AUTH_SOCK: '', ...environment } });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text; });
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text; });
  child.stdin.on('error', () => undefined);
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
  const ended = new Promise<{ readonly status: number | null; readonly atMs: number }>((resolve) => child.once('close', (status) => {
    clearTimeout(timer);
    resolve({ status, atMs: performance.now() });
  }));
  return {
    child, ended, stdout: () => stdout, stderr: () => stderr,
    says: async (text) => {
      for (const end = performance.now() + 5_000; performance.now() < end;) {
        const match = text.exec(stderr);
        if (match !== null) return match;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      throw new Error(`not said: ${String(text)}; but: ${stderr}`);
    },
  };
}
