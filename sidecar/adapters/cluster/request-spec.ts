import { createHash } from 'node:crypto';
import type { AccessRequestResource } from '../../../contract/api/v1alpha1.gen.ts';
import { printableText } from '../../../contract/printable-text.ts';
import { targetDigest } from '../../../contract/count-decisions.ts';
import type { IdentityProvider, ProxyConfig, Target } from '../../../contract/proxy-config.ts';
import { requestDigest } from '../../../contract/request-digest.ts';
import type { Identity } from '../../core/identity/identity.ts';
import type { ApprovalAsk } from '../../core/ports.ts';

/** What an AccessRequest asks for. */
export type RequestSpec = AccessRequestResource['spec'];

/** What the spec needs beside the ask. */
export interface SpecContext {
  readonly config: ProxyConfig;
  /** Name of the key of `statementHMAC`, 1 to 64 of `[A-Za-z0-9._-]`. */
  readonly keyId: string;
  /** Name of the AccessSession of a session. */
  readonly sessionObject: (sessionId: string) => string;
}

/**
 * Words an ask as the spec of an AccessRequest, its digest included. Pure.
 *
 * @returns null when it does not fit whole (`APPROVAL_TOO_LARGE`) or its target is not in the config.
 */
export function requestSpecOf(ask: ApprovalAsk, context: SpecContext): RequestSpec | null {
  const target = context.config.targets.find((candidate) => candidate.name === ask.target);
  const facts = target === undefined ? null : factsOf(ask, target, context.config.identityProviders);
  if (target === undefined || facts === null) return null;
  const shown = ask.scope === 'Statement' && ask.statement !== null ? ask.statement : null;
  const spec: Omit<RequestSpec, 'digest'> = {
    scope: ask.scope,
    requester: requesterOf(ask, context.config.identityProviders),
    policyRef: { name: ask.by.policy, uid: ask.by.policyUid, generation: ask.by.policyGeneration, ...(ask.by.rule === null ? {} : { rule: ask.by.rule }) },
    targetRef: { name: target.name, uid: target.uid },
    sessionRef: { name: context.sessionObject(ask.sessionId) },
    action: actionOf(ask),
    ...(shown === null ? {} : { statement: shown.text, statementHMAC: namedHmac(ask.statementHmac ?? '', context.keyId) }),
    ...(shown === null || shown.parameters.length === 0 ? {} : { parameters: [...shown.parameters] }),
    facts,
    approvers: { groups: [...ask.approval.groups], required: ask.approval.required },
    decideWithin: `${ask.approval.decideWithinSeconds}s`,
    ...(ask.approval.grantTtlSeconds === null ? {} : { grantTTL: `${ask.approval.grantTtlSeconds}s` }),
  };
  return { ...spec, digest: requestDigest(spec) };
}

/** `r-` and 20 hex digits of SHA-256(requester, target, digest): the same ask has the same name in every replica. `-n` follows. */
export function requestBaseName(spec: RequestSpec): string {
  const identity = JSON.stringify([spec.requester.username, spec.requester.actor ?? null, spec.targetRef.uid, spec.digest]);
  return `r-${createHash('sha256').update(identity).digest('hex').slice(0, 20)}`;
}

/** Whether two asks for a session or a window mean the same grant; what was made by hand need not say which database. */
export function asksSameGrant(request: RequestSpec, wanted: RequestSpec): boolean {
  const { policyRef: one } = request;
  const { policyRef: other } = wanted;
  const database = factOf(request, 'database');
  return request.scope !== 'Statement' && request.scope === wanted.scope
    && request.requester.username === wanted.requester.username && request.requester.actor === wanted.requester.actor && factOf(request, 'agents') === factOf(wanted, 'agents')
    && (request.requester.uid === undefined || request.requester.uid === wanted.requester.uid)
    && one.name === other.name && one.uid === other.uid && one.generation === other.generation && one.rule === other.rule
    && request.targetRef.uid === wanted.targetRef.uid
    && (database === undefined || database === factOf(wanted, 'database'));
}

/** Whether a request was made by, or for, exactly this identity: the same person with the same agents in the same order. */
export function isRequester(request: RequestSpec, identity: Identity, providers: readonly IdentityProvider[]): boolean {
  const { username, uid, actor } = request.requester;
  if (username !== identity.username) return false;
  if (uid !== undefined && uid !== requesterUid(identity.subject) && uid !== identity.uid) return false;
  const agents = identity.actors.map((link) => agentName(link, providers));
  return actor === agents[0] && factOf(request, 'agents') === agentsFact(agents);
}

/** The requester in Kubernetes form; `uid` holds the immutable subject of the token, since names may be given to others. */
function requesterOf(ask: ApprovalAsk, providers: readonly IdentityProvider[]): RequestSpec['requester'] {
  const agents = ask.requester.actorKeys.map((key) => agentName(partiesOf(key), providers));
  const [actor] = agents;
  return { username: ask.requester.username, uid: requesterUid(partiesOf(ask.requester.key).subject), ...(actor === undefined ? {} : { actor }) };
}

/** A key is JSON of (issuer, subject), `subjectKey` of core. */
function partiesOf(key: string): { readonly issuer: string; readonly subject: string } {
  const [issuer = '', subject = ''] = JSON.parse(key) as readonly string[];
  return { issuer, subject };
}

function requesterUid(subject: string): string {
  return subject.length <= 128 ? subject : createHash('sha256').update(subject).digest('hex');
}

/** An agent in the form in which the API server knows it, as far as its token's subject tells; of an unknown issuer nobody can be known there. At most 253 characters. */
export function agentName(agent: { readonly issuer: string; readonly subject: string }, providers: readonly IdentityProvider[]): string {
  const provider = providers.find((candidate) => candidate.issuer === agent.issuer);
  const name = provider === undefined ? `${agent.issuer}#${agent.subject}` : provider.type === 'ServiceAccount' ? agent.subject : provider.usernamePrefix + agent.subject;
  return name.length <= 253 ? name : `sha256:${createHash('sha256').update(name).digest('hex')}`;
}

/** Agents behind the first one; `requester.actor` names that. */
function agentsFact(agents: readonly string[]): string | undefined {
  return agents.length < 2 ? undefined : whole(agents.join(' < ')) ?? `sha256:${createHash('sha256').update(agents.join('\n')).digest('hex')}`;
}

/** A fact that the approver was shown. */
export function factOf(spec: RequestSpec, name: string): string | undefined {
  return spec.facts?.find((fact) => fact.name === name)?.value;
}

/** One line for people, at most 256 characters. */
function actionOf(ask: ApprovalAsk): string {
  const what = ask.statement === null ? 'session' : ask.scope === 'Statement' ? ask.statement.kind : `${ask.statement.kind} for ${ask.scope === 'Session' ? 'the session' : 'a time window'}`;
  const objects = ask.statement?.objects ?? [];
  const on = ask.statement === null ? ask.database : objects.length === 0 ? '' : `${objects.slice(0, 3).join(', ')}${objects.length > 3 ? ` and ${objects.length - 3} more` : ''}`;
  const line = printableText(on === '' ? what : `${what} on ${on}`, { oneLine: true });
  return line.length <= 256 ? line : `${line.slice(0, 255)}…`;
}

/** Null when something that gives the statement its meaning does not fit whole. */
function factsOf(ask: ApprovalAsk, target: Target, providers: readonly IdentityProvider[]): { name: string; value: string }[] | null {
  const agents = agentsFact(ask.requester.actorKeys.map((key) => agentName(partiesOf(key), providers)));
  const database = whole(ask.database);
  const searchPath = ask.statement === null ? '' : whole(ask.statement.searchPath);
  if (database === null || searchPath === null) return null;
  const about = ask.statement === null ? [] : [
    { name: 'statement-kind', value: ask.statement.kind },
    // The text is there whole; this names what it touches, for the reader.
    { name: 'objects', value: cut(ask.statement.objects.join(', ')) },
    { name: 'search-path', value: searchPath },
    { name: 'transaction-open', value: String(ask.statement.inTransaction) },
  ];
  return [
    { name: 'database', value: database }, ...about, { name: 'policy-digest', value: ask.by.policyDigest }, { name: 'target-digest', value: targetDigest(target) }, { name: 'bound-digest', value: ask.digest },
    ...(agents === undefined ? [] : [{ name: 'agents', value: agents }]),
  ];
}

function whole(text: string): string | null {
  return text.length <= 512 ? text : null;
}

function cut(text: string): string {
  return text.length <= 512 ? text : `${text.slice(0, 511)}…`;
}

/** `hmac-sha256:<hex>` of core with the key's name in it. */
function namedHmac(hmac: string, keyId: string): string {
  return `hmac-sha256:${keyId}:${hmac.slice(hmac.lastIndexOf(':') + 1)}`;
}
