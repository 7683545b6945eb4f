// Whole: one fake of one context; its parts (recorder, inspector, approver, clock) are used together by every test of the relay.
import type { RecordedColumn, SessionRecorder, StatementAttempt, StatementIntent, StatementResult } from '../../contract/audit.ts';
import type { Policy, StatementClass } from '../../contract/proxy-config.ts';
import { SallyportError } from '../../sidecar/core/errors.ts';
import { authorize } from '../../sidecar/core/policy/authorize.ts';
import type { Grant } from '../../sidecar/core/policy/decision.ts';
import type { Permit } from '../../sidecar/core/policy/permit.ts';
import type { ApprovalAsk, ApprovalOutcome, Approver } from '../../sidecar/core/ports.ts';
import { EqualityBudget } from '../../sidecar/core/session/equality-budget.ts';
import { Session } from '../../sidecar/core/session/session.ts';
import { createTally } from '../../sidecar/core/session/tally.ts';
import type { InspectedQuery, StatementEffect, StatementFacts } from '../../sidecar/core/sql/statement-facts.ts';
import { clientLimits, handleClientFrame } from '../../sidecar/postgres/client-messages.ts';
import type { CopyMaskPlan, SessionInspector } from '../../sidecar/postgres/inspector.ts';
import { Batch } from '../../sidecar/postgres/relay/batch.ts';
import { defaultRelayLimits, type RelayContext, type RelayLimits } from '../../sidecar/postgres/relay/context.ts';
import { ReplyQueue } from '../../sidecar/postgres/relay/reply-queue.ts';
import { tellAllAnswered } from '../../sidecar/postgres/relay/settle.ts';
import { plainRowPlan } from '../../sidecar/postgres/relay/row-plan.ts';
import { NameTable } from '../../sidecar/postgres/relay/statements.ts';
import { handleServerFrame, serverLimits } from '../../sidecar/postgres/server-messages.ts';
import { ChunkOutput } from '../../sidecar/postgres/wire/chunk-output.ts';
import { readErrorFields } from '../../sidecar/postgres/wire/error-response.ts';
import { FrameReader } from '../../sidecar/postgres/wire/frame-reader.ts';
import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { type FakeClock, fakeClock } from './fake-clock.ts';
import { aConfig, anIdentity, aPolicy, aTarget, type ShortPolicy } from './policies.ts';

/** What a relay is made of in a unit test; what is left out restricts nothing. */
export interface RelayOptions {
  /** Default: one policy with one rule that allows everything. */
  readonly policies?: Readonly<Record<string, ShortPolicy>>;
  readonly limits?: Partial<RelayLimits>;
  readonly masked?: boolean;
  /** Fsync: `recordIntents` is a promise that settles when the test says `recorder.written()`. */
  readonly durability?: 'Write' | 'Fsync';
}

/** A relay without sockets: frames are fed by hand, what it writes is collected, everything that it asks is a fake. */
export interface RelayBench {
  readonly context: RelayContext;
  readonly recorder: FakeRecorder;
  readonly inspector: FakeInspector;
  readonly approver: FakeApprover;
  readonly clock: FakeClock;
  /** Handles the client's frames as one chunk, in order; resolves when none waits any more and their bytes are forwarded. */
  client(...frames: readonly Buffer[]): Promise<void>;
  /** Handles the server's bytes as one chunk. */
  server(...frames: readonly Buffer[]): void;
  /** What went to the server, to the client since the last call, one short line per frame. */
  toServer(): readonly string[];
  toClient(): readonly string[];
  readonly cancels: { count: number };
}

/** Everything allowed, unless a test says otherwise. */
export const allowAll: ShortPolicy = { rules: [{ name: 'all', action: 'Allow' }] };

/** A permit as `authorize` gives it for these policies. */
export function aPermit(policies: readonly Policy[], nowMs: number, grants: readonly Grant[] = []): Permit {
  const config = aConfig(policies);
  const outcome = authorize({ identity: anIdentity(), target: aTarget(), database: 'orders', config, nowMs, grants, openSessions: 0 });
  if (outcome.outcome !== 'allowed') throw new Error(`not allowed: ${outcome.explain.join('; ')}`);
  return outcome.permit;
}

export function aSession(policies: Readonly<Record<string, ShortPolicy>>, clock: FakeClock): Session {
  return new Session('01SESSION', aPermit(Object.entries(policies).map(([name, short]) => aPolicy(name, short)), clock.now()), clock);
}

/** Makes the bench. */
export function aRelay(options: RelayOptions = {}): RelayBench {
  const clock = fakeClock();
  const session = aSession(options.policies ?? { oncall: allowAll }, clock);
  const recorder = new FakeRecorder(options.durability ?? 'Write');
  const inspector = new FakeInspector();
  inspector.masked = options.masked ?? false;
  const approver = new FakeApprover();
  const tally = createTally();
  const limits = { ...defaultRelayLimits, ...options.limits };
  const forwarded: Buffer[] = [];
  const delivered: Buffer[] = [];
  const cancels = { count: 0 };
  const fromClient = new FrameReader(clientLimits(limits));
  const fromServer = new FrameReader(serverLimits);
  const context: RelayContext = {
    session, recorder, inspector, approver, clock, log: silentLog, digestKey: new Uint8Array(32), equalities: new EqualityBudget(), tally, limits,
    queue: new ReplyQueue(), statements: new NameTable(), portals: new NameTable(), batch: new Batch(tally.statements), toClient: new ChunkOutput(), muted: null,
    status: 'I', sentSinceSync: false, discarding: 'no', copyIn: null, copyFrameGoes: false, copyStarted: null, allAnswered: null, kept: [], held: null, cancelAsked: false, ruinedParsers: 0, ended: null, totals: { rows: 0, bytes: 0, denied: 0 },
    commit: () => {
      const recorded = context.batch.record(recorder);
      const bytes = context.batch.bytes.take();
      const forward = (): void => { if (bytes) forwarded.push(Buffer.from(bytes)); };
      return recorded ? recorded.then(forward) : forward();
    },
    flushToClient: () => {
      const bytes = (context.muted ?? context.toClient).take();
      if (context.muted) context.toClient.take();
      if (bytes) delivered.push(Buffer.from(bytes));
    },
    tell: (message) => void delivered.push(message),
    end: (cause) => {
      if (context.ended) return;
      context.ended = cause;
      context.held?.cancel(cause.denial);
    },
    cancelUpstream: () => {
      cancels.count++;
      return Promise.resolve();
    },
  };
  const take = (from: Buffer[], side: 'client' | 'server'): readonly string[] => describeFrames(Buffer.concat(from.splice(0)), side);
  return {
    context, recorder, inspector, approver, clock, cancels,
    client: async (...frames) => {
      fromClient.feed(Buffer.concat(frames));
      while (fromClient.next() && !context.ended) await handleClientFrame(context, fromClient);
      await context.commit();
    },
    server: (...frames) => {
      fromServer.feed(Buffer.concat(frames));
      while (fromServer.next() && !context.ended) handleServerFrame(context, fromServer);
      context.flushToClient();
      tellAllAnswered(context);
    },
    toServer: () => take(forwarded, 'server'),
    toClient: () => take(delivered, 'client'),
  };
}

/** A log that nobody reads. */
export const silentLog: { error(): void; info(): void; debug(): void } = { error: () => undefined, info: () => undefined, debug: () => undefined };

/** Lets everything that is ready to run have its turn; no time passes. */
export function settled(): Promise<void> {
  return new Promise((resolve) => void turn(resolve));
}

/** Kept, so that a test's fake timers do not stand in for it. */
const turn = setImmediate;

/** Keeps what it is told; fails when told to. */
export class FakeRecorder implements SessionRecorder {
  readonly sessionId = '01SESSION';
  readonly durability: 'Write' | 'Fsync';
  readonly intents: StatementIntent[] = [];
  readonly results: StatementResult[] = [];
  readonly attempts: StatementAttempt[] = [];
  readonly columns: { readonly statement: number; readonly columns: readonly RecordedColumn[] }[] = [];
  readonly rows: { readonly statement: number; readonly body: Buffer }[] = [];
  readonly copies: { readonly statement: number; readonly direction: 'in' | 'out'; readonly text: string }[] = [];
  readonly notices: { readonly statement: number; readonly kind: 'e' | 'n'; readonly message: string }[] = [];
  /** Set: every record fails with it. */
  failure: 'RECORDER_FAILED' | 'STORAGE_FULL' | null = null;
  #waiting: (() => void)[] = [];

  constructor(durability: 'Write' | 'Fsync' = 'Write') {
    this.durability = durability;
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  recordIntents(intents: readonly StatementIntent[]): Promise<readonly number[]> | readonly number[] {
    if (this.durability === 'Write') return this.#keep(intents);
    const { promise, resolve, reject } = Promise.withResolvers<readonly number[]>();
    this.#waiting.push(() => {
      try {
        resolve(this.#keep(intents));
      } catch (error) {
        reject(error as Error);
      }
    });
    return promise;
  }

  /** Under Fsync: the disk answers. */
  written(): void {
    for (const answer of this.#waiting.splice(0)) answer();
  }

  recordResult(result: StatementResult): void {
    this.results.push(result);
  }

  recordAttempt(attempt: StatementAttempt): Promise<void> {
    if (this.failure) return Promise.reject(new SallyportError(this.failure));
    this.attempts.push(attempt);
    return Promise.resolve();
  }

  describe(statement: number, columns: readonly RecordedColumn[]): void {
    this.columns.push({ statement, columns });
  }

  row(statement: number, body: Uint8Array): void {
    this.rows.push({ statement, body: Buffer.from(body) });
  }

  copy(statement: number, direction: 'in' | 'out', chunk: Uint8Array): void {
    this.copies.push({ statement, direction, text: Buffer.from(chunk).toString('latin1') });
  }

  notice(statement: number, kind: 'e' | 'n', fields: { readonly message: string }): void {
    this.notices.push({ statement, kind, message: fields.message });
  }

  flush(): void {
    if (this.failure) throw new SallyportError(this.failure);
  }

  end(): Promise<void> {
    return Promise.resolve();
  }

  #keep(intents: readonly StatementIntent[]): readonly number[] {
    if (this.failure) throw new SallyportError(this.failure);
    return intents.map((intent) => this.intents.push(intent));
  }
}

/** Reads texts by their first words; a test may give any text other facts. */
export class FakeInspector implements SessionInspector {
  masked = false;
  /** Part of `key`: a test grows it to say that catalog, path or rules changed. */
  version = 1;
  /** True: `inspect` answers with a promise. */
  slow = false;
  pathUnknown = false;
  path: readonly string[] | null = ['public'];
  /** What is wrong with the catalog: `inspect` throws it. */
  failure: SallyportError | null = null;
  /** The catalog must be read before `key` is true. */
  refreshing: (() => Promise<void>) | null = null;
  readonly answers = new Map<string, InspectedQuery>();
  readonly inspected: string[] = [];
  readonly effects: { readonly kind: StatementFacts['kind']; readonly completed: boolean }[] = [];
  transactionsOver = 0;
  plan: SessionInspector['planRow'] = (fields) => ({ outcome: 'planned', plan: plainRowPlan(fields) });
  copyPlan: CopyMaskPlan = { outcome: 'plain' };
  names: readonly string[] | null = null;
  closed = false;

  key(): string {
    return `v${this.version} ${this.path?.join(',') ?? '?'}`;
  }

  inspect(text: string): InspectedQuery | Promise<InspectedQuery> {
    if (this.failure) throw this.failure;
    this.inspected.push(text);
    const answer = this.answers.get(text) ?? { outcome: 'read', statements: text.split(';').filter((part) => part.trim() !== '').map((part) => aStatement(part.trim())) };
    return this.slow ? Promise.resolve(answer) : answer;
  }

  refresh(): void | Promise<void> {
    if (this.failure) throw this.failure;
    return this.refreshing?.();
  }

  searchPathUnknown(): boolean {
    return this.pathUnknown;
  }

  setSearchPath(schemas: readonly string[] | null): void {
    this.path = schemas;
    this.pathUnknown = schemas === null;
  }

  sent(facts: StatementFacts): void {
    if (facts.effect?.kind === 'set' && facts.effect.name === 'search_path') this.pathUnknown = true;
  }

  ran(facts: StatementFacts, completed: boolean): void {
    this.effects.push({ kind: facts.kind, completed });
  }

  transactionOver(): void {
    this.transactionsOver++;
  }

  planRow(...asked: Parameters<SessionInspector['planRow']>): ReturnType<SessionInspector['planRow']> {
    return this.plan(...asked);
  }

  showParameters(parameters: Parameters<SessionInspector['showParameters']>[0]): ReturnType<SessionInspector['showParameters']> {
    return parameters.map((parameter, index) => ({ n: index + 1, type: 'unknown', format: 'text', value: parameter.value?.toString() ?? null, hmac: null, redacted: false, bytes: parameter.value?.length ?? 0 }));
  }

  textHmac(text: string): string {
    return `hmac(${text})`;
  }

  searchPathText(): string {
    return this.path?.join(', ') ?? 'unknown';
  }

  rebuild(fields: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
    return this.masked ? new Map([...fields].map(([letter, text]) => [letter, letter === 'M' ? 'rebuilt' : text])) : fields;
  }

  shownName(name: string): string {
    return name;
  }

  shownDenial(denial: Parameters<SessionInspector['shownDenial']>[0]): ReturnType<SessionInspector['shownDenial']> {
    return denial;
  }

  parameterStatus(_name: string, value: string): string | null {
    if (!this.masked) return value;
    return value === 'secret' ? null : 'shown';
  }

  columnNames(): readonly string[] | null {
    return this.names;
  }

  copyMask(): CopyMaskPlan {
    return this.copyPlan;
  }

  close(): void {
    this.closed = true;
  }
}

/** Approvals that a test decides: `asks` holds what was asked, `decide` answers the newest. */
export class FakeApprover implements Approver {
  readonly asks: ApprovalAsk[] = [];
  readonly withdrawn: string[] = [];
  activeGrants: Grant[] = [];
  /** Set: `ask` is refused with it. */
  refuses: 'APPROVAL_UNAVAILABLE' | 'TOO_MANY_REQUESTS' | null = null;
  /** What `use` answers. */
  usable = true;
  /** Another session that shared the request was first: what `usedElsewhere` answers. */
  elsewhere = false;
  used = 0;
  /** What happens while a use is written. */
  whileUsing: () => void = () => {};
  #decide: ((outcome: ApprovalOutcome) => void) | null = null;
  readonly #whenAsked: (() => void)[] = [];
  readonly #listeners: (() => void)[] = [];

  ask(ask: ApprovalAsk): ReturnType<Approver['ask']> {
    if (this.refuses) return Promise.resolve({ outcome: 'refused', code: this.refuses });
    this.asks.push(ask);
    const { promise, resolve } = Promise.withResolvers<ApprovalOutcome>();
    this.#decide = resolve;
    for (const tell of this.#whenAsked.splice(0)) tell();
    const name = `areq-${this.asks.length}`;
    return Promise.resolve({ outcome: 'pending', pending: {
      name, uid: `uid-${name}`, decideByMs: 1_700_000_900_000, outcome: promise,
      use: () => {
        if (this.usable) this.used++;
        this.whileUsing();
        return Promise.resolve(this.usable);
      },
      usedElsewhere: () => this.elsewhere,
      withdraw: (reason) => {
        this.withdrawn.push(reason);
        return Promise.resolve();
      },
    } });
  }

  /** Resolves once a request is undecided and its asker waits. */
  async asked(): Promise<void> {
    if (!this.#decide) await new Promise<void>((resolve) => void this.#whenAsked.push(resolve));
    await settled();
  }

  /** Waits for a request, decides it, and lets the asking side run. */
  async decide(outcome: ApprovalOutcome | 'approved' | 'denied' | 'expired' | 'withdrawn'): Promise<void> {
    await this.asked();
    const decide = this.#decide;
    this.#decide = null;
    decide?.(typeof outcome === 'string' ? this.#outcome(outcome) : outcome);
    await settled();
  }

  grants(): readonly Grant[] {
    return this.activeGrants;
  }

  howToDecide(requestName: string): string {
    return `sallyport approve ${requestName}`;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.push(listener);
    return () => undefined;
  }

  /** Grants changed. */
  changed(): void {
    for (const listener of this.#listeners) listener();
  }

  #outcome(kind: 'approved' | 'denied' | 'expired' | 'withdrawn'): ApprovalOutcome {
    const request = `areq-${this.asks.length}`;
    switch (kind) {
      case 'approved':
        return { outcome: 'approved', request, requestUid: `uid-${request}`, grant: null, approvers: [{ key: 'dba-key', username: 'dba', decisionUid: `decision-${request}`, decidedAtMs: 1_700_000_000_500, method: 'token' }] };
      case 'denied':
        return { outcome: 'denied', request, approver: 'dba', reason: 'not now' };
      case 'expired':
      case 'withdrawn':
        return { outcome: kind, request };
      default:
        return kind satisfies never;
    }
  }
}

const firstWords: Readonly<Record<string, StatementClass>> = {
  select: 'Select', insert: 'Insert', update: 'Update', delete: 'Delete', drop: 'Drop', create: 'Create', alter: 'Alter', begin: 'Transaction', commit: 'Transaction', rollback: 'Transaction', set: 'Set', show: 'Show',
  explain: 'Explain', prepare: 'Select', execute: 'Select', declare: 'Select', fetch: 'Select', close: 'Transaction', deallocate: 'Transaction', discard: 'Transaction', call: 'Call', do: 'Do',
};

/** The facts of a simple text: class by its first word, object the table `public.t` unless another word follows FROM, INTO, UPDATE or TABLE. */
export function aStatement(text: string, changes: Partial<StatementFacts> = {}): StatementFacts {
  const copy = /^copy (\w+) (from|to) /i.exec(text);
  const kind = copy ? (copy[2] === 'from' ? 'CopyIn' : 'CopyOut') : (firstWords[/^\w+/.exec(text)?.[0].toLowerCase() ?? ''] ?? 'Other');
  const table = copy?.[1] ?? /\b(?:from|into|update|table) (\w+)/i.exec(text)?.[1] ?? 't';
  const isFree = kind === 'Transaction' || kind === 'Show';
  return {
    kind, pairs: isFree ? [] : [{ class: kind, object: { schema: 'public', name: table }, where: kind === 'Delete' || kind === 'Update' ? (/\bwhere\b/i.test(text) ? 'Present' : 'Missing') : null }],
    objects: isFree ? [] : [`public.${table}`], calls: [], redactedText: text.replaceAll(/'[^']*'/g, "'?'"), fingerprint: '', range: { start: 0, end: text.length }, effect: effectOf(text),
    copy: copy ? { direction: copy[2] === 'from' ? 'in' : 'out', format: 'text', delimiter: '\t', quote: '"', escape: '"', nullString: '\\N', header: false, forceQuote: null, relation: { schema: 'public', name: table }, columns: null, understood: true } : null,
    returnsRows: ['Select', 'Show', 'Explain'].includes(kind), refusal: null, masking: { outcome: 'clear' }, maskedParameters: [], ...changes,
  };
}

function effectOf(text: string): StatementEffect | null {
  const [, verb, name, rest] = /^(prepare|execute|deallocate|declare|fetch|close|discard|set)\s+(?:all from |from )?(\w+)\s*(?:as |cursor for |cursor with hold for |= ?)?(.*)$/i.exec(text) ?? [];
  switch (verb?.toLowerCase()) {
    case 'prepare': return { kind: 'prepare', name: name ?? '', query: aStatement(rest ?? '') };
    case 'execute': return { kind: 'execute', name: name ?? '' };
    case 'deallocate': return { kind: 'deallocate', name: name === 'all' ? null : (name ?? '') };
    case 'declare': return { kind: 'declare', name: name ?? '', query: aStatement(rest ?? ''), hold: /with hold/i.test(text) };
    case 'fetch': return { kind: 'fetch', name: name ?? '', move: false };
    case 'close': return { kind: 'close', name: name === 'all' ? null : (name ?? '') };
    case 'discard': return { kind: 'discard', what: name === 'all' ? 'ALL' : 'PLANS' };
    case 'set': return { kind: 'set', name: name ?? '', value: rest ?? null, local: false };
    default: break;
  }
  const what = /^(begin|commit|rollback)$/i.exec(text)?.[1]?.toLowerCase();
  if (what === 'begin' || what === 'commit' || what === 'rollback') return { kind: 'transaction', what };
  return /^(create|alter|drop)\b/i.test(text) ? { kind: 'ddl' } : null;
}

/** Backend messages that `frame-writer.ts` has no need for. */
export const backend = {
  parseComplete: write.frame('1'), bindComplete: write.frame('2'), closeComplete: write.frame('3'), noData: write.frame('n'), portalSuspended: write.frame('s'), emptyQuery: write.frame('I'), copyDone: write.frame('c'),
  parameterDescription: write.frame('t', Buffer.alloc(2)),
  ready: (status: 'I' | 'T' | 'E' = 'I'): Buffer => write.readyForQuery(status),
  complete: (tag: string): Buffer => write.commandComplete(tag),
  row: (...cells: readonly (string | null)[]): Buffer => write.frame('D', int16(cells.length), ...cells.flatMap((cell) => (cell === null ? [int32(-1)] : [int32(Buffer.byteLength(cell)), Buffer.from(cell)]))),
  rowDescription: (...names: readonly string[]): Buffer => write.frame('T', int16(names.length), ...names.flatMap((name) => [Buffer.from(`${name}\0`), int32(0), int16(0), int32(25), int16(-1), int32(-1), int16(0)])),
  copyIn: (columns = 1): Buffer => write.frame('G', Buffer.of(0), int16(columns), Buffer.alloc(columns * 2)),
  copyOut: (columns = 1, format: 0 | 1 = 0): Buffer => write.frame('H', Buffer.of(format), int16(columns), Buffer.alloc(columns * 2)),
  copyData: (text: string): Buffer => write.frame('d', Buffer.from(text)),
  error: (sqlstate: string, message = 'no', severity = 'ERROR'): Buffer => write.frame('E', Buffer.from(`S${severity}\0V${severity}\0C${sqlstate}\0M${message}\0\0`)),
  notice: (message: string): Buffer => write.frame('N', Buffer.from(`SNOTICE\0VNOTICE\0C00000\0M${message}\0\0`)),
  notification: write.frame('A', int32(7), Buffer.from('channel\0payload\0')),
} as const;

/** Frontend messages beside those of `frame-writer.ts`. */
export const frontend = {
  copyData: (text: string): Buffer => write.frame('d', Buffer.from(text)), copyDone: write.frame('c'), copyFail: write.frame('f', Buffer.from('no\0')),
  functionCall: (oid: number): Buffer => write.frame('F', int32(oid), int16(0), int16(0), int16(0)),
} as const;


function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

/** Cuts bytes into frames and says of each what a reader wants to know; the poison's random name is `poison`. */
export function describeFrames(bytes: Buffer, side: 'client' | 'server'): readonly string[] {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 1 + bytes.readUInt32BE(at + 1);
    if (end > bytes.length) throw new Error('a frame that was cut off left the relay');
    lines.push(describeFrame(String.fromCharCode(bytes[at] as number), bytes.subarray(at + 5, end), side));
    at = end;
  }
  return lines;
}

function describeFrame(type: string, body: Buffer, side: 'client' | 'server'): string {
  if (side === 'client' && (type === 'E' || type === 'N')) {
    const fields = readErrorFields(body);
    return `${type} ${fields?.get('C')} ${fields?.get('M')}`;
  }
  if (side === 'client' && type === 'T') return `T ${body.readInt16BE(0)}`;
  if (side === 'client' && type === 'D') return `D ${describeCells(body).join('|')}`;
  const text = body.toString('latin1').replace(/sallyport_refused_[0-9a-f]+|sallyport refused the statement that stood here/, 'poison').replaceAll(/sallyport_own_[0-9a-f]+/g, 'own').replaceAll(/[^\x20-\x7e]+/g, ' ').trim();
  return text === '' ? type : `${type} ${text}`;
}

function describeCells(body: Buffer): readonly string[] {
  const cells: string[] = [];
  for (let at = 2; at < body.length;) {
    const length = body.readInt32BE(at);
    cells.push(length < 0 ? 'NULL' : body.toString('utf8', at + 4, at + 4 + length));
    at += 4 + Math.max(0, length);
  }
  return cells;
}
