import { createHash } from 'node:crypto';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createAuthority } from '../../hosts/certificates.ts';
import { type IssuerClient, type IssuerOptions, newSigningKey } from '../../hosts/issuer.ts';
import { layOutClient, layOutPostgres, layOutSshd, testImages } from '../images/test-images.ts';
import type { NodeFacts } from './facts.ts';

const script = fileURLToPath(new URL('../node/cluster.sh', import.meta.url));
const repository = fileURLToPath(new URL('../../..', import.meta.url));
const nodeAddress = '192.168.77.1';
const issuerPort = 8_443;
const adminToken = 'admin-token';

/** A running node with images and issuer, and nothing of Sallyport installed. */
export interface NodeHost extends AsyncDisposable {
  readonly facts: NodeFacts;
  /** Folder of the run: facts, logs of what was built. */
  readonly root: string;
}

/** What a node is started with. */
export interface NodeOptions {
  /** People and jobs that can fetch a token at the issuer itself; tests sign tokens of anybody by `tokenOf`. */
  readonly clients?: readonly IssuerClient[];
  /** Told what happens, for people who wait. */
  readonly say?: (text: string) => void;
}

/** What this machine lacks to run a node; empty when it can. The Go programs need not be built yet. */
export function missingForNode(): readonly string[] {
  if (process.platform !== 'linux') return ['Linux'];
  const ran = spawnSync(script, ['missing'], { encoding: 'utf8' });
  return ran.status === 0 ? [] : (ran.stdout + ran.stderr).split('\n').filter((line) => line !== '');
}

/** Lets a signal end this process by its `exit` handlers, which end the node: by default a signal ends it without them, and the node would stay. */
export function endNodeOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));
}

/**
 * Starts a node of its own: API server that trusts the test issuer, kubelet, DNS; builds and loads Sallyport's image (from `dist/`) and the test images; starts the issuer inside.
 *
 * @throws when something does not start; what was started is ended then.
 */
export async function startNode(options: NodeOptions = {}): Promise<NodeHost> {
  const say = options.say ?? ((): void => undefined);
  const root = mkdtempSync(join(tmpdir(), 'sallyport-node-'));
  const state = join(root, 'node');
  const environment = { NODE_STATE: state, NODE_AUTHENTICATION: join(root, 'authentication.json'), NODE_PROCESSES: join(root, 'processes'), CONTAINERS_STORAGE_CONF: join(root, 'storage.conf') };
  const cluster = (...args: readonly string[]): string => execFileSync(script, args, { encoding: 'utf8', env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 * 1_048_576 });
  // A test run that is killed must not leave a cluster behind.
  const endNow = (): void => {
    spawnSync(script, ['down'], { env: { ...process.env, ...environment } });
    rmSync(root, { recursive: true, force: true });
  };
  process.once('exit', endNow);
  const end = async (): Promise<void> => {
    process.removeListener('exit', endNow);
    cluster('down');
    rmSync(root, { recursive: true, force: true });
  };
  try {
    const { issuer, settings } = await prepareIssuer(options.clients ?? []);
    writeFileSync(environment.NODE_AUTHENTICATION, JSON.stringify(authenticationConfiguration(issuer)));
    writeFileSync(environment.CONTAINERS_STORAGE_CONF, `[storage]\ndriver="overlay"\ngraphroot="${root}/images"\nrunroot="${root}/images-run"\n`);
    const image = { repository: 'localhost/sallyport', tag: 'under-test' };
    const archive = join(root, 'sallyport.tar');
    const settingsFile = join(root, 'issuer.json');
    writeFileSync(settingsFile, JSON.stringify(settings));
    mkdirSync(environment.NODE_PROCESSES);
    writeFileSync(join(environment.NODE_PROCESSES, 'issuer'), ourProgram('issuer-program.ts', settingsFile));
    writeFileSync(join(environment.NODE_PROCESSES, 'relay'), ourProgram('../node/relay.ts', join(state, 'relay.sock')));
    say('building the image, starting a Kubernetes node …');
    const tests = testImageArchives(cluster);
    await Promise.all([
      run(process.execPath, ['--disable-warning=ExperimentalWarning', join(repository, 'tools/image/build-image.ts'), '--name', `${image.repository}:${image.tag}`, '--archive', archive], environment),
      run(script, ['up'], environment),
    ]);
    for (const file of [archive, ...tests]) cluster('load', file);
    rmSync(archive);
    writeFileSync(join(state, 'user.kubeconfig'), readFileSync(join(state, 'admin.kubeconfig'), 'utf8').replace(`user: {token: ${adminToken}}`, 'user: {}'));
    say('the node is ready');
    const bin = cluster('exec', 'sh', '-c', 'dirname "$(command -v kubectl)"').trim();
    return {
      root, facts: { script, environment, initPid: Number(readFileSync(join(state, 'init.pid'), 'utf8')), bin, state, image, issuer, adminToken },
      [Symbol.asyncDispose]: end,
    };
  } catch (error) {
    const log = existsSync(join(state, 'log')) ? execFileSync('sh', ['-c', 'tail -n 5 "$0"/log/*.log', state], { encoding: 'utf8' }) : '';
    await end();
    throw new Error(`the node did not start: ${error instanceof Error ? error.message : String(error)}\n${log}`, { cause: error });
  }
}

const ourProgram = (file: string, argument: string): string => `exec '${process.execPath}' --disable-warning=ExperimentalWarning '${fileURLToPath(new URL(file, import.meta.url))}' '${argument}'\n`;

/** The test images as archives, built once and kept: their names say what they were built from. */
function testImageArchives(cluster: (...args: readonly string[]) => string): readonly string[] {
  const folder = join(process.env['NODE_CACHE'] ?? join(homedir(), '.cache/sallyport-node'), 'images');
  mkdirSync(folder, { recursive: true });
  const sources = ['../images/test-images.ts', '../images/postgres.sh', '../images/sshd.sh', '../../../tools/image/rootfs.ts', '../../../package-lock.json'].map((file) => readFileSync(fileURLToPath(new URL(file, import.meta.url))));
  const from = sources.reduce((hash, source) => hash.update(source), createHash('sha256')).digest('hex').slice(0, 16);
  return ([['postgres', layOutPostgres], ['client', layOutClient], ['sshd', layOutSshd]] as const).map(([name, layOut]) => {
    const file = join(folder, `${name}-${from}.tar`);
    if (existsSync(file)) return file;
    const context = mkdtempSync(join(tmpdir(), 'sallyport-context-'));
    layOut(context);
    cluster('archive', testImages[name], context, `${file}.${process.pid}`);
    renameSync(`${file}.${process.pid}`, file);
    rmSync(context, { recursive: true });
    return file;
  });
}

async function prepareIssuer(clients: readonly IssuerClient[]): Promise<{ readonly issuer: NodeFacts['issuer']; readonly settings: IssuerOptions }> {
  const authority = await createAuthority('Authority of the test issuer');
  const pair = await authority.issue({ commonName: 'issuer', ips: [nodeAddress] });
  const key = await newSigningKey();
  return {
    issuer: { url: `https://${nodeAddress}:${issuerPort}`, audience: 'sallyport', ca: authority.ca, key },
    settings: { clients, address: nodeAddress, port: issuerPort, tls: { ...pair, ca: authority.ca }, signingKey: key },
  };
}

/** The same issuer, audience and names as in the IdentityProvider: one token, one name, for API server and proxies. */
function authenticationConfiguration(issuer: NodeFacts['issuer']): object {
  return {
    apiVersion: 'apiserver.config.k8s.io/v1', kind: 'AuthenticationConfiguration',
    jwt: [{ issuer: { url: issuer.url, audiences: [issuer.audience], certificateAuthority: issuer.ca }, claimMappings: { username: { claim: 'email', prefix: 'oidc:' }, groups: { claim: 'groups', prefix: '' } } }],
  };
}

function run(program: string, args: readonly string[], more: Readonly<Record<string, string>>): Promise<void> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(program, args, { env: { ...process.env, ...more }, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (part: string) => { text = (text + part).slice(-4_000); });
    // The exit, not the end of its output: a node's first process inherits it and lives on.
    child.once('error', reject).once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${program} ${args.join(' ')}: exit status ${code}\n${text}`))));
  });
}
