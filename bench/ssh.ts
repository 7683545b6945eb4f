import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, closeSync, ftruncateSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type FilesWorld, startFilesWorld } from '../e2e/hosts/ssh-files.ts';
import { type OpenSsh, startOpenSsh } from '../e2e/hosts/openssh.ts';
import { cpuSeconds, residentMiB } from './process-cost.ts';

/**
 * What SSH through the gateway costs beside a direct sshd and `ssh -J` over a second sshd: all ways in one run, shuffled in each round, key exchange and cipher forced on every leg, each figure a
 * ratio to the direct way of the same round. `node bench/ssh.ts`; BENCH_ROUNDS, BENCH_MIB, BENCH_LOGINS, BENCH_ECHOES narrow it, BENCH_OUT names a file for the figures.
 */
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 3);
const mebibytes = Number(process.env['BENCH_MIB'] ?? 512);
const logins = Number(process.env['BENCH_LOGINS'] ?? 15);
const echoes = Number(process.env['BENCH_ECHOES'] ?? 300);
const copyMiB = 256;

type Way = 'direct' | 'ssh -J' | 'gateway' | 'gateway, masking';
/** Names of the hosts in ssh_config. */
const hosts: Readonly<Record<Way, string>> = { direct: 'straight', 'ssh -J': 'jumped', gateway: 'web', 'gateway, masking': 'masked' };
const plainWays: readonly Way[] = ['direct', 'ssh -J', 'gateway'];

await using sshd = await startOpenSsh();
await using jump = await startOpenSsh();
await using plain = await startFilesWorld({ sharedSshd: sshd, rules });
await using masking = await startFilesWorld({
  sharedSshd: sshd, rules, policy: { masking: [{ detectors: ['us-ssn', 'payment-card', 'email'], style: 'Redact' }] },
});
const config = writeSshConfig(sshd, jump, plain, masking);
const text = writeText(join(plain.folder, 'text'));
const lines: string[] = [];
const print = (line: string): void => { lines.push(line); process.stdout.write(`${line}\n`); };

// What is compiled on first use is no cost of a connection.
for (const way of [...plainWays, 'gateway, masking'] as const) for (let i = 0; i < 3; i++) await connectAndRun(way);
await reportLogins();
await reportEcho();
await reportBulk('down', [...plainWays, 'gateway, masking']);
await reportBulk('up', plainWays);
await reportCopies('download');
await reportCopies('upload');
print(`\nresident memory of the gateway, MiB: ${residentMiB(plain.world.gateway.child.pid ?? 0)}`);
if (process.env['BENCH_OUT']) writeFileSync(process.env['BENCH_OUT'], `${lines.join('\n')}\n`);

function rules(folder: string): readonly object[] {
  return [
    { name: 'commands', action: 'Allow', ssh: { commands: ['true', 'wc -c', 'cat **'], stdin: 'Attach' } },
    { name: 'files', action: 'Allow', ssh: { files: { operations: ['Read', 'Write', 'List'], paths: [`${folder}/**`] } } },
  ];
}

async function reportLogins(): Promise<void> {
  const times = new Map<Way, number[]>(plainWays.map((way) => [way, []]));
  for (let i = 0; i < logins; i++) for (const way of shuffled(plainWays)) times.get(way)?.push(await connectAndRun(way));
  print(`connect and run \`true\`: p50 of ${logins}, interleaved`);
  for (const way of plainWays) print(`${way.padEnd(20)}${at(times, way).toFixed(0).padStart(8)} ms${(at(times, way) / at(times, 'direct')).toFixed(2).padStart(10)} of direct`);
}

async function connectAndRun(way: Way): Promise<number> {
  const began = performance.now();
  const child = spawn('ssh', ['-n', '-F', config, hosts[way], 'true'], { stdio: ['ignore', 'ignore', 'inherit'], env: environment() });
  const [status] = (await once(child, 'close')) as [number | null];
  if (status !== 0) throw new Error(`${way}: ssh ended with ${status}`);
  return performance.now() - began;
}

/** One byte to `cat` and back, the ways in turn, so that all meet the same machine. */
async function reportEcho(): Promise<void> {
  const open = plainWays.map((way) => ({ way, child: spawn('ssh', ['-F', config, hosts[way], 'cat'], { stdio: ['pipe', 'pipe', 'inherit'], env: environment() }) }));
  const times = new Map<Way, number[]>(plainWays.map((way) => [way, []]));
  for (let i = -20; i < echoes; i++) {
    for (const { way, child } of shuffled(open)) {
      const began = performance.now();
      child.stdin.write('x');
      await once(child.stdout, 'data');
      if (i >= 0) times.get(way)?.push(performance.now() - began);
    }
  }
  for (const { child } of open) child.stdin.end();
  print(`\none byte to cat and back: p50 of ${echoes}, interleaved`);
  for (const way of plainWays) print(`${way.padEnd(20)}${at(times, way).toFixed(2).padStart(8)} ms${(at(times, way) - at(times, 'direct')).toFixed(2).padStart(10)} ms more than direct`);
}

async function reportBulk(direction: 'down' | 'up', ways: readonly Way[]): Promise<void> {
  const rates = new Map<Way, number[]>(ways.map((way) => [way, []]));
  const cpu = new Map<Way, number[]>(ways.map((way) => [way, []]));
  for (let round = 0; round < rounds; round++) {
    for (const way of shuffled(ways)) {
      const pid = way === 'gateway' ? plain.world.gateway.child.pid ?? 0 : way === 'gateway, masking' ? masking.world.gateway.child.pid ?? 0 : null;
      const before = pid === null ? 0 : cpuSeconds(pid);
      rates.get(way)?.push(direction === 'down' ? await download(way) : await upload(way));
      cpu.get(way)?.push(pid === null ? Number.NaN : (cpuSeconds(pid) - before) / (mebibytes / 1_024));
    }
  }
  print(`\nbulk ${direction}, ${mebibytes} MiB of text, aes128-gcm: median of ${rounds}`);
  for (const way of ways) {
    const ratio = median((rates.get(way) ?? []).map((rate, round) => rate / (rates.get('direct')?.[round] ?? 1)));
    print(`${way.padEnd(20)}${at(rates, way).toFixed(0).padStart(8)} MiB/s${ratio.toFixed(2).padStart(8)} of direct${way.startsWith('gateway') ? `${at(cpu, way).toFixed(2).padStart(9)} CPU s per GiB` : ''}`);
  }
}

/** MiB per second, the login left out: from the first byte. */
async function download(way: Way): Promise<number> {
  const bytes = mebibytes * 1_048_576;
  const child = spawn('ssh', ['-n', '-F', config, hosts[way], `cat ${text}`], { stdio: ['ignore', 'pipe', 'inherit'], env: environment() });
  let [received, began] = [0, 0];
  child.stdout.on('data', (chunk: Buffer) => {
    if (received === 0) began = performance.now();
    received += chunk.length;
  });
  await once(child, 'close');
  if (received !== bytes) throw new Error(`${way}: ${received} of ${bytes} bytes`);
  return mebibytes / ((performance.now() - began) / 1_000);
}

async function upload(way: Way): Promise<number> {
  const chunk = Buffer.alloc(1_048_576);
  const child = spawn('ssh', ['-F', config, hosts[way], 'wc -c'], { stdio: ['pipe', 'pipe', 'inherit'], env: environment() });
  let counted = '';
  child.stdout.on('data', (text: Buffer) => { counted += text.toString(); });
  // The first MiB waits for the login.
  await new Promise<void>((resolve) => void child.stdin.write(chunk, () => resolve()));
  const began = performance.now();
  for (let sent = 1; sent < mebibytes; sent++) if (!child.stdin.write(chunk)) await once(child.stdin, 'drain');
  child.stdin.end();
  await once(child, 'close');
  if (Number(counted) !== mebibytes * 1_048_576) throw new Error(`${way}: ${counted} bytes arrived`);
  return mebibytes / ((performance.now() - began) / 1_000);
}

/** Lines of a log, so that masking has text to read. */
function writeText(path: string): string {
  const block = Buffer.from(Array.from({ length: 16_384 }, (_, i) => `2026-11-24T18:00:${String(i % 60).padStart(2, '0')}Z app[${1_000 + (i % 9)}]: req\n`.padStart(64, '.')).join(''));
  const descriptor = openSync(path, 'w');
  for (let written = 0; written < mebibytes; written++) writeSync(descriptor, block);
  closeSync(descriptor);
  return path;
}

/** scp of one file, login and all: what a person waits for. */
async function reportCopies(direction: 'download' | 'upload'): Promise<void> {
  const file = join(plain.folder, 'copied');
  const descriptor = openSync(file, 'w');
  ftruncateSync(descriptor, copyMiB * 1_048_576);
  closeSync(descriptor);
  const rates = new Map<Way, number[]>(plainWays.map((way) => [way, []]));
  for (let round = 0; round < rounds; round++) {
    for (const way of shuffled(plainWays)) {
      const args = direction === 'download' ? [`${hosts[way]}:${file}`, `${file}.down`] : [file, `${hosts[way]}:${file}.up`];
      const began = performance.now();
      const [status] = (await once(spawn('scp', ['-q', '-F', config, ...args], { stdio: ['ignore', 'ignore', 'inherit'], env: environment() }), 'close')) as [number | null];
      if (status !== 0) throw new Error(`${way}: scp ended with ${status}`);
      rates.get(way)?.push(copyMiB / ((performance.now() - began) / 1_000));
    }
  }
  print(`\nscp, ${direction} of ${copyMiB} MiB: median of ${rounds}`);
  for (const way of plainWays) print(`${way.padEnd(20)}${at(rates, way).toFixed(0).padStart(8)} MiB/s${median((rates.get(way) ?? []).map((rate, round) => rate / (rates.get('direct')?.[round] ?? 1))).toFixed(2).padStart(8)} of direct`);
}

function writeSshConfig(target: OpenSsh, hop: OpenSsh, open: FilesWorld, masked: FilesWorld): string {
  const path = join(open.world.root, 'bench_config');
  const host = (name: string, port: number, more: readonly string[]): string => [`Host ${name}`, 'HostName 127.0.0.1', `Port ${port}`, `User ${target.account}`, ...more].join('\n  ');
  const identity = (of: FilesWorld): readonly string[] => [`IdentityFile ${of.world.root}/client`, `CertificateFile ${of.world.root}/client-cert.pub`];
  writeFileSync(path, `${[
    host('straight', target.port, [`IdentityFile ${target.userKey.path}`]), host('hop', hop.port, [`IdentityFile ${hop.userKey.path}`]), host('jumped', target.port, [`IdentityFile ${target.userKey.path}`, 'ProxyJump hop']),
    host('web', open.world.port, identity(open)), host('masked', masked.world.port, identity(masked)),
  ].join('\n')}\n`);
  appendFileSync(path, ['Host *', 'KexAlgorithms curve25519-sha256', 'Ciphers aes128-gcm@openssh.com', 'StrictHostKeyChecking no', 'UserKnownHostsFile /dev/null', 'GlobalKnownHostsFile /dev/null', 'LogLevel ERROR', 'IdentitiesOnly yes', ''].join('\n  '));
  return path;
}

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, SSH_AUTH_SOCK: '' };
}

function at(values: ReadonlyMap<Way, readonly number[]>, way: Way): number {
  return median(values.get(way) ?? []);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function shuffled<T>(values: readonly T[]): readonly T[] {
  return values.map((value) => ({ value, key: Math.random() })).sort((a, b) => a.key - b.key).map(({ value }) => value);
}
