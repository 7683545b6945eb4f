import { countAt, isObject, listAt, objectAt, type RecordView, textAt } from '../../sidecar/core/recording/record-view.ts';
import { bytesToUser, closesOperation, closingCode, hiddenValues } from '../../sidecar/core/recording/ssh-operations.ts';
import type { Cell } from './csv.ts';
import type { StoredRecord } from './records.ts';

/** The listings of a pack. */
export const populationNames = ['sessions', 'statements', 'approvals', 'denied_attempts'] as const;
/** Name of one listing. */
export type PopulationName = (typeof populationNames)[number];

/** A row of a listing; its keys are the columns of that listing, all of them, in order. */
export type Row = Readonly<Record<string, Cell>>;

/** Columns of each listing. Every row ends with where its record stands. */
export const populationColumns: Readonly<Record<PopulationName, readonly string[]>> = {
  sessions: [
    'session', 'started', 'ended', 'duration_ms', 'user', 'user_id', 'issuer', 'email', 'groups', 'agents', 'mfa', 'namespace', 'target', 'environment', 'database', 'backend_role', 'client_ip',
    'application', 'policies', 'statements', 'denied', 'rows', 'bytes', 'end_reason', 'recording', 'recording_sha256', 'log_origin', 'log_seq', 'record_hash',
  ],
  statements: [
    'time', 'session', 'user', 'user_id', 'issuer', 'namespace', 'target', 'database', 'statement', 'protocol', 'kind', 'objects', 'text', 'text_complete', 'values_hidden', 'parameters', 'effect', 'policy', 'policy_generation',
    'policy_digest', 'rule', 'request', 'approvers', 'outcome', 'rows', 'bytes', 'masked_cells', 'sqlstate', 'duration_ms', 'limited', 'log_origin', 'log_seq', 'record_hash', 'result_log_origin', 'result_log_seq',
  ],
  approvals: [
    'time', 'event', 'request', 'request_uid', 'scope', 'session', 'requester', 'namespace', 'target', 'database', 'kind', 'objects', 'decision', 'approver', 'approver_key', 'reason', 'method', 'digest', 'log_origin', 'log_seq', 'record_hash',
  ],
  denied_attempts: [
    'time', 'event', 'session', 'user', 'user_verified', 'issuer', 'client_ip', 'namespace', 'target', 'database', 'code', 'reason', 'policy', 'rule', 'kind', 'objects', 'text', 'log_origin', 'log_seq', 'record_hash',
  ],
};

/**
 * Turns records into rows. Sessions and statements are joined from two records, so their rows come when the second one does; what is still open
 * at the end comes last. Memory grows with what is open, not with the period.
 */
export class PopulationBuilder {
  readonly #emit: (population: PopulationName, row: Row) => void;
  readonly #sessions: Map<string, StoredRecord> = new Map();
  readonly #statements: Map<string, StoredRecord> = new Map();
  readonly #operations: Map<string, StoredRecord> = new Map();

  constructor(emit: (population: PopulationName, row: Row) => void) {
    this.#emit = emit;
  }

  /** @param wanted the query asks for it. Ends and results follow their start and intent. */
  feed(stored: StoredRecord, wanted: boolean): void {
    const { record } = stored;
    const session = record.session ?? '';
    const operation = textAt(objectAt(record.evidence, 'operation'), 'n');
    if (operation !== null && (closingCode(record.code) !== null || closesOperation(record.code))) return this.#operation(stored, `${session} ${operation}`, wanted);
    const statement = `${session} ${textAt(objectAt(record.raw, 'query_info'), 'uid') ?? ''}`;
    switch (record.code) {
      case 'session.start':
        if (wanted) this.#sessions.set(session, stored);
        return;
      case 'session.end': return this.#pair(this.#sessions, session, (start) => this.#emit('sessions', sessionRow(start, record)));
      case 'statement.intent':
        if (wanted) this.#statements.set(statement, stored);
        return;
      case 'statement.result': return this.#pair(this.#statements, statement, (intent) => this.#emit('statements', statementRow(intent, record)));
      case 'request.created': case 'request.decided': case 'request.expired': case 'request.withdrawn':
        if (wanted) this.#emit('approvals', approvalRow(stored));
        return;
      case 'statement.denied': case 'statement.cancelled': case 'auth.failed': case 'exec.denied': case 'exec.cancelled': case 'file.denied': case 'forward.refused': case 'channel.refused':
        if (wanted) this.#emit('denied_attempts', deniedRow(stored));
        return;
      default:
    }
  }

  finish(): void {
    for (const start of this.#sessions.values()) this.#emit('sessions', sessionRow(start, null));
    for (const intent of this.#statements.values()) this.#emit('statements', statementRow(intent, null));
    for (const opened of this.#operations.values()) this.#emit('statements', operationRow(opened, null));
  }

  /** What an SSH session did, as a row among the statements. */
  #operation(stored: StoredRecord, key: string, wanted: boolean): void {
    if (closesOperation(stored.record.code)) return this.#pair(this.#operations, key, (opened) => this.#emit('statements', operationRow(opened, stored.record)));
    if (wanted) this.#operations.set(key, stored);
  }

  #pair(open: Map<string, StoredRecord>, key: string, emit: (first: StoredRecord) => void): void {
    const first = open.get(key);
    if (first === undefined) return;
    open.delete(key);
    emit(first);
  }
}

function sessionRow(start: StoredRecord, end: RecordView | null): Row {
  const { record } = start;
  const sums = objectAt(end?.evidence, 'session');
  const recording = objectAt(end?.evidence, 'recording');
  const auth = objectAt(record.evidence, 'auth');
  return {
    session: record.session, started: time(record.timeMs), ended: end === null ? null : time(end.timeMs), duration_ms: countAt(sums, 'duration_ms'),
    ...who(record), email: textAt(objectAt(objectAt(record.raw, 'actor'), 'user'), 'email_addr'),
    groups: listAt(objectAt(record.evidence, 'subject'), 'groups').map((g) => textAt(g, 'name') ?? '').join(' '), agents: listAt(auth, 'act').map((a) => textAt(a, 'subject') ?? '').join(' < '), mfa: mfaOf(record),
    ...where(record), environment: textAt(objectAt(record.evidence, 'target'), 'environment'), database: databaseOf(record), backend_role: textAt(objectAt(record.evidence, 'backend'), 'role'),
    client_ip: textAt(objectAt(record.evidence, 'client'), 'ip'), application: textAt(objectAt(record.raw, 'actor'), 'app_name'),
    policies: listAt(record.evidence, 'policies').map((p) => `${textAt(p, 'name') ?? ''}@${countAt(p, 'generation') ?? ''}`).join(' '),
    statements: countAt(sums, 'statements'), denied: countAt(sums, 'denied'), rows: countAt(sums, 'rows'), bytes: countAt(sums, 'bytes'),
    end_reason: textAt(objectAt(end?.evidence, 'end'), 'reason'), recording: textAt(recording, 'uri'), recording_sha256: textAt(recording, 'sha256'), ...proof(start),
  };
}

function statementRow(intent: StoredRecord, result: RecordView | null): Row {
  const { record } = intent;
  const statement = objectAt(record.evidence, 'statement');
  const query = objectAt(record.raw, 'query_info');
  const outcome = objectAt(result?.evidence, 'result');
  const approvals = listAt(record.evidence, 'approvals').map((a) => textAt(objectAt(a, 'approver'), 'name') ?? '');
  return {
    time: time(record.timeMs), session: record.session, ...who(record), ...where(record), database: databaseOf(record), statement: countAt(query, 'uid'), protocol: textAt(statement, 'protocol'), kind: textAt(statement, 'kind'),
    objects: objectsOf(statement), text: textAt(query, 'query_string'), text_complete: objectAt(record.raw, 'metadata')['is_truncated'] !== true, values_hidden: statement['text_redacted'] === true,
    parameters: listAt(statement, 'params').length === 0 ? null : JSON.stringify(listAt(statement, 'params').map((p) => (isObject(p) ? p['value'] ?? p['hmac'] ?? null : null))),
    ...decisionOf(record), policy_digest: textAt(objectAt(record.evidence, 'decision'), 'policy_digest'), rule: textAt(objectAt(record.evidence, 'decision'), 'rule'),
    request: textAt(objectAt(record.evidence, 'request'), 'name'), approvers: approvals.length === 0 ? null : approvals.join(' '),
    outcome: textAt(outcome, 'outcome'), rows: countAt(outcome, 'rows'), bytes: countAt(outcome, 'bytes'),
    masked_cells: result === null ? null : listAt(objectAt(result.evidence, 'masking'), 'columns').reduce<number>((sum, c) => sum + (countAt(c, 'cells') ?? 0), 0),
    sqlstate: textAt(outcome, 'sqlstate'), duration_ms: typeof outcome['duration_ms'] === 'number' ? outcome['duration_ms'] : null, limited: result === null ? null : outcome['limited'] === true,
    ...proof(intent), result_log_origin: result?.origin ?? null, result_log_seq: result?.logSeq ?? null,
  };
}

/** A command, shell, file or forward: its columns are those of a statement, `database` is the account and `outcome` the exit status where there is one. */
function operationRow(opened: StoredRecord, closed: RecordView | null): Row {
  const { record } = opened;
  const facts = objectAt(record.evidence, 'facts');
  const result = objectAt(closed?.evidence, 'facts');
  const approvals = listAt(record.evidence, 'approvals').map((a) => textAt(objectAt(a, 'approver'), 'name') ?? '');
  const exit = result['exit_status'];
  const outcome = textAt(result, 'outcome') ?? textAt(closed?.raw, 'status_code') ?? (typeof exit === 'number' ? `exit ${exit}` : closed === null ? null : 'Completed');
  return {
    time: time(record.timeMs), session: record.session, ...who(record), ...where(record), database: databaseOf(record), statement: countAt(objectAt(record.evidence, 'operation'), 'n'), protocol: 'ssh', kind: kindOf(record),
    objects: objectsOf({ objects: facts['programs'] }), text: textOf(record), text_complete: objectAt(record.raw, 'metadata')['is_truncated'] !== true, values_hidden: facts['text_redacted'] === true, parameters: null,
    ...decisionOf(record), policy_digest: textAt(objectAt(record.evidence, 'decision'), 'policy_digest'), rule: textAt(objectAt(record.evidence, 'decision'), 'rule'),
    request: textAt(objectAt(record.evidence, 'request'), 'name'), approvers: approvals.length === 0 ? null : approvals.join(' '),
    outcome, rows: null, bytes: closed === null ? null : bytesToUser(result), masked_cells: closed === null ? null : hiddenValues(result), sqlstate: null, duration_ms: typeof result['duration_ms'] === 'number' ? result['duration_ms'] : null,
    limited: closed === null ? null : textAt(closed.raw, 'status_code') === 'BYTE_LIMIT_REACHED', ...proof(opened), result_log_origin: closed?.origin ?? null, result_log_seq: closed?.logSeq ?? null,
  };
}

/** `exec`, `shell`, `Write`, `forward`, …: null outside SSH sessions. */
function kindOf(record: RecordView): string | null {
  if (textAt(objectAt(record.evidence, 'operation'), 'n') === null) return null;
  const operation = record.code.startsWith('file.') ? textAt(objectAt(record.evidence, 'facts'), 'operation') : null;
  return operation ?? record.code.split('.')[0] ?? null;
}

/** Text of a command, path of a file, destination of a forward. */
function textOf(record: RecordView): string | null {
  return textAt(objectAt(record.raw, 'process'), 'cmd_line') ?? textAt(objectAt(record.raw, 'file'), 'path') ?? textAt(objectAt(record.raw, 'dst_endpoint'), 'name');
}

function approvalRow(stored: StoredRecord): Row {
  const facts = objectAt(stored.record.evidence, 'facts');
  return {
    time: time(stored.record.timeMs), event: stored.record.code, request: textAt(facts, 'request'), request_uid: textAt(facts, 'requestUid'), scope: textAt(facts, 'scope'), session: textAt(facts, 'sessionId'),
    requester: textAt(objectAt(facts, 'requester'), 'username'), namespace: textAt(facts, 'namespace'), target: textAt(facts, 'target'), database: textAt(facts, 'database'), kind: textAt(facts, 'kind'), objects: objectsOf(facts),
    decision: textAt(facts, 'decision') ?? textAt(facts, 'phase'), approver: textAt(objectAt(facts, 'approver'), 'username'), approver_key: textAt(objectAt(facts, 'approver'), 'key'),
    reason: textAt(facts, 'reason'), method: textAt(facts, 'method'), digest: textAt(facts, 'digest'), ...proof(stored),
  };
}

function deniedRow(stored: StoredRecord): Row {
  const { record } = stored;
  const login = record.code === 'auth.failed';
  const auth = objectAt(record.evidence, 'auth');
  const statement = objectAt(record.evidence, 'statement');
  const decision = objectAt(record.evidence, 'decision');
  return {
    time: time(record.timeMs), event: record.code, session: record.session, user: login ? textAt(objectAt(record.raw, 'user'), 'name') : who(record)['user'] ?? null, user_verified: login ? auth['verified'] === true : true,
    issuer: login ? textAt(auth, 'issuer') : who(record)['issuer'] ?? null, client_ip: textAt(objectAt(record.evidence, 'client'), 'ip'), ...where(record), database: databaseOf(record),
    code: textAt(record.raw, 'status_code'), reason: textAt(decision, 'reason'), policy: textAt(objectAt(record.raw, 'policy'), 'name'), rule: textAt(decision, 'rule'), kind: textAt(statement, 'kind') ?? kindOf(record),
    objects: objectsOf(statement) ?? objectsOf({ objects: objectAt(record.evidence, 'facts')['programs'] }),
    text: textAt(objectAt(record.raw, 'query_info'), 'query_string') ?? (kindOf(record) === null ? null : textOf(record)), ...proof(stored),
  };
}

function who(record: RecordView): Row {
  const actor = objectAt(record.raw, 'actor');
  return { user: textAt(objectAt(actor, 'user'), 'name'), user_id: textAt(objectAt(actor, 'user'), 'uid'), issuer: textAt(objectAt(actor, 'session'), 'issuer') };
}

function where(record: RecordView): Row {
  const target = objectAt(record.evidence, 'target');
  return { namespace: textAt(target, 'namespace') ?? textAt(objectAt(record.raw, 'metadata'), 'tenant_uid'), target: textAt(target, 'name') };
}

function decisionOf(record: RecordView): Row {
  const policy = objectAt(record.raw, 'policy');
  return { effect: textAt(objectAt(record.evidence, 'decision'), 'effect'), policy: textAt(policy, 'name'), policy_generation: textAt(policy, 'version') };
}

function proof(stored: StoredRecord): Row {
  return { log_origin: stored.record.origin, log_seq: stored.record.logSeq, record_hash: `sha256:${stored.hash}` };
}

function databaseOf(record: RecordView): string | null {
  return textAt(objectAt(record.raw, 'database'), 'name') ?? textAt(objectAt(record.evidence, 'target'), 'account');
}

function objectsOf(value: unknown): string | null {
  const objects = listAt(value, 'objects').filter((o) => typeof o === 'string');
  return objects.length === 0 ? null : objects.join(' ');
}

/** The token may not say; then nobody claims to know. */
function mfaOf(record: RecordView): Cell {
  const mfa = objectAt(objectAt(record.raw, 'actor'), 'session')['is_mfa'];
  return typeof mfa === 'boolean' ? mfa : 'unknown';
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
