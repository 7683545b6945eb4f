import type { FieldPath } from '../../contract/api/structural-schema.ts';
import type { KindName } from '../../contract/api/schemas.gen.ts';
import { objectProblems } from '../../contract/proxy-config.ts';

/** Why an object is not enforced as written; reasons are those of the conditions. */
export type ProblemReason = 'Invalid' | 'InvalidExpression' | 'UnsupportedValue' | 'TargetNotFound' | 'NoMatchingTarget' | 'PrefixConflict' | 'ConfigTooLarge';

/**
 * Something that the compile step has to say about one object.
 *
 * `rejected`: the object is left out of the config (and, if it restricts, the Targets that it selects with it); the caller keeps the object's last good
 * version or the last good config. `warning`: compiled, but a part is not served by this version, or selects nothing.
 */
export interface RenderProblem {
  readonly severity: 'rejected' | 'warning';
  readonly kind: KindName | 'ProxyConfig';
  readonly name: string;
  /** From the root of the object; empty for the object as a whole. */
  readonly path: FieldPath;
  readonly reason: ProblemReason;
  readonly message: string;
  /** Targets that are not served because of this problem; set only on a rejected policy that does more than allow. */
  readonly withholds?: readonly string[];
}

/** Collects what one compile function finds about one object. */
export interface Findings {
  readonly problems: RenderProblem[];
  reject(path: FieldPath, reason: ProblemReason, message: string): void;
  warn(path: FieldPath, reason: ProblemReason, message: string): void;
  isRejected(): boolean;
}

/** An empty collection for one object. */
export function findingsOf(kind: RenderProblem['kind'], name: string): Findings {
  const problems: RenderProblem[] = [];
  return {
    problems,
    reject: (path, reason, message) => void problems.push({ severity: 'rejected', kind, name, path, reason, message }),
    warn: (path, reason, message) => void problems.push({ severity: 'warning', kind, name, path, reason, message }),
    isRejected: () => problems.some((problem) => problem.severity === 'rejected'),
  };
}

/** Rejects an object that the proxies would refuse, however it got past the schema of its kind: in the config it would keep all others from being followed. */
export function rejectUnreadable(list: Parameters<typeof objectProblems>[0], object: unknown, findings: Findings): void {
  if (findings.isRejected()) return;
  for (const problem of objectProblems(list, object)) findings.reject([], 'UnsupportedValue', `the proxies cannot hold it: ${problem}`);
}
