import { forbid, giveUp, join, type Taint, type Trace, type TracedColumn } from './taint.ts';
import { bodyOf, listOf, type Node, textOf } from './tree.ts';

/** One named thing in FROM. */
export interface RangeEntry {
  readonly alias: string | null;
  /** Schema of a relation without alias, for `schema.relation.column`. */
  readonly schema: string | null;
  /** Null: free of masked values, but its columns are not known. */
  readonly columns: readonly TracedColumn[] | null;
  /** False for `excluded`, `old`, `new`: found by qualified names only. */
  readonly unqualified: boolean;
}

/** The names that one query level sees; `outer` is the level around it. */
export interface Frame {
  readonly entries: readonly RangeEntry[];
  readonly outer: Frame | null;
}

/** WITH queries in reach, innermost first. Null columns: clean, not known. */
export interface CommonTables {
  readonly name: string;
  readonly columns: readonly TracedColumn[] | null;
  readonly next: CommonTables | null;
}

/** The names that are visible at one place of a statement. */
export interface Scope {
  readonly frame: Frame | null;
  readonly commonTables: CommonTables | null;
}

/** What a ColumnRef means. `column`: one column; `row`: a whole row or a function of it. */
export interface Reference {
  readonly kind: 'column' | 'row';
  readonly taint: Taint;
  readonly typeOid: number | null;
  readonly typeModifier?: number;
}

const systemColumns: ReadonlySet<string> = new Set(['tableoid', 'ctid', 'xmin', 'xmax', 'cmin', 'cmax']);
const clean: Reference = { kind: 'column', taint: null, typeOid: null };

/**
 * Resolves a ColumnRef as the server does: columns of the nearest level first, then whole rows. Where the snapshot does not know enough,
 * everything that the name could mean is joined.
 */
export function resolveColumn(reference: Node, scope: Scope, trace: Trace): Reference {
  const fields = listOf(reference['fields']);
  const names = fields.map((field) => textOf(bodyOf(field, 'String')?.['sval']));
  if (names.at(-1) === null) return { kind: 'row', taint: starTaint(names.slice(0, -1), scope, trace), typeOid: null };
  const texts = names.filter((name) => name !== null);
  if (texts.length !== names.length || texts.length === 0) return lost(trace, 'a column reference cannot be read');
  if (texts.length === 1) return resolveBare(texts[0] ?? '', scope, trace);
  return resolveQualified(texts, scope, trace);
}

/** Entries that `alias` or `schema.relation` names at the nearest level; empty when none. */
export function findEntries(qualifier: readonly string[], frame: Frame | null): readonly RangeEntry[] {
  const alias = qualifier.at(-1);
  const schema = qualifier.at(-2);
  for (let level = frame; level; level = level.outer) {
    const found = level.entries.filter((entry) => entry.alias === alias && (schema === undefined || entry.schema === schema));
    if (found.length > 0) return found;
  }
  return [];
}

/** Everything masked in a row. */
export function rowTaint(entry: RangeEntry, trace: Trace): Taint {
  return join(trace, (entry.columns ?? []).map((column) => column.mask));
}

function resolveBare(name: string, scope: Scope, trace: Trace): Reference {
  const possible: Taint[] = [];
  let unsure = false;
  for (let level = scope.frame; level; level = level.outer) {
    const entries = level.entries.filter((entry) => entry.unqualified);
    const columns = entries.flatMap((entry) => entry.columns ?? []);
    const matches = columns.filter((column) => column.name === name);
    const nameless = columns.filter((column) => column.name === null);
    possible.push(...nameless.map((column) => column.mask));
    if (matches.length > 0) {
      return { kind: 'column', taint: join(trace, [...possible, ...matches.map((column) => column.mask)]), ...typeOf(unsure ? [] : matches) };
    }
    if (systemColumns.has(name) && entries.length > 0) return clean;
    if (nameless.length > 0 || entries.some((entry) => entry.columns === null)) unsure = true;
  }
  const rows = findEntries([name], scope.frame);
  if (rows.length > 0) return { kind: 'row', taint: join(trace, [...possible, ...rows.map((entry) => rowTaint(entry, trace))]), typeOid: null };
  return unsure ? { kind: 'row', taint: join(trace, possible), typeOid: null } : lost(trace, `column "${name}" cannot be resolved`);
}

function resolveQualified(texts: readonly string[], scope: Scope, trace: Trace): Reference {
  const column = texts.at(-1) ?? '';
  const entries = findEntries(texts.slice(0, -1), scope.frame);
  if (entries.length === 0) return lost(trace, `"${texts.join('.')}" cannot be resolved`);
  const columns = entries.flatMap((entry) => entry.columns ?? []);
  const matches = columns.filter((candidate) => candidate.name === column);
  const nameless = columns.filter((candidate) => candidate.name === null).map((candidate) => candidate.mask);
  if (matches.length > 0) {
    return { kind: 'column', taint: join(trace, [...nameless, ...matches.map((match) => match.mask)]), ...typeOf(matches) };
  }
  if (systemColumns.has(column)) return clean;
  // `row.f` is f(row) when the row has no column f.
  return { kind: 'row', taint: join(trace, [...nameless, ...entries.map((entry) => rowTaint(entry, trace))]), typeOid: null };
}

function typeOf(matches: readonly TracedColumn[]): Pick<Reference, 'typeOid' | 'typeModifier'> {
  const [match] = matches;
  return match && matches.length === 1 ? { typeOid: match.typeOid, typeModifier: match.typeModifier ?? -1 } : { typeOid: null };
}

function starTaint(qualifier: readonly (string | null)[], scope: Scope, trace: Trace): Taint {
  const texts = qualifier.filter((name) => name !== null);
  if (texts.length !== qualifier.length) return lost(trace, 'a column reference cannot be read').taint;
  const entries = texts.length === 0 ? (scope.frame?.entries ?? []) : findEntries(texts, scope.frame);
  if (entries.length === 0 && texts.length > 0) giveUp(trace, `"${texts.join('.')}.*" cannot be resolved`);
  return join(trace, entries.map((entry) => rowTaint(entry, trace)));
}

function lost(trace: Trace, detail: string): Reference {
  giveUp(trace, detail);
  return clean;
}

/** Forbids each masked column of a list, for places where any of them would show. */
export function forbidColumns(trace: Trace, columns: readonly TracedColumn[], place: string): void {
  for (const column of columns) forbid(trace, column.mask, place);
}
