import { endpointOf, type ProxyConfig, type Target } from '../../../contract/proxy-config.ts';
import { deny, type ErrorCode } from '../errors.ts';
import type { Identity } from '../identity/identity.ts';
import { subjectKey } from '../identity/identity.ts';
import { isStillMapped } from '../identity/map-claims.ts';
import { type AuthorizeOutcome, authorize } from '../policy/authorize.ts';
import { grantServes } from '../policy/grant-serves.ts';
import type { Approver, Clock, ConfigSource, Logger } from '../ports.ts';
import { Session } from './session.ts';

/** What the registry works with. */
export interface RegistryDeps {
  readonly config: ConfigSource;
  readonly approver: Approver;
  readonly clock: Clock;
  readonly log: Logger;
  /** Largest number of sessions of this process. */
  readonly maxSessions: number;
  /** Why nobody may be admitted now, for example because the config is too old; null = go on. Live sessions are not asked. */
  readonly closed?: () => ErrorCode | null;
}

/** A session, or what stands before it. */
export type RegistryOutcome =
  | { readonly outcome: 'opened'; readonly session: Session }
  | Pick<Extract<AuthorizeOutcome, { outcome: 'needs-approval' }>, 'outcome' | 'by' | 'approval'>
  | Pick<Extract<AuthorizeOutcome, { outcome: 'denied' }>, 'outcome' | 'denial'>;

/**
 * All live sessions of the process: admits, re-authorizes when config or grants change, and ends what is over.
 *
 * `tick` must be called at least four times a second: that bounds how long a session outlives its right (D5: one second).
 */
export class SessionRegistry {
  readonly #sessions = new Map<string, Session>();
  readonly #deps: RegistryDeps;
  /** Monotonic ms until which a held statement may still be released; null while nothing drains. */
  #holdsUntilMs: number | null = null;

  constructor(deps: RegistryDeps) {
    this.#deps = deps;
    deps.config.subscribe(() => this.reauthorizeAll());
    deps.approver.subscribe(() => this.reauthorizeAll());
  }

  /** Nobody is admitted any more. */
  get draining(): boolean {
    return this.#holdsUntilMs !== null;
  }

  get size(): number {
    return this.#sessions.size;
  }

  list(): readonly Session[] {
    return [...this.#sessions.values()];
  }

  /**
   * Decides whether an identity may open a session now, and opens it. One step: two logins at once cannot pass a limit of one, and no change of the config falls
   * between the decision and the session. The caller removes it.
   */
  open(identity: Identity, targetName: string, database: string, sessionId: string): RegistryOutcome {
    const current = this.#deps.config.current();
    if (this.draining) return { outcome: 'denied', denial: deny('DRAINING') };
    const closed = this.#deps.closed?.() ?? null;
    if (closed !== null) return { outcome: 'denied', denial: deny(closed) };
    if (!current) return { outcome: 'denied', denial: deny('CONFIG_NOT_LOADED') };
    if (this.#sessions.size >= this.#deps.maxSessions) return { outcome: 'denied', denial: deny('TOO_MANY_CONNECTIONS') };
    const target = current.config.targets.find((candidate) => candidate.name === targetName);
    if (!target) return { outcome: 'denied', denial: deny('ACCESS_DENIED') };
    const slot = slotKey(identity, targetName);
    const others = this.list().filter((session) => slotKey(session.identity, session.permit.target.name) === slot).length;
    const outcome = this.#authorize(identity, target, database, current.config, others, sessionId);
    if (outcome.outcome !== 'allowed') return outcome;
    const session = new Session(sessionId, outcome.permit, this.#deps.clock);
    this.#sessions.set(sessionId, session);
    return { outcome: 'opened', session };
  }

  remove(session: Session): void {
    this.#sessions.delete(session.id);
  }

  /** Ends what has come to its end: token, schedule, grant, duration, idleness; while draining, whatever has become idle and, near the deadline, whatever waits for a person. */
  tick(): void {
    const now = this.#deps.clock.now();
    const monotonic = this.#deps.clock.monotonicMs();
    const config = this.#deps.config.current()?.config;
    for (const session of this.#sessions.values()) {
      endIfOver(session, now, monotonic);
      warnOfEnd(session, now, monotonic);
      if (this.#holdsUntilMs !== null) endUnlessNeeded(session, monotonic < this.#holdsUntilMs);
      // A window of a policy opens or closes: what is permitted or denied changes without a change of the config.
      const again = session.permit.reauthorizeAtMs;
      if (config && !session.ended && again !== null && again !== undefined && now >= again) this.#reauthorizeOrEnd(session, config);
    }
  }

  /** Runs the pure decision again for every live session: one that is no longer allowed ends, others get their new permit. */
  reauthorizeAll(): void {
    const current = this.#deps.config.current();
    if (!current) return;
    for (const session of this.#sessions.values()) this.#reauthorizeOrEnd(session, current.config);
  }

  /**
   * Refuses new sessions and ends the idle ones: those in which nothing runs, no transaction is open and no statement is held. `tick` ends the others as they finish;
   * the caller calls `endAll` at its deadline.
   *
   * @param holdsForMs how long from now a held statement may still be approved and forwarded; afterwards its session ends. 0 ends it at once.
   */
  drain(holdsForMs: number): void {
    const monotonic = this.#deps.clock.monotonicMs();
    this.#holdsUntilMs = monotonic + Math.max(0, holdsForMs);
    for (const session of this.#sessions.values()) endUnlessNeeded(session, holdsForMs > 0);
  }

  endAll(): void {
    for (const session of this.#sessions.values()) session.end({ reason: 'ProxyShutdown', denial: deny('DRAINING') });
  }

  /** What cannot be decided is denied, and keeps no other session from being decided on. */
  #reauthorizeOrEnd(session: Session, config: ProxyConfig): void {
    try {
      this.#reauthorize(session, config);
    } catch (error) {
      this.#deps.log.error('session cannot be authorized anew and ends', { sessionId: session.id, error: error instanceof Error ? error.message : 'unknown' });
      session.end({ reason: 'Revoked', denial: deny('SESSION_REVOKED') });
    }
  }

  #reauthorize(session: Session, config: ProxyConfig): void {
    const before = session.permit.target;
    const target = config.targets.find((candidate) => candidate.name === before.name);
    if (!target || JSON.stringify(endpointOf(target)) !== JSON.stringify(endpointOf(before))) return session.end({ reason: 'PolicyChanged', denial: deny('SESSION_REVOKED') });
    if (!config.identityProviders.some((provider) => isStillMapped(session.identity, provider))) {
      return session.end({ reason: 'Revoked', denial: deny('SESSION_REVOKED') });
    }
    const outcome = this.#authorize(session.identity, target, session.permit.database, config, 0, session.id);
    if (outcome.outcome === 'allowed') return session.replacePermit(outcome.permit);
    // A grant whose time is over is gone before `tick` looks: the user is told that it ended, not that somebody took it.
    endIfOver(session, this.#deps.clock.now() + toleranceMs, this.#deps.clock.monotonicMs());
    if (session.ended) return;
    this.#deps.log.info('session revoked', { sessionId: session.id, target: target.name });
    session.end({ reason: 'Revoked', denial: deny('SESSION_REVOKED') });
  }

  #authorize(identity: Identity, target: Target, database: string, config: ProxyConfig, openSessions: number, sessionId: string): AuthorizeOutcome {
    const grants = this.#deps.approver.grants(subjectKey(identity), target.name, identity).filter((grant) => grantServes(grant, identity, { id: sessionId, database }));
    return authorize({ identity, target, database, config, nowMs: this.#deps.clock.now(), grants, openSessions });
  }
}

/** The approver's timer and our clock need not agree to the millisecond. */
const toleranceMs = 100;

function endIfOver(session: Session, now: number, monotonic: number): void {
  const { permit } = session;
  const { sessionSeconds, idleSeconds } = permit.limits;
  if (now >= permit.notAfterMs) return session.end({ reason: 'Expired', denial: deny('SESSION_EXPIRED', { detail: endDetail[permit.notAfterReason] }) });
  if (sessionSeconds !== null && monotonic - session.startedMonotonicMs >= sessionSeconds * 1000) {
    return session.end({ reason: 'Expired', denial: deny('SESSION_EXPIRED', { detail: `the policy allows sessions of ${sessionSeconds} s` }) });
  }
  if (idleSeconds !== null && !session.isBusy() && monotonic - session.lastActivityMs >= idleSeconds * 1000) {
    session.end({ reason: 'Idle', denial: deny('SESSION_IDLE', { detail: `the policy allows ${idleSeconds} s without activity` }) });
  }
}

function endUnlessNeeded(session: Session, mayWait: boolean): void {
  const isNeeded = session.isHeld() ? mayWait : session.isBusy() || session.isInTransaction();
  if (!isNeeded) session.end({ reason: 'ProxyShutdown', denial: deny('DRAINING') });
}

const warnMs = 300_000;

/** Once, five minutes before an end that is known; not in sessions that are shorter anyway. */
function warnOfEnd(session: Session, now: number, monotonic: number): void {
  if (session.warned || session.ended) return;
  const { notAfterMs, notAfterReason, limits: { sessionSeconds } } = session.permit;
  const ageMs = monotonic - session.startedMonotonicMs;
  const durationLeftMs = sessionSeconds === null ? Infinity : sessionSeconds * 1000 - ageMs;
  const leftMs = Math.min(notAfterMs - now, durationLeftMs);
  if (leftMs > warnMs || leftMs + ageMs <= warnMs) return;
  session.warned = true;
  const why = durationLeftMs < notAfterMs - now ? `the policy allows sessions of ${sessionSeconds} s` : willEnd[notAfterReason];
  session.warn(`this session ends in ${Math.max(1, Math.round(leftMs / 60_000))} minutes: ${why}`);
}

const willEnd = { TokenExpired: 'the token expires', ScheduleEnded: 'the time window of the policy ends', GrantEnded: 'the approved time ends' } as const;

const endDetail = { TokenExpired: 'the token has expired', ScheduleEnded: 'the time window of the policy has ended', GrantEnded: 'the approved time has ended' } as const;

function slotKey(identity: Identity, target: string): string {
  return `${subjectKey(identity)} ${target}`;
}
