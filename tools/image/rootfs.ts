import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { rootCertificates } from 'node:tls';

/**
 * Copies a program, and the shared libraries that it names, into a folder that becomes an image's root.
 *
 * Libraries keep the path by which the loader looks for them. Needs `ldd`, so Linux with glibc.
 *
 * @param to where the program stands in the image, e.g. `/usr/local/bin/node`.
 */
export function copyProgram(root: string, program: string, to: string): void {
  copyInto(root, realpathSync(program), to);
  chmodSync(join(root, to), 0o755);
  for (const library of librariesOf(program)) copyLibrary(root, library);
}

/** Copies the libraries that a program or library names, and not itself. */
export function copyLibraries(root: string, program: string): void {
  for (const library of librariesOf(program)) copyLibrary(root, library);
}

/** Copies one file to its place in the image, with its folders. */
export function copyInto(root: string, from: string, to: string): void {
  mkdirSync(dirname(join(root, to)), { recursive: true });
  copyFileSync(from, join(root, to));
}

/** Writes one file of the image. */
export function writeInto(root: string, to: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(join(root, to)), { recursive: true });
  writeFileSync(join(root, to), text, { mode });
}

/** What programs expect of any system: names of the users, how names are looked up, certificate authorities (those that Node itself trusts), a folder for temporary files. */
export function writeSystemFiles(root: string, users: Readonly<Record<string, number>>): void {
  const named = { root: 0, nobody: 65_534, ...users };
  writeInto(root, '/etc/passwd', Object.entries(named).map(([name, id]) => `${name}:x:${id}:${id}:${name}:/:/sbin/nologin\n`).join(''));
  writeInto(root, '/etc/group', Object.entries(named).map(([name, id]) => `${name}:x:${id}:\n`).join(''));
  writeInto(root, '/etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n');
  writeInto(root, '/etc/ssl/certs/ca-certificates.crt', `${rootCertificates.join('\n')}\n`);
  mkdirSync(join(root, 'tmp'), { recursive: true });
  chmodSync(join(root, 'tmp'), 0o1777);
}

function copyLibrary(root: string, library: string): void {
  if (!existsSync(join(root, library))) copyInto(root, realpathSync(library), library);
  chmodSync(join(root, library), 0o755);
}

/** `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, and the loader: `/lib64/ld-linux-x86-64.so.2 (0x…)`. */
function librariesOf(program: string): readonly string[] {
  const text = execFileSync('ldd', [program], { encoding: 'utf8' });
  const lost = /^\s*(\S+) => not found/m.exec(text);
  if (lost) throw new Error(`${program} needs ${lost[1]}, which this machine has not`);
  return [...text.matchAll(/(?:^\s*|=> )(\/\S+) \(0x/gm)].map((match) => match[1] ?? '');
}
