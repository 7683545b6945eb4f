import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { realWrappers, startingStubs, stubPrograms, wordPrograms } from './shell-grammar.ts';

/** What a real shell did with a text. */
export interface ShellRun {
  /** Whether `bash -n` takes it. */
  readonly parses: boolean;
  /** How each program was started, its name first; null when it was not run. */
  readonly started: readonly (readonly string[])[] | null;
}

/** A directory whose PATH holds stubs only: they log how they were started. */
export interface ShellSandbox extends Disposable {
  run(text: string, shell: 'bash' | 'dash', execute: boolean): Promise<ShellRun>;
}

const limitMs = 5_000;
/** Nobody: what runs here has no rights, in case a text does more than the grammar meant. */
const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

/** Makes a sandbox of its own directory. */
export function openShellSandbox(): ShellSandbox {
  const root = mkdtempSync(join(tmpdir(), 'sallyport-shell-'));
  const [bin, work, log] = [join(root, 'bin'), join(root, 'work'), join(root, 'log')];
  mkdirSync(bin);
  mkdirSync(work);
  writeFileSync(log, '');
  if (nobody.uid !== undefined) for (const path of [work, log]) chownSync(path, nobody.uid, nobody.gid);
  chmodSync(root, 0o755);
  writeStubs(bin);
  return {
    async run(text, shell, execute) {
      // Texts with NUL never reach a shell: no argument can hold one.
      const parses = await bash(['-n', '-c', '--', text], work, bin) === 0;
      if (!execute) return { parses, started: null };
      fill(work);
      writeFileSync(log, '');
      // A limit on processes and file sizes, then the shell as sshd starts it.
      const shellArguments = shell === 'bash' ? ['/bin/bash', '--noprofile', '--norc', '-c', text] : ['/bin/dash', '-c', text];
      await start('/bin/dash', ['-c', 'ulimit -p 200 2>/dev/null; ulimit -f 2048; ulimit -t 3; exec "$@"', 'sh', ...shellArguments], work, bin);
      return { parses, started: readLog(readFileSync(log, 'utf8')) };
    },
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }),
  };
}

function writeStubs(bin: string): void {
  const stub = (name: string, more: string): void => {
    writeFileSync(join(bin, name), `#!/bin/bash --norc\nIFS=$'\\x1f'; a=("\${0##*/}" "$@"); line="\${a[*]}"; printf '%s\\n' "\${line//$'\\n'/$'\\x1d'}" >> "\${0%/*}/../log"; IFS=$' \\t\\n'\n${more}`);
    chmodSync(join(bin, name), 0o755);
  };
  for (const name of stubPrograms) stub(name, '');
  for (const name of wordPrograms) stub(name, 'printf "a -rf b\\n-x\\n"\n');
  const options = 'while [[ $1 == -* ]]; do case $1 in --) shift; break ;; -*[upeo]) shift 2 ;; *) shift ;; esac; done\n';
  const bodies: Readonly<Record<(typeof startingStubs)[keyof typeof startingStubs], string>> = {
    words: `${options}while [[ $1 == *=* ]]; do shift; done\nexec "$@"\n`,
    dashes: 'while (( $# )) && [[ $1 != -- ]]; do shift; done\nshift; exec "$@"\n',
    docker: `shift\n${options}shift\n[[ $1 == -- ]] && shift\nexec "$@"\n`,
    host: `${options}shift\nexec /bin/dash -c "$*"\n`,
    text: '[[ $1 == -c ]] && exec /bin/dash -c "$2"\n',
    joined: 'while [[ $1 == -* ]]; do case $1 in -n) shift 2 ;; *) shift ;; esac; done\nexec /bin/dash -c "$*"\n',
  };
  for (const [name, kind] of Object.entries(startingStubs)) stub(name, bodies[kind]);
  for (const name of realWrappers) symlinkSync(name === 'bash' ? '/bin/bash' : name === 'sh' ? '/bin/dash' : `/usr/bin/${name}`, join(bin, name));
}

/** The files that patterns find, one of them named like an option. */
function fill(work: string): void {
  for (const name of readdirSync(work)) rmSync(join(work, name), { recursive: true, force: true });
  for (const name of ['f1.log', '-rf.log', 'a b.log', 'ab', '-x']) writeFileSync(join(work, name), 'a -rf\n');
  if (nobody.uid !== undefined) for (const name of readdirSync(work)) chownSync(join(work, name), nobody.uid, nobody.gid);
}

/** One line per start, so that each is written at once, whatever else writes. */
function readLog(log: string): readonly (readonly string[])[] {
  return log.split('\n').slice(0, -1).map((line) => line.replaceAll('\u001d', '\n').split('\u001f'));
}

function bash(words: readonly string[], cwd: string, bin: string): Promise<number | null> {
  return start('/bin/bash', ['--noprofile', '--norc', ...words], cwd, bin);
}

/** Ends when no process holds the pipes any more, those in the background included. */
function start(program: string, words: readonly string[], cwd: string, bin: string): Promise<number | null> {
  // Values that split, expand and look like options: what dynamic words may become.
  const env = { PATH: bin, HOME: cwd, FUNCNEST: '10', LC_ALL: 'C.UTF-8', x: '-rf b c', y: 'a', e: '', z: '*', n: '1', p: 'rm', w: 'nice' };
  const child: ChildProcess = spawn(program, words, { cwd, env, stdio: ['ignore', 'pipe', 'pipe', 'pipe'], detached: true, ...nobody });
  for (const stream of [child.stdout, child.stderr, child.stdio[3]]) stream?.on('data', () => undefined);
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    }, limitMs);
    child.on('error', () => undefined);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve(code);
    });
  });
}
