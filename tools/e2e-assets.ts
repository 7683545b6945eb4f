import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nativeProblem } from '../sidecar/ssh/native.ts';

/** A program, or a driver, that scenarios use and that npm does not bring. */
export type AssetName = 'psql' | 'pgbench' | 'pg_dump' | 'pg_restore' | 'system-postgres' | 'pgbouncer' | 'psycopg' | 'pgjdbc' | 'helm' | 'helm3' | 'kubectl' | 'lua' | 'node' | 'gitops-crds' | 'ssh-native' | 'sshd' | 'ssh' | 'ssh-audit' | 'scp' | 'sftp' | 'rsync' | 'git' | 'ansible' | 'lftp' | 'paramiko' | 'asyncssh' | 'sshpass' | 'expect' | 'dbclient' | 'xauth' | 'bash' | 'dash' | 'fish' | 'asciinema';

/** Where an asset is. */
export interface Asset {
  readonly name: AssetName;
  /** The program; of `system-postgres` the directory of its programs, of `psycopg`, `paramiko` and `asyncssh` a Python that has it, of `pgjdbc` the jar (run it with java of the same machine), of `node` the script that starts it, of `gitops-crds` the directory of the definitions of Flux and Argo CD, of `ssh-native` the compiled part of ssh2. */
  readonly path: string;
}

/** Drivers are fetched once and kept here; `make clean` leaves them. */
const cache = fileURLToPath(new URL('../.cache/e2e', import.meta.url));
const psycopgVersion = '3.3.2';
const pgjdbcVersion = '42.7.8';
/** Go modules that hold the definitions of GitOps tools, and where. */
const gitOpsModules = [
  ['github.com/argoproj/argo-cd/v3@v3.3.0', 'manifests/crds/application-crd.yaml'], ['github.com/argoproj/argo-cd/v3@v3.3.0', 'manifests/crds/appproject-crd.yaml'],
  ['github.com/fluxcd/kustomize-controller@v1.6.0', 'config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml'],
  ['github.com/fluxcd/helm-controller@v1.4.0', 'config/crd/bases/helm.toolkit.fluxcd.io_helmreleases.yaml'],
  ['github.com/fluxcd/source-controller@v1.7.0', 'config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml'],
  ['github.com/fluxcd/source-controller@v1.7.0', 'config/crd/bases/source.toolkit.fluxcd.io_ocirepositories.yaml'],
] as const;
const gitOpsCrds = join(cache, 'gitops-crds');

const finders: Readonly<Record<AssetName, () => string | null>> = {
  psql: () => postgresProgram('psql'),
  pgbench: () => postgresProgram('pgbench'),
  pg_dump: () => postgresProgram('pg_dump'),
  pg_restore: () => postgresProgram('pg_restore'),
  'system-postgres': () => (postgresProgram('postgres') ? debianDirectory() : null),
  pgbouncer: () => onPath('pgbouncer', ['/usr/sbin/pgbouncer']),
  psycopg: () => [join(cache, 'psycopg/bin/python'), 'python3'].find((python) => succeeds(python, ['-c', 'import psycopg'])) ?? null,
  pgjdbc: () => (succeeds('javac', ['-version']) && existsSync(jar) ? jar : null),
  helm: () => clusterProgram('helm'),
  helm3: () => clusterProgram('helm3'),
  kubectl: () => clusterProgram('kubectl'),
  node: () => (clusterProgram('kubelet') !== null && succeeds(nodeScript, ['missing']) ? nodeScript : null),
  lua: () => onPath('lua5.4', []) ?? onPath('lua', []),
  'ssh-native': () => (nativeProblem() === null ? fileURLToPath(new URL('../node_modules/ssh2/lib/protocol/crypto/build/Release/sshcrypto.node', import.meta.url)) : null),
  bash: () => onPath('bash', []),
  dash: () => onPath('dash', []),
  fish: () => onPath('fish', []),
  sshd: () => onPath('sshd', ['/usr/sbin/sshd']),
  scp: () => onPath('scp', []),
  sftp: () => onPath('sftp', []),
  rsync: () => onPath('rsync', []),
  git: () => onPath('git', []),
  ansible: () => onPath('ansible', []),
  lftp: () => onPath('lftp', []),
  // Version 2 reads no asciicast v3, and has no `convert`.
  asciinema: () => [onPath('asciinema', []), join(homedir(), '.cargo/bin/asciinema')].find((program) => program !== null && succeeds(program, ['convert', '--help'])) ?? null,
  xauth: () => onPath('xauth', []),
  sshpass: () => onPath('sshpass', []),
  expect: () => onPath('expect', []),
  dbclient: () => onPath('dbclient', []),
  paramiko: () => ['/usr/bin/python3', 'python3'].find((python) => succeeds(python, ['-c', 'import paramiko'])) ?? null,
  asyncssh: () => ['/usr/bin/python3', 'python3'].find((python) => succeeds(python, ['-c', 'import asyncssh'])) ?? null,
  ssh: () => onPath('ssh', []),
  'ssh-audit': () => onPath('ssh-audit', []),
  'gitops-crds': () => (gitOpsModules.every(([, path]) => existsSync(join(gitOpsCrds, nameOf(path)))) ? gitOpsCrds : null),
};
/** What starts a one-node Kubernetes; its programs are built once, from Go modules, which takes minutes. */
const nodeScript = fileURLToPath(new URL('../e2e/cluster/node/cluster.sh', import.meta.url));
const jar = join(cache, `postgresql-${pgjdbcVersion}.jar`);

/** What can be had from a package registry by a client of the machine; the others come from the system's packages (.ci/run installs them). */
const obtainers: Readonly<Partial<Record<AssetName, () => void>>> = {
  'gitops-crds': downloadGitOpsCrds,
  helm: buildNode, helm3: buildNode, kubectl: buildNode, node: buildNode,
  psycopg: () => {
    execFileSync('python3', ['-m', 'venv', join(cache, 'psycopg')], { stdio: 'pipe' });
    execFileSync(join(cache, 'psycopg/bin/python'), ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', `psycopg[binary]==${psycopgVersion}`], { stdio: 'pipe', timeout: 180_000 });
  },
  pgjdbc: () => {
    execFileSync('mvn', ['-q', '-B', 'dependency:copy', `-Dartifact=org.postgresql:postgresql:${pgjdbcVersion}`, `-DoutputDirectory=${cache}`], { stdio: 'pipe', timeout: 300_000 });
  },
};

function downloadGitOpsCrds(): void {
  const empty = mkdtempSync(join(tmpdir(), 'sallyport-go-'));
  mkdirSync(gitOpsCrds, { recursive: true });
  try {
    for (const [module, path] of gitOpsModules) {
      const answer = execFileSync(onPath('go', ['/usr/local/go/bin/go']) ?? 'go', ['mod', 'download', '-json', module], { cwd: empty, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: 300_000 });
      copyFileSync(join((JSON.parse(answer) as { readonly Dir: string }).Dir, path), join(gitOpsCrds, nameOf(path)));
    }
  } finally {
    rmSync(empty, { recursive: true });
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function buildNode(): void {
  const missing = spawnSync(nodeScript, ['missing'], { encoding: 'utf8' }).stdout.trim();
  if (missing !== '') throw new Error(`the Kubernetes node needs ${missing.replaceAll('\n', '; ')}`);
  process.stderr.write('building the programs of the Kubernetes node, once: about 5 minutes on 2 cores …\n');
  execFileSync(nodeScript, ['build'], { stdio: ['ignore', 'ignore', 'pipe'], timeout: 1_500_000 });
}

/**
 * Finds what a scenario needs.
 *
 * @returns null when it is missing: skip the scenario, `(asset ? describe : describe.skip)('...')`.
 * @throws when it is missing and SALLYPORT_E2E_REQUIRE (names, separated by commas) asks for it.
 */
export function findAsset(name: AssetName): Asset | null {
  const path = finders[name]();
  if (path !== null) return { name, path };
  if (required().includes(name)) throw new Error(`${name} is missing, and SALLYPORT_E2E_REQUIRE names it`);
  return null;
}

function required(): readonly string[] {
  return (process.env['SALLYPORT_E2E_REQUIRE'] ?? '').split(',').filter((name) => name !== '');
}

function postgresProgram(name: string): string | null {
  const directory = debianDirectory();
  return onPath(name, directory === null ? [] : [join(directory, name)]);
}

/** Debian's programs of the newest server; they are not in PATH. */
function debianDirectory(): string | null {
  const root = '/usr/lib/postgresql';
  if (!existsSync(root)) return null;
  const newest = readdirSync(root).sort((a, b) => Number(b) - Number(a)).find((version) => existsSync(join(root, version, 'bin/postgres')));
  return newest === undefined ? null : join(root, newest, 'bin');
}

/** A program that was built for the real node (NODE_BIN, or the newest of NODE_CACHE: e2e/cluster/node/cluster.sh); else one in PATH. `helm` is Helm 4 there, `helm3` is Helm 3. */
function clusterProgram(name: string): string | null {
  const cached = process.env['NODE_CACHE'] ?? join(homedir(), '.cache/sallyport-node');
  const built = existsSync(cached) ? readdirSync(cached).filter((directory) => directory.startsWith('bin-')).map((directory) => join(cached, directory)) : [];
  const newest = built.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  return [process.env['NODE_BIN'], ...newest].flatMap((directory) => (directory === undefined ? [] : [join(directory, name)])).find((path) => existsSync(path)) ?? onPath(name, []);
}

function onPath(program: string, others: readonly string[]): string | null {
  const candidates = [...(process.env['PATH'] ?? '').split(':').filter((directory) => directory !== '').map((directory) => join(directory, program)), ...others];
  return candidates.find((path) => existsSync(path)) ?? null;
}

function succeeds(program: string, args: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}

/** Obtains what is missing and can be obtained, says what stays missing. The scenarios of a required piece fail by themselves. @returns the exit status: 1 when an unknown piece is required. */
function main(): number {
  mkdirSync(cache, { recursive: true });
  const names = Object.keys(finders) as AssetName[];
  const problems = new Map<AssetName, string>();
  for (const name of names) {
    if (finders[name]() !== null) continue;
    try {
      obtainers[name]?.();
      if (finders[name]() === null) problems.set(name, 'not installed on this machine');
    } catch (error) {
      problems.set(name, error instanceof Error ? (error.message.split('\n')[0] ?? 'failed') : 'failed');
    }
  }
  for (const [name, problem] of problems) console.error(`${name} is missing (${problem}): its scenarios ${required().includes(name) ? 'fail' : 'are skipped'}`);
  const unknown = required().filter((name) => !(names as string[]).includes(name));
  for (const name of unknown) console.error(`SALLYPORT_E2E_REQUIRE names ${name}, which nothing here knows`);
  return unknown.length === 0 ? 0 : 1;
}

if (import.meta.main) process.exitCode = main();
