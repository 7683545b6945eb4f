import { subjectKey } from '../identity/identity.ts';
import type { Findings, Place } from './findings.ts';
import { zeroHash } from './encode.ts';
import { countAt, isObject, listAt, objectAt, type RecordView, textAt } from './record-view.ts';
import { closesOperation, closingCode, isRefusal } from './ssh-operations.ts';

/** A recording that a `session.end` or `recording.sealed` names. */
export interface NamedRecording {
  readonly session: string;
  readonly uri: string;
  /** Hex. */
  readonly sha256: string;
  readonly place: Place;
}

interface SessionState {
  nextSeq: number;
  prevHash: string;
  readonly place: Place;
  readonly origin: string;
  readonly requesterKeys: ReadonlySet<string>;
  readonly intents: Map<number, { readonly logSeq: number; readonly place: Place }>;
  /** Of SSH sessions, by operation. */
  readonly operations: Map<number, { readonly logSeq: number; readonly code: string; readonly place: Place }>;
  /** A file is missing, so breaks in the chain are a loss that is already reported. */
  gap: boolean;
  lastOrigin: string;
}

/** Follows every session through all logs, oldest first: chains, pairs, approvals. */
export class SessionLedger {
  readonly recordings: NamedRecording[] = [];
  /** Sessions by what was seen of them. */
  readonly counts: { sessions: number; ended: number; intents: number; results: number; denied: number; approvals: number } = { sessions: 0, ended: 0, intents: 0, results: 0, denied: 0, approvals: 0 };
  readonly #findings: Findings;
  readonly #open: Map<string, SessionState> = new Map();
  readonly #ended: Set<string> = new Set();
  readonly #decisions: Map<string, { readonly approver: string | null; readonly digest: string | null; readonly approved: boolean }> = new Map();
  readonly #used: Set<string> = new Set();

  constructor(findings: Findings) {
    this.#findings = findings;
  }

  /** A file of records is missing: what is open now may lack records. */
  markGap(): void {
    for (const state of this.#open.values()) state.gap = true;
  }

  /** @param hash SHA-256 of the line as it is stored, hex. */
  feed(record: RecordView, hash: string, place: Place, gapBefore: boolean): void {
    if (record.code === 'request.decided') this.#decided(record);
    if (record.sessionSeq === null || record.session === null) return;
    const state = this.#step(record, record.session, place, gapBefore);
    state.nextSeq = record.sessionSeq + 1;
    state.prevHash = hash;
    state.lastOrigin = record.origin;
    this.#judge(record, record.session, state, place);
  }

  /** Sessions and intents still open at the end, reported unless their log is unfinished. */
  finish(unfinished: ReadonlySet<string>): void {
    for (const [session, state] of this.#open) {
      const open = unfinished.has(state.lastOrigin);
      const kind = open ? 'note' : 'incomplete';
      this.#findings.add(kind, open ? 'session-open' : 'session-without-end', open ? 'the session is still open in a log that is not finished' : 'the session has no end record', { ...state.place, session });
      for (const [statement, intent] of state.intents) {
        this.#findings.add(kind, open ? 'statement-open' : 'intent-without-result', `statement ${statement} has an intent and ${open ? 'not yet a' : 'no'} result`, { ...intent.place, session });
      }
      for (const [operation, { code, place }] of state.operations) {
        this.#findings.add(kind, open ? 'operation-open' : 'intent-without-result', `${code} of operation ${operation} has ${open ? 'not yet a' : 'no'} ${closingCode(code) ?? 'result'}`, { ...place, session });
      }
    }
  }

  #step(record: RecordView, session: string, place: Place, gapBefore: boolean): SessionState {
    const known = this.#open.get(session);
    if (record.code === 'session.start' || known === undefined) return this.#begin(record, session, place, gapBefore);
    if (record.sessionSeq !== known.nextSeq || record.prevHash !== known.prevHash) {
      if (known.gap) this.#findings.add('incomplete', 'chain-gap', `the session's chain goes on at ${record.sessionSeq} after a missing file`, { ...place, session });
      else if (record.sessionSeq !== known.nextSeq) this.#findings.add('tampering', 'session-order', `session_seq is ${record.sessionSeq} where ${known.nextSeq} is due: a record of the session was removed, added or moved`, { ...place, session });
      else this.#findings.add('tampering', 'chain-broken', 'prev_hash is not the hash of the session\'s record before it: that record was changed, or this one', { ...place, session });
      known.gap = false;
    }
    return known;
  }

  #begin(record: RecordView, session: string, place: Place, gapBefore: boolean): SessionState {
    if (record.code === 'session.start') {
      if (this.#open.has(session) || this.#ended.has(session)) this.#findings.add('tampering', 'session-twice', 'the session starts twice', { ...place, session });
      if (record.sessionSeq !== 0 || record.prevHash !== zeroHash) this.#findings.add('tampering', 'session-order', 'the first record of the session is not at the head of its chain', { ...place, session });
    } else if (this.#ended.has(session)) {
      this.#findings.add('tampering', 'after-end', `${record.code} after the session's end`, { ...place, session });
    } else if (gapBefore) {
      this.#findings.add('incomplete', 'session-without-start', 'the start of the session is in a file or log that is missing', { ...place, session });
    } else {
      this.#findings.add('tampering', 'session-without-start', 'the session has no start record', { ...place, session });
    }
    this.counts.sessions += 1;
    const state = { nextSeq: 0, prevHash: zeroHash, place, origin: record.origin, requesterKeys: requesterKeys(record), intents: new Map(), operations: new Map(), gap: gapBefore && record.code !== 'session.start', lastOrigin: record.origin };
    this.#open.set(session, state);
    return state;
  }

  #judge(record: RecordView, session: string, state: SessionState, place: Place): void {
    const statement = countAt(objectAt(record.raw, 'query_info'), 'uid');
    switch (record.code) {
      case 'statement.intent':
        this.counts.intents += 1;
        if (statement === null || state.intents.has(statement)) this.#findings.add('tampering', 'intent-twice', 'two intents bear the same statement number', { ...place, session });
        else state.intents.set(statement, { logSeq: record.logSeq, place });
        this.#approvals(record, session, state, place);
        return;
      case 'statement.result':
        this.counts.results += 1;
        this.#result(record, session, state, statement, place);
        return;
      case 'statement.denied':
        this.counts.denied += 1;
        return;
      case 'session.end':
        this.counts.ended += 1;
        this.#end(record, session, state, place);
        return;
      case 'recording.sealed':
        this.#recordings(record, session, place);
        return;
      default:
        this.#operation(record, session, state, place);
    }
  }

  /** Events of an SSH session: what opens is closed once, by the event that belongs to it. */
  #operation(record: RecordView, session: string, state: SessionState, place: Place): void {
    const { code } = record;
    const at = { ...place, session };
    const operation = countAt(objectAt(record.evidence, 'operation'), 'n');
    if (isRefusal(code)) this.counts.denied += 1;
    if (closingCode(code) !== null) {
      this.counts.intents += 1;
      if (operation === null || state.operations.has(operation)) this.#findings.add('tampering', 'intent-twice', `two ${code} bear the same operation number`, at);
      else state.operations.set(operation, { logSeq: record.logSeq, code, place });
      this.#approvals(record, session, state, place);
    } else if (closesOperation(code)) {
      this.counts.results += 1;
      const opened = operation === null ? undefined : state.operations.get(operation);
      if (operation === null || opened === undefined) {
        if (!state.gap) this.#findings.add('tampering', 'result-without-intent', `${code} without what it closes (operation ${operation})`, at);
        return;
      }
      if (closingCode(opened.code) !== code || countAt(record.evidence, 'intent_seq') !== opened.logSeq) this.#findings.add('tampering', 'wrong-intent', `${code} names another record as its intent`, at);
      state.operations.delete(operation);
    }
  }

  #result(record: RecordView, session: string, state: SessionState, statement: number | null, place: Place): void {
    const intent = statement === null ? undefined : state.intents.get(statement);
    if (statement === null || intent === undefined) {
      if (!state.gap) this.#findings.add('tampering', 'result-without-intent', `a result without an intent (statement ${statement})`, { ...place, session });
      return;
    }
    if (countAt(record.evidence, 'intent_seq') !== intent.logSeq) this.#findings.add('tampering', 'wrong-intent', 'the result names another record as its intent', { ...place, session });
    state.intents.delete(statement);
  }

  #end(record: RecordView, session: string, state: SessionState, place: Place): void {
    for (const [statement, intent] of state.intents) this.#findings.add('incomplete', 'intent-without-result', `statement ${statement} has an intent and no result`, { ...intent.place, session });
    for (const [operation, { code, place: from }] of state.operations) this.#findings.add('incomplete', 'intent-without-result', `${code} of operation ${operation} has no ${closingCode(code) ?? 'result'}`, { ...from, session });
    this.#recordings(record, session, place);
    this.#open.delete(session);
    this.#ended.add(session);
  }

  /** One recording, or those of the channels of an SSH session. */
  #recordings(record: RecordView, session: string, place: Place): void {
    const recording = objectAt(record.evidence, 'recording');
    const casts = listAt(recording, 'casts');
    for (const named of casts.length > 0 ? casts : [recording]) {
      const uri = textAt(named, 'uri');
      const sha256 = textAt(named, 'sha256')?.replace(/^sha256:/, '');
      if (uri !== null && sha256 !== undefined) this.recordings.push({ session, uri, sha256, place });
    }
  }

  #decided(record: RecordView): void {
    const facts = objectAt(record.evidence, 'facts');
    const uid = textAt(facts, 'decisionUid');
    if (uid !== null) this.#decisions.set(uid, { approver: textAt(facts['approver'], 'key'), digest: textAt(facts, 'digest'), approved: /^approve/i.test(textAt(facts, 'decision') ?? '') });
  }

  /** Approval before execution, by somebody else, of what was bound, and a statement's approval once only. */
  #approvals(record: RecordView, session: string, state: SessionState, place: Place): void {
    const approvals = listAt(record.evidence, 'approvals').filter(isObject);
    if (textAt(objectAt(record.evidence, 'decision'), 'effect') === 'RequireApproval' && approvals.length === 0) {
      this.#findings.add('tampering', 'approval-missing', 'a rule requires approval, and the intent names none', { ...place, session });
    }
    const single = textAt(objectAt(record.evidence, 'request'), 'scope') === 'Statement';
    const approvers = new Set<string>();
    for (const approval of approvals) {
      this.counts.approvals += 1;
      const approver = objectAt(approval, 'approver');
      const key = subjectKey({ issuer: textAt(approver, 'issuer') ?? '', subject: textAt(approver, 'uid') ?? '' });
      const say = (code: string, text: string): void => this.#findings.add('tampering', code, text, { ...place, session });
      if (Date.parse(textAt(approval, 'time') ?? '') > record.timeMs) say('approved-later', 'the approval is later than the execution');
      if (state.requesterKeys.has(key) || approval['distinct_from_requester'] === false) say('self-approval', 'the approver is the requester');
      if (approvers.has(key)) say('approver-twice', 'one person counts twice as approver');
      approvers.add(key);
      const uid = textAt(approval, 'decision_uid') ?? '';
      if (single && this.#used.has(uid)) say('approval-reused', 'the approval of one statement was used for another one');
      if (single) this.#used.add(uid);
      const decision = this.#decisions.get(uid);
      if (decision === undefined) continue;
      if (!decision.approved) say('approval-differs', 'the decision that the intent names is a denial');
      if (decision.digest !== null && decision.digest !== textAt(approval, 'bound_digest')) say('approval-differs', 'the approval bound something else than the intent says');
      if (decision.approver !== null && approver['issuer'] !== null && decision.approver !== key) say('approval-differs', 'the decision was made by somebody else than the intent says');
    }
  }
}

function requesterKeys(record: RecordView): ReadonlySet<string> {
  const actor = objectAt(record.raw, 'actor');
  const issuer = textAt(objectAt(actor, 'session'), 'issuer') ?? '';
  const own = subjectKey({ issuer, subject: textAt(objectAt(actor, 'user'), 'uid') ?? '' });
  const agents = listAt(objectAt(record.evidence, 'auth'), 'act').filter(isObject).map((a) => subjectKey({ issuer: textAt(a, 'issuer') ?? '', subject: textAt(a, 'subject') ?? '' }));
  return new Set([own, ...agents]);
}
