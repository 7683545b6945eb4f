import type { EndReason } from '../../../contract/audit.ts';
import type { Denial } from '../errors.ts';
import { type Identity, subjectKey } from '../identity/identity.ts';
import { grantServes } from '../policy/grant-serves.ts';
import type { CommandFacts, Decision, Grant } from '../policy/decision.ts';
import type { Permit } from '../policy/permit.ts';
import { type ApprovedRule, reviewCommand } from '../policy/review-command.ts';

/** Why a session ends, for the record, and what the user is told. */
export interface SessionEnd {
  readonly reason: EndReason;
  readonly denial: Denial;
}

/** What the protocol tells the registry about a session it runs. */
export interface SessionActivity {
  /** Something runs, streams or is held: not idle. */
  isBusy(): boolean;
  /** A statement waits for an approval. */
  isHeld(): boolean;
  /** A transaction is open, a failed one included. */
  isInTransaction(): boolean;
  /** Shows a notice, where the protocol has one. */
  warn(message: string): void;
  /** Ends the connection with a protocol-correct error; called once. */
  end(cause: SessionEnd): void;
}

/**
 * One admitted session: its permit, its decisions, its clock. State, because a session is one; the registry and the protocol share it.
 *
 * A permit may be replaced while the session lives (the policy changed and still allows it); decisions are then made anew.
 */
export class Session {
  readonly id: string;
  readonly identity: Identity;
  /** Key of the human or workload behind the session. */
  readonly subject: string;
  readonly startedAtMs: number;
  readonly startedMonotonicMs: number;
  lastActivityMs: number;
  /** The user was told that the end is near. */
  warned = false;
  #permit: Permit;
  #permitVersion = 0;
  #decisions = new WeakMap<CommandFacts, Decision>();
  #activity: SessionActivity | null = null;
  #end: SessionEnd | null = null;

  constructor(id: string, permit: Permit, clock: { now(): number; monotonicMs(): number }) {
    this.id = id;
    this.identity = permit.identity;
    this.subject = subjectKey(permit.identity);
    this.#permit = permit;
    this.startedAtMs = clock.now();
    this.startedMonotonicMs = clock.monotonicMs();
    this.lastActivityMs = this.startedMonotonicMs;
  }

  get permit(): Permit {
    return this.#permit;
  }

  /** Grows when the permit is replaced or grants change: what was derived from either is stale. */
  get permitVersion(): number {
    return this.#permitVersion;
  }

  /** Null while the session lives. */
  get ended(): SessionEnd | null {
    return this.#end;
  }

  replacePermit(permit: Permit): void {
    this.#permit = permit;
    this.forgetDecisions();
  }

  forgetDecisions(): void {
    this.#permitVersion++;
    this.#decisions = new WeakMap();
  }

  /** The decision on one command under the permit of now; computed once per command facts. */
  decide(facts: CommandFacts, nowMs: number, grants: readonly Grant[]): Decision {
    const known = this.#decisions.get(facts);
    if (known !== undefined) return known;
    const decision = this.decideApproved(facts, nowMs, grants, []);
    this.#decisions.set(facts, decision);
    return decision;
  }

  /** The decision once approvers of this very statement have said yes to these rules; not kept. */
  decideApproved(facts: CommandFacts, nowMs: number, grants: readonly Grant[], approved: readonly ApprovedRule[]): Decision {
    const serving = grants.filter((grant) => grantServes(grant, this.identity, { id: this.id, database: this.#permit.database }));
    return reviewCommand(facts, this.#permit, { nowMs, grants: serving, sessionId: this.id, approved });
  }

  /** The protocol takes over; a session that was ended before is ended now. */
  attach(activity: SessionActivity): void {
    this.#activity = activity;
    if (this.#end) activity.end(this.#end);
  }

  isBusy(): boolean {
    return this.#activity?.isBusy() ?? true;
  }

  warn(message: string): void {
    this.#activity?.warn(message);
  }

  isHeld(): boolean {
    return this.#activity?.isHeld() ?? false;
  }

  isInTransaction(): boolean {
    return this.#activity?.isInTransaction() ?? false;
  }

  /** Ends the session; the first cause wins. */
  end(cause: SessionEnd): void {
    if (this.#end) return;
    this.#end = cause;
    this.#activity?.end(cause);
  }
}
