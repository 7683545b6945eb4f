import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { applyHunks, type FilePatch, parsePatch } from './apply-patch.ts';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const version = '1.17.0';
/** SHA-256 over the sources of ssh2 1.17.0 as published, in the order of their paths: with the patch they give it once the patch is taken away again. */
const stockDigest = '99f8cbf35952c5f7e42a032cfd436a464e003c4b8128bf8c091df8e6989873c9';
/** The compiled parts, below node_modules. */
const binaries = ['ssh2/lib/protocol/crypto/build/Release/sshcrypto.node', 'cpu-features/build/Release/cpufeatures.node'] as const;

/** Says why the native parts were not built: tools of the machine are missing, which is no fault of the project. */
export class ToolsMissing extends Error {}

/**
 * Patches ssh2 below `root`/node_modules. Does nothing where that was done.
 *
 * @throws for another version, or files that are neither as published nor as patched: a patch is never skipped silently.
 */
export function patchSsh2(root: string = repository): void {
  const ssh2 = join(root, 'node_modules/ssh2');
  const found = (JSON.parse(readFileSync(join(ssh2, 'package.json'), 'utf8')) as { readonly version: string }).version;
  if (found !== version) throw new Error(`ssh2 ${found} is installed, and the patch is for ${version}`);
  const files = readPatch();
  const state = stateOf(ssh2, files);
  if (state === 'patched') return;
  if (state === 'changed') throw new Error('node_modules/ssh2 was changed by something else: remove the folder and run make setup');
  // Compiled from other sources, if at all.
  rmSync(join(ssh2, 'lib/protocol/crypto/build'), { recursive: true, force: true });
  rewrite(ssh2, files, false);
}

/** A copy of ssh2 without our patch, inside node_modules so that it finds what it needs: for tests that show why the patch exists. @returns its folder. */
export function stockSsh2(): string {
  const folder = join(repository, 'node_modules/.cache/sallyport-stock/node_modules/ssh2');
  const files = readPatch();
  if (existsSync(folder) && stateOf(folder, files) === 'published') return folder;
  const fresh = `${folder}.${process.pid}`;
  mkdirSync(dirname(folder), { recursive: true });
  cpSync(join(repository, 'node_modules/ssh2'), fresh, { recursive: true });
  rewrite(fresh, files, true);
  rmSync(folder, { recursive: true, force: true });
  renameSync(fresh, folder);
  return folder;
}

/**
 * Compiles the native parts of ssh2 and cpu-features for the Node that runs this, with that Node's own headers, and proves that they load. Does nothing where they load already.
 *
 * @throws ToolsMissing without a compiler, make, python3, or a registry to take the headers from; Error when compiling fails.
 */
export function buildNative(): void {
  if (loadProblem() === null) return;
  const missing = missingTools();
  if (missing.length > 0) throw new ToolsMissing(`${missing.join(', ')} not found`);
  process.stdout.write('building the native parts of ssh2\n');
  restoreOptionalPackages();
  const headers = findHeaders();
  const nodeGyp = join(dirname(realpathSync(which('npm') ?? 'npm')), '../node_modules/node-gyp/bin/node-gyp.js');
  if (!existsSync(nodeGyp)) throw new ToolsMissing('the node-gyp that npm brings');
  const features = join(repository, 'node_modules/cpu-features');
  writeFileSync(join(features, 'buildcheck.gypi'), run(process.execPath, ['buildcheck.js'], features));
  for (const folder of [features, join(repository, 'node_modules/ssh2/lib/protocol/crypto')]) {
    run(process.execPath, [nodeGyp, 'rebuild', `--nodedir=${headers}`, '--loglevel=error', `--real_openssl_major=${process.versions.openssl.split('.')[0]}`], folder);
    rmSync(join(folder, 'build/Release/obj.target'), { recursive: true, force: true });
  }
  const problem = loadProblem();
  if (problem !== null) throw new Error(`compiled, but: ${problem}`);
}

/**
 * Brings a freshly installed `root`/node_modules to the same state as the repository's own: patched, and with its compiled parts.
 *
 * @returns the compiled parts.
 * @throws when the repository's own are not complete.
 */
export function installNative(root: string): readonly string[] {
  const problem = loadProblem();
  if (problem !== null) throw new Error(`SSH needs compiled parts: ${problem}`);
  patchSsh2(root);
  for (const binary of binaries) cpSync(join(repository, 'node_modules', binary), join(root, 'node_modules', binary), { recursive: true });
  return binaries.map((binary) => join(root, 'node_modules', binary));
}

/** After a change of the patch ssh2 bears the old one: it is installed anew. */
function reinstallWhereChanged(): void {
  const ssh2 = join(repository, 'node_modules/ssh2');
  if (existsSync(ssh2) && stateOf(ssh2, readPatch()) !== 'changed') return;
  rmSync(ssh2, { recursive: true, force: true });
  installWithoutScripts();
}

function installWithoutScripts(): void {
  run('npm', ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'], repository);
}

function readPatch(): readonly FilePatch[] {
  return parsePatch(readFileSync(new URL(`ssh2-${version}.patch`, import.meta.url), 'utf8'));
}

function stateOf(ssh2: string, patch: readonly FilePatch[]): 'published' | 'patched' | 'changed' {
  if (digestOf(ssh2, []) === stockDigest) return 'published';
  try {
    return digestOf(ssh2, patch) === stockDigest ? 'patched' : 'changed';
  } catch {
    // A hunk that is not there cannot be taken away.
    return 'changed';
  }
}

/** Of the sources without the patch. */
function digestOf(ssh2: string, patch: readonly FilePatch[]): string {
  const hash = createHash('sha256');
  const sources = readdirSync(join(ssh2, 'lib'), { recursive: true, encoding: 'utf8' }).filter((path) => /\.(?:js|cc|gyp)$/.test(path) && !path.includes('/build/')).map((path) => `lib/${path}`).sort();
  for (const path of sources) hash.update(applyHunks(readFileSync(join(ssh2, path), 'utf8'), patch.find((file) => file.path === path)?.hunks ?? [], true));
  return hash.digest('hex');
}

/** The marker's file last: what was interrupted does not pass for patched. */
function rewrite(ssh2: string, files: readonly FilePatch[], reverse: boolean): void {
  const texts = files.map(({ path, hunks }) => ({ path, text: applyHunks(readFileSync(join(ssh2, path), 'utf8'), hunks, reverse) }));
  for (const { path, text } of texts.toSorted((a, b) => Number(a.path === 'lib/index.js') - Number(b.path === 'lib/index.js'))) writeFileSync(join(ssh2, path), text);
}

/** In a process of its own: this one may have loaded ssh2 before its parts existed. */
function loadProblem(): string | null {
  const module = fileURLToPath(new URL('../../sidecar/ssh/native.ts', import.meta.url));
  const probe = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', `import { nativeProblem } from ${JSON.stringify(module)}; process.stdout.write(nativeProblem() ?? '')`], { encoding: 'utf8' });
  return probe.status === 0 ? probe.stdout || null : `the check failed: ${probe.stderr.split('\n')[0] ?? ''}`;
}

function missingTools(): readonly string[] {
  const compiler = ['c++', 'g++', 'clang++'].some((name) => which(name) !== null) ? [] : ['a C++ compiler'];
  return [...compiler, ...['make', 'python3', 'tar'].filter((name) => which(name) === null)];
}

/** Older npms run the install script of cpu-features, and drop the package when that fails. */
function restoreOptionalPackages(): void {
  if (existsSync(join(repository, 'node_modules/cpu-features/package.json')) && existsSync(join(repository, 'node_modules/nan/package.json'))) return;
  installWithoutScripts();
}

/** The folder that holds include/node of exactly the running Node: beside it, or from the npm package that it came from. */
function findHeaders(): string {
  const beside = join(dirname(process.execPath), '..');
  const cached = join(repository, `node_modules/.cache/sallyport-node-${process.versions.node}`);
  // The npm package `node` leaves it there, headers included.
  const installed = join(repository, `node_modules/node/node_modules/node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`);
  const found = [beside, installed, cached].find((folder) => headersVersion(folder) === process.versions.node);
  return found ?? fetchHeaders(cached);
}

function headersVersion(folder: string): string | null {
  const file = join(folder, 'include/node/node_version.h');
  if (!existsSync(file)) return null;
  const text = readFileSync(file, 'utf8');
  return ['MAJOR', 'MINOR', 'PATCH'].map((part) => new RegExp(`#define NODE_${part}_VERSION (\\d+)`).exec(text)?.[1] ?? '?').join('.');
}

function fetchHeaders(to: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-headers-'));
  try {
    const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}@${process.versions.node}`;
    const packed = spawnSync('npm', ['pack', name, '--prefer-offline', '--silent'], { cwd: folder, encoding: 'utf8' });
    if (packed.status !== 0) throw new ToolsMissing(`the headers of Node ${process.versions.node} (npm package ${name})`);
    run('tar', ['-xzf', packed.stdout.trim().split('\n').at(-1) ?? '', 'package/include'], folder);
    rmSync(to, { recursive: true, force: true });
    mkdirSync(to, { recursive: true });
    cpSync(join(folder, 'package/include'), join(to, 'include'), { recursive: true });
    return to;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function which(program: string): string | null {
  return (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, program)).find((path) => existsSync(path)) ?? null;
}

function run(program: string, args: readonly string[], cwd: string): string {
  const ran = spawnSync(program, args, { cwd, encoding: 'utf8', env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}` } });
  if (ran.status !== 0) throw new Error(`${program} ${args.slice(0, 2).join(' ')} failed in ${cwd}:\n${`${ran.stdout}${ran.stderr}`.slice(-2_000)}`);
  return ran.stdout;
}

/** `node tools/native/build-native.ts [--required]`. @returns the exit status: without --required a machine that has no compiler is no failure. */
function main(args: readonly string[]): number {
  try {
    reinstallWhereChanged();
    patchSsh2();
    buildNative();
    return 0;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (!(error instanceof ToolsMissing)) process.stderr.write(`native parts of ssh2: ${text}\n`);
    else process.stderr.write(`SSH is off on this machine: ${text}. The rest works; to turn it on install it (Debian: apt-get install g++ make python3) and run: make setup\n`);
    return error instanceof ToolsMissing && !args.includes('--required') ? 0 : 1;
  }
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
