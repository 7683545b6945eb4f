import type { AccessPolicyResource, TargetResource } from '../../contract/api/v1alpha1.gen.ts';
import { specDigest } from '../../contract/api/spec-digest.ts';
import { compileClaimExpression } from '../../contract/claim-expression.ts';
import type { Policy, Schedule, Subject } from '../../contract/proxy-config.ts';
import { compileApproval, compileMasking, compileRules } from './compile-rules.ts';
import { durationSeconds } from './durations.ts';
import { matchesSelector, requirementProblem } from './label-selector.ts';
import { findingsOf, rejectUnreadable } from './problem.ts';
import type { Findings, RenderProblem } from './problem.ts';

type Spec = AccessPolicyResource['spec'];

/**
 * One policy, compiled. `policy` is null when a part of it cannot be enforced. `selected` names the Targets that it selects, or would: where it is null
 * and `restricts` is true, those must not be served, because a Deny, a limit or a mask would be missing (D2).
 */
export interface CompiledPolicy {
  readonly policy: Policy | null;
  readonly selected: readonly string[];
  readonly restricts: boolean;
  readonly problems: readonly RenderProblem[];
}

/** Compiles one policy against all Targets of its namespace. */
export function compilePolicy(resource: AccessPolicyResource, targets: readonly TargetResource[]): CompiledPolicy {
  const { metadata, spec } = resource;
  const findings = findingsOf('AccessPolicy', metadata.name);
  const selected = selectTargets(spec.targets, targets, findings);
  const policy: Policy = {
    name: metadata.name,
    uid: metadata.uid ?? '',
    generation: metadata.generation ?? 0,
    digest: specDigest(resource),
    subjects: compileSubjects(spec.subjects, findings),
    targets: [...selected],
    ...(spec.authMethods === undefined ? {} : { sshAuthMethods: authMethods.filter((method) => spec.authMethods?.includes(method)) }),
    access: {
      mode: spec.access.mode,
      approval: spec.access.approval === undefined ? null : compileApproval(spec.access.approval, 'Session', ['spec', 'access', 'approval'], findings),
    },
    when: (spec.when ?? []).map((window, index) => compileSchedule(window, index, findings)),
    limits: compileLimits(spec.limits ?? {}, findings),
    rules: compileRules(spec.rules ?? [], ['spec', 'rules'], findings),
    masking: compileMasking(spec.masking ?? [], ['spec', 'masking'], findings),
    recording: { content: spec.recording?.content ?? 'Full', durability: spec.recording?.durability ?? 'Write' },
  };
  checkAuthMethods(spec.authMethods, targets.filter((target) => target.spec.postgres !== undefined && selected.includes(target.metadata.name)).length, findings);
  // It only widens access, so leaving it out is the safe side.
  if (spec.breakGlass !== undefined) findings.warn(['spec', 'breakGlass'], 'UnsupportedValue', 'breakGlass is not enforced by this version: nobody gets access by it');
  rejectUnreadable('policies', policy, findings);
  return { policy: findings.isRejected() ? null : policy, selected, restricts: policyRestricts(spec), problems: findings.problems };
}

const authMethods = ['Certificate', 'Ticket', 'Token', 'DeviceLogin'] as const;

/** A PostgreSQL session is proven by a token, always: a policy that asks for another proof cannot be enforced there, and ignoring the field would widen it. */
function checkAuthMethods(methods: Spec['authMethods'], postgresTargets: number, findings: Findings): void {
  if (methods === undefined || methods.includes('Token') || postgresTargets === 0) return;
  findings.reject(['spec', 'authMethods'], 'UnsupportedValue', 'a session on a PostgreSQL Target is proven by a token: add Token, or select other Targets');
}

/** Whether a policy does anything but grant: then leaving it out would let something pass that it stops, limits, masks or records. */
export function policyRestricts(spec: Spec): boolean {
  return (spec.rules ?? []).some((rule) => rule.action !== 'Allow') || (spec.masking ?? []).length > 0 || spec.limits !== undefined || spec.recording !== undefined;
}

function selectTargets(selection: Spec['targets'], targets: readonly TargetResource[], findings: Findings): readonly string[] {
  const all = targets.map((target) => target.metadata.name).sort();
  if (selection.names !== undefined) {
    selection.names.forEach((name, index) => {
      if (!all.includes(name)) findings.warn(['spec', 'targets', 'names', index], 'TargetNotFound', `there is no Target ${name}`);
    });
    const wanted = new Set(selection.names);
    return all.filter((name) => wanted.has(name));
  }
  const selector = selection.selector ?? {};
  const problems = (selector.matchExpressions ?? []).map(requirementProblem);
  problems.forEach((problem, index) => {
    if (problem !== null) findings.reject(['spec', 'targets', 'selector', 'matchExpressions', index], 'Invalid', problem);
  });
  // Nobody knows what a broken selector was meant to select, so it counts for all.
  if (problems.some((problem) => problem !== null)) return all;
  const selected = targets.filter((target) => matchesSelector(selector, target.metadata.labels ?? {})).map((target) => target.metadata.name).sort();
  if (selected.length === 0) findings.warn(['spec', 'targets', 'selector'], 'NoMatchingTarget', 'no Target of the namespace has these labels');
  return selected;
}

function compileSubjects(subjects: Spec['subjects'], findings: Findings): Subject[] {
  return subjects.map((subject, index): Subject => {
    const { name = '', namespace = '', expression = '' } = subject;
    switch (subject.kind) {
      case 'User': case 'Group': return { kind: subject.kind, name };
      case 'ServiceAccount': return { kind: subject.kind, namespace, name };
      case 'Claims': {
        const compiled = compileClaimExpression(expression);
        if (compiled.outcome === 'refused') findings.reject(['spec', 'subjects', index, 'expression'], 'InvalidExpression', compiled.problem);
        return { kind: subject.kind, expression };
      }
      default: return subject.kind satisfies never;
    }
  });
}

const dayNumbers = { Sun: 0, Mon: 1, Tue: 2, Wed: 3, Thu: 4, Fri: 5, Sat: 6 } as const;

function compileSchedule(window: NonNullable<Spec['when']>[number], index: number, findings: Findings): Schedule {
  if (!isTimeZone(window.timeZone)) findings.reject(['spec', 'when', index, 'timeZone'], 'UnsupportedValue', 'there is no such time zone in the IANA database of this build');
  const days = window.days === undefined || window.days.length === 0 ? [0, 1, 2, 3, 4, 5, 6] : window.days.map((day) => dayNumbers[day]).sort();
  const toMinute = minuteOf(window.to ?? '24:00');
  // A window that ends at midnight ends with the day on which it begins.
  return { days, fromMinute: minuteOf(window.from ?? '00:00'), toMinute: toMinute === 0 ? 1440 : toMinute, timeZone: window.timeZone };
}

function minuteOf(text: string): number {
  return Number(text.slice(0, 2)) * 60 + Number(text.slice(3));
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }) instanceof Intl.DateTimeFormat;
  } catch {
    return false;
  }
}

/** A year; longer is no limit. */
const maxLimitSeconds = 31_536_000;

function compileLimits(limits: NonNullable<Spec['limits']>, findings: Findings): Policy['limits'] {
  const seconds = (name: 'sessionDuration' | 'idleTimeout'): number | null => {
    const text = limits[name];
    return text === undefined ? null : durationSeconds(text, ['spec', 'limits', name], findings, { min: 1, max: maxLimitSeconds });
  };
  return {
    sessionSeconds: seconds('sessionDuration'),
    idleSeconds: seconds('idleTimeout'),
    concurrentSessions: limits.concurrentSessions ?? null,
    rowsPerStatement: limits.rowsPerStatement ?? null,
    bytesPerStatement: limits.bytesPerStatement ?? null,
  };
}
