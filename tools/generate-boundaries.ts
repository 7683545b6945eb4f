import { readFile, writeFile } from 'node:fs/promises';
import { boundaries, restrictedPatterns, testFiles } from './boundaries.ts';

/**
 * Writes the import boundaries into biome.json: two overrides for each row of boundaries.ts, one for the code and one for the tests beside it.
 * Other overrides stay as they are. An override replaces a rule's options instead of adding to them, which is why each one is complete.
 */
export function withBoundaries(biomeJson: string): string {
  const config = JSON.parse(biomeJson) as { overrides?: readonly Override[] };
  const kept = (config.overrides ?? []).filter((override) => override.linter?.rules?.style?.['noRestrictedImports'] === undefined);
  return `${oneLineLeaves(JSON.stringify({ ...config, overrides: [...kept, ...boundaryOverrides()] }, null, 2))}\n`;
}

interface Override {
  readonly includes: readonly string[];
  readonly linter?: { readonly rules?: { readonly style?: Readonly<Record<string, unknown>> } };
}

function boundaryOverrides(): readonly Override[] {
  return boundaries.flatMap((row) => {
    const except = (row.except ?? []).map((path) => `!${path}`);
    return [
      override([row.files, ...except, `!${testFiles}`], restrictedPatterns(row, false)),
      override([`${row.files.replace(/\/\*+(\.ts)?$/, '')}/${row.files.endsWith('/**') ? '**/' : ''}*.test.ts`, ...except], restrictedPatterns(row, true)),
    ];
  });
}

function override(includes: readonly string[], patterns: unknown): Override {
  return { includes, linter: { rules: { style: { noRestrictedImports: { level: 'error', options: { patterns } } } } } };
}

/** Arrays of strings on one line each: the file stays readable. */
function oneLineLeaves(json: string): string {
  return json.replaceAll(/\[\s*((?:"[^"]*",?\s*)+)\]/g, (_, items: string) => `[${items.trim().replaceAll(/,\s+/g, ', ')}]`);
}

async function main(): Promise<void> {
  const file = new URL('../biome.json', import.meta.url);
  await writeFile(file, withBoundaries(await readFile(file, 'utf8')));
}

if (import.meta.main) await main();
