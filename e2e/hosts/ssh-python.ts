import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { SshWorld } from './ssh-world.ts';

/** Runs a script of `e2e/scenarios/clients` against a world: its arguments are port and account, the token is in SALLYPORT_TEST_TOKEN. @returns what it printed, as JSON. */
export async function runPython(world: SshWorld, python: string, script: string, args: readonly string[] = [], limitMs = 60_000): Promise<unknown> {
  const file = fileURLToPath(new URL(`../scenarios/clients/${script}`, import.meta.url));
  const child = spawn(python, [file, String(world.port), world.sshd.account, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, SALLYPORT_TEST_TOKEN: await world.token('engineer') } });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text; });
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text; });
  const timer = setTimeout(() => child.kill('SIGKILL'), limitMs);
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  clearTimeout(timer);
  if (status !== 0) throw new Error(`${script} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as unknown;
}
