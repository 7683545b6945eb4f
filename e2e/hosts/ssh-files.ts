import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import { makeKey } from './openssh.ts';
import { type SshWorld, type SshWorldOptions, startSshWorld } from './ssh-world.ts';

/** What a client left. */
export interface ClientRun {
  /** Null when it was killed at its limit. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A world whose user has a certificate of the gateway, so that stock clients need nothing but `-F config`. */
export interface FilesWorld extends AsyncDisposable {
  readonly world: SshWorld;
  /** A directory that stands for the files of the target; its real path. */
  readonly folder: string;
  /** ssh_config with the hosts `web` (through the gateway) and `direct` (the target itself). */
  readonly config: string;
  run(program: string, args: readonly string[], options?: { readonly input?: string; readonly limitMs?: number; readonly cwd?: string; readonly environment?: Readonly<Record<string, string>> }): Promise<ClientRun>;
  /** Starts a client that goes on. */
  start(program: string, args: readonly string[], environment?: Readonly<Record<string, string>>): ReturnType<typeof spawn>;
  /** Events of the log with this code, the facts of each in `facts`. */
  events(code: string): readonly LoggedEvent[];
}

/** An event as the audit log has it. */
export interface LoggedEvent {
  readonly code: string;
  readonly reason: string | null;
  readonly path: string | null;
  readonly facts: Readonly<Record<string, unknown>>;
}

export interface FilesWorldOptions extends Omit<SshWorldOptions, 'rules'> {
  /** Rules of the policy; they are given the folder of the target's files. */
  readonly rules: (folder: string) => readonly object[];
}

/** Starts gateway, issuer and sshd, and gets a certificate as `sallyport login` does. */
export async function startFilesWorld(options: FilesWorldOptions): Promise<FilesWorld> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'sp-files-')));
  const { rules, ...rest } = options;
  const world = await startSshWorld({ ...rest, rules: rules(folder) });
  const { sshd } = world;
  const key = makeKey(world.root, 'client');
  writeFileSync(`${key.path}-cert.pub`, `${await mintCertificate(world.port, await world.token('engineer'), key.publicLine)}\n`);
  const config = join(world.root, 'ssh_config');
  const host = (name: string, port: number, lines: readonly string[]): string => [
    `Host ${name}`, 'HostName 127.0.0.1', `Port ${port}`, `User ${sshd.account}`, 'StrictHostKeyChecking no', 'UserKnownHostsFile /dev/null', 'GlobalKnownHostsFile /dev/null', 'LogLevel ERROR', 'IdentitiesOnly yes', ...lines, '',
  ].join('\n  ');
  writeFileSync(config, [host('web', world.port, [`IdentityFile ${key.path}`, `CertificateFile ${key.path}-cert.pub`]), host('direct', sshd.port, [`IdentityFile ${sshd.userKey.path}`])].join('\n'));
  const environment = { ...process.env, SSH_AUTH_SOCK: '', GIT_SSH_COMMAND: `ssh -F ${config}`, GIT_CONFIG_GLOBAL: '/dev/null', GIT_TERMINAL_PROMPT: '0', LANG: 'C.UTF-8' };
  return {
    world, folder, config,
    run: (program, args, run = {}) => runClient(program, args, { ...run, environment: { ...environment, ...run.environment } }),
    start: (program, args, more = {}) => spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...environment, ...more } }),
    events: (code) => loggedEvents(world).filter((event) => event.code === code),
    [Symbol.asyncDispose]: async () => {
      await world[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function mintCertificate(port: number, token: string, publicKey: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const client = new ssh2.Client();
  client.on('error', reject).on('ready', () => client.subsys('credential@sallyport.dev', (error, channel) => {
    if (error) return reject(error);
    let answer = '';
    channel.on('data', (chunk: Buffer) => { answer += chunk.toString(); }).on('close', () => {
      client.end();
      const { certificate } = JSON.parse(answer) as { readonly certificate?: string };
      if (certificate === undefined) reject(new Error(answer));
      else resolve(certificate);
    });
    channel.end(`${JSON.stringify({ want: 'certificate', publicKey })}\n`);
  }));
  client.connect({ host: '127.0.0.1', port, username: 'credential@sallyport.dev', password: token, hostVerifier: () => true });
  return promise;
}

async function runClient(program: string, args: readonly string[], options: { readonly input?: string; readonly limitMs?: number; readonly cwd?: string; readonly environment: NodeJS.ProcessEnv }): Promise<ClientRun> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: options.environment, ...(options.cwd === undefined ? {} : { cwd: options.cwd }) });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text; });
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text; });
  child.stdin.on('error', () => undefined).end(options.input);
  const timer = setTimeout(() => child.kill('SIGKILL'), options.limitMs ?? 60_000);
  const failed = new Promise<null>((resolve) => child.once('error', (error) => { stderr += error.message; resolve(null); }));
  const status = await Promise.race([new Promise<number | null>((resolve) => child.once('close', resolve)), failed]);
  clearTimeout(timer);
  return { status, stdout, stderr };
}

/** SHA-256 of a file, in hex. */
export async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

function loggedEvents(world: SshWorld): readonly LoggedEvent[] {
  const root = join(world.dataDirectory, 'log');
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ndjson')).sort();
  return files.flatMap((name) => readFileSync(join(root, name), 'utf8').split('\n').filter((line) => line !== '')).map((line) => {
    const event = JSON.parse(line) as { readonly metadata?: { readonly event_code?: string }; readonly status_code?: string; readonly file?: { readonly path?: string }; readonly dst_endpoint?: { readonly name?: string }; readonly evidence?: { readonly facts?: Readonly<Record<string, unknown>> } };
    return { code: event.metadata?.event_code ?? '', reason: event.status_code ?? null, path: event.file?.path ?? event.dst_endpoint?.name ?? null, facts: event.evidence?.facts ?? {} };
  });
}
