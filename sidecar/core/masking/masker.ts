import type { MaskingRule } from '../../../contract/proxy-config.ts';

/** One column of a RowDescription. */
export interface FieldDescription {
  readonly name: string;
  readonly tableOid: number;
  readonly attnum: number;
  readonly typeOid: number;
  readonly typeModifier: number;
  /** 0 text, 1 binary. */
  readonly format: 0 | 1;
}

/** Keyed, per namespace, versioned; `hmac(domain, text)` = HMAC-SHA-256, 32 bytes. */
export interface MaskKey {
  readonly keyId: string;
  hmac(domain: string, canonicalText: string): Uint8Array;
}

/**
 * Masks one non-NULL cell. Pure and synchronous.
 *
 * @returns the same view when nothing changes (detectors without a hit), a new value otherwise, or null for SQL NULL.
 */
export type CellMasker = (cell: Uint8Array) => Uint8Array | null;

/** What happens to one output column: `rule` null = detectors only. */
export interface ColumnMask {
  readonly rule: MaskingRule | null;
  /** Index of `rule` in the session's list; -1 for detectors only. */
  readonly ruleIndex: number;
  /** The style in effect for this column's type: a style that the type does not know falls back to Redact or Null. */
  readonly style: 'Null' | 'Redact' | 'Hash' | 'Partial';
  readonly mask: CellMasker;
  /** What every non-NULL cell becomes, where that does not depend on the cell; absent otherwise. Lets the row path skip `mask`. */
  readonly constant?: Uint8Array | null;
  /** What NULL becomes, where NULL would be an answer about the value; absent: it stays NULL. */
  readonly nullBecomes?: Uint8Array;
  /** Masks `bytes[start, end)` where it lies and returns true, or changes nothing and returns false: then `mask` decides. */
  readonly overwrite?: (bytes: Uint8Array, start: number, end: number) => boolean;
}
