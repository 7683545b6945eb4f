import { createHash, createHmac } from 'node:crypto';
import { canonicalJson } from './canonical-json.ts';

/** The request as the approver sees it: text and parameters redacted. Everything in it is bound by `boundDigest`; an `ApprovalAsk` has this shape. */
export interface ApprovalView {
  readonly scope: 'Statement' | 'Session' | 'Window';
  readonly namespace: string;
  readonly target: string;
  readonly targetUid?: string;
  readonly database: string;
  readonly requester: { readonly key: string; readonly username: string; readonly actorKeys: readonly string[] };
  readonly by: { readonly policy: string; readonly policyUid: string; readonly policyGeneration: number; readonly policyDigest: string; readonly rule: string | null };
  readonly approval: { readonly groups: readonly string[]; readonly required: number; readonly decideWithinSeconds: number; readonly grantTtlSeconds: number | null };
  readonly statement: {
    readonly text: string; readonly parameters: readonly string[]; readonly kind: string; readonly objects: readonly string[]; readonly searchPath: string; readonly inTransaction: boolean;
  } | null;
}

/** The exact bytes of a held command: text as received, parameters as bound; `value` null is SQL NULL. `format` 0 is text, 1 is binary. */
export interface ExactStatement {
  readonly text: Uint8Array;
  readonly parameters: readonly { readonly type: number; readonly format: 0 | 1; readonly value: Uint8Array | null }[];
}

/**
 * The digest that an approval binds (D5): SHA-256 over the canonical JSON of what the approver sees plus the keyed hash of the exact bytes.
 * Anyone can recompute it from a stored request; only a holder of the key can tell whether a held statement is the same.
 *
 * @param hmac `statementHmac` of the held command; null when the request is to open a session.
 * @returns `sha256:<64 hex>`.
 * @see docs/audit.md, `bound_digest`; vectors in testdata/approval-digest.json
 */
export function boundDigest(view: ApprovalView, hmac: string | null): string {
  return `sha256:${createHash('sha256').update(canonicalJson({ ...boundFields(view), statementHmac: hmac, version: 1 }), 'utf8').digest('hex')}`;
}

/**
 * Keyed hash of the exact bytes of a command: an unkeyed hash of a statement that holds an SSN could be brute-forced.
 * Each part is preceded by its length (8 bytes, big endian) and each parameter by its type, format and a NULL mark, so no two commands share an encoding.
 *
 * @param key the namespace's key, at least 32 bytes.
 * @returns `hmac-sha256:<64 hex>`.
 * @throws RangeError when the key is too short or a type OID is not an unsigned 32-bit number.
 */
export function statementHmac(key: Uint8Array, statement: ExactStatement): string {
  if (key.byteLength < 32) throw new RangeError('the key of the statement HMAC needs at least 32 bytes');
  const mac = createHmac('sha256', key);
  mac.update('sallyport/statement/v1\0');
  mac.update(length(statement.text.byteLength));
  mac.update(statement.text);
  mac.update(length(statement.parameters.length));
  for (const parameter of statement.parameters) {
    const head = Buffer.alloc(6);
    head.writeUInt32BE(parameter.type, 0);
    head.writeUInt8(parameter.format, 4);
    head.writeUInt8(parameter.value === null ? 0 : 1, 5);
    mac.update(head);
    mac.update(length(parameter.value?.byteLength ?? 0));
    if (parameter.value !== null) mac.update(parameter.value);
  }
  return `hmac-sha256:${mac.digest('hex')}`;
}

/** Only the named fields, so that a caller's further fields (session, reason) never move the digest. */
function boundFields(view: ApprovalView): Record<string, unknown> {
  const { statement } = view;
  return {
    scope: view.scope,
    namespace: view.namespace,
    target: view.target,
    targetUid: view.targetUid ?? null,
    database: view.database,
    requester: { key: view.requester.key, username: view.requester.username, actorKeys: [...view.requester.actorKeys] },
    policy: { name: view.by.policy, uid: view.by.policyUid, generation: view.by.policyGeneration, digest: view.by.policyDigest, rule: view.by.rule },
    approval: {
      groups: [...view.approval.groups], required: view.approval.required, decideWithinSeconds: view.approval.decideWithinSeconds, grantTtlSeconds: view.approval.grantTtlSeconds,
    },
    statement: statement === null ? null : {
      text: statement.text, parameters: [...statement.parameters], kind: statement.kind, objects: [...statement.objects], searchPath: statement.searchPath, inTransaction: statement.inTransaction,
    },
  };
}

function length(bytes: number): Uint8Array {
  const field = Buffer.alloc(8);
  field.writeBigUInt64BE(BigInt(bytes));
  return field;
}
