import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import { type Denial, deny, SallyportError } from '../errors.ts';
import type { Identity } from '../identity/identity.ts';
import { verifyToken } from '../identity/verify-token.ts';
import type { Approver, Clock, ConfigSource, KeySource, Logger } from '../ports.ts';
import { type HeldFor, type HoldNotice, waitForApproval } from './approval-hold.ts';
import type { SessionRegistry } from './registry.ts';
import type { Session } from './session.ts';

/** What a protocol does for the admission: it asks for the token and can show a notice while an approval is pending. */
export interface AdmissionPort extends HoldPort {
  /** The token's bytes are zeroed by `openSession` after use. */
  askForToken(signal: AbortSignal): Promise<{ readonly outcome: 'token'; readonly token: Uint8Array } | { readonly outcome: 'denied'; readonly denial: Denial }>;
}

/** The client while opening its session waits for an approval. */
export interface HoldPort {
  /** Says that opening the session waits for an approval. */
  announceHold(notice: HoldNotice): void;
  /** Aborts when the client goes away. */
  readonly gone: AbortSignal;
}

/** What admission asks: config, keys, registry, approver, clock. */
export interface AdmissionDeps {
  readonly config: ConfigSource;
  readonly keys: KeySource;
  readonly registry: SessionRegistry;
  readonly approver: Approver;
  readonly clock: Clock;
  readonly log: Logger;
  readonly newSessionId: () => string;
  /** Key of this namespace for the digests that approvals bind. */
  readonly digestKey: Uint8Array;
}

/** What is asked for. `requestedUser` is recorded, never used for a decision. */
export interface AdmissionAsk {
  readonly target: string;
  readonly database: string;
  readonly sessionId: string;
  /** Called when the wait for a human begins and ends: the login deadline stands still meanwhile. */
  readonly onHold: (held: boolean) => void;
}

/** A session, or its refusal with whoever was recognized. */
export type OpenOutcome =
  | { readonly outcome: 'opened'; readonly session: Session }
  | { readonly outcome: 'denied'; readonly denial: Denial; readonly identity: Identity | null };

/**
 * Admits a session: token, identity, decision, and, where the policy says OnRequest, an approval. The only way to a Permit.
 *
 * @returns the registered session, or why not. Never throws for what a user or policy caused.
 */
export async function openSession(port: AdmissionPort, ask: AdmissionAsk, deps: AdmissionDeps, signal: AbortSignal): Promise<OpenOutcome> {
  const current = deps.config.current();
  if (!current) return { outcome: 'denied', denial: deny('CONFIG_NOT_LOADED'), identity: null };
  const asked = await port.askForToken(signal);
  if (asked.outcome === 'denied') return { ...asked, identity: null };
  const verified = await verifyAndForget(asked.token, current.config, deps);
  if (verified.outcome === 'denied') return { ...verified, identity: null };
  return admitIdentity(verified.identity, port, ask, deps, signal);
}

/**
 * Admits whoever has proven an identity: the decision and, where the policy says OnRequest, an approval. For protocols that verify credentials themselves.
 *
 * @returns the registered session, or why not. Never throws for what a user or policy caused.
 */
export async function admitIdentity(identity: Identity, port: HoldPort, ask: AdmissionAsk, deps: AdmissionDeps, signal: AbortSignal): Promise<OpenOutcome> {
  const first = deps.registry.open(identity, ask.target, ask.database, ask.sessionId);
  if (first.outcome === 'opened') return first;
  if (first.outcome === 'denied') return { outcome: 'denied', denial: first.denial, identity };
  ask.onHold(true);
  try {
    const held: HeldFor = { sessionId: ask.sessionId, identity, target: ask.target, namespace: namespaceOf(deps), database: ask.database, by: first.by, approval: first.approval, statement: null, digestKey: deps.digestKey };
    const outcome = await waitForApproval(held, { approver: deps.approver, announce: (notice) => port.announceHold(notice), cancelled: AbortSignal.any([port.gone, signal]) });
    if (outcome.outcome !== 'approved') return { outcome: 'denied', denial: signal.reason instanceof SallyportError ? signal.reason.toDenial() : outcome.denial, identity };
  } finally {
    ask.onHold(false);
  }
  // The policies may have changed while it waited.
  const second = deps.registry.open(identity, ask.target, ask.database, ask.sessionId);
  if (second.outcome === 'opened') return second;
  return { outcome: 'denied', denial: second.outcome === 'denied' ? second.denial : deny('APPROVAL_SUPERSEDED'), identity };
}

async function verifyAndForget(token: Uint8Array, config: ProxyConfig, deps: AdmissionDeps): ReturnType<typeof verifyToken> {
  try {
    return await verifyToken(new TextDecoder().decode(token), config, deps.keys, deps.clock.now());
  } finally {
    token.fill(0);
  }
}

function namespaceOf(deps: AdmissionDeps): string {
  return deps.config.current()?.config.namespace ?? 'default';
}
