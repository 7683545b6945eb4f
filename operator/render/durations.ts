import type { FieldPath } from '../../contract/api/structural-schema.ts';
import type { Findings } from './problem.ts';

const secondsOf = { h: 3600, m: 60, s: 1 } as const;

/**
 * Seconds of a duration such as `1h30m`; the schema has checked its form.
 *
 * @param limits smallest and largest number of seconds allowed; outside, the object is rejected and the nearest limit returned.
 */
export function durationSeconds(text: string, path: FieldPath, findings: Findings, limits: { readonly min: number; readonly max: number }): number {
  let seconds = 0;
  for (const [, digits, unit] of text.matchAll(/([0-9]{1,5})([hms])/g)) seconds += Number(digits) * secondsOf[unit as keyof typeof secondsOf];
  if (seconds < limits.min) findings.reject(path, 'UnsupportedValue', `at least ${limits.min}s`);
  if (seconds > limits.max) findings.reject(path, 'UnsupportedValue', `at most ${limits.max}s`);
  return Math.min(Math.max(seconds, limits.min), limits.max);
}
