import type { AccessSessionResource } from '../../../contract/api/v1alpha1.gen.ts';
import type { RecorderFactory, SessionSubject } from '../../../contract/audit.ts';
import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import type { RuntimeClock } from '../../../runtime/clock.ts';
import { type KubeClient, KubeError } from '../../../runtime/kube/kube-client.ts';
import { startReflector } from '../../../runtime/kube/reflector.ts';
import { createObject, mergePatch } from '../../../runtime/kube/verbs.ts';
import type { Logger } from '../../core/ports.ts';
import { accessSessionKind } from './kinds.ts';
import { observeRecorders, type SessionObserver } from './observe-recorder.ts';
import { agentName } from './request-spec.ts';
import { countSshEvent, sessionObject, sessionObjectName, sessionStatus, type SessionEnding, type SessionSummary } from './session-object.ts';

/** What session objects need. */
export interface AccessSessionsDeps {
  readonly client: KubeClient;
  readonly namespace: string;
  /** This pod. */
  readonly pod: string;
  /** Which sessions get an object: all, those that lasted 5 s or were denied, held, approved or ended by a person, or none. */
  readonly objects: 'All' | 'Notable' | 'None';
  readonly config: () => ProxyConfig | null;
  /** Ends a live session; what is not live any more is ignored. */
  readonly terminate: (sessionId: string, asked: TerminateAsk) => void;
  /** Tells people who watch the object; must not block or throw. */
  readonly announce?: (object: { readonly name: string; readonly uid: string | null }, what: 'Terminated' | 'EndedByForce', by: string) => void;
  readonly clock: RuntimeClock;
  /** 0 to 1. */
  readonly random: () => number;
  readonly log: Logger;
}

/** Who asks for the end of a session, as admission proved it. */
export interface TerminateAsk {
  readonly by: string;
  readonly reason: string;
}

/** Recorders whose sessions are shown as AccessSessions. */
export interface AccessSessions extends AsyncDisposable {
  readonly recorders: RecorderFactory;
  /** Sessions of which an object is still to be written or brought up to date. */
  readonly waiting: number;
  /** Summaries that were given up: too many waited while the API server was away, or it refused them. */
  readonly dropped: number;
}

/** Limits of session objects (kubernetes.md 13), ms where it is time. */
export const sessionLimits = { ratePerSecond: 2, burst: 20, patchMs: 30_000, notableMs: 5_000, endedWaiting: 1_000, tickMs: 500, longestPauseMs: 60_000, attempts: 5, flushMs: 10_000, flushAtOnce: 4 } as const;

/**
 * Shows the sessions of this proxy as AccessSession objects: what happened in numbers, at most one patch in 30 s for each, two requests a second for all, and the end.
 * Nothing waits for it: the record is the audit log's. While the API server is away summaries are kept, a thousand ended ones at most.
 *
 * A person who sets `spec.terminate` ends the session at once.
 */
export function openAccessSessions(recorders: RecorderFactory, deps: AccessSessionsDeps): AccessSessions {
  return new Sessions(recorders, deps);
}

interface Entry {
  readonly sessionId: string;
  readonly subject: SessionSubject;
  readonly startedMs: number;
  summary: SessionSummary;
  ending: SessionEnding | null;
  terminate: TerminateAsk | null;
  uid: string | null;
  generation: number;
  isCreated: boolean;
  /** The status is not what was written last. */
  isDirty: boolean;
  lastWriteMs: number;
  notBeforeMs: number;
  failures: number;
  isBusy: boolean;
}

const nothing: SessionSummary = { commands: 0, denied: 0, held: 0, approved: 0, maskedValues: 0, rows: 0, bytesOut: 0, lastDecision: null };
const byForce: ReadonlySet<string> = new Set(['Revoked', 'PolicyChanged', 'RecorderFailed']);

class Sessions implements AccessSessions {
  readonly recorders: RecorderFactory;
  readonly #deps: AccessSessionsDeps;
  readonly #entries = new Map<string, Entry>();
  readonly #stopWatch: () => Promise<void>;
  #dropped = 0;
  #tokens: number = sessionLimits.burst;
  #refilledMs: number;
  #pausedUntilMs = 0;
  #failures = 0;
  #isPumping = false;
  #stopTimer: (() => void) | null = null;
  #closed = false;

  constructor(recorders: RecorderFactory, deps: AccessSessionsDeps) {
    this.#deps = deps;
    this.#refilledMs = deps.clock.monotonicMs();
    this.recorders = deps.objects === 'None' ? recorders : observeRecorders(recorders, (sessionId) => this.#observer(sessionId));
    this.#stopWatch = deps.objects === 'None' ? async () => {} : this.#watch();
  }

  get waiting(): number {
    let count = 0;
    for (const entry of this.#entries.values()) if (entry.ending !== null || entry.isDirty) count++;
    return count;
  }

  get dropped(): number {
    return this.#dropped;
  }

  /** Writes what is left, for ten seconds at most: what is not written then is marked `Lost` by the operator. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopTimer?.();
    await this.#stopWatch();
    const { promise: limit, resolve } = Promise.withResolvers<void>();
    const cancel = this.#deps.clock.after(sessionLimits.flushMs, resolve);
    const left = [...this.#entries.values()].filter((entry) => this.#nextStep(entry, this.#deps.clock.monotonicMs()) !== null);
    const work = Array.from({ length: sessionLimits.flushAtOnce }, async () => {
      for (let entry = left.pop(); entry !== undefined; entry = left.pop()) await this.#flush(entry);
    });
    await Promise.race([Promise.all(work), limit]);
    cancel();
  }

  // --- what happens in sessions

  #observer(sessionId: string): SessionObserver {
    const change = (by: (entry: Entry) => Partial<SessionSummary>): void => {
      const entry = this.#entries.get(sessionId);
      if (entry === undefined) return;
      entry.summary = { ...entry.summary, ...by(entry) };
      entry.isDirty = true;
      this.#arm();
    };
    return {
      started: (subject) => {
        this.#entries.set(sessionId, {
          sessionId, subject, startedMs: this.#deps.clock.monotonicMs(), summary: nothing, ending: null, terminate: null, uid: null, generation: 1, isCreated: false, isDirty: true,
          lastWriteMs: -Infinity, notBeforeMs: 0, failures: 0, isBusy: false,
        });
        this.#arm();
      },
      intents: (intents) => change(({ summary }) => ({
        commands: summary.commands + intents.length, approved: summary.approved + intents.filter((intent) => intent.approvals.length > 0).length, lastDecision: intents.at(-1)?.decision ?? summary.lastDecision,
      })),
      result: (result) => change(({ summary }) => ({
        rows: summary.rows + result.rows, bytesOut: summary.bytesOut + result.bytesToClient, maskedValues: summary.maskedValues + result.maskedCells.reduce((sum, cells) => sum + cells.cells, 0),
      })),
      attempt: ({ event, intent }) => change(({ summary }) => ({
        held: summary.held + (event === 'statement.held' ? 1 : 0), denied: summary.denied + (event === 'statement.denied' ? 1 : 0), lastDecision: intent.decision,
      })),
      ssh: (event) => change(({ summary }) => countSshEvent(summary, event)),
      ended: (reason, seal) => {
        const entry = this.#entries.get(sessionId);
        if (entry === undefined) return;
        entry.ending = { atMs: this.#deps.clock.now(), reason, seal, terminatedBy: entry.terminate?.by ?? null };
        entry.isDirty = true;
        if (!this.#isWanted(entry, this.#deps.clock.monotonicMs())) this.#entries.delete(sessionId);
        else if (byForce.has(reason) && entry.terminate === null) this.#deps.announce?.({ name: sessionObjectName(sessionId), uid: entry.uid }, 'EndedByForce', reason);
        this.#bound();
        this.#arm();
      },
    };
  }

  /** While the API server is away ended sessions wait; the oldest are given up first, the audit log has them. */
  #bound(): void {
    const ended = [...this.#entries.values()].filter((entry) => entry.ending !== null && !entry.isBusy);
    for (const entry of ended.slice(0, Math.max(0, ended.length - sessionLimits.endedWaiting))) this.#giveUp(entry);
  }

  #giveUp(entry: Entry): void {
    this.#entries.delete(entry.sessionId);
    this.#dropped++;
  }

  // --- writing

  #arm(): void {
    if (this.#closed || this.#stopTimer !== null || this.#entries.size === 0) return;
    this.#stopTimer = this.#deps.clock.after(sessionLimits.tickMs, () => {
      this.#stopTimer = null;
      void this.#pump();
    });
  }

  async #pump(): Promise<void> {
    if (this.#isPumping || this.#closed) return;
    this.#isPumping = true;
    try {
      for (;;) {
        const nowMs = this.#deps.clock.monotonicMs();
        const entry = nowMs < this.#pausedUntilMs ? null : this.#mostUrgent(nowMs);
        if (entry === null || this.#closed || !this.#takeToken(nowMs)) return;
        await this.#step(entry);
      }
    } finally {
      this.#isPumping = false;
      this.#arm();
    }
  }

  /** Ends first, then what has no object yet, then who has waited longest. */
  #mostUrgent(nowMs: number): Entry | null {
    let best: { readonly entry: Entry; readonly rank: number } | null = null;
    for (const entry of this.#entries.values()) {
      const step = entry.isBusy || nowMs < entry.notBeforeMs ? null : this.#nextStep(entry, nowMs);
      if (step === null) continue;
      const rank = entry.ending !== null ? 2 : step === 'create' ? 1 : 0;
      if (best === null || rank > best.rank || (rank === best.rank && entry.lastWriteMs < best.entry.lastWriteMs)) best = { entry, rank };
    }
    return best?.entry ?? null;
  }

  #nextStep(entry: Entry, nowMs: number): 'create' | 'patch' | null {
    if (!entry.isCreated) return this.#isWanted(entry, nowMs) ? 'create' : null;
    if (!entry.isDirty) return null;
    return entry.ending !== null || nowMs - entry.lastWriteMs >= sessionLimits.patchMs ? 'patch' : null;
  }

  #isWanted({ summary, terminate, startedMs, ending, isCreated }: Entry, nowMs: number): boolean {
    const { denied, held, approved } = summary;
    if (this.#deps.objects === 'All' || isCreated || denied + held + approved > 0 || terminate !== null || nowMs - startedMs >= sessionLimits.notableMs) return true;
    return ending !== null && byForce.has(ending.reason);
  }

  async #flush(entry: Entry): Promise<void> {
    for (let step = 0; step < 2 && this.#entries.has(entry.sessionId) && this.#nextStep(entry, this.#deps.clock.monotonicMs()) !== null; step++) {
      if (!(await this.#step(entry))) return;
    }
  }

  /** One request for one session. False when it failed. */
  async #step(entry: Entry): Promise<boolean> {
    const nowMs = this.#deps.clock.monotonicMs();
    entry.isBusy = true;
    try {
      if (entry.isCreated) await this.#patch(entry, nowMs);
      else await this.#create(entry);
      this.#failures = 0;
      entry.failures = 0;
      return true;
    } catch (error) {
      this.#failed(entry, error);
      return false;
    } finally {
      entry.isBusy = false;
    }
  }

  async #create(entry: Entry): Promise<void> {
    const { client, namespace, pod, config } = this.#deps;
    const [agent] = entry.subject.identity.actors;
    const body = sessionObject(entry.subject, { namespace, pod, agent: agent === undefined ? null : agentName(agent, config()?.identityProviders ?? []) });
    try {
      const made = await createObject(client, accessSessionKind, namespace, body, { fieldManager: `sallyport-proxy/${pod}` });
      entry.uid = made.metadata.uid ?? null;
      entry.generation = made.metadata.generation ?? 1;
    } catch (error) {
      // An answer that was lost: it is there.
      if (!(error instanceof KubeError && error.status === 409 && error.reason === 'AlreadyExists')) throw error;
    }
    entry.isCreated = true;
  }

  async #patch(entry: Entry, nowMs: number): Promise<void> {
    const { client, namespace, pod, clock } = this.#deps;
    const { ending } = entry;
    const status = sessionStatus(entry.summary, { nowMs: clock.now(), generation: entry.generation, content: entry.subject.recording.content }, ending);
    entry.isDirty = false;
    entry.lastWriteMs = nowMs;
    try {
      await mergePatch(client, accessSessionKind, namespace, sessionObjectName(entry.sessionId), { status }, { subresource: 'status', fieldManager: `sallyport-proxy/${pod}` });
    } catch (error) {
      entry.isDirty = true;
      throw error;
    }
    if (ending !== null) this.#entries.delete(entry.sessionId);
  }

  #failed(entry: Entry, error: unknown): void {
    const status = error instanceof KubeError ? error.status : 0;
    const { clock, log, random } = this.#deps;
    // Deleted by retention, or the namespace is going: there is nothing to bring up to date.
    if (status === 404) return this.#giveUp(entry);
    if (status >= 400 && status < 500 && status !== 429 && status !== 408) {
      entry.failures++;
      entry.notBeforeMs = clock.monotonicMs() + sessionLimits.patchMs;
      log.error('session object refused', { sessionId: entry.sessionId, status, reason: error instanceof KubeError ? error.reason : 'unknown' });
      if (entry.failures >= sessionLimits.attempts) this.#giveUp(entry);
      return;
    }
    // With jitter: all replicas find the API server again at the same moment.
    const pauseMs = Math.min(1_000 * 2 ** this.#failures++, sessionLimits.longestPauseMs) * (0.5 + random());
    this.#pausedUntilMs = clock.monotonicMs() + Math.max(pauseMs, error instanceof KubeError ? error.retryAfterMs ?? 0 : 0);
    log.debug('session object not written', { sessionId: entry.sessionId, status });
  }

  #takeToken(nowMs: number): boolean {
    this.#tokens = Math.min(sessionLimits.burst, this.#tokens + (nowMs - this.#refilledMs) / 1_000 * sessionLimits.ratePerSecond);
    this.#refilledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  // --- people

  #watch(): () => Promise<void> {
    const { client, namespace, clock, random } = this.#deps;
    const reflector = startReflector<AccessSessionResource>({
      client, kind: accessSessionKind, namespace, clock, random, keep: essentials,
      onKey: (key) => {
        const object = reflector.get(key);
        if (object !== null) this.#onObject(object);
      },
    });
    return async () => await reflector[Symbol.asyncDispose]();
  }

  #onObject({ metadata, spec }: AccessSessionResource): void {
    if (spec.pod !== this.#deps.pod) return;
    const entry = this.#entries.get(spec.sessionID);
    if (entry === undefined || metadata.name !== sessionObjectName(entry.sessionId)) return;
    entry.uid ??= metadata.uid ?? null;
    entry.generation = Math.max(entry.generation, metadata.generation ?? 1);
    const { terminate } = spec;
    if (terminate === undefined || entry.terminate !== null || entry.uid !== metadata.uid) return;
    entry.terminate = { by: terminate.by, reason: terminate.reason ?? '' };
    if (entry.ending !== null) return;
    this.#recordTerminate(entry, entry.terminate);
    this.#deps.terminate(entry.sessionId, entry.terminate);
    this.#deps.announce?.({ name: metadata.name, uid: entry.uid }, 'Terminated', terminate.by);
  }

  /** The session ends whether or not this can be recorded: what restricts is never held back. */
  #recordTerminate(entry: Entry, asked: TerminateAsk): void {
    const { log } = this.#deps;
    const facts = { sessionId: entry.sessionId, name: sessionObjectName(entry.sessionId), actor: { key: asked.by, username: asked.by }, reason: asked.reason, target: entry.subject.target.name };
    this.recorders.event('session.terminated', facts).catch((error: unknown) => log.error('end of a session by a person not recorded', { sessionId: entry.sessionId, error: error instanceof Error ? error.message : 'unknown' }));
  }
}

/** Of the sessions of all replicas only this is kept. */
function essentials(object: AccessSessionResource): AccessSessionResource {
  const { name, namespace, uid, generation, resourceVersion } = object.metadata;
  const { pod, sessionID, terminate } = object.spec;
  return {
    apiVersion: object.apiVersion, kind: object.kind,
    metadata: { name, ...(namespace === undefined ? {} : { namespace }), ...(uid === undefined ? {} : { uid }), ...(generation === undefined ? {} : { generation }), ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    spec: { pod, sessionID, ...(terminate === undefined ? {} : { terminate }) } as AccessSessionResource['spec'],
  };
}
