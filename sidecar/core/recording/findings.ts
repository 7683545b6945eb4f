/** `note` explains something and does not change the verdict. */
export type FindingKind = 'tampering' | 'incomplete' | 'key' | 'note';

/** One thing that `verify` has to say. */
export interface Finding {
  readonly kind: FindingKind;
  /** Stable, e.g. `record-changed`. */
  readonly code: string;
  /** Relative path; null when no file is meant. */
  readonly file: string | null;
  /** 1-based. */
  readonly line: number | null;
  readonly session: string | null;
  readonly text: string;
}

/** Where a record stands. */
export interface Place {
  readonly file: string;
  readonly line: number;
}

const kept = 200;

/** Collects findings: counts all, keeps the first 200 of each kind. */
export class Findings {
  readonly list: Finding[] = [];
  readonly counts: Record<FindingKind, number> = { tampering: 0, incomplete: 0, key: 0, note: 0 };

  add(kind: FindingKind, code: string, text: string, place: { readonly file?: string | null; readonly line?: number | null; readonly session?: string | null } = {}): void {
    this.counts[kind] += 1;
    if (this.counts[kind] <= kept) this.list.push({ kind, code, file: place.file ?? null, line: place.line ?? null, session: place.session ?? null, text });
  }
}

/** 0 ok, 1 tampering, 3 unknown or wrong key, 2 incomplete; the worst one first. */
export function exitCode(counts: Readonly<Record<FindingKind, number>>): 0 | 1 | 2 | 3 {
  if (counts.tampering > 0) return 1;
  if (counts.key > 0) return 3;
  return counts.incomplete > 0 ? 2 : 0;
}
