import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));

/** Runs a `sallyport` command to its end; standard output and errors in one text. */
export function sallyport(command: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<{ readonly exit: number | null; readonly text: string }> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, ...command], { env: { PATH: process.env['PATH'] ?? '', ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (part: string) => { text += part; });
  return new Promise((resolve) => child.once('close', (exit) => resolve({ exit, text })));
}

/** How many sessions of a data directory ended for which reason; `open` where no end is on record. */
export async function sessionEnds(dataDirectory: string): Promise<Readonly<Record<string, number>>> {
  const { exit, text } = await sallyport(['sessions', '--data', dataDirectory, '--json']);
  if (exit !== 0) throw new Error(`sallyport sessions ended with ${exit}: ${text}`);
  const { sessions } = JSON.parse(text) as { readonly sessions: readonly { readonly endReason: string | null }[] };
  const ends: Record<string, number> = {};
  for (const { endReason } of sessions) ends[endReason ?? 'open'] = (ends[endReason ?? 'open'] ?? 0) + 1;
  return ends;
}
