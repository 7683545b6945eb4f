import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { installNative } from '../native/build-native.ts';
import { buildWith, findBuilder, noBuilder } from './builder.ts';
import { copyLibraries, copyProgram, writeSystemFiles } from './rootfs.ts';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const limitMegabytes = 250;

/** Name of the image without its tag: what the chart calls `image.repository`, as a local build has it. */
export const localRepository = 'localhost/sallyport';

/** What to build. */
export interface ImageOptions {
  /** With its tag. */
  readonly name: string;
  /** Also write the image to this file. */
  readonly archive?: string;
  /** `docker`, `podman` or `buildah`; default: the first that works. */
  readonly builder?: string;
}

/**
 * Builds Sallyport's one image from `dist/` (`make build` first), the pinned Node and the production packages.
 *
 * @returns the builder's name and the size of the image's files in megabytes (10^6).
 * @throws when no builder works here, or the image is larger than it may be.
 */
export function buildImage(options: ImageOptions): { readonly builder: string; readonly megabytes: number } {
  if (process.platform !== 'linux') throw new Error('the image is laid out from this machine\'s own Node and libraries: Linux is needed');
  const builder = findBuilder(options.builder);
  if (builder === null) throw new Error(noBuilder);
  const staging = mkdtempSync(join(tmpdir(), 'sallyport-image-'));
  try {
    const root = join(staging, 'rootfs');
    layOut(root);
    cpSync(join(repository, 'tools/image/Containerfile'), join(staging, 'Containerfile'));
    const megabytes = Math.ceil(bytesOf(root) / 1e6);
    if (megabytes > limitMegabytes) throw new Error(`the image would have ${megabytes} MB; ${limitMegabytes} MB is its limit`);
    buildWith(builder, staging, options.name, commitSeconds(), options.archive);
    return { builder, megabytes };
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

function layOut(root: string): void {
  mkdirSync(join(root, 'app'), { recursive: true });
  copyProgram(root, join(repository, 'node_modules/node/bin/node'), '/usr/local/bin/node');
  writeSystemFiles(root, { sallyport: 65_532 });
  installPackages(join(root, 'app'));
  for (const binary of installNative(join(root, 'app'))) copyLibraries(root, binary);
  cpSync(join(repository, 'dist'), join(root, 'app/dist'), { recursive: true, filter: (from) => lstatSync(from).isDirectory() || from.endsWith('.js') });
  cpSync(join(repository, 'LICENSE'), join(root, 'app/LICENSE'));
  const main = join(root, 'app/dist/cli/main.js');
  // There is no /usr/bin/env in the image.
  writeFileSync(main, readFileSync(main, 'utf8').replace(/^#!.*\n/, '#!/usr/local/bin/node\n'));
  chmodSync(main, 0o755);
  proveSsh(join(root, 'app'));
  execFileSync('ln', ['-s', '/app/dist/cli/main.js', join(root, 'usr/local/bin/sallyport')]);
}

/** What the image holds, as the proxy in it will ask: an image whose SSH listeners would stay shut is no image. */
function proveSsh(app: string): void {
  const check = `import { nativeProblem } from ${JSON.stringify(join(app, 'dist/sidecar/ssh/native.js'))}; process.stdout.write(nativeProblem() ?? '')`;
  const ran = spawnSync(join(repository, 'node_modules/node/bin/node'), ['--input-type=module', '-e', check], { encoding: 'utf8' });
  if (ran.status !== 0 || ran.stdout !== '') throw new Error(`SSH would not work in the image: ${ran.stdout || ran.stderr.slice(-500)}`);
}

/** The production packages of the lock file, without what only readers and compilers use. `npm ci` refuses lock files whose platform packages a registry does not have. */
function installPackages(to: string): void {
  for (const file of ['package.json', 'package-lock.json', '.npmrc']) cpSync(join(repository, file), join(to, file));
  const args = ['install', '--omit=dev', '--ignore-scripts', '--no-save', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];
  const ran = spawnSync('npm', args, { cwd: to, encoding: 'utf8' });
  if (ran.status !== 0) throw new Error(`npm ${args.join(' ')} failed: ${ran.stderr.slice(-2_000)}`);
  for (const file of ['package-lock.json', '.npmrc', 'node_modules/.bin', 'node_modules/.package-lock.json', 'node_modules/@types']) rmSync(join(to, file), { recursive: true, force: true });
  prune(join(to, 'node_modules'));
}

/** Sources, types, maps, tests and manuals; licences stay. */
const unused = /(?:\.(?:map|ts|mts|cts|md|markdown|flow|tsbuildinfo)|^\.[a-z].*)$/i;
const unusedFolders = new Set(['test', 'tests', '__tests__', 'docs', 'doc', 'example', 'examples', 'benchmark', 'benchmarks', 'prebuilds', '.github']);

function prune(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (unusedFolders.has(entry.name) && existsSync(join(folder, 'package.json'))) rmSync(path, { recursive: true });
      else prune(path);
    } else if (unused.test(entry.name) && !/^(?:licen[cs]e|notice|copying)/i.test(entry.name)) rmSync(path);
  }
}

/** Time of the last commit: the same sources give the same image. */
function commitSeconds(): number {
  const log = spawnSync('git', ['log', '-1', '--format=%ct'], { cwd: repository, encoding: 'utf8' });
  return Number.parseInt(log.stdout, 10) || 0;
}

function bytesOf(folder: string): number {
  return readdirSync(folder, { withFileTypes: true, recursive: true }).reduce((sum, entry) => sum + lstatSync(join(entry.parentPath, entry.name)).size, 0);
}

/** `node tools/image/build-image.ts [--name NAME] [--archive FILE]`. @returns the exit status. */
function main(args: readonly string[]): number {
  const { values } = parseArgs({ args: [...args], options: { name: { type: 'string' }, archive: { type: 'string' }, builder: { type: 'string' } } });
  const { version } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as { readonly version: string };
  const name = values.name ?? `${localRepository}:${version}`;
  try {
    const built = buildImage({ name, ...(values.archive === undefined ? {} : { archive: values.archive }), ...(values.builder === undefined ? {} : { builder: values.builder }) });
    process.stdout.write(`${name}: ${built.megabytes} MB, built with ${built.builder}${values.archive === undefined ? '' : `, archive ${relative(process.cwd(), values.archive) || basename(values.archive)}`}\n`);
    return 0;
  } catch (error) {
    process.stderr.write(`make image: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
