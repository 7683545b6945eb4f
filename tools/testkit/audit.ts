import type { BackendFacts, DecisionRecord, RecorderFactory, SessionSubject, StatementIntent, StatementResult } from '../../contract/audit.ts';
import type { Clock } from '../../sidecar/core/ports.ts';

/** A clock that moves only when told. */
export class FakeClock implements Clock {
  nowMs: number = Date.UTC(2026, 8, 21, 14, 15, 23, 456);

  now(): number {
    return this.nowMs;
  }

  monotonicMs(): number {
    return this.nowMs - Date.UTC(2026, 8, 21);
  }
}

/** Timers that run only when told. */
export class FakeTimers {
  readonly #tasks: Set<{ readonly ms: number; readonly run: () => void; readonly once: boolean }> = new Set();

  every(ms: number, run: () => void): () => void {
    return this.#add({ ms, run, once: false });
  }

  after(ms: number, run: () => void): () => void {
    return this.#add({ ms, run, once: true });
  }

  /** Runs every task with an interval of at most `ms`, once. */
  run(ms: number): void {
    for (const task of [...this.#tasks].filter((t) => t.ms <= ms)) {
      if (task.once) this.#tasks.delete(task);
      task.run();
    }
  }

  #add(task: { readonly ms: number; readonly run: () => void; readonly once: boolean }): () => void {
    this.#tasks.add(task);
    return () => this.#tasks.delete(task);
  }
}

export function aSubject(sessionId: string = '01SESSION', changes: Partial<SessionSubject> = {}): SessionSubject {
  return {
    sessionId, namespace: 'payments',
    identity: {
      issuer: 'https://idp.bank.example', subject: '00u8f2c', username: 'oidc:asmith@bank.example', groups: ['sre-oncall'], email: 'asmith@bank.example', uid: null, provider: 'okta',
      actors: [], tokenId: 'jti-1', authTimeMs: 1_790_000_000_000, acr: null, amr: ['pwd', 'mfa'], expiresAtMs: 1_790_003_700_000,
    },
    client: { ip: '10.20.3.44', port: 51544, applicationName: 'psql', requestedUser: 'asmith' },
    target: { name: 'orders-db', uid: '2b9a7c44', labels: { environment: 'prod' }, database: 'orders' },
    transport: { tlsVersion: 'TLSv1.3', cipher: 'TLS_AES_256_GCM_SHA384' },
    policies: [{ name: 'oncall', uid: '7d0e6c1a', generation: 42, digest: 'sha256:04f2' }],
    recording: { content: 'Full', durability: 'Write' },
    startedAtMs: Date.UTC(2026, 8, 21, 14, 15, 0), ...changes,
  };
}

export function aBackend(): BackendFacts {
  return { role: 'orders_gateway', pid: 20514, startedAtMs: Date.UTC(2026, 8, 21, 14, 15, 0, 120), credentialRef: 'Secret/payments/orders-gateway' };
}

export function aDecision(changes: Partial<DecisionRecord> = {}): DecisionRecord {
  return { effect: 'Allow', reason: 'PolicyMatched', policy: 'oncall', policyUid: '7d0e6c1a', policyGeneration: 42, policyDigest: 'sha256:04f2', rule: 'reads', evaluatedAtMs: Date.UTC(2026, 8, 21, 14, 15, 23, 449), ...changes };
}

export function anIntent(changes: Partial<StatementIntent> = {}): StatementIntent {
  return {
    protocol: 'extended', statementName: '', portalName: '', kind: 'Select', objects: ['public.customers'], fingerprint: '50fde20626009aba',
    text: 'SELECT id, name, ssn FROM customers WHERE branch_id = $1 LIMIT 50', textRedacted: false, textHmac: 'hmac:k1:abcdefghijklmnopqrstuvwxyz',
    parameters: [{ n: 1, type: 'int4', format: 'text', value: '118', hmac: null, redacted: false, bytes: 3 }],
    transactionStatus: 'I', decision: aDecision(), approvals: [], continues: null, ...changes,
  };
}

export function aResult(statement: number, changes: Partial<StatementResult> = {}): StatementResult {
  return {
    statement, outcome: 'Completed', commandTag: 'SELECT 50', rows: 50, bytesFromServer: 4200, bytesToClient: 4120, maskedCells: [{ name: 'ssn', style: 'Partial', cells: 50 }],
    detectorHits: 0, sqlstate: null, firstRowMs: 2.5, durationMs: 6, transactionStatus: 'I', limited: false, ...changes,
  };
}

/** A DataRow body of text cells. */
export function aRow(cells: readonly (string | null)[]): Buffer {
  const parts: Buffer[] = [Buffer.alloc(2)];
  parts[0]?.writeUInt16BE(cells.length);
  for (const cell of cells) {
    const length = Buffer.alloc(4);
    length.writeInt32BE(cell === null ? -1 : Buffer.byteLength(cell));
    parts.push(length);
    if (cell !== null) parts.push(Buffer.from(cell));
  }
  return Buffer.concat(parts);
}

/** A session with an answer, a denial and an error. Statement 2 is the denied one. */
export async function aWholeSession(recorder: RecorderFactory, id: string, changes: Partial<SessionSubject> = {}): Promise<void> {
  const session = recorder.open(id);
  await session.start(aSubject(id, changes), aBackend());
  await session.recordIntents([anIntent()]);
  session.describe(1, [{ name: 'id', typeOid: 23, style: null, format: 0 }, { name: 'name', typeOid: 25, style: null, format: 0 }, { name: 'ssn', typeOid: 25, style: 'Partial', format: 0 }]);
  session.row(1, aRow(['1', null, '***-**-6789']));
  session.flush();
  session.recordResult(aResult(1));
  const { approvals: _approvals, continues: _continues, ...denied } = anIntent({ kind: 'Drop', text: 'DROP TABLE customers', decision: aDecision({ effect: 'Deny', rule: 'no-ddl' }) });
  await session.recordAttempt({ event: 'statement.denied', intent: denied, code: 'STATEMENT_DENIED', request: null });
  await session.recordIntents([anIntent({ text: 'SELECT 1/0' })]);
  session.notice(3, 'e', { severity: 'ERROR', sqlstate: '22012', message: 'division by zero' });
  session.recordResult(aResult(3, { outcome: 'Failed', sqlstate: '22012', rows: 0, commandTag: null, maskedCells: [] }));
  await session.end('ClientClosed', { rows: 50, bytes: 4120, denied: 1 });
}
