import { deny, type ErrorCode } from '../../core/errors.ts';
import type { SshCommand, SshItem } from '../../core/policy/decision.ts';
import { gateCommand } from '../command-gate.ts';
import type { SshContext } from '../context.ts';

/** A forward, listener, agent or display that is asked for. */
export interface ForwardAsk {
  readonly kind: Extract<SshCommand['kind'], 'Forward' | 'Agent' | 'X11'>;
  readonly channel: number;
  /** Its channel or request type. */
  readonly type: string;
  readonly destination: string;
  readonly items: readonly SshItem[];
  /** Bound by an approval, shown and recorded. */
  readonly text: string;
  /** Where the client says that it comes from. */
  readonly from: string | null;
}

/** Whether it may be opened; `text` is what the client is told. */
export type AdmittedForward = { readonly outcome: 'permitted'; readonly operation: number } | { readonly outcome: 'refused'; readonly text: string };

/** Decides on a forward, holds it where a rule asks for an approval, and records it before anything is opened. */
export async function admitForward(context: SshContext, ask: ForwardAsk): Promise<AdmittedForward> {
  const gated = await gateCommand(
    context,
    {
      kind: ask.kind, channel: ask.channel, text: ask.text, items: ask.items, cwd: null, pty: false, environment: [], stdin: false, wrap: false, byteExact: true,
      facts: { type: ask.type, to: ask.destination, ...(ask.from === null ? {} : { from: ask.from }) },
    },
    // A channel that is not open has no place for words: the client waits, the request says why.
    { tell: () => undefined, cancelled: context.ended, hasInput: () => false },
  );
  return gated.outcome === 'permitted' ? { outcome: 'permitted', operation: gated.operation } : { outcome: 'refused', text: `${gated.denial.message}${gated.denial.detail === null ? '' : ` by ${gated.denial.detail}`} [${gated.denial.code}]` };
}

/** Refuses a forward that needs no decision, on record; returns what the client is told. */
export async function refuseForward(context: SshContext, refused: { readonly channel: number; readonly type: string; readonly destination: string; readonly code: ErrorCode }): Promise<string> {
  context.totals.denied++;
  const denial = deny(refused.code);
  await context.recorder.record({ code: 'forward.refused', channel: refused.channel, operation: null, decision: null, approvals: [], request: null, reason: refused.code, facts: { type: refused.type, to: refused.destination } });
  return `${denial.message} [${denial.code}]`;
}

/** The end of a forward: `outcome`, bytes each way. */
export function noteClosed(context: SshContext, channel: number, operation: number, facts: Readonly<Record<string, unknown>>): void {
  context.recorder.note({ code: 'forward.closed', channel, operation, decision: null, approvals: [], request: null, reason: null, facts });
}
