import type { StatementClass } from '../../../contract/proxy-config.ts';
import type { Denial } from '../errors.ts';
import type { CommandPair } from '../policy/decision.ts';
import type { NameScope } from './catalog-snapshot.ts';
import type { ObjectName } from './names.ts';

/** What the walk of one statement has found so far. Mutable, private to one inspection. */
export interface Findings {
  readonly scope: NameScope;
  readonly pairs: Map<string, CommandPair>;
  readonly objects: Set<string>;
  readonly calls: Set<string>;
  /** Byte offsets of constants in the query text. */
  readonly constants: number[];
  /** Settings that running the statement changes. */
  readonly settings: { readonly name: string; readonly value: string | null; readonly local: boolean }[];
  /** Range entries by alias: their relations' OIDs, null when it is no relation of the catalog. */
  readonly ranges: { readonly alias: string; readonly oids: readonly number[] | null }[];
  /** `alias.name` where a function `name` exists: a call unless every `alias` has such a column. */
  readonly attributes: { readonly alias: string | null; readonly name: string }[];
  /** Calls of set_config in the one place where they certainly run once. */
  readonly plainSetConfigs: Set<unknown>;
  /** Names of PL/pgSQL variables: no columns. */
  readonly variables: ReadonlySet<string>;
  refusal: Denial | null;
}

/** Fresh findings. */
export function emptyFindings(scope: NameScope, variables: ReadonlySet<string> = new Set()): Findings {
  return {
    scope, variables, pairs: new Map(), objects: new Set(), calls: new Set(), constants: [], settings: [], ranges: [], attributes: [], plainSetConfigs: new Set(), refusal: null,
  };
}

/** Adds one pair; the same one twice counts once. */
export function addPair(findings: Findings, pairClass: StatementClass, object: CommandPair['object'], where: CommandPair['where'] = null, ancestors: readonly ObjectName[] = []): void {
  const name = object === null ? '' : object === '*' ? '*' : `${object.schema}\u0000${object.name}`;
  const key = `${pairClass}\u0000${where ?? ''}\u0000${name}`;
  if (findings.pairs.has(key)) return;
  findings.pairs.set(key, ancestors.length === 0 ? { class: pairClass, object, where } : { class: pairClass, object, where, ancestors });
}

/** Remembers the first reason to refuse. */
export function refuse(findings: Findings, denial: Denial): void {
  findings.refusal ??= denial;
}

/** Adds what another statement inside this one was found to do. */
export function mergeFindings(into: Findings, from: Findings): void {
  for (const [key, pair] of from.pairs) into.pairs.set(key, pair);
  for (const object of from.objects) into.objects.add(object);
  for (const call of from.calls) into.calls.add(call);
  if (from.refusal !== null) refuse(into, from.refusal);
}
