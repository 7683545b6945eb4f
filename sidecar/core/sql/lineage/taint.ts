import type { MaskingRule } from '../../../../contract/proxy-config.ts';
import type { Denial } from '../../errors.ts';
import type { OutputMask } from '../statement-facts.ts';
import { misplaced, unproven } from './barriers.ts';
import type { Environment } from './environment.ts';

/** How a value of one column is masked. */
export interface ColumnRule extends OutputMask {
  /** Every rule that covers the column allows `col = constant` in WHERE. */
  readonly equality: boolean;
}

/** The masked columns that reach a value: the strictest of their rules, or null for none. */
export type Taint = ColumnRule | null;

/** One column of a query's answer, or of a relation. `name` null: not known, so it may be any name. */
export interface TracedColumn {
  readonly name: string | null;
  readonly mask: Taint;
  /** Known for plain columns and for expressions over text. */
  readonly typeOid: number | null;
  /** Of a plain column whose type is known. */
  readonly typeModifier?: number;
}

/**
 * The state of following one statement.
 *
 * `judge`: a user's statement; a masked column outside the output list is refused. `derive`: the definition of a view; masks are passed on instead.
 * The first reason to refuse stays; following goes on with clean values.
 */
export interface Trace {
  readonly env: Environment;
  readonly mode: 'judge' | 'derive';
  /** `col = constant` may stand at the top of the outermost WHERE when the column's rules allow it. */
  readonly allowEquality: boolean;
  denial: Denial | null;
  /** In `derive`: masked columns that decide which rows or values come out without being one. */
  indirect: Taint;
  usesEquality: boolean;
  readonly maskedParameters: Set<number>;
  /** A masked column is written from a column of another item of the statement: any of its parameters may be the value. */
  writesFromElsewhere: boolean;
}

/** A trace that has seen nothing yet. */
export function newTrace(env: Environment, mode: Trace['mode'], allowEquality: boolean): Trace {
  return { env, mode, allowEquality, denial: null, indirect: null, usesEquality: false, maskedParameters: new Set(), writesFromElsewhere: false };
}

/** Joins what reaches a value from several sides. */
export function join(trace: Trace, taints: readonly Taint[]): Taint {
  return taints.reduce<Taint>((all, next) => (all && next ? strictest(all, next, trace.env.rules) : (all ?? next)), null);
}

/** A masked value stands where it must not: refused in a statement, remembered in a definition. */
export function forbid(trace: Trace, taint: Taint, place: string): void {
  if (!taint) return;
  if (trace.mode === 'derive') trace.indirect = join(trace, [trace.indirect, taint]);
  else trace.denial ??= misplaced(`it stands in ${place}`);
}

/** Something cannot be followed. */
export function giveUp(trace: Trace, detail: string): void {
  trace.denial ??= unproven(detail);
}

/** The stricter of two masks of one value: Null, Redact, Hash, Partial; a changed value counts as Redact. */
export function strictest(a: ColumnRule, b: ColumnRule, rules: readonly MaskingRule[]): ColumnRule {
  const [first] = rank(a, rules) <= rank(b, rules) ? [a] : [b];
  return { rule: first.rule, bare: a.bare && b.bare, equality: a.equality && b.equality, ...(a.hidesNull === true || b.hidesNull === true ? { hidesNull: true } : {}) };
}

function rank(mask: OutputMask, rules: readonly MaskingRule[]): number {
  const style = rules[mask.rule]?.style ?? 'Null';
  return ['Null', 'Redact', 'Hash', 'Partial'].indexOf(!mask.bare && style !== 'Null' ? 'Redact' : style);
}
