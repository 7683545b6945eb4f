import { readFile } from 'node:fs/promises';
import { generateApi } from './generate-api.ts';
import { withBoundaries } from './generate-boundaries.ts';
import { generateDocs } from './generate-docs.ts';
import { generateHelm } from './generate-helm.ts';

/**
 * Generates everything anew, in memory, and compares.
 *
 * @param root the repository.
 * @returns paths of files that are not what they were generated from says.
 */
export async function findStale(root: URL): Promise<readonly string[]> {
  const read = (path: string): Promise<string> => readFile(new URL(path, root), 'utf8').catch(() => '');
  const expected = [...(await generateApi(root)), ...(await generateDocs(root)), ...(await generateHelm(root)), ['biome.json', withBoundaries(await read('biome.json'))] as const];
  const stale: string[] = [];
  for (const [path, text] of expected) if ((await read(path)) !== text) stale.push(path);
  return stale;
}

async function main(): Promise<number> {
  const stale = await findStale(new URL('../', import.meta.url));
  for (const path of stale) console.error(`${path} is stale: run make generate and commit it`);
  return stale.length === 0 ? 0 : 1;
}

if (import.meta.main) process.exitCode = await main();
