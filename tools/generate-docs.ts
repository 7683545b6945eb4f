import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { renderErrors } from './generate-errors.ts';
import { generateReference } from './generate-reference.ts';

/** Documents that are made from crds/ and from code: path -> text. @param root the repository. */
export async function generateDocs(root: URL): Promise<ReadonlyMap<string, string>> {
  return new Map([...(await generateReference(root)), ['docs/errors.md', renderErrors(await readFile(new URL('sidecar/core/errors.ts', root), 'utf8'))]]);
}

async function main(): Promise<void> {
  const root = new URL('../', import.meta.url);
  await mkdir(new URL('docs/reference/', root), { recursive: true });
  for (const [path, text] of await generateDocs(root)) await writeFile(new URL(path, root), text);
}

if (import.meta.main) await main();
