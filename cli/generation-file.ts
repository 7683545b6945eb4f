import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson } from '../contract/canonical-json.ts';
import { SallyportError } from '../sidecar/core/errors.ts';
import type { GenerationStore } from './compile-directory.ts';
import { noGenerations, parseGenerations } from './generations.ts';
import type { Generations } from './generations.ts';

/**
 * Keeps generations in `<dataDir>/generations.json`: written to a second file, synced, then renamed, so that a crash leaves the old or the new state.
 *
 * @throws SallyportError CONFIG_INVALID when the file exists and is not what was written: beginning anew would give old generations again.
 */
export function generationFile(dataDir: string): GenerationStore {
  const file = join(dataDir, 'generations.json');
  let known: Generations | null = null;
  return {
    async read(): Promise<Generations> {
      known ??= await readState(file);
      return known;
    },
    async write(next: Generations): Promise<void> {
      if (known !== null && canonicalJson(known) === canonicalJson(next)) return;
      await mkdir(dataDir, { recursive: true, mode: 0o700 });
      await replaceFile(file, `${canonicalJson(next)}\n`);
      known = next;
    },
  };
}

/** For commands that keep nothing. */
export function generationMemory(): GenerationStore {
  let known = noGenerations;
  return { read: async () => known, write: async (next) => void (known = next) };
}

async function readState(file: string): Promise<Generations> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT') return noGenerations;
    throw new SallyportError('CONFIG_INVALID', { file }, { cause: error });
  }
  const state = parseJson(text);
  if (state === null) throw new SallyportError('CONFIG_INVALID', { file });
  return state;
}

function parseJson(text: string): Generations | null {
  try {
    return parseGenerations(JSON.parse(text));
  } catch {
    return null;
  }
}

async function replaceFile(file: string, text: string): Promise<void> {
  const temporary = `${file}.tmp`;
  {
    await using handle = await open(temporary, 'w', 0o600);
    await handle.writeFile(text);
    await handle.sync();
  }
  await rename(temporary, file);
}
