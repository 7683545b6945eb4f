import type { FieldDescription } from '../core/masking/masker.ts';
import type { CatalogSnapshot } from '../core/sql/catalog-snapshot.ts';
import type { OutputMask } from '../core/sql/statement-facts.ts';
import type { CopyMaskPlan } from './inspector.ts';
import type { createCopyMask } from './mask-copy.ts';

/** The columns of COPY table(columns) in the order in which they are copied; null when the catalog does not know one. */
export function copyFields(relation: { readonly schema: string; readonly name: string }, listed: readonly string[] | null, snapshot: CatalogSnapshot, format: 0 | 1): readonly FieldDescription[] | null {
  const oid = (snapshot.relationsByName.get(relation.name) ?? []).find((candidate) => snapshot.relations.get(candidate)?.schema === relation.schema);
  const known = oid === undefined ? undefined : snapshot.relations.get(oid);
  if (!known || oid === undefined) return null;
  const columns = listed ? listed.map((name) => known.columns.find((column) => column.name === name)) : known.columns;
  const fields: FieldDescription[] = [];
  for (const column of columns) {
    if (!column) return null;
    fields.push({ name: column.name, tableOid: oid, attnum: column.attnum, typeOid: column.typeOid, typeModifier: column.typeModifier, format });
  }
  return fields;
}

/** A column of COPY (query). Of an unknown type it is masked as NULL. */
export function copiedField(type: OutputMask['type'], format: 0 | 1): FieldDescription {
  return { name: '', tableOid: 0, attnum: 0, typeOid: type?.oid ?? 0, typeModifier: type?.modifier ?? -1, format };
}

/** A started COPY: its mask, and name and style of each column for the record. */
export interface StartedCopy {
  readonly mask: ReturnType<typeof createCopyMask>;
  readonly columns: readonly { readonly name: string; readonly style: string }[];
}

/** The number of columns of COPY (query) is known only when its rows start: CopyOutResponse tells it. */
export function lazyCopyMask(format: 0 | 1, columns: number | null, make: (columns: number) => StartedCopy): CopyMaskPlan {
  let started: StartedCopy | null = null;
  return {
    outcome: 'masked', format, columns,
    start: (found) => { started = make(found); },
    push: (body) => started?.mask.push(body) ?? [],
    end: () => started?.mask.end() ?? [],
    maskedCells: () => ({
      columns: (started?.columns ?? []).map((column, index) => ({ ...column, cells: started?.mask.cells[index] ?? 0 })).filter((column) => column.cells > 0),
      detectorHits: started?.mask.detectorHits.reduce((sum, hits) => sum + hits, 0) ?? 0,
    }),
  };
}
