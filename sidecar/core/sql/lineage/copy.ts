import type { Denial } from '../../errors.ts';
import { unproven } from './barriers.ts';
import { resolveRelation } from './environment.ts';
import { checkWhere } from './expressions.ts';
import { relationEntry } from './from.ts';
import { queryColumns } from './queries.ts';
import { giveUp, type Trace, type TracedColumn } from './taint.ts';
import { bodyOf, listOf, type Node, objectOf, textOf, unwrap } from './tree.ts';
import { writeColumns } from './writes.ts';

/**
 * The columns of a COPY: those listed or, without a list, all but generated ones in catalog order; of COPY (query) the query's.
 *
 * @returns null when nothing masked is touched; a refusal for server files and programs.
 */
export function copyColumns(
  body: Node, isTouched: boolean, trace: Trace,
): { readonly outcome: 'followed'; readonly columns: readonly TracedColumn[]; readonly trace: Trace } | { readonly outcome: 'refused'; readonly denial: Denial } | null {
  if (body['filename'] !== undefined || body['is_program'] === true) return { outcome: 'refused', denial: unproven('COPY with a file or program of the server') };
  if (!isTouched) return null;
  const scope = { frame: null, commonTables: null };
  const query = unwrap(body['query']);
  if (query) {
    const columns = query.type === 'SelectStmt' ? queryColumns(query.body, scope, trace, false) : writeColumns(query, scope, trace, false);
    return { outcome: 'followed', columns, trace };
  }
  const range = objectOf(body['relation']) ?? {};
  const entry = relationEntry(range, scope, trace, false);
  if (body['is_from'] === true) {
    checkWhere(body['whereClause'], { frame: { entries: [entry], outer: null }, commonTables: null }, trace, false);
    return { outcome: 'followed', columns: [], trace };
  }
  return { outcome: 'followed', columns: tableColumns(body, range, entry.columns ?? [], trace), trace };
}

function tableColumns(body: Node, range: Node, columns: readonly TracedColumn[], trace: Trace): readonly TracedColumn[] {
  const listed = listOf(body['attlist']).map((item) => textOf(bodyOf(item, 'String')?.['sval']));
  if (listed.length > 0) {
    return listed.flatMap((name) => {
      const column = columns.find((candidate) => candidate.name === name);
      if (!column) giveUp(trace, `column "${name ?? ''}" is not known`);
      return column ?? [];
    });
  }
  const [relation] = resolveRelation(trace.env, textOf(range['schemaname']), textOf(range['relname']) ?? '').relations;
  return columns.filter((_column, index) => relation?.columns[index]?.generated === undefined);
}
