import { randomBytes, randomUUID } from 'node:crypto';
import { accessRequestStatus, isSameParty, type RequestEnding, type RequestPhase, type RequestStatus } from '../../../contract/access-request-status.ts';
import type { ApprovalRequestView } from '../../../contract/approval-api.ts';
import type { EventCode } from '../../../contract/audit.ts';
import { type RuntimeClock, steadyNow } from '../../../runtime/clock.ts';
import { type Denial, deny, type ErrorCode } from '../../core/errors.ts';
import { type Identity, subjectKey } from '../../core/identity/identity.ts';
import type { DecidedBy, Grant } from '../../core/policy/decision.ts';
import { mayDecide } from '../../core/policy/self-approval.ts';
import type { ApprovalAsk, ApprovalOutcome, Approver, Logger, PendingApproval } from '../../core/ports.ts';
import { askLimits, whyUnaskable } from '../askable.ts';
import { openRequestFiles, type RequestFiles, type StoredDecision, type StoredEnding, type StoredHistory, type StoredRequest } from './request-files.ts';

// Whole: one class owns the requests and their waiters, and its order of take, record, store and settle is what makes single use and deny-wins hold;
// what needs no state stands in contract/access-request-status.ts and request-files.ts.

/** What people do with requests; the local HTTP API is its only caller. Nobody sees a request that is neither theirs nor theirs to decide. */
export interface RequestDesk {
  /** Newest first, statement texts cut. */
  list(viewer: Identity): readonly ApprovalRequestView[];
  /** Null when it does not exist or is not the viewer's to see. */
  find(name: string, viewer: Identity): ApprovalRequestView | null;
  decide(answer: DeskAnswer): Promise<DeskOutcome>;
  /** An approver revokes what was approved; a requester withdraws their own request or gives a grant back. */
  end(answer: { readonly name: string; readonly by: Identity; readonly reason: string; readonly method: string }): Promise<DeskOutcome>;
}

export interface DeskAnswer {
  readonly name: string;
  readonly by: Identity;
  readonly decision: 'Approve' | 'Deny';
  /** At most 1,024 characters. */
  readonly reason: string;
  /** Digest of the request as the approver saw it; null when the client did not send one. */
  readonly digest: string | null;
  /** How the approver was authenticated, for the records, e.g. `oidc`. */
  readonly method: string;
}

export type DeskOutcome = { readonly outcome: 'done'; readonly request: ApprovalRequestView } | { readonly outcome: 'refused'; readonly denial: Denial };

/** Approvals of directory mode. */
export interface DirectoryApprovals extends Approver, RequestDesk {
  /** Call after each change of the config: what rests on a policy that is no longer current becomes Superseded. */
  recheckPolicies(): void;
  /** Withdraws held statements, stops the timers, waits for the last write. Nothing can be asked or decided afterwards. */
  close(): Promise<void>;
}

export interface DirectoryApprovalsOptions {
  readonly dataDirectory: string;
  readonly clock: RuntimeClock;
  readonly log: Logger;
  /** Writes the audit record. An approval counts only when its record was written. */
  readonly onEvent: (code: EventCode, facts: Readonly<Record<string, unknown>>) => Promise<void>;
  /** Whether this policy, generation and rule are in force. */
  readonly isPolicyCurrent: (by: DecidedBy) => boolean;
}

/** security.md 3.1 and kubernetes.md 13. */
export const approvalLimits = {
  activeGrants: 1_000, decisionsAtOnce: 64, reasonCharacters: 1_024,
  finishedKept: 1_000, finishedMs: 604_800_000, largeFinishedMs: 86_400_000, largeFinishedBytes: 8_192,
} as const;

/**
 * Opens the approvals that live in a data directory. One process per directory.
 * Requests to open a session and Window grants survive a restart; whatever held a statement or belonged to a session does not.
 *
 * Kept whole: the pure counting is in contract, the files are in request-files.ts; what is left is the one state machine that both sides (sessions, people) act on.
 */
export async function openDirectoryApprovals(options: DirectoryApprovalsOptions): Promise<DirectoryApprovals> {
  const files = await openRequestFiles(options.dataDirectory, options.log);
  const desk = new Desk(options, files);
  await desk.restore(await files.readAll());
  return desk;
}

interface Waiter {
  readonly sessionId: string;
  readonly settle: (outcome: ApprovalOutcome) => void;
  used: boolean;
}

interface Submission {
  readonly answer: Omit<DeskAnswer, 'decision' | 'digest'> & { readonly decision: StoredDecision['decision'] };
  readonly resolve: (outcome: DeskOutcome) => void;
}

interface Entry {
  readonly request: StoredRequest;
  readonly decisions: StoredDecision[];
  ending: RequestEnding | null;
  /** Its files and its record are written. */
  visible: boolean;
  /** Somebody is writing `Used`: no withdrawal or second use from here on, even if that write fails. */
  claimed: boolean;
  /** The session that a Session grant serves. */
  grantSession: string | null;
  phase: RequestPhase;
  readonly waiters: Set<Waiter>;
  readonly inbox: Submission[];
  working: boolean;
  stopTimer: () => void;
}

class Desk implements DirectoryApprovals {
  readonly #options: DirectoryApprovalsOptions;
  readonly #files: RequestFiles;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<() => void>();
  readonly #writes = new Set<Promise<unknown>>();
  #grants: Map<string, Grant[]> | null = null;
  #closed = false;

  constructor(options: DirectoryApprovalsOptions, files: RequestFiles) {
    this.#options = options;
    this.#files = files;
    this.#now = steadyNow(options.clock);
  }

  // --- sessions

  async ask(ask: ApprovalAsk): Promise<{ readonly outcome: 'pending'; readonly pending: PendingApproval } | { readonly outcome: 'refused'; readonly code: ErrorCode }> {
    const refusal = this.#closed ? 'APPROVAL_UNAVAILABLE' : whyUnaskable(ask);
    if (refusal !== null) return { outcome: 'refused', code: refusal };
    const shared = ask.statement === null ? this.#shareable(ask) : null;
    if (shared !== null) {
      if (shared.waiters.size >= askLimits.waitersPerRequest) return { outcome: 'refused', code: 'TOO_MANY_REQUESTS' };
      return { outcome: 'pending', pending: await this.#join(shared, ask.sessionId) };
    }
    if (this.#isFull(ask.requester.key)) return { outcome: 'refused', code: 'TOO_MANY_REQUESTS' };
    const entry = await this.#create(ask);
    if (entry === null) return { outcome: 'refused', code: 'APPROVAL_UNAVAILABLE' };
    return { outcome: 'pending', pending: await this.#join(entry, ask.sessionId) };
  }

  grants(subject: string, target: string): readonly Grant[] {
    this.#grants ??= this.#indexGrants();
    const nowMs = this.#now();
    return (this.#grants.get(grantKey(subject, target)) ?? []).filter((grant) => grant.expiresAtMs > nowMs);
  }

  howToDecide(requestName: string): string {
    return `sallyport approve ${requestName}`;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  recheckPolicies(): void {
    for (const entry of this.#entries.values()) {
      if (isActive(entry) && !this.#options.isPolicyCurrent(entry.request.ask.by)) void this.#end(entry, 'Superseded', 'the policy changed');
    }
  }

  // --- people

  list(viewer: Identity): readonly ApprovalRequestView[] {
    return [...this.#entries.values()].filter((entry) => entry.visible && maySee(entry, viewer)).reverse().map((entry) => this.#view(entry, viewer, false));
  }

  find(name: string, viewer: Identity): ApprovalRequestView | null {
    const entry = this.#entries.get(name);
    return entry?.visible === true && maySee(entry, viewer) ? this.#view(entry, viewer, true) : null;
  }

  async decide(answer: DeskAnswer): Promise<DeskOutcome> {
    const entry = this.#entries.get(answer.name);
    if (entry?.visible !== true) return refused(deny('APPROVAL_NOT_FOUND'));
    const { requester, approval, digest } = entry.request.ask;
    const denial = mayDecide(requester, answer.by, approval.groups);
    if (denial !== null) return refused(denial);
    if (answer.digest !== null && answer.digest !== digest) return refused(deny('APPROVAL_DIGEST_MISMATCH'));
    if (this.#status(entry).phase !== 'Pending') return refused(closedDenial(this.#status(entry).phase));
    return this.#submit(entry, answer);
  }

  async end(answer: { readonly name: string; readonly by: Identity; readonly reason: string; readonly method: string }): Promise<DeskOutcome> {
    const entry = this.#entries.get(answer.name);
    if (entry?.visible !== true || !maySee(entry, answer.by)) return refused(deny('APPROVAL_NOT_FOUND'));
    this.#settle(entry);
    const { phase } = entry;
    if (!isActive(entry) || (entry.claimed && entry.request.ask.scope === 'Statement')) return refused(closedDenial(phase));
    if (isOwn(entry, answer.by)) {
      await this.#end(entry, 'Withdrawn', `withdrawn by the requester: ${answer.reason.slice(0, approvalLimits.reasonCharacters)}`);
      return { outcome: 'done', request: this.#view(entry, answer.by, true) };
    }
    const denial = mayDecide(entry.request.ask.requester, answer.by, entry.request.ask.approval.groups);
    if (denial !== null) return refused(denial);
    return this.#submit(entry, { ...answer, decision: phase === 'Pending' ? 'Deny' : 'Revoke' });
  }

  // --- life

  async restore(histories: readonly StoredHistory[]): Promise<void> {
    for (const history of [...histories].sort((a, b) => a.request.createdAtMs - b.request.createdAtMs)) {
      const ending = history.ending?.requestUid === history.request.uid ? history.ending : null;
      const entry = newEntry(history.request, [...history.decisions], ending);
      entry.visible = true;
      this.#entries.set(history.request.name, entry);
      entry.phase = this.#status(entry).phase;
      if (history.damaged) await this.#end(entry, 'Withdrawn', 'a file of the request is damaged');
      else if (isActive(entry) && !outlivesProcess(entry)) await this.#end(entry, 'Withdrawn', 'the gateway restarted');
      else this.#settle(entry);
    }
    await this.#prune();
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const entry of this.#entries.values()) {
      if (entry.phase === 'Pending' && entry.request.ask.statement !== null) void this.#end(entry, 'Withdrawn', 'the gateway is shutting down');
      for (const waiter of entry.waiters) waiter.settle({ outcome: 'withdrawn', request: entry.request.name });
      entry.waiters.clear();
      entry.stopTimer();
    }
    await Promise.allSettled(this.#writes);
    for (const entry of this.#entries.values()) entry.stopTimer();
  }

  // --- asking

  /** An equal ask that is still open: pending, or approved and not yet taken by a session (the user came back after the approval). */
  #shareable(ask: ApprovalAsk): Entry | null {
    for (const entry of this.#entries.values()) {
      const { ask: other } = entry.request;
      if (!entry.visible || other.digest !== ask.digest || other.statement !== null || other.requester.key !== ask.requester.key) continue;
      const { phase } = this.#status(entry);
      if (phase === 'Pending' || (phase === 'Approved' && !entry.claimed)) return entry;
    }
    return null;
  }

  #isFull(requester: string): boolean {
    let total = 0;
    let own = 0;
    let active = 0;
    for (const entry of this.#entries.values()) {
      if (entry.phase === 'Pending') total++;
      if (entry.phase === 'Pending' && entry.request.ask.requester.key === requester) own++;
      if (entry.phase !== 'Pending' && isActive(entry)) active++;
    }
    return own >= askLimits.pendingPerRequester || total >= askLimits.pendingTotal || active >= approvalLimits.activeGrants;
  }

  async #create(ask: ApprovalAsk): Promise<Entry | null> {
    const createdAtMs = this.#now();
    const request: StoredRequest = { name: this.#freeName(), uid: randomUUID(), createdAtMs, decideByMs: createdAtMs + ask.approval.decideWithinSeconds * 1000, ask };
    const entry = newEntry(request, [], null);
    // Counted against the limits from here on, shown only once it is written and recorded.
    this.#entries.set(request.name, entry);
    try {
      const written = await this.#track(this.#files.addRequest(request));
      if (written === 'exists') throw new Error('the name of a request is taken on disk');
      await this.#track(this.#options.onEvent('request.created', { ...requestFacts(request), decideByMs: request.decideByMs, groups: ask.approval.groups, required: ask.approval.required }));
    } catch (error) {
      this.#options.log.error('request for approval cannot be kept', { request: request.name, error });
      entry.phase = 'Withdrawn';
      entry.ending = { kind: 'Withdrawn', atMs: this.#now() };
      this.#entries.delete(request.name);
      await this.#files.remove(entry).catch(() => {});
      return null;
    }
    entry.visible = true;
    this.#settle(entry);
    void this.#track(this.#prune());
    return entry;
  }

  #freeName(): string {
    for (;;) {
      const name = `areq-${[...randomBytes(6)].map((byte) => base32[byte & 31]).join('')}`;
      if (!this.#entries.has(name)) return name;
    }
  }

  /** One session's view of a request. */
  async #join(entry: Entry, sessionId: string): Promise<PendingApproval> {
    const { promise, resolve } = Promise.withResolvers<ApprovalOutcome>();
    const waiter: Waiter = { sessionId, settle: resolve, used: false };
    entry.waiters.add(waiter);
    this.#settle(entry);
    return {
      name: entry.request.name,
      uid: entry.request.uid,
      decideByMs: entry.request.decideByMs,
      outcome: promise,
      use: () => this.#use(entry, waiter),
      withdraw: async (reason) => {
        waiter.used = true;
        entry.waiters.delete(waiter);
        waiter.settle({ outcome: 'withdrawn', request: entry.request.name });
        // A request to open a session outlives the connection: the user may come back after the approval.
        if (entry.request.ask.statement !== null) await this.#end(entry, 'Withdrawn', reason);
      },
    };
  }

  /** Statement: written before it answers true, so a crash in between burns the approval and never offers it twice. Grants: once per session that asked. */
  async #use(entry: Entry, waiter: Waiter): Promise<boolean> {
    if (waiter.used) return false;
    waiter.used = true;
    if (entry.request.ask.scope === 'Statement') return this.#claim(entry, null);
    const grant = this.#grantOf(entry, this.#status(entry));
    return grant !== null && (grant.sessionId === null || grant.sessionId === waiter.sessionId);
  }

  async #claim(entry: Entry, sessionId: string | null): Promise<boolean> {
    if (entry.claimed || this.#status(entry).phase !== 'Approved') return false;
    entry.claimed = true;
    const ending: StoredEnding = { request: entry.request.name, requestUid: entry.request.uid, kind: 'Used', atMs: this.#now(), reason: sessionId ?? entry.request.ask.sessionId };
    try {
      if ((await this.#track(this.#files.addEnding(ending))) === 'exists') return false;
    } catch (error) {
      this.#options.log.error('use of an approval cannot be kept', { request: entry.request.name, error });
      return false;
    }
    // While it was written the approval may have been superseded or revoked.
    if (entry.ending !== null || this.#status(entry).phase !== 'Approved') return false;
    entry.ending = ending;
    entry.grantSession = sessionId;
    this.#settle(entry);
    return true;
  }

  // --- deciding

  #submit(entry: Entry, answer: Submission['answer']): Promise<DeskOutcome> {
    if (this.#closed) return Promise.resolve(refused(deny('APPROVAL_UNAVAILABLE')));
    if (entry.inbox.length >= approvalLimits.decisionsAtOnce) return Promise.resolve(refused(deny('TOO_MANY_REQUESTS', { message: 'too many decisions at once', hint: 'try again' })));
    const { promise, resolve } = Promise.withResolvers<DeskOutcome>();
    entry.inbox.push({ answer, resolve });
    if (!entry.working) void this.#track(this.#work(entry));
    return promise;
  }

  /** Decisions that arrive together are counted together: none is lost to another's write, and a denial among them wins. */
  async #work(entry: Entry): Promise<void> {
    entry.working = true;
    // One turn of the loop, so that decisions of one instant meet in one batch.
    await Promise.resolve();
    while (entry.inbox.length > 0) {
      const batch = entry.inbox.splice(0);
      const decidedAtMs = this.#now();
      const taken = await Promise.all(batch.map(async (submission, index) => this.#take(entry, batch.slice(0, index), submission, decidedAtMs)));
      for (const result of taken) if (result !== null && 'uid' in result) entry.decisions.push(result);
      this.#settle(entry);
      batch.forEach(({ answer, resolve }, index) => {
        const result = taken[index] ?? null;
        resolve(result !== null && 'code' in result ? refused(result) : { outcome: 'done', request: this.#view(entry, answer.by, true) });
      });
    }
    entry.working = false;
  }

  /** Records and keeps one decision. Null: this person said so before. */
  async #take(entry: Entry, earlier: readonly Submission[], { answer }: Submission, decidedAtMs: number): Promise<StoredDecision | Denial | null> {
    const { phase } = this.#status(entry);
    const fits = answer.decision === 'Revoke' ? phase === 'Approved' || phase === 'Used' : phase === 'Pending';
    if (!fits) return closedDenial(phase);
    const key = subjectKey(answer.by);
    const isRepeated = entry.decisions.some((one) => one.by.key === key && one.decision === answer.decision)
      || earlier.some((one) => subjectKey(one.answer.by) === key && one.answer.decision === answer.decision);
    if (isRepeated) return null;
    const decision = storedDecision(entry.request, answer, decidedAtMs);
    const grants = decision.decision === 'Approve';
    try {
      await this.#options.onEvent('request.decided', { ...requestFacts(entry.request), ...decisionFacts(decision) });
    } catch (error) {
      this.#options.log.error('decision cannot be recorded', { request: entry.request.name, error });
      if (grants) return deny('RECORDER_FAILED');
    }
    try {
      await this.#files.addDecision(decision);
    } catch (error) {
      this.#options.log.error('decision cannot be kept', { request: entry.request.name, error });
      // What restricts takes effect even when it cannot be kept; what grants does not.
      if (grants) return deny('APPROVAL_UNAVAILABLE');
    }
    return decision;
  }

  // --- ending

  /** Closes a request unless it is closed or used; in memory at once, on disk and in the record as soon as possible. */
  async #end(entry: Entry, kind: 'Withdrawn' | 'Superseded' | 'Expired', reason: string): Promise<void> {
    const isStatement = entry.request.ask.scope === 'Statement';
    if ((entry.ending !== null && entry.ending.kind !== 'Used') || (isStatement && (entry.claimed || entry.ending !== null))) return;
    const wasUsed = entry.ending !== null;
    const ending: StoredEnding = { request: entry.request.name, requestUid: entry.request.uid, kind, atMs: this.#now(), reason: reason.slice(0, 2 * approvalLimits.reasonCharacters) };
    entry.ending = ending;
    this.#settle(entry);
    try {
      // A used grant has its ending on disk already; it does not survive a restart anyway.
      if (!wasUsed && !entry.claimed) await this.#track(this.#files.addEnding(ending));
    } catch (error) {
      this.#options.log.error('end of a request cannot be kept', { request: entry.request.name, error });
    }
    const code = kind === 'Expired' ? 'request.expired' : 'request.withdrawn';
    await this.#track(this.#options.onEvent(code, { ...requestFacts(entry.request), phase: kind, reason })).catch((error: unknown) => {
      this.#options.log.error('end of a request cannot be recorded', { request: entry.request.name, error });
    });
  }

  /** Brings timers, waiters and grants in line with the status. */
  #settle(entry: Entry): void {
    const status = this.#status(entry);
    const changed = status.phase !== entry.phase;
    entry.phase = status.phase;
    entry.stopTimer();
    entry.stopTimer = () => {};
    if (status.nextDeadlineMs !== null && !this.#closed) entry.stopTimer = this.#options.clock.after(status.nextDeadlineMs - this.#now(), () => this.#deadline(entry));
    if (status.phase !== 'Pending') this.#answer(entry, status);
    if (!changed) return;
    this.#grants = null;
    if (status.phase !== 'Pending') for (const listener of this.#listeners) listener();
  }

  #deadline(entry: Entry): void {
    if (this.#status(entry).phase === 'Expired') void this.#end(entry, 'Expired', 'nobody decided in time, or the grant ran out');
    else this.#settle(entry);
  }

  #answer(entry: Entry, status: RequestStatus): void {
    const [first] = entry.waiters;
    if (first === undefined) return;
    const { ask } = entry.request;
    if (status.phase === 'Approved' && ask.scope === 'Session' && ask.statement === null && !entry.claimed) {
      // One session opens under it; the first that still waits takes it, the others ask anew.
      void this.#claim(entry, first.sessionId).then(() => this.#answer(entry, this.#status(entry)));
      return;
    }
    if (status.phase === 'Approved' && entry.claimed) return;
    const waiters = [...entry.waiters];
    entry.waiters.clear();
    for (const waiter of waiters) waiter.settle(this.#outcome(entry, status, waiter));
  }

  #outcome(entry: Entry, status: RequestStatus, waiter: Waiter): ApprovalOutcome {
    const request = entry.request.name;
    switch (status.phase) {
      case 'Approved':
      case 'Used': {
        const grant = this.#grantOf(entry, status);
        if (entry.request.ask.scope === 'Session' && grant?.sessionId !== waiter.sessionId) return { outcome: 'withdrawn', request };
        const approvers = entry.decisions.filter((one) => one.decision === 'Approve' && status.counted.includes(one.uid));
        return {
          outcome: 'approved', request, requestUid: entry.request.uid, grant,
          approvers: approvers.map((one) => ({ key: one.by.key, username: one.by.username, decisionUid: one.uid, decidedAtMs: one.decidedAtMs, method: one.method })),
        };
      }
      case 'Denied': {
        const denial = entry.decisions.find((one) => one.decision === 'Deny' && status.counted.includes(one.uid));
        return { outcome: 'denied', request, approver: denial?.by.username ?? 'unknown', reason: denial?.reason ?? '' };
      }
      case 'Expired':
        return { outcome: 'expired', request };
      case 'Superseded':
        return { outcome: 'withdrawn', request, code: 'APPROVAL_SUPERSEDED' };
      case 'Pending':
      case 'Withdrawn':
      case 'Revoked':
        return { outcome: 'withdrawn', request };
      default:
        throw status.phase satisfies never;
    }
  }

  // --- reading

  #status(entry: Entry): RequestStatus {
    const { request } = entry;
    const { ask } = request;
    return accessRequestStatus(
      {
        uid: request.uid, digest: ask.digest, scope: ask.scope, requester: ask.requester, groups: ask.approval.groups, required: ask.approval.required, createdAtMs: request.createdAtMs,
        decideByMs: request.decideByMs, grantTtlMs: ask.scope === 'Statement' || ask.approval.grantTtlSeconds === null ? null : ask.approval.grantTtlSeconds * 1000,
      },
      entry.decisions,
      entry.ending,
      this.#now(),
    );
  }

  #indexGrants(): Map<string, Grant[]> {
    const index = new Map<string, Grant[]>();
    for (const entry of this.#entries.values()) {
      if (entry.phase !== 'Approved' && entry.phase !== 'Used') continue;
      const grant = this.#grantOf(entry, this.#status(entry));
      if (grant === null) continue;
      const key = grantKey(grant.subject, grant.target);
      index.set(key, [...(index.get(key) ?? []), grant]);
    }
    return index;
  }

  #grantOf(entry: Entry, status: RequestStatus): Grant | null {
    const { ask } = entry.request;
    const sessionId = ask.scope === 'Window' ? null : ask.statement === null ? entry.grantSession : ask.sessionId;
    if (ask.scope === 'Statement' || status.expiresAtMs === null || (ask.scope === 'Session' && sessionId === null)) return null;
    return {
      requestName: entry.request.name, requestUid: entry.request.uid, policyUid: ask.by.policyUid, policyGeneration: ask.by.policyGeneration, rule: ask.by.rule, scope: ask.scope, sessionId,
      subject: ask.requester.key, actorKeys: ask.requester.actorKeys, target: ask.target, expiresAtMs: status.expiresAtMs,
      approvers: entry.decisions.filter((one) => one.decision === 'Approve' && status.counted.includes(one.uid)).map((one) => one.by.username),
    };
  }

  #view(entry: Entry, viewer: Identity, whole: boolean): ApprovalRequestView {
    const { request } = entry;
    const { ask } = request;
    const status = this.#status(entry);
    const statement = ask.statement === null ? null : { ...ask.statement, parameters: [...ask.statement.parameters], objects: [...ask.statement.objects] };
    return {
      name: request.name, uid: request.uid, phase: status.phase, approvals: status.approvals, required: status.required, createdAtMs: request.createdAtMs, decideByMs: request.decideByMs,
      decidedAtMs: status.decidedAtMs, expiresAtMs: status.expiresAtMs, scope: ask.scope, namespace: ask.namespace, target: ask.target, targetUid: ask.targetUid ?? null, database: ask.database,
      sessionId: ask.sessionId, requester: { ...ask.requester, actorKeys: [...ask.requester.actorKeys] }, by: { ...ask.by }, approval: { ...ask.approval, groups: [...ask.approval.groups] },
      statement: statement === null || whole ? statement : { ...statement, text: statement.text.slice(0, 200), parameters: [], objects: statement.objects.slice(0, 8) },
      whole, digest: ask.digest, statementHmac: ask.statementHmac ?? null,
      decisions: entry.decisions.map((one) => ({ by: one.by.username, decision: one.decision, reason: one.reason, decidedAtMs: one.decidedAtMs, counted: status.counted.includes(one.uid) })),
      mine: isOwn(entry, viewer), mayDecide: status.phase === 'Pending' && mayDecide(ask.requester, viewer, ask.approval.groups) === null,
    };
  }

  // --- keeping house

  /** Finished requests are kept for a week, a thousand at most; large ones for a day. The audit log keeps the rest. */
  async #prune(): Promise<void> {
    const nowMs = this.#now();
    const finished = [...this.#entries.values()].filter((entry) => entry.visible && !isActive(entry) && entry.waiters.size === 0 && !entry.working);
    const surplus = finished.length - approvalLimits.finishedKept;
    for (const [index, entry] of finished.entries()) {
      const isLarge = (entry.request.ask.statement?.text.length ?? 0) > approvalLimits.largeFinishedBytes;
      if (index >= surplus && nowMs - entry.request.decideByMs < (isLarge ? approvalLimits.largeFinishedMs : approvalLimits.finishedMs)) continue;
      this.#entries.delete(entry.request.name);
      entry.stopTimer();
      await this.#track(this.#files.remove(entry)).catch((error: unknown) => this.#options.log.error('finished request cannot be removed', { request: entry.request.name, error }));
    }
  }

  #track<T>(write: Promise<T>): Promise<T> {
    this.#writes.add(write);
    const forget = (): void => void this.#writes.delete(write);
    write.then(forget, forget);
    return write;
  }
}

const base32 = 'abcdefghijklmnopqrstuvwxyz234567';

function newEntry(request: StoredRequest, decisions: StoredDecision[], ending: RequestEnding | null): Entry {
  return {
    request, decisions, ending, visible: false, claimed: ending?.kind === 'Used', grantSession: null, phase: 'Pending', waiters: new Set(), inbox: [], working: false, stopTimer: () => {},
  };
}

/**
 * Requests to open a session, and windows: nothing of them lived in the process that ended.
 * A grant that a session had taken is kept as `Used` but serves nobody: its session is gone and `grantSession` is not on disk.
 */
function outlivesProcess(entry: Entry): boolean {
  const { scope, statement } = entry.request.ask;
  return statement === null || (scope === 'Window' && entry.phase !== 'Pending');
}

/** Whether anything can still rest on it. A used Session grant serves its session until it expires. */
function isActive(entry: Entry): boolean {
  return entry.phase === 'Pending' || entry.phase === 'Approved' || (entry.phase === 'Used' && entry.request.ask.scope !== 'Statement');
}

function isOwn(entry: Entry, viewer: Identity): boolean {
  return isSameParty(entry.request.ask.requester, { key: subjectKey(viewer), actorKeys: viewer.actors.map(subjectKey) });
}

function maySee(entry: Entry, viewer: Identity): boolean {
  return isOwn(entry, viewer) || viewer.groups.some((group) => entry.request.ask.approval.groups.includes(group));
}

function storedDecision(request: StoredRequest, answer: Submission['answer'], decidedAtMs: number): StoredDecision {
  const { by } = answer;
  return {
    uid: randomUUID(), request: request.name, requestUid: request.uid, digest: request.ask.digest, decision: answer.decision,
    by: { key: subjectKey(by), username: by.username, actorKeys: by.actors.map(subjectKey), acr: by.acr, amr: by.amr },
    groups: by.groups.filter((group) => request.ask.approval.groups.includes(group)), reason: answer.reason.slice(0, approvalLimits.reasonCharacters), method: answer.method, decidedAtMs,
  };
}

function requestFacts(request: StoredRequest): Readonly<Record<string, unknown>> {
  const { ask } = request;
  return {
    request: request.name, requestUid: request.uid, scope: ask.scope, namespace: ask.namespace, target: ask.target, database: ask.database, sessionId: ask.sessionId,
    requester: ask.requester, by: ask.by, digest: ask.digest, kind: ask.statement?.kind ?? null, objects: ask.statement?.objects ?? [],
  };
}

function decisionFacts(decision: StoredDecision): Readonly<Record<string, unknown>> {
  return { decision: decision.decision, decisionUid: decision.uid, approver: decision.by, asGroups: decision.groups, reason: decision.reason, method: decision.method, decidedAtMs: decision.decidedAtMs };
}

function closedDenial(phase: RequestPhase): Denial {
  return deny('APPROVAL_CLOSED', { message: `the request is already closed: ${phase}` });
}

function refused(denial: Denial): DeskOutcome {
  return { outcome: 'refused', denial };
}

function grantKey(subject: string, target: string): string {
  return JSON.stringify([subject, target]);
}
