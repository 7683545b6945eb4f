import { compileClaimExpression, type ClaimExpression, type ClaimVerdict } from '../../../contract/claim-expression.ts';
import type { Subject } from '../../../contract/proxy-config.ts';
import type { Identity } from './identity.ts';

/** Whether, and by which subject, a policy names an identity. */
export type SubjectMatch =
  | { readonly outcome: 'matched'; readonly subject: string }
  | { readonly outcome: 'not-matched' }
  /** An expression could not be evaluated and no other subject matched: the session is denied (P10). */
  | { readonly outcome: 'failed'; readonly problem: string };

/**
 * Whether any subject of a policy is this identity; the order of subjects has no meaning.
 *
 * A match settles it even when another subject's expression fails: the policy applies in full either way. Otherwise a failed expression is `failed`,
 * never "does not match", because then a Deny of that policy would lapse.
 */
export function matchSubjects(subjects: readonly Subject[], identity: Identity): SubjectMatch {
  const verdicts = subjects.map((subject) => ({ subject, verdict: matchSubject(subject, identity) }));
  const matched = verdicts.find(({ verdict }) => verdict.outcome === 'matched');
  if (matched !== undefined) return { outcome: 'matched', subject: describeSubject(matched.subject) };
  const problems = verdicts.flatMap(({ verdict }) => (verdict.outcome === 'failed' ? [verdict.problem] : [])).sort();
  return problems[0] === undefined ? { outcome: 'not-matched' } : { outcome: 'failed', problem: problems[0] };
}

/** Whether one subject is this identity. Names are compared whole and with case, as Kubernetes does. */
export function matchSubject(subject: Subject, identity: Identity): ClaimVerdict {
  switch (subject.kind) {
    case 'User': return verdict(identity.username === subject.name);
    case 'Group': return verdict(identity.groups.includes(subject.name));
    case 'ServiceAccount': return verdict(identity.serviceAccount?.namespace === subject.namespace && identity.serviceAccount.name === subject.name);
    case 'Claims': {
      const expression = compiled(subject.expression);
      return expression.outcome === 'compiled' ? expression.evaluate(identity.claims) : { outcome: 'failed', problem: expression.problem };
    }
    default: return subject satisfies never;
  }
}

function verdict(matches: boolean): ClaimVerdict {
  return { outcome: matches ? 'matched' : 'not-matched' };
}

function describeSubject(subject: Subject): string {
  switch (subject.kind) {
    case 'User': return `User "${subject.name}"`;
    case 'Group': return `Group "${subject.name}"`;
    case 'ServiceAccount': return `ServiceAccount "${subject.namespace}/${subject.name}"`;
    case 'Claims': return 'a Claims expression';
    default: return subject satisfies never;
  }
}

/** A cache of a pure function's answers (text to compiled text), not state; cleared when full, so it cannot grow with a stream of config changes. */
const cache = new Map<string, ClaimExpression>();
const maxCached = 512;

function compiled(source: string): ClaimExpression {
  const known = cache.get(source);
  if (known !== undefined) return known;
  const expression = compileClaimExpression(source);
  if (cache.size >= maxCached) cache.clear();
  cache.set(source, expression);
  return expression;
}
