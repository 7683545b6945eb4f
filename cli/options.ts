import { parseArgs } from 'node:util';

/** Why a command line cannot be run. */
export class UsageError extends Error {}

/** What an option takes. */
export type OptionKind = 'text' | 'flag';

/** Reads a command line. @throws UsageError with one sentence. */
export function readOptions<K extends string>(argv: readonly string[], kinds: Readonly<Record<K, OptionKind>>, positionals: { readonly min: number; readonly max: number }): { readonly values: Partial<Record<K, string>>; readonly flags: ReadonlySet<K>; readonly rest: readonly string[] } {
  const options = Object.fromEntries(Object.entries(kinds).map(([name, kind]) => [name, { type: kind === 'flag' ? 'boolean' as const : 'string' as const }]));
  let parsed: { readonly values: Readonly<Record<string, unknown>>; readonly positionals: readonly string[] };
  try {
    parsed = parseArgs({ args: [...argv], options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  const { min, max } = positionals;
  if (parsed.positionals.length < min) throw new UsageError('an argument is missing');
  if (parsed.positionals.length > max) throw new UsageError(`unexpected argument: ${parsed.positionals[max] ?? ''}`);
  const entries = Object.entries(parsed.values) as [K, unknown][];
  return {
    values: Object.fromEntries(entries.filter(([, value]) => typeof value === 'string')) as Partial<Record<K, string>>,
    flags: new Set(entries.filter(([, value]) => value === true).map(([name]) => name)),
    rest: parsed.positionals,
  };
}

/** Reads a date (`2026-09-21`, midnight UTC) or an RFC 3339 time. @throws UsageError */
export function readTime(text: string, option: string): number {
  const ms = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) throw new UsageError(`--${option} needs a date (2026-09-21, midnight UTC) or a time (2026-09-21T14:00:00Z)`);
  return ms;
}
