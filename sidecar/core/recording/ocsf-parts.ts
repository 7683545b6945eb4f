import type { ApprovalRecord, BackendFacts, DecisionRecord, EventCode, SessionSubject } from '../../../contract/audit.ts';
import { subjectKey } from '../identity/identity.ts';
import { type CatalogRow, eventCatalog, fileActivity, statementActivity } from './event-catalog.ts';
import { boundedText, isoTime } from './json-text.ts';

/** Where the recording of a session lies and what it hashed to when it was closed. */
export interface RecordingSeal {
  /** Relative to the data directory. */
  readonly uri: string;
  readonly sha256: string;
  readonly bytes: number;
}

/** A seal as it stands in `session.end`; nulls when there is no recording. */
export function sealJson(seal: RecordingSeal | null): Readonly<Record<string, string | null>> {
  return { uri: seal?.uri ?? null, sha256: seal?.sha256 ?? null, bytes: seal === null ? null : String(seal.bytes) };
}

/** Members of an event that policy let pass. */
export const allowed = '"action_id":1,"action":"Allowed","disposition_id":1,"disposition":"Allowed",' as const;

/** Members that open every event, up to and including `"time":`. @param kind statement class, or the operation of a file event. */
export function activityJson(code: EventCode, kind: string = ''): string {
  return rowJson(eventCatalog[code], kind);
}

/** `activityJson` for an event that has more than one row. */
export function rowJson(row: CatalogRow, kind: string = ''): string {
  const activity = row.activity !== null ? { id: row.activity, name: row.activityName } : row.class === 1001 ? fileActivity(kind) : statementActivity(kind);
  return `"activity_id":${activity.id},"activity_name":${JSON.stringify(activity.name)},"category_uid":${row.category},"class_uid":${row.class},`
    + `"type_uid":${row.class * 100 + activity.id},"severity_id":${row.severity},"time":`;
}

/** Fields that every `evidence` object has: nothing here knows of break-glass or a witness yet, and says so. */
export const always: string = '"break_glass":{"used":false},"clock":{"source":"host","offset_ms":null}';

/** `{uid, issuer}` of a subject key, for OCSF users. */
export function person(key: string): { readonly uid: string; readonly issuer: string | null } {
  try {
    const pair: unknown = JSON.parse(key);
    if (Array.isArray(pair) && typeof pair[0] === 'string' && typeof pair[1] === 'string') return { uid: pair[1], issuer: pair[0] };
  } catch {
    // Not a key of ours: it is shown as it is.
  }
  return { uid: key, issuer: null };
}

/** Who must not approve what the session asks for: the user and every agent that acts for them. */
export function requesterKeysOf(subject: SessionSubject): ReadonlySet<string> {
  return new Set([subjectKey(subject.identity), ...subject.identity.actors.map(subjectKey)]);
}

/** OCSF `actor` of a session. */
export function actorOf(subject: SessionSubject, expirationReason: string | null = null): Readonly<Record<string, unknown>> {
  const { identity } = subject;
  return {
    user: { uid: identity.subject, name: identity.username, ...(identity.email === null ? {} : { email_addr: identity.email }), type_id: 1 },
    session: {
      uid: subject.sessionId, is_remote: true, issuer: identity.issuer, created_time: subject.startedAtMs, expiration_time: identity.expiresAtMs,
      ...mfa(identity.amr), ...(expirationReason === null ? {} : { expiration_reason: expirationReason }),
    },
    idp: { name: identity.provider, uid: identity.issuer },
    ...(subject.client.applicationName === null ? {} : { app_name: subject.client.applicationName.slice(0, 64) }),
    ...(identity.actors.length === 0 ? {} : { invoked_by: identity.actors.map((a) => a.subject).join(' < ') }),
  };
}

/** RFC 8176 methods; absent when the token does not say. */
function mfa(amr: readonly string[]): { readonly is_mfa?: boolean } {
  return amr.length === 0 ? {} : { is_mfa: amr.includes('mfa') || amr.length > 1 };
}

/** `evidence.target`. */
export function targetOf(subject: SessionSubject): Readonly<Record<string, unknown>> {
  const { name, uid, labels } = subject.target;
  return { kind: 'Target', namespace: subject.namespace, name, uid, environment: labels['environment'] ?? labels['env'] ?? null };
}

/** `evidence.backend`. */
export function backendOf(backend: BackendFacts): Readonly<Record<string, unknown>> {
  return { role: backend.role, pid: backend.pid, started_at: isoTime(backend.startedAtMs), credential_ref: backend.credentialRef };
}

/** JSON of decisions, made once per distinct one: `policyJson` stands beside the evidence, `decisionJson` lacks the time that ends it. */
export class DecisionJson {
  readonly #known: Map<string, { readonly policyJson: string; readonly decisionJson: string }> = new Map();

  of(decision: DecisionRecord): { readonly policyJson: string; readonly decisionJson: string } {
    const key = `${decision.effect} ${decision.policyUid} ${decision.policyGeneration} ${decision.rule} ${decision.policyDigest} ${decision.reason}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const { effect, policy, policyUid, policyGeneration, policyDigest, rule } = decision;
    const reason = JSON.parse(boundedText(decision.reason, 1024).json) as string;
    const made = {
      policyJson: policy === null ? '' : `"policy":${JSON.stringify({ uid: policyUid, name: policy, version: String(policyGeneration), is_applied: true })},`,
      decisionJson: `"decision":${JSON.stringify({ effect, reason, rule, policy_uid: policyUid, policy_generation: policyGeneration, policy_digest: policyDigest }).slice(0, -1)},"evaluated_at":"`,
    };
    // Reasons can name a statement's object, so the cache is dropped rather than allowed to grow.
    if (this.#known.size >= 256) this.#known.clear();
    this.#known.set(key, made);
    return made;
  }
}

/** `request` and `approvals` of an intent's evidence. */
export function approvalsJson(approvals: readonly ApprovalRecord[], requesterKeys: ReadonlySet<string>): string {
  const first = approvals[0];
  const request = { uid: first?.requestUid ?? null, name: first?.request ?? null, scope: first?.scope ?? null };
  const listed = approvals.map((a) => ({
    approver: { ...person(a.approver.key), name: a.approver.username }, decision_uid: a.decisionUid, request_uid: a.requestUid, time: isoTime(a.timeMs), method: a.method,
    is_mfa: null, distinct_from_requester: !requesterKeys.has(a.approver.key), bound_digest: a.boundDigest,
  }));
  return `"request":${JSON.stringify(request)},"approvals":${JSON.stringify(listed)},`;
}

/** `evidence.auth` of `session.start`. */
export function authOf(subject: SessionSubject): Readonly<Record<string, unknown>> {
  const { identity } = subject;
  return {
    issuer: identity.issuer, provider: identity.provider, method: 'oidc', acr: identity.acr, amr: identity.amr,
    auth_time: identity.authTimeMs === null ? null : isoTime(identity.authTimeMs), token_id: identity.tokenId, act: identity.actors, expires_at: isoTime(identity.expiresAtMs),
  };
}

/** `subject`, `policies` of `session.start`, as members with a comma behind each. */
export function startMembers(subject: SessionSubject): string {
  const user = { groups: subject.identity.groups.map((name) => ({ name })), labels: subject.target.labels, requested_user: subject.client.requestedUser };
  const listed = subject.policies.map((p) => ({ name: p.name, uid: p.uid, generation: p.generation, digest: p.digest }));
  return `"subject":${JSON.stringify(user)},"policies":${JSON.stringify(listed)},`;
}
