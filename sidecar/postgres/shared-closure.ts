import type { MaskingRule } from '../../contract/proxy-config.ts';
import type { SqlParser } from '../core/ports.ts';
import type { CatalogSnapshot } from '../core/sql/catalog-snapshot.ts';
import { closeMaskRules, type MaskClosure } from '../core/sql/mask-closure.ts';

const closures = new WeakMap<CatalogSnapshot, Map<string, MaskClosure>>();

/** Sessions of one snapshot with equal rules share a closure: making one of a large catalog takes most of a second. */
export function sharedClosure(snapshot: CatalogSnapshot, rules: readonly MaskingRule[], parser: SqlParser): MaskClosure {
  const known = closures.get(snapshot) ?? new Map<string, MaskClosure>();
  closures.set(snapshot, known);
  const key = JSON.stringify(rules);
  const closure = known.get(key) ?? closeMaskRules(snapshot, rules, maskParse(parser));
  known.set(key, closure);
  return closure;
}

/** The parsers that lineage needs, over the session's own. */
export function maskParse(parser: SqlParser): { readonly parseSql: (text: string) => unknown; readonly parsePlPgSql: (text: string) => unknown } {
  return {
    // Bodies and view definitions over the inline limit are answered by a promise: too long to be followed here, so they count as unreadable.
    parseSql: (text) => {
      const parsed = parser.parse(text);
      return parsed instanceof Promise || parsed.outcome !== 'parsed' ? null : parsed.tree;
    },
    parsePlPgSql: (text) => parser.parsePlPgSql(text),
  };
}
