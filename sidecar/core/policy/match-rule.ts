import type { PostgresRule, Rule, StatementClass } from '../../../contract/proxy-config.ts';
import type { CommandPair } from './decision.ts';

/**
 * What a match is used for. `permits`: the rule would let the pair pass, so doubt is "no". `restricts`: the rule would stop or hold it, so doubt is "yes".
 */
export type MatchSide = 'permits' | 'restricts';

/** Classes that reach beyond one database's data: a rule permits them only when its `statements` names them (docs/policy.md). */
export const namedOnlyClasses: readonly StatementClass[] = ['SetRole', 'ServerFile', 'System', 'Extension', 'FunctionCall'];

/**
 * Whether a rule speaks about one (class, object) pair in one database. Every condition that the rule states must hold.
 *
 * - `tables`: the object or one of its ancestors is listed, each part equal or `*`. An opaque object (`*`) is never permitted by a table list and
 *   always restricted by one; no object is in no list.
 * - `where`: equal. A pair for which the question makes no sense is not matched, except that an opaque one is restricted: it may hide such a statement.
 */
export function matchesRule(rule: Rule, pair: CommandPair, database: string, side: MatchSide): boolean {
  if ('ssh' in rule) return false;
  const { statements, databases, tables, where } = rule.postgres;
  if (!matchesClass(statements, pair.class, side)) return false;
  if (databases !== null && !databases.includes(database)) return false;
  if (tables !== null && !matchesTables(tables, pair, side)) return false;
  return where === null || pair.where === where || (pair.where === null && pair.object === '*' && side === 'restricts');
}

type TablePattern = NonNullable<PostgresRule['postgres']['tables']>[number];

function matchesClass(statements: readonly StatementClass[] | null, asked: StatementClass, side: MatchSide): boolean {
  if (statements !== null) return statements.includes(asked);
  return side === 'restricts' || !namedOnlyClasses.includes(asked);
}

function matchesTables(tables: readonly TablePattern[], pair: CommandPair, side: MatchSide): boolean {
  if (pair.object === null) return false;
  if (pair.object === '*') return side === 'restricts';
  const relations = [pair.object, ...(pair.ancestors ?? [])];
  return relations.some((relation) => tables.some((pattern) => matchesPart(pattern.schema, relation.schema) && matchesPart(pattern.name, relation.name)));
}

function matchesPart(pattern: string, name: string): boolean {
  return pattern === '*' || pattern === name;
}
