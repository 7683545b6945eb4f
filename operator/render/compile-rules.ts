import type { FieldPath } from '../../contract/api/structural-schema.ts';
import type { AccessPolicyResource } from '../../contract/api/v1alpha1.gen.ts';
import { detectorNames } from '../../contract/detectors.ts';
import { statementClasses } from '../../contract/proxy-config.ts';
import type { Approval, MaskingRule, Rule, StatementClass } from '../../contract/proxy-config.ts';
import { compileSshRule } from './compile-ssh-rule.ts';
import { durationSeconds } from './durations.ts';
import type { Findings } from './problem.ts';
import { splitQualifiedName } from './qualified-names.ts';

type Spec = AccessPolicyResource['spec'];
type RuleResource = NonNullable<Spec['rules']>[number];
type ApprovalResource = NonNullable<Spec['access']['approval']>;
type MaskingResource = NonNullable<Spec['masking']>[number];

/** What the group DDL stands for (postgres.md 7.2). */
const ddl: readonly StatementClass[] = ['Create', 'Alter', 'Drop', 'Truncate', 'Comment', 'Function'];
const defaultDecideWithinSeconds = 900;
const maxDecideWithinSeconds = 86_400;
/** A year: an approval that outlives it is a standing grant and should be written as one. */
const maxGrantSeconds = 31_536_000;

/** Compiles the rules of one policy, in the order of their names. */
export function compileRules(rules: readonly RuleResource[], path: FieldPath, findings: Findings): Rule[] {
  return rules.map((rule, index) => compileRule(rule, [...path, index], findings)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

function compileRule(rule: RuleResource, at: FieldPath, findings: Findings): Rule {
  const { name, action, message = null } = rule;
  const approval = rule.approval === undefined ? null : compileApproval(rule.approval, 'Statement', [...at, 'approval'], findings);
  if (rule.ssh !== undefined) return { name, action, message, approval, ssh: compileSshRule(rule.ssh, action, [...at, 'ssh'], findings) };
  // The schema: exactly one of the two.
  const { statements, databases, tables, where = null } = rule.postgres ?? {};
  return {
    name, action, message, approval,
    postgres: {
      statements: statements === undefined ? null : expandStatements(statements),
      databases: databases === undefined ? null : [...databases].sort(),
      tables: tables === undefined ? null : compileTables(tables, [...at, 'postgres', 'tables'], findings),
      where,
    },
  };
}

/** Compiles who approves and for how long. `scope` is the default where the resource names none. */
export function compileApproval(approval: ApprovalResource, scope: Approval['scope'], path: FieldPath, findings: Findings): Approval {
  const actual = approval.scope ?? scope;
  // A review rule without reviewers must never read as "nobody needs to agree" (P7); the schema refuses it first.
  if (approval.groups.length === 0) findings.reject([...path, 'groups'], 'Invalid', 'name at least one group that approves');
  if (actual !== 'Statement' && approval.grantTTL === undefined) findings.reject([...path, 'grantTTL'], 'Invalid', `an approval of scope ${actual} needs an end`);
  return {
    groups: [...approval.groups].sort(),
    required: approval.required,
    decideWithinSeconds: approval.decideWithin === undefined
      ? defaultDecideWithinSeconds
      : durationSeconds(approval.decideWithin, [...path, 'decideWithin'], findings, { min: 1, max: maxDecideWithinSeconds }),
    scope: actual,
    grantTtlSeconds: actual === 'Statement' || approval.grantTTL === undefined ? null : durationSeconds(approval.grantTTL, [...path, 'grantTTL'], findings, { min: 1, max: maxGrantSeconds }),
  };
}

/** Compiles the masking rules, in the order in which they are written. */
export function compileMasking(masking: readonly MaskingResource[], path: FieldPath, findings: Findings): MaskingRule[] {
  const known: ReadonlySet<string> = new Set(detectorNames);
  return masking.map((rule, index) => {
    const at = [...path, index];
    (rule.detectors ?? []).forEach((name, place) => {
      if (!known.has(name)) findings.reject([...at, 'detectors', place], 'UnsupportedValue', `there is no detector ${name}; known: ${detectorNames.join(', ')}`);
    });
    return {
      columns: rule.columns === undefined ? null : compileColumns(rule.columns, [...at, 'columns'], findings),
      detectors: rule.detectors === undefined ? null : [...rule.detectors].sort(),
      style: rule.style,
      keepFirst: rule.keepFirst ?? 0,
      keepLast: rule.keepLast ?? 0,
      predicates: rule.predicates,
    };
  });
}

function expandStatements(names: readonly (StatementClass | 'DDL')[]): StatementClass[] {
  const wanted = new Set(names.flatMap((name) => (name === 'DDL' ? ddl : [name])));
  return statementClasses.filter((name) => wanted.has(name));
}

function compileTables(texts: readonly string[], path: FieldPath, findings: Findings): { schema: string; name: string }[] {
  return splitAll(texts, ['schema', 'table'], true, path, findings).map(([schema = '', name = '']) => ({ schema, name }));
}

function compileColumns(texts: readonly string[], path: FieldPath, findings: Findings): { schema: string; table: string; column: string }[] {
  return splitAll(texts, ['schema', 'table', 'column'], false, path, findings).map(([schema = '', table = '', column = '']) => ({ schema, table, column }));
}

/** Sorted and without repetition: `a.b` and `"a".b` are one name. */
function splitAll(texts: readonly string[], labels: readonly string[], wildcard: boolean, path: FieldPath, findings: Findings): readonly (readonly string[])[] {
  const split = new Map<string, readonly string[]>();
  texts.forEach((text, index) => {
    const name = splitQualifiedName(text, labels, wildcard);
    if (name.outcome === 'refused') return findings.reject([...path, index], 'Invalid', name.message);
    if (name.folded) findings.warn([...path, index], 'UnsupportedValue', `read in lower case, as PostgreSQL does; quote the parts that have upper case letters: '"Orders"'`);
    split.set(JSON.stringify(name.parts), name.parts);
  });
  return [...split].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, parts]) => parts);
}
