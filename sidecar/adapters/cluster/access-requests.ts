import { createHash } from 'node:crypto';
import type { AccessRequestResource } from '../../../contract/api/v1alpha1.gen.ts';
import type { EventCode } from '../../../contract/audit.ts';
import type { DecisionCount } from '../../../contract/count-decisions.ts';
import { apiVersion } from '../../../contract/names.ts';
import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import { requestDigest } from '../../../contract/request-digest.ts';
import { type RuntimeClock, steadyNow } from '../../../runtime/clock.ts';
import { type KubeClient, KubeError } from '../../../runtime/kube/kube-client.ts';
import { createObject, getObject } from '../../../runtime/kube/verbs.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { type Identity, subjectKey } from '../../core/identity/identity.ts';
import type { Grant } from '../../core/policy/decision.ts';
import type { ApprovalAsk, ApprovalOutcome, Approver, ConfigSource, Logger, PendingApproval } from '../../core/ports.ts';
import { askLimits, whyUnaskable } from '../askable.ts';
import { accessRequestKind } from './kinds.ts';
import type { ApprovalIntegrity } from './read-proxy-config.ts';
import { openRequestBook, type RequestBook } from './request-book.ts';
import { approverMarks, decisionFacts, requestFacts } from './request-facts.ts';
import { asksSameGrant, factOf, isRequester, requestBaseName, type RequestSpec, requestSpecOf } from './request-spec.ts';
import { type RequestUse, type UseOutcome, writeUse } from './use-approval.ts';

// Whole: one class owns the waiters and what they wait for; its order of count, record, accept and settle is what keeps an approval from being used twice or unproven.
// What needs no state stands beside it: request-spec, request-book, request-facts, use-approval.

/** What approvals in a cluster need. */
export interface ClusterApprovalsDeps {
  readonly client: KubeClient;
  readonly namespace: string;
  /** This pod. */
  readonly pod: string;
  readonly config: Pick<ConfigSource, 'current' | 'subscribe'> & {
    integrity(): ApprovalIntegrity;
    onStatus(listener: () => void): () => void;
  };
  /** Kubernetes usernames that mean the same person as another one. */
  readonly aliases: Readonly<Record<string, string>>;
  /** Name of the digest key, for `statementHMAC`. */
  readonly keyId: string;
  /** Name of the AccessSession of a session. */
  readonly sessionObject: (sessionId: string) => string;
  /** Writes the audit record. An approval counts only when its record was written. */
  readonly onEvent: (code: EventCode, facts: Readonly<Record<string, unknown>>) => Promise<void>;
  /** Tells people who watch the request; must not block or throw. */
  readonly announce?: (request: AccessRequestResource, what: RequestChange) => void;
  readonly clock: RuntimeClock;
  /** 0 to 1. */
  readonly random: () => number;
  readonly log: Logger;
}

/** A change of a request that this proxy made. */
export type RequestChange = 'Requested' | 'Used' | 'Withdrawn';

/** Approvals of a cluster. */
export interface ClusterApprovals extends Approver, AsyncDisposable {
  /** The first list of requests and decisions is complete. */
  readonly synced: boolean;
  whenSynced(): Promise<void>;
}

/** An operator that has not proven for longer that decisions cannot be forged says nothing any more. */
const integrityMs = 900_000;
/** The operator's clock may be ahead of ours by this; beyond, its proof would outlive it. */
const clockToleranceMs = 60_000;
/** Requests of one name that are final already; more than this in a row were not made by us. */
const createAttempts = 8;
const retryMs = 1_000;
const longestRetryMs = 30_000;
const closeMs = 5_000;

/**
 * Opens the approvals of a namespace: asks become AccessRequests, answers are AccessDecisions, counted here and nowhere else. A status that anybody wrote releases nothing.
 *
 * Without the API server nothing is asked, approved or released; what was granted lasts until its own end.
 */
export function openClusterApprovals(deps: ClusterApprovalsDeps): ClusterApprovals {
  return new Approvals(deps);
}

/** Name of a digest key: tells two keys apart and nothing about either. */
export function keyIdOf(key: Uint8Array): string {
  return createHash('sha256').update('sallyport/key-id/v1\0').update(key).digest('hex').slice(0, 16);
}

interface Waiter {
  readonly sessionId: string;
  readonly settle: (outcome: ApprovalOutcome) => void;
  used: boolean;
  usedElsewhere: boolean;
}

/** A request that is open, grants something, or is waited for. */
interface Entry {
  readonly name: string;
  readonly uid: string;
  /** The newest copy that is known: the cache's, or what a write of ours was answered with. */
  request: AccessRequestResource;
  count: DecisionCount;
  /** The cache has had it: when it is no longer there, it was deleted. */
  seen: boolean;
  /** Whether its life is in this proxy's records: it made it or waits for it. */
  mine: boolean;
  /** Its approval was counted while integrity was proven, and recorded. */
  accepted: boolean;
  /** Decisions that are in the records. */
  readonly recorded: Set<string>;
  endRecorded: boolean;
  readonly waiters: Set<Waiter>;
  stopTimer: () => void;
  /** Work of this request runs one after the other. */
  work: Promise<void>;
  dirty: boolean;
}

class Approvals implements ClusterApprovals {
  readonly #deps: ClusterApprovalsDeps;
  readonly #book: RequestBook;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<() => void>();
  readonly #unsubscribe: readonly (() => void)[];
  /** Requests on their way to the API server, by requester: they count against the limit. */
  readonly #creating = new Map<string, number>();
  /** By username and target. */
  #grants: Map<string, Entry[]> | null = null;
  #closed = false;

  constructor(deps: ClusterApprovalsDeps) {
    this.#deps = deps;
    this.#now = steadyNow(deps.clock);
    this.#book = openRequestBook({ client: deps.client, namespace: deps.namespace, aliases: deps.aliases, clock: deps.clock, random: deps.random, now: this.#now, integritySinceMs: () => deps.config.integrity().sinceMs, onRequest: (name) => this.#onRequest(name) });
    this.#book.whenSynced().then(() => this.#recountAll(), () => undefined);
    this.#unsubscribe = [deps.config.subscribe(() => this.#recountAll()), deps.config.onStatus(() => this.#recountAll())];
  }

  get synced(): boolean {
    return this.#book.synced;
  }

  whenSynced(): Promise<void> {
    return this.#book.whenSynced();
  }

  // --- sessions

  async ask(ask: ApprovalAsk): Promise<{ readonly outcome: 'pending'; readonly pending: PendingApproval } | { readonly outcome: 'refused'; readonly code: ErrorCode }> {
    const config = this.#config();
    const refusal = whyUnaskable(ask) ?? this.#whyNotNow();
    if (refusal !== null || config === null) return { outcome: 'refused', code: refusal ?? 'APPROVAL_UNAVAILABLE' };
    if (!config.targets.some((target) => target.name === ask.target)) return { outcome: 'refused', code: 'APPROVAL_UNAVAILABLE' };
    const spec = requestSpecOf(ask, { config, keyId: this.#deps.keyId, sessionObject: this.#deps.sessionObject });
    if (spec === null) return { outcome: 'refused', code: 'APPROVAL_TOO_LARGE' };
    const shared = this.#shareable(spec);
    if (shared !== null) return this.#join(shared, ask, spec);
    if (this.#isFull(spec.requester.username)) return { outcome: 'refused', code: 'TOO_MANY_REQUESTS' };
    const entry = await this.#create(ask, spec);
    return typeof entry === 'string' ? { outcome: 'refused', code: entry } : this.#join(entry, ask, spec);
  }

  grants(subject: string, target: string, identity?: Identity): readonly Grant[] {
    const config = this.#config();
    // Integrity that was lost, as opposed to not heard of lately, leaves nothing standing.
    if (identity === undefined || subjectKey(identity) !== subject || config === null || !this.#deps.config.integrity().holds) return [];
    this.#grants ??= this.#indexGrants();
    const nowMs = this.#now();
    return (this.#grants.get(grantKey(identity.username, target)) ?? []).flatMap((entry) => {
      const grant = isRequester(entry.request.spec, identity, config.identityProviders) ? grantOf(entry, identity) : null;
      return grant !== null && grant.expiresAtMs > nowMs ? [grant] : [];
    });
  }

  howToDecide(requestName: string): string {
    const { namespace } = this.#deps;
    return `sallyport approve ${requestName} -n ${namespace} (read it with: kubectl get areq ${requestName} -n ${namespace} -o yaml)`;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const stop of this.#unsubscribe) stop();
    const last: Promise<unknown>[] = [];
    for (const entry of this.#entries.values()) {
      entry.stopTimer();
      const wasHeld = entry.waiters.size > 0 && isHeld(entry);
      for (const waiter of entry.waiters) waiter.settle({ outcome: 'withdrawn', request: entry.name });
      entry.waiters.clear();
      if (wasHeld) last.push(this.#withdraw(entry, 'the gateway is shutting down'));
      last.push(entry.work);
    }
    const { promise: limit, resolve } = Promise.withResolvers<void>();
    const cancel = this.#deps.clock.after(closeMs, resolve);
    await Promise.race([Promise.allSettled(last), limit]);
    cancel();
    await this.#book[Symbol.asyncDispose]();
  }

  // --- asking

  #config(): ProxyConfig | null {
    return this.#deps.config.current()?.config ?? null;
  }

  #whyNotNow(): ErrorCode | null {
    if (this.#closed || !this.#book.synced) return 'APPROVAL_UNAVAILABLE';
    return this.#isProven() ? null : 'APPROVAL_INTEGRITY';
  }

  #isProven(): boolean {
    const { holds, checkedAtMs } = this.#deps.config.integrity();
    const ageMs = checkedAtMs === null ? Number.POSITIVE_INFINITY : this.#now() - checkedAtMs;
    return holds && ageMs < integrityMs && ageMs >= -clockToleranceMs;
  }

  /** The same statement of the same person on the same target, while it is undecided; or an open ask for the same grant, also one that people made themselves. */
  #shareable(spec: RequestSpec): Entry | null {
    for (const entry of this.#entries.values()) {
      const { spec: other } = entry.request;
      const { phase } = entry.count;
      if (spec.scope === 'Statement' ? phase === 'Pending' && isSameAsk(other, spec) : (phase === 'Pending' || phase === 'Approved') && asksSameGrant(other, spec)) return entry;
    }
    return null;
  }

  #isFull(username: string): boolean {
    let total = 0;
    for (const count of this.#creating.values()) total += count;
    let own = this.#creating.get(username) ?? 0;
    for (const { count, request } of this.#entries.values()) {
      if (count.phase !== 'Pending') continue;
      total++;
      if (request.spec.requester.username === username) own++;
    }
    return own >= askLimits.pendingPerRequester || total >= askLimits.pendingTotal;
  }

  async #create(ask: ApprovalAsk, spec: RequestSpec): Promise<Entry | ErrorCode> {
    const { username } = spec.requester;
    this.#creating.set(username, (this.#creating.get(username) ?? 0) + 1);
    try {
      const made = await this.#createOrFind(spec);
      if (made === null) return 'APPROVAL_UNAVAILABLE';
      const entry = this.#track(made.request);
      if (entry === null) return 'APPROVAL_UNAVAILABLE';
      if (!made.isNew) return entry;
      entry.mine = true;
      await this.#recordCreated(entry, ask);
      return entry;
    } catch (error) {
      this.#deps.log.error('request for approval cannot be made', failure(error));
      return error instanceof KubeError && error.status === 403 && error.message.includes('exceeded quota') ? 'TOO_MANY_REQUESTS' : 'APPROVAL_UNAVAILABLE';
    } finally {
      const left = (this.#creating.get(username) ?? 1) - 1;
      if (left > 0) this.#creating.set(username, left);
      else this.#creating.delete(username);
    }
  }

  /** The name says what is asked, so two replicas that ask the same meet in one object; a number behind it tells it from the final ones before. */
  async #createOrFind(spec: RequestSpec): Promise<{ readonly request: AccessRequestResource; readonly isNew: boolean } | null> {
    const { client, namespace, pod } = this.#deps;
    const base = requestBaseName(spec);
    let n = this.#nextNumber(base);
    for (let attempt = 0; attempt < createAttempts; attempt++) {
      const name = `${base}-${n}`;
      try {
        const body: AccessRequestResource = { apiVersion, kind: 'AccessRequest', metadata: { name, namespace }, spec };
        return { request: await createObject(client, accessRequestKind, namespace, body, { fieldManager: `sallyport-proxy/${pod}` }), isNew: true };
      } catch (error) {
        if (!(error instanceof KubeError && error.status === 409 && error.reason === 'AlreadyExists')) throw error;
      }
      const existing = await getObject<AccessRequestResource>(client, accessRequestKind, namespace, name);
      if (existing === null) continue;
      const config = this.#config();
      if (config !== null && isSameAsk(existing.spec, spec) && this.#book.count(existing, config).phase === 'Pending') return { request: existing, isNew: false };
      n++;
    }
    return null;
  }

  #nextNumber(base: string): number {
    let highest = 0;
    for (const { metadata } of this.#book.list()) {
      if (!metadata.name.startsWith(`${base}-`)) continue;
      const n = Number(metadata.name.slice(base.length + 1));
      if (Number.isSafeInteger(n) && n > highest) highest = n;
    }
    return highest + 1;
  }

  async #recordCreated(entry: Entry, ask: ApprovalAsk): Promise<void> {
    const { approval, sessionId, requester } = ask;
    try {
      await this.#deps.onEvent('request.created', { ...requestFacts(entry.request), requester, sessionId, decideByMs: decideByMs(entry), groups: approval.groups, required: approval.required });
    } catch (error) {
      entry.endRecorded = true;
      void this.#withdraw(entry, 'the request cannot be recorded');
      throw error;
    }
    this.#deps.announce?.(entry.request, 'Requested');
    // So that the operator can tell when nobody waits any more. A request for a session outlives its connection: its requester comes back.
    if (ask.statement !== null) void this.#write(entry, { state: 'Waiting', pod: this.#deps.pod, session: sessionId }, (request) => request.status?.use === undefined);
  }

  #join(entry: Entry, ask: ApprovalAsk, spec: RequestSpec): { readonly outcome: 'pending'; readonly pending: PendingApproval } | { readonly outcome: 'refused'; readonly code: ErrorCode } {
    if (entry.waiters.size >= askLimits.waitersPerRequest) return { outcome: 'refused', code: 'TOO_MANY_REQUESTS' };
    const { promise, resolve } = Promise.withResolvers<ApprovalOutcome>();
    const waiter: Waiter = { sessionId: ask.sessionId, settle: resolve, used: false, usedElsewhere: false };
    entry.waiters.add(waiter);
    entry.mine = true;
    this.#recount(entry);
    return {
      outcome: 'pending',
      pending: {
        name: entry.name, uid: entry.uid, decideByMs: decideByMs(entry), outcome: promise,
        use: () => this.#use(entry, waiter, spec),
        usedElsewhere: () => waiter.usedElsewhere,
        withdraw: async (reason) => {
          const wasUsed = waiter.used;
          waiter.used = true;
          entry.waiters.delete(waiter);
          waiter.settle({ outcome: 'withdrawn', request: entry.name });
          // What another session of ours still waits for stays; a request to open a session stays for the user to come back.
          if (ask.statement !== null && !wasUsed && entry.waiters.size === 0) await this.#withdraw(entry, reason);
        },
      },
    };
  }

  // --- using

  /** Statement: written with the resourceVersion that was counted, before it answers true; a crash in between burns the approval and never offers it twice. */
  async #use(entry: Entry, waiter: Waiter, spec: RequestSpec): Promise<boolean> {
    if (waiter.used) return false;
    waiter.used = true;
    if (entry.request.spec.scope !== 'Statement') {
      const { use } = entry.request.status ?? {};
      return isInForce(entry) && (entry.request.spec.scope === 'Window' || use?.session === waiter.sessionId);
    }
    const written = await this.#write(entry, { state: 'Used', pod: this.#deps.pod, session: waiter.sessionId }, (request) => {
      const config = this.#config();
      if (config === null || this.#closed || !this.#isProven() || !entry.accepted || !isSameAsk(request.spec, spec)) return false;
      const { phase } = this.#book.count(request, config);
      waiter.usedElsewhere = phase === 'Used' || phase === 'Withdrawn';
      return phase === 'Approved';
    });
    if (written.outcome !== 'written') return false;
    this.#deps.announce?.(written.stored, 'Used');
    return true;
  }

  async #write(entry: Entry, use: Omit<RequestUse, 'at'>, mayWrite: (request: AccessRequestResource) => boolean): Promise<UseOutcome> {
    const outcome = await writeUse(this.#deps.client, entry.request, { ...use, at: new Date(this.#now()).toISOString().replace(/\.\d+Z$/, 'Z') }, mayWrite);
    if (outcome.outcome === 'written') {
      entry.request = newer(entry.request, outcome.stored);
      this.#recount(entry);
    }
    if (outcome.outcome === 'unknown') this.#deps.log.error('use of an approval cannot be written', { request: entry.name, state: use.state, ...failure(outcome.error) });
    return outcome;
  }

  /** Tells everybody that nobody waits any more; tried until the request has ended by itself. */
  async #withdraw(entry: Entry, reason: string, delayMs: number = retryMs): Promise<void> {
    const isOpen = (request: AccessRequestResource): boolean => {
      const state = request.status?.use?.state;
      return state !== 'Used' && state !== 'Withdrawn';
    };
    if (!isFinal(entry)) await this.#recordEnd(entry, 'request.withdrawn', 'Withdrawn', reason);
    const outcome = await this.#write(entry, { state: 'Withdrawn', pod: this.#deps.pod }, isOpen);
    if (outcome.outcome === 'written') this.#deps.announce?.(outcome.stored, 'Withdrawn');
    if (outcome.outcome !== 'unknown' || this.#closed || this.#now() >= decideByMs(entry)) return;
    this.#deps.clock.after(delayMs * (1 + this.#deps.random()), () => void this.#withdraw(entry, reason, Math.min(delayMs * 2, longestRetryMs)));
  }

  // --- counting

  #onRequest(name: string): void {
    if (this.#closed || !this.#book.synced) return;
    const cached = this.#book.get(name);
    const entry = this.#entries.get(name);
    if (entry === undefined || (cached !== null && cached.metadata.uid !== entry.uid)) {
      if (entry !== undefined) this.#gone(entry);
      if (cached !== null) this.#track(cached);
      return;
    }
    if (cached === null) {
      if (entry.seen) this.#gone(entry);
      return;
    }
    entry.seen = true;
    entry.request = newer(entry.request, cached);
    this.#recount(entry);
  }

  #recountAll(): void {
    if (this.#closed || !this.#book.synced) return;
    for (const request of this.#book.list()) if (!this.#entries.has(request.metadata.name) && !isClosed(request)) this.#track(request);
    for (const entry of [...this.#entries.values()]) this.#recount(entry);
  }

  /** Null when it is final, or nothing can be counted yet. */
  #track(request: AccessRequestResource): Entry | null {
    const config = this.#config();
    const known = this.#entries.get(request.metadata.name);
    if (known?.uid === request.metadata.uid && known !== undefined) return known;
    if (config === null) return null;
    const count = this.#book.count(request, config);
    const entry: Entry = {
      name: request.metadata.name, uid: request.metadata.uid ?? '', request, count, seen: this.#book.get(request.metadata.name) !== null, mine: false, accepted: false, recorded: new Set(), endRecorded: false,
      waiters: new Set(), stopTimer: () => {}, work: Promise.resolve(), dirty: false,
    };
    if (isFinal(entry)) return null;
    this.#entries.set(entry.name, entry);
    this.#recount(entry);
    return entry;
  }

  #gone(entry: Entry): void {
    entry.stopTimer();
    this.#entries.delete(entry.name);
    for (const waiter of entry.waiters) waiter.settle({ outcome: 'withdrawn', request: entry.name, askAnew: true });
    entry.waiters.clear();
    this.#changed();
  }

  /** What takes away takes effect at once; what gives waits for its record. */
  #recount(entry: Entry): void {
    const config = this.#config();
    if (config === null || this.#closed || this.#entries.get(entry.name) !== entry) return;
    const wasInForce = isInForce(entry);
    entry.count = this.#book.count(entry.request, config);
    // Others may count now than when it was accepted: those of before integrity was lost do not.
    entry.accepted &&= isRecorded(entry);
    entry.stopTimer();
    const { nextDeadlineMs } = entry.count;
    entry.stopTimer = nextDeadlineMs === null ? () => {} : this.#deps.clock.after(Math.max(1, nextDeadlineMs - this.#now()), () => this.#recount(entry));
    if (wasInForce !== isInForce(entry)) this.#changed();
    if (entry.dirty) return;
    entry.dirty = true;
    entry.work = entry.work.then(async () => {
      entry.dirty = false;
      await this.#act(entry);
    }).catch((error: unknown) => this.#deps.log.error('request for approval cannot be followed', { request: entry.name, ...failure(error) }));
  }

  #changed(): void {
    this.#grants = null;
    if (!this.#closed) for (const listener of [...this.#listeners]) listener();
  }

  async #act(entry: Entry): Promise<void> {
    const isRecorded = await this.#recordDecisions(entry);
    const { phase } = entry.count;
    if (phase === 'Approved' || phase === 'Used') await this.#actOnApproval(entry, isRecorded);
    if (phase === 'Expired') await this.#recordEnd(entry, 'request.expired', 'Expired', 'nobody decided in time, or the grant ran out');
    if (phase === 'Superseded') await this.#recordEnd(entry, 'request.withdrawn', 'Superseded', 'the policy changed');
    if (phase !== 'Pending' && phase !== 'Approved') this.#settleAll(entry);
    if (isFinal(entry) && entry.waiters.size === 0) {
      entry.stopTimer();
      if (this.#entries.get(entry.name) === entry) this.#entries.delete(entry.name);
      this.#grants = null;
    }
  }

  async #actOnApproval(entry: Entry, isRecorded: boolean): Promise<void> {
    if (!entry.accepted && !(isRecorded && this.#isProven())) {
      // Fail closed: whoever waits is told at once, and what nobody waits for is looked at again when integrity is proven.
      if (entry.waiters.size === 0) return;
      for (const waiter of entry.waiters) waiter.settle({ outcome: 'withdrawn', request: entry.name, code: isRecorded ? 'APPROVAL_INTEGRITY' : 'RECORDER_FAILED' });
      entry.waiters.clear();
      if (isHeld(entry)) void this.#withdraw(entry, isRecorded ? 'integrity of approvals is not proven' : 'the decision cannot be recorded');
      return;
    }
    if (!entry.accepted) {
      entry.accepted = true;
      if (isInForce(entry)) this.#changed();
    }
    if (entry.count.phase !== 'Approved') return;
    if (entry.request.spec.scope !== 'Session') return this.#settleAll(entry);
    const [first] = entry.waiters;
    if (first !== undefined) await this.#claimSession(entry, first);
  }

  /** One session opens under a Session grant: the first whose name is written. */
  async #claimSession(entry: Entry, waiter: Waiter): Promise<void> {
    const outcome = await this.#write(entry, { state: 'Used', pod: this.#deps.pod, session: waiter.sessionId }, (request) => {
      const config = this.#config();
      return config !== null && !this.#closed && entry.waiters.has(waiter) && this.#isProven() && this.#book.count(request, config).phase === 'Approved';
    });
    if (outcome.outcome === 'written') {
      this.#deps.announce?.(outcome.stored, 'Used');
      if (isInForce(entry)) this.#changed();
      return;
    }
    // Out of reach, or somebody was first and the watch has not told yet: looked at again until it ends.
    if (entry.waiters.size > 0) this.#deps.clock.after(retryMs, () => void this.#refresh(entry));
  }

  async #refresh(entry: Entry): Promise<void> {
    try {
      const request = await getObject<AccessRequestResource>(this.#deps.client, accessRequestKind, this.#deps.namespace, entry.name);
      if (request === null || request.metadata.uid !== entry.uid) return this.#gone(entry);
      entry.request = newer(entry.request, request);
    } catch (error) {
      this.#deps.log.debug('request cannot be read', { request: entry.name, ...failure(error) });
    }
    this.#recount(entry);
  }

  #settleAll(entry: Entry): void {
    const config = this.#config();
    const waiters = [...entry.waiters];
    entry.waiters.clear();
    for (const waiter of waiters) waiter.settle(config === null ? { outcome: 'withdrawn', request: entry.name } : this.#outcome(entry, waiter));
  }

  #outcome(entry: Entry, waiter: Waiter): ApprovalOutcome {
    const { count, name: request, request: { spec, status } } = entry;
    const again: ApprovalOutcome = { outcome: 'withdrawn', request, askAnew: true };
    switch (count.phase) {
      case 'Approved':
      case 'Used':
        if (!entry.accepted || (count.phase === 'Used' && spec.scope === 'Statement')) return again;
        if (spec.scope === 'Session' && status?.use?.session !== waiter.sessionId) return again;
        return { outcome: 'approved', request, requestUid: entry.uid, approvers: approverMarks(count), grant: grantOf(entry, null) };
      case 'Denied': {
        const denial = count.entries.find((one) => one.counted && one.decision === 'Deny');
        return { outcome: 'denied', request, approver: denial?.by ?? 'unknown', reason: denial === undefined ? '' : this.#book.comment(denial.name) };
      }
      case 'Expired':
        return { outcome: 'expired', request };
      case 'Superseded':
        return { outcome: 'withdrawn', request, code: 'APPROVAL_SUPERSEDED' };
      case 'Withdrawn':
        return again;
      case 'Pending':
      case 'Revoked':
        return { outcome: 'withdrawn', request };
      default:
        throw count.phase satisfies never;
    }
  }

  // --- records

  /** False when an approval could not be recorded: it then counts for nothing. */
  async #recordDecisions(entry: Entry): Promise<boolean> {
    // A statement is recorded by who holds it; a grant by every proxy that it may serve. `decisionUid` tells the copies.
    if (!entry.mine && entry.request.spec.scope === 'Statement') return true;
    let isComplete = true;
    for (const one of entry.count.entries) {
      if (!one.counted || entry.recorded.has(one.uid)) continue;
      try {
        await this.#deps.onEvent('request.decided', { ...requestFacts(entry.request), ...decisionFacts(one, { asGroups: this.#book.asGroups(one.name), comment: this.#book.comment(one.name) }) });
        entry.recorded.add(one.uid);
      } catch (error) {
        this.#deps.log.error('decision cannot be recorded', { request: entry.name, ...failure(error) });
        if (one.decision === 'Approve') isComplete = false;
      }
    }
    return isComplete;
  }

  async #recordEnd(entry: Entry, code: 'request.expired' | 'request.withdrawn', phase: 'Expired' | 'Withdrawn' | 'Superseded', reason: string): Promise<void> {
    if (!entry.mine || entry.endRecorded) return;
    entry.endRecorded = true;
    await this.#deps.onEvent(code, { ...requestFacts(entry.request), phase, reason }).catch((error: unknown) => this.#deps.log.error('end of a request cannot be recorded', { request: entry.name, ...failure(error) }));
  }

  #indexGrants(): Map<string, Entry[]> {
    const index = new Map<string, Entry[]>();
    for (const entry of this.#entries.values()) {
      if (!isInForce(entry)) continue;
      const { requester, targetRef } = entry.request.spec;
      const key = grantKey(requester.username, targetRef.name);
      index.set(key, [...index.get(key) ?? [], entry]);
    }
    return index;
  }
}

/** The grant of an accepted approval; of a Session grant only once a session has taken it. */
function grantOf(entry: Entry, identity: Identity | null): Grant | null {
  const { spec, status } = entry.request;
  if (!isInForce(entry) || spec.scope === 'Statement' || entry.count.expiresAtMs === null) return null;
  const database = factOf(spec, 'database');
  return {
    requestName: entry.name, requestUid: entry.uid, policyUid: spec.policyRef.uid, policyGeneration: spec.policyRef.generation, rule: spec.policyRef.rule ?? null, scope: spec.scope,
    sessionId: spec.scope === 'Session' ? status?.use?.session ?? null : null, subject: identity === null ? spec.requester.username : subjectKey(identity), actorKeys: identity === null ? [] : identity.actors.map(subjectKey),
    target: spec.targetRef.name, ...(database === undefined ? {} : { database }), expiresAtMs: entry.count.expiresAtMs, approvers: approverMarks(entry.count).map((mark) => mark.username),
  };
}

function isInForce(entry: Entry): boolean {
  const { scope } = entry.request.spec;
  if (!entry.accepted || scope === 'Statement') return false;
  return scope === 'Session' ? entry.count.phase === 'Used' : entry.count.phase === 'Approved';
}

/** Whether every approval that counts is in this proxy's records. */
function isRecorded({ count, recorded }: Entry): boolean {
  return count.entries.every((one) => !one.counted || one.decision !== 'Approve' || recorded.has(one.uid));
}

/** Whether anything can still come of it. A used Session grant serves its session until it expires. */
function isFinal({ count, request }: Entry): boolean {
  return count.phase !== 'Pending' && count.phase !== 'Approved' && !(count.phase === 'Used' && request.spec.scope !== 'Statement');
}

/** Final by what is stored already; a stored status only ever ends a request. */
function isClosed({ spec, status }: AccessRequestResource): boolean {
  const { phase, use } = status ?? {};
  return (phase !== undefined && phase !== 'Pending' && phase !== 'Approved') || use?.state === 'Withdrawn' || (use?.state === 'Used' && spec.scope === 'Statement');
}

/** Whether a statement waits behind it: then nobody comes back for it. */
function isHeld({ request }: Entry): boolean {
  return request.spec.facts?.some((fact) => fact.name === 'statement-kind') ?? false;
}

/** The digest covers all that an approver sees; it is recomputed from both, so that a stored one that does not fit its spec matches nothing. */
function isSameAsk(stored: RequestSpec, own: RequestSpec): boolean {
  return stored.digest === own.digest && requestDigest(stored) === own.digest && requestDigest(own) === own.digest;
}

/** Once it is decided only a bound: what waits is over by then. */
function decideByMs({ request, count }: Entry): number {
  return count.nextDeadlineMs ?? Date.parse(request.metadata.creationTimestamp ?? '') + 86_400_000;
}

/** Resource versions of one object can be ordered where they are numbers, as in every API server on etcd; else what came last counts. */
function newer(one: AccessRequestResource, other: AccessRequestResource): AccessRequestResource {
  const [a, b] = [one.metadata.resourceVersion ?? '', other.metadata.resourceVersion ?? ''];
  return /^\d{1,20}$/.test(a) && /^\d{1,20}$/.test(b) && BigInt(a) > BigInt(b) ? one : other;
}

function failure(error: unknown): Readonly<Record<string, unknown>> {
  return error instanceof KubeError ? { status: error.status, reason: error.reason } : { error: error instanceof Error ? error.message : 'unknown' };
}

function grantKey(username: string, target: string): string {
  return JSON.stringify([username, target]);
}
