import type { Approval, Policy, ProxyConfig, Rule, Target } from '../../../contract/proxy-config.ts';
import { deny, type Denial } from '../errors.ts';
import type { Identity } from '../identity/identity.ts';
import { isStillMapped } from '../identity/map-claims.ts';
import { byName, byStrictness, combineLimits, combineMasking, combineRecording, decidedBy, type ApprovalDemand } from './combine.ts';
import type { DecidedBy, Grant } from './decision.ts';
import { matchPolicy, type PolicyVerdict } from './match-policy.ts';
import { sealPermit, type Permit } from './permit.ts';
import { nextChangeAt } from './schedule.ts';

/** Everything that the decision to open (or keep) a session rests on. */
export interface AuthorizeInput {
  readonly identity: Identity;
  readonly target: Target;
  readonly database: string;
  readonly config: ProxyConfig;
  /** Unix time, ms. */
  readonly nowMs: number;
  /** Grants that may concern this identity and target; others are ignored. */
  readonly grants: readonly Grant[];
  /** Sessions that this identity has open on this target, the one in question not counted. */
  readonly openSessions: number;
}

/** `explain` has one line per policy, by name: whether it matched and why. It names policies, so it is for logs, tests and policy authors. */
export type AuthorizeOutcome =
  | { readonly outcome: 'allowed'; readonly permit: Permit; readonly explain: readonly string[] }
  | { readonly outcome: 'needs-approval'; readonly policy: Policy; readonly approval: Approval; readonly by: DecidedBy; readonly explain: readonly string[] }
  | { readonly outcome: 'denied'; readonly denial: Denial; readonly explain: readonly string[] };

/**
 * Decides whether an identity may have a session on a target now (D1). Pure; the order of policies, rules and subjects has no meaning.
 *
 * A policy matches when it selects the target, one of its windows is open and one of its subjects is the identity. No match is a denial; a policy that
 * cannot be evaluated is a denial; a Deny rule without conditions denies the session. One matching Standing policy, or an OnRequest one with a grant, opens;
 * otherwise the strictest OnRequest policy says who must approve. OnRequest policies that are not opened still restrict, they never permit; neither do policies for an SSH Target that do
 * not accept the way in which the identity was proven.
 */
export function authorize(input: AuthorizeInput): AuthorizeOutcome {
  const verdicts = [...input.config.policies].sort(byName).map((policy) => matchPolicy(policy, input));
  const explain = verdicts.map((verdict) => `policy "${verdict.policy.name}" ${verdict.why}`);
  const lost = whatIsLost(input);
  if (lost !== null) return { outcome: 'denied', denial: lost, explain };
  const failed = verdicts.find((verdict) => verdict.outcome === 'failed');
  if (failed !== undefined) return { outcome: 'denied', denial: deny('POLICY_EXPRESSION_FAILED', { detail: `policy "${failed.policy.name}"` }), explain };

  const [open, elsewhereOpen] = partition(verdicts.filter((verdict) => verdict.outcome === 'open'), ({ policy }) => acceptsMethod(policy, input));
  const [onRequest, elsewhereOnRequest] = partition(verdicts.filter((verdict) => verdict.outcome === 'on-request').map((verdict) => verdict.policy), (policy) => acceptsMethod(policy, input));
  const accepting = [...open.map((verdict) => verdict.policy), ...onRequest].sort(byName);
  const elsewhere = [...elsewhereOpen.map((verdict) => verdict.policy), ...elsewhereOnRequest].sort(byName);
  if (accepting.length === 0) return { outcome: 'denied', denial: elsewhere.length === 0 ? deny('ACCESS_DENIED') : refuseMethod(elsewhere), explain };
  const matched = [...accepting, ...elsewhere].sort(byName);
  const refused = whatIsRefused(input, accepting, matched);
  if (refused !== null) return { outcome: 'denied', denial: refused, explain };
  return open.length === 0 ? askFor(onRequest, explain) : { outcome: 'allowed', permit: permitFor(input, open, [...onRequest, ...elsewhere].sort(byName), matched), explain };
}

function partition<T>(all: readonly T[], isFirst: (one: T) => boolean): readonly [readonly T[], readonly T[]] {
  return [all.filter(isFirst), all.filter((one) => !isFirst(one))];
}

/** A PostgreSQL session is always proven by a token; the compile step refuses a policy that asks for something else there. */
function acceptsMethod(policy: Policy, { target, identity }: AuthorizeInput): boolean {
  return !('ssh' in target) || policy.sshAuthMethods === undefined || policy.sshAuthMethods.includes(identity.authMethod ?? 'Token');
}

function refuseMethod(policies: readonly Policy[]): Denial {
  const accepted = new Set(policies.flatMap((policy) => policy.sshAuthMethods ?? []));
  return deny('AUTH_METHOD_REFUSED', { detail: `accepted: ${[...accepted].sort().join(', ')}` });
}

type OpenVerdict = Extract<PolicyVerdict, { outcome: 'open' }>;

/** Conditions that may vanish while a session lives (A7): the token's time, the provider, the target. */
function whatIsLost({ identity, target, config, nowMs }: AuthorizeInput): Denial | null {
  if (identity.expiresAtMs <= nowMs) return deny('TOKEN_EXPIRED');
  const trusted = config.identityProviders.some((provider) => isStillMapped(identity, provider));
  if (!trusted) return deny('TOKEN_ISSUER_UNKNOWN');
  return config.targets.some((known) => known.name === target.name && known.uid === target.uid) ? null : deny('ACCESS_DENIED');
}

/** Said only to those whom some policy names: others must not learn which databases and accounts exist. */
function whatIsRefused({ target, database, openSessions }: AuthorizeInput, accepting: readonly Policy[], matched: readonly Policy[]): Denial | null {
  if ('ssh' in target) {
    if (!target.ssh.accounts.includes(database) || !accepting.some((policy) => policy.rules.some((rule) => grantsAccount(rule, database)))) return deny('ACCOUNT_NOT_GRANTED');
  } else {
    if (database === '') return deny('DATABASE_REQUIRED');
    const { databases } = target.postgres;
    if (databases.length > 0 && !databases.includes(database)) return deny('DATABASE_NOT_SERVED');
  }
  for (const policy of matched) {
    const rule = 'ssh' in target ? undefined : [...policy.rules].sort(byName).find((candidate) => deniesEverything(candidate, database));
    if (rule !== undefined) return deny('ACCESS_DENIED_BY_RULE', { detail: nameOf(policy, rule), ...(rule.message === null ? {} : { message: `access denied: ${rule.message}` }) });
  }
  const { concurrentSessions } = combineLimits(matched);
  return concurrentSessions !== null && openSessions >= concurrentSessions ? deny('SESSION_LIMIT_REACHED', { detail: `the limit is ${concurrentSessions}` }) : null;
}

/** A login as an account for which no rule could permit anything is refused at the door: nothing defaults. */
function grantsAccount(rule: Rule, account: string): boolean {
  return 'ssh' in rule && rule.action !== 'Deny' && (rule.ssh.accounts === null || rule.ssh.accounts.includes(account));
}

/** A PostgreSQL session in which every statement is denied is refused at its door. */
function deniesEverything(rule: Rule, database: string): boolean {
  if ('ssh' in rule) return false;
  const { statements, databases, tables, where } = rule.postgres;
  return rule.action === 'Deny' && statements === null && tables === null && where === null && (databases === null || databases.includes(database));
}

function nameOf(policy: Policy, rule: Rule): string {
  return `policy "${policy.name}", rule "${rule.name}"`;
}

function askFor(onRequest: readonly Policy[], explain: readonly string[]): AuthorizeOutcome {
  // P7: a policy that asks for an approval and names nobody who could give it opens to nobody.
  const demands: readonly ApprovalDemand[] = onRequest.flatMap((policy) => {
    const { approval } = policy.access;
    return approval === null || approval.groups.length === 0 ? [] : [{ policy, rule: null, approval }];
  });
  const strictest = [...demands].sort(byStrictness)[0];
  if (strictest === undefined) return { outcome: 'denied', denial: deny('ACCESS_DENIED', { detail: 'an approval is needed, but the policy names no approvers' }), explain };
  const { policy, approval } = strictest;
  return { outcome: 'needs-approval', policy, approval, by: decidedBy(policy, null), explain };
}

function permitFor(input: AuthorizeInput, open: readonly OpenVerdict[], onRequest: readonly Policy[], matched: readonly Policy[]): Permit {
  return sealPermit({
    identity: input.identity, target: input.target, namespace: input.config.namespace, database: input.database,
    policies: open.map((verdict) => verdict.policy), restrictions: onRequest,
    limits: combineLimits(matched), masking: combineMasking(matched), recording: combineRecording(matched),
    ...endOf(input.identity, open),
    openUntilMs: Object.fromEntries(open.flatMap(({ policy, untilMs }) => (untilMs === null ? [] : [[policy.name, untilMs]]))),
    reauthorizeAtMs: nextReauthorization(input, open),
  });
}

/** The session lasts as long as the policy that stays open longest, and never longer than the token. */
function endOf(identity: Identity, open: readonly OpenVerdict[]): Pick<Permit, 'notAfterMs' | 'notAfterReason'> {
  const last = open.reduce((a, b) => ((a.untilMs ?? Infinity) >= (b.untilMs ?? Infinity) ? a : b));
  if (last.untilMs !== null && last.untilMs < identity.expiresAtMs) return { notAfterMs: last.untilMs, notAfterReason: last.endsBy };
  return { notAfterMs: identity.expiresAtMs, notAfterReason: 'TokenExpired' };
}

/** Windows of policies that do not match now count too: a Deny that begins at 18:00 must reach sessions that were opened before. */
function nextReauthorization({ config, target, nowMs }: AuthorizeInput, open: readonly OpenVerdict[]): number | null {
  const changes = config.policies.filter((policy) => policy.targets.includes(target.name) && policy.when.length > 0).map((policy) => nextChangeAt(policy.when, nowMs));
  const moments = [...changes, ...open.map((verdict) => verdict.untilMs)].filter((moment) => moment !== null);
  return moments.length === 0 ? null : Math.min(...moments);
}
