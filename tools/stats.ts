import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** A file and its number of lines. */
export interface FileSize {
  readonly path: string;
  readonly lines: number;
}

/** Sizes in short: medians, 90th percentiles and what is above the limit. */
export function summarize(files: readonly FileSize[], limit: number): { readonly median: number; readonly p90: number; readonly above: readonly FileSize[] } {
  const sizes = files.map((file) => file.lines).sort((a, b) => a - b);
  return { median: percentile(sizes, 0.5), p90: percentile(sizes, 0.9), above: files.filter((file) => file.lines > limit).sort((a, b) => b.lines - a.lines) };
}

/** Nearest rank, on sorted numbers; 0 for none. */
function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
}

/** TypeScript files that git knows or would add, generated ones left out. */
export function listSources(): readonly string[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '--deduplicate', '*.ts'], { encoding: 'utf8' });
  return listed.split('\n').filter((path) => path !== '' && !path.endsWith('.gen.ts'));
}

/** Aims of house-style.md; a file above the limit has to say at its top why it is whole. */
const limitLines = 400;

function main(): void {
  const files = listSources().flatMap((path) => {
    try {
      return [{ path, lines: readFileSync(path, 'utf8').split('\n').length - 1 }];
    } catch {
      return []; // deleted in the working tree, still in the index
    }
  });
  for (const [name, some] of [['code', files.filter((file) => !file.path.endsWith('.test.ts'))], ['tests', files.filter((file) => file.path.endsWith('.test.ts'))]] as const) {
    const { median, p90, above } = summarize(some, limitLines);
    console.log(`${name}: ${some.length} files, ${some.reduce((sum, file) => sum + file.lines, 0)} lines; median ${median}, 90th percentile ${p90}, above ${limitLines}: ${above.length}`);
    for (const file of above) console.log(`  ${file.lines}  ${file.path}`);
  }
}

if (import.meta.main) main();
