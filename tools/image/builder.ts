import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';

/** A program that turns a folder with a Containerfile into an image. */
export type BuilderName = 'docker' | 'podman' | 'buildah';

/** What may build: the order is that of preference. Docker's client alone builds nothing, so each is asked whether it could. */
const probes: Readonly<Record<BuilderName, readonly string[]>> = {
  docker: ['version', '--format', '{{.Server.Version}}'],
  podman: ['info', '--format', '{{.Version.Version}}'],
  buildah: ['--version'],
};

/** The first builder of this machine that works; `wanted` asks for one. */
export function findBuilder(wanted?: string): BuilderName | null {
  const names = (Object.keys(probes) as BuilderName[]).filter((name) => wanted === undefined || wanted === '' || name === wanted);
  return names.find((name) => spawnSync(name, probes[name], { stdio: 'ignore', timeout: 20_000 }).status === 0) ?? null;
}

/** What to tell somebody whose machine has none. */
export const noBuilder = 'no image builder works here: docker (with a running daemon), podman or buildah is needed. On Debian: apt-get install buildah';

/**
 * Builds `context/Containerfile` into an image of that name.
 *
 * @param archive also writes the image to this file, as something that `ctr images import` and `docker load` read.
 * @param createdSeconds creation time of the image, so that the same files give the same digest.
 */
export function buildWith(builder: BuilderName, context: string, name: string, createdSeconds: number, archive?: string): void {
  const file = `${context}/Containerfile`;
  // chroot isolation: nothing runs during the build, and other isolation needs rights that a CI container has not.
  if (builder === 'buildah') run('buildah', ['bud', '-q', '--isolation', 'chroot', '--timestamp', String(createdSeconds), '-f', file, '-t', name, context]);
  else if (builder === 'podman') run('podman', ['build', '-q', '--timestamp', String(createdSeconds), '-f', file, '-t', name, context]);
  else run('docker', ['build', '-q', '-f', file, '-t', name, context], { SOURCE_DATE_EPOCH: String(createdSeconds) });
  if (archive === undefined) return;
  rmSync(archive, { force: true });
  // Docker's format: of the formats the one whose layers are not compressed, and an archive is read at once, on this machine.
  if (builder === 'buildah') run('buildah', ['push', '-q', name, `docker-archive:${archive}:${name}`]);
  else if (builder === 'podman') run('podman', ['save', '-q', '--format', 'docker-archive', '-o', archive, name]);
  else run('docker', ['save', '-o', archive, name]);
}

function run(program: string, args: readonly string[], more: Readonly<Record<string, string>> = {}): void {
  const ran = spawnSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, ...more } });
  if (ran.status !== 0) throw new Error(`${program} ${args[0]} failed`);
}
