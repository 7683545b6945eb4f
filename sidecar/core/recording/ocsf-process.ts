import type { EventCode } from '../../../contract/audit.ts';
import type { EventBody } from './encode.ts';
import { boundedText, isoTime } from './json-text.ts';
import { activityJson, always } from './ocsf-parts.ts';

/** A login that failed, before there was a session. */
export function authFailedBody(nowMs: number, facts: {
  readonly code: string; readonly client: { readonly ip: string; readonly port: number }; readonly target: string;
  readonly requestedUser: string; readonly username: string | null; readonly issuer: string | null;
}): EventBody {
  const user = { name: bounded(facts.username ?? facts.requestedUser), type_id: facts.username === null ? 0 : 1 };
  return {
    json: `${activityJson('auth.failed')}${nowMs},"time_dt":"${isoTime(nowMs)}","status_id":2,"status":"Failure","status_code":${JSON.stringify(facts.code)},`
      + `"user":${JSON.stringify(user)},"src_endpoint":${JSON.stringify(facts.client)},"dst_endpoint":${JSON.stringify({ name: bounded(facts.target) })},"service":{"name":"sallyport"},`
      + `"action_id":2,"action":"Denied","disposition_id":2,"disposition":"Blocked",`
      + `"evidence":{"schema":"evidence/v1","phase":"event","client":${JSON.stringify(facts.client)},"target":${JSON.stringify({ kind: 'Target', name: bounded(facts.target) })},${always},`
      + `"auth":${JSON.stringify({ issuer: facts.issuer === null ? null : bounded(facts.issuer), code: facts.code, requested_user: bounded(facts.requestedUser), verified: facts.username !== null })}`,
    truncated: false,
  };
}

/** Life of the log and of the process: `evidence` gets the given members beside what every event has. */
export function lifecycleBody(code: EventCode, nowMs: number, evidence: Readonly<Record<string, unknown>>): EventBody {
  const members = Object.entries(evidence).map(([key, value]) => `,${JSON.stringify(key)}:${JSON.stringify(value)}`).join('');
  return {
    json: `${activityJson(code)}${nowMs},"time_dt":"${isoTime(nowMs)}","status_id":${code === 'audit.failed' ? 2 : 1},"app":{"name":"sallyport-proxy","type_id":99},`
      + `"evidence":{"schema":"evidence/v1","phase":"event",${always}${members}`,
    truncated: false,
  };
}

/**
 * Requests, decisions, policy changes, exports: `facts` stand under `evidence.facts` as they came.
 * Facts of requests that listings and `verify` read: `request`, `requestUid`, `requester` and `approver` (`{key, username}`), `decision`, `digest`.
 */
export function factsBody(code: EventCode, nowMs: number, facts: Readonly<Record<string, unknown>>): EventBody {
  const full = JSON.stringify(facts);
  const fits = Buffer.byteLength(full) <= factsBytes;
  const kept = fits ? full : JSON.stringify(Object.fromEntries(Object.entries(facts).map(([key, value]) => [key, typeof value === 'string' ? bounded(value) : isSmall(value) ? value : null]).slice(0, 64)));
  const entity = code === 'session.terminated' ? { type_id: 99, type: 'AccessSession', name: text(facts['name']), uid: text(facts['sessionId']) } : code === 'credential.minted' ? { type_id: 99, type: 'Credential', name: text(facts['kind']), uid: text(facts['id']) } : code === 'policy.changed' ? { type_id: 5, type: 'Policy', name: text(facts['policy']) ?? text(facts['name']) } : { type_id: 99, type: 'AccessRequest', name: text(facts['request']) ?? text(facts['name']), uid: text(facts['requestUid']) };
  const user = nameOf(facts['approver']) ?? nameOf(facts['requester']) ?? nameOf(facts['actor']);
  const who = code === 'evidence.exported'
    ? `"actor":${JSON.stringify({ user: { name: user ?? 'unknown' } })},"api":{"operation":"evidence export"},"src_endpoint":{"name":"localhost"},`
    : code === 'credential.minted' ? `"user":${JSON.stringify({ name: user ?? text(facts['username']) ?? 'unknown' })},"service":{"name":"sallyport"},`
    : `${user === null ? '' : `"actor":${JSON.stringify({ user: { name: user } })},`}"entity":${JSON.stringify(entity)},`;
  return {
    json: `${activityJson(code)}${nowMs},"time_dt":"${isoTime(nowMs)}",${disposition(code, facts)}${who}"evidence":{"schema":"evidence/v1","phase":"event",${always},"facts":${kept}`,
    truncated: !fits,
  };
}

const factsBytes = 49_152;

function disposition(code: EventCode, facts: Readonly<Record<string, unknown>>): string {
  if (code !== 'request.decided') return '"status_id":1,';
  const approved = /^approved?$/i.test(text(facts['decision']) ?? text(facts['outcome']) ?? '');
  return approved
    ? '"status_id":1,"action_id":1,"action":"Allowed","disposition_id":8,"disposition":"Approved",'
    : '"status_id":1,"action_id":2,"action":"Denied","disposition_id":25,"disposition":"Rejected",';
}

function isSmall(value: unknown): boolean {
  return JSON.stringify(value ?? null).length <= 512;
}

function nameOf(value: unknown): string | null {
  if (typeof value === 'string') return bounded(value);
  if (typeof value !== 'object' || value === null) return null;
  return 'username' in value ? text(value.username) : null;
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? bounded(value) : null;
}

function bounded(value: string): string {
  return JSON.parse(boundedText(value, 1024).json) as string;
}
