import type { Call } from './calls.ts';

/** What goes wrong with a call. */
export type Fault =
  /** The connection breaks before the server acts. */
  | { readonly kind: 'reset' }
  /** The server acts, then the connection breaks: the caller does not know. */
  | { readonly kind: 'reset-after' }
  | { readonly kind: 'status'; readonly status: number; readonly reason?: string; readonly retryAfterSeconds?: number }
  /** A text instead of a Status, as load balancers answer. */
  | { readonly kind: 'text'; readonly status: number; readonly text: string }
  /** Never answers. */
  | { readonly kind: 'hang' }
  | { readonly kind: 'slow'; readonly delayMs: number }
  /** A list as it was at the first call that this fault met. */
  | { readonly kind: 'stale-list' };

/** Which calls a fault meets, and how often. */
export interface FaultRule {
  readonly fault: Fault;
  /** Default: every call. */
  readonly when?: (call: Call) => boolean;
  /** Default 1; Infinity until `clear`. */
  readonly times?: number;
}

/** The faults in force. */
export interface Faults {
  add(rule: FaultRule): void;
  clear(): void;
  /** The fault of this call, counted down. */
  take(call: Call): Fault | null;
}

/** Starts without faults; of several that fit the first added counts. */
export function createFaults(): Faults {
  let rules: { readonly rule: FaultRule; left: number }[] = [];
  return {
    add: (rule) => void rules.push({ rule, left: rule.times ?? 1 }),
    clear() {
      rules = [];
    },
    take(call) {
      const found = rules.find(({ rule, left }) => left > 0 && (rule.when?.(call) ?? true));
      if (found === undefined) return null;
      found.left--;
      return found.rule.fault;
    },
  };
}
