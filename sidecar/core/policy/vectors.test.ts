import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { aConfig, aGrant, anIdentity, anSshTarget, aPolicy, aTarget, readCommand, readSshCommand, type ShortGrant, type ShortIdentity, type ShortPolicy } from '../../../tools/testkit/policies.ts';
import type { Policy, SshLevel } from '../../../contract/proxy-config.ts';
import { type AuthorizeInput, type AuthorizeOutcome, authorize } from './authorize.ts';
import type { CommandFacts, DecidedBy, Decision } from './decision.ts';
import { type ApprovedRule, reviewCommand } from './review-command.ts';

interface Vector {
  readonly name: string;
  readonly given: readonly string[];
  readonly identity?: ShortIdentity;
  readonly now?: string;
  /** The command is judged at this later moment, under the permit of `now`. */
  readonly later?: string;
  readonly database?: string;
  readonly databases?: readonly string[];
  readonly openSessions?: number;
  readonly grants?: readonly ShortGrant[];
  readonly pairs?: readonly string[];
  /** Of an SSH Target: the account, what its level is, and what a command asks for. */
  readonly account?: string;
  readonly ceiling?: SshLevel;
  readonly items?: readonly string[];
  /** `policy/rule` or `policy/rule@generation`. */
  readonly approved?: readonly string[];
  readonly then: Readonly<Record<string, unknown>>;
}

interface VectorFile { readonly protocol?: 'ssh'; readonly policies: Readonly<Record<string, ShortPolicy>>; readonly cases: readonly Vector[] }

const noon = '2025-06-02T12:00:00Z';
const files = ['commands', 'sessions', 'ssh-commands', 'ssh-sessions'].map(readVectors);
const casesOf = (kind: 'command' | 'session'): readonly (readonly [string, Vector, VectorFile])[] => files.filter((_, index) => (index % 2 === 0) === (kind === 'command')).flatMap((file) => file.cases.map((vector) => [vector.name, vector, file] as const));

test('the vectors are many, and no two have the same name', () => {
  const names = files.flatMap((file) => file.cases).map((vector) => vector.name);
  expect(names.length).toBeGreaterThanOrEqual(240);
  expect(new Set(names).size).toBe(names.length);
});

describe.each([['in the order given', false], ['reversed', true]] as const)('policies, rules, subjects and pairs %s', (_, reversed) => {
  test.each(casesOf('command'))('command: %s', (_name, vector, file) => {
    const { input, policies } = inputOf(vector, file, reversed);
    const session = authorize(input);
    if (session.outcome !== 'allowed') throw new Error(`no session: ${session.explain.join('; ')}`);
    const asked = vector.items ?? vector.pairs ?? [];
    const inOrder = reversed ? [...asked].reverse() : asked;
    const facts = file.protocol === 'ssh' ? readSshCommand(input.database, inOrder) : readCommand(input.database, inOrder);
    const approved = (vector.approved ?? []).map((answer) => approvedRule(answer, policies));
    const decision = reviewCommand(facts, session.permit, { nowMs: Date.parse(vector.later ?? vector.now ?? noon), grants: input.grants, sessionId: 's1', approved });
    expect(decisionFacts(decision)).toMatchObject(vector.then);
  });

  test.each(casesOf('session'))('session: %s', (_name, vector, file) => {
    const { input } = inputOf(vector, file, reversed);
    const outcome = authorize(input);
    expect(sessionFacts(outcome)).toMatchObject(vector.then);
    expect(outcome.explain).toHaveLength(input.config.policies.length);
  });
});

test('a vector that expects the wrong thing fails', () => {
  const vector: Vector = { name: 'x', given: ['reads'], pairs: ['Insert public.orders'], then: { effect: 'Allow' } };
  const { input } = inputOf(vector, readVectors('commands'), false);
  const session = authorize(input);
  const facts: CommandFacts = readCommand('orders', vector.pairs ?? []);
  const decision = session.outcome === 'allowed' ? decisionFacts(reviewCommand(facts, session.permit, { nowMs: Date.parse(noon), grants: [], sessionId: 's1' })) : {};
  expect(decision).not.toMatchObject(vector.then);
});

function readVectors(name: string): VectorFile {
  return parse(readFileSync(new URL(`./testdata/${name}.yaml`, import.meta.url), 'utf8')) as VectorFile;
}

function inputOf(vector: Vector, file: VectorFile, reversed: boolean): { input: AuthorizeInput; policies: readonly Policy[] } {
  const built = vector.given.map((name) => {
    const short = file.policies[name];
    if (short === undefined) throw new Error(`no policy ${name}`);
    return aPolicy(name, file.protocol === 'ssh' ? { targets: ['web-1'], ...short } : short);
  });
  const policies = reversed ? built.reverse().map((policy) => ({ ...policy, rules: [...policy.rules].reverse(), subjects: [...policy.subjects].reverse(), when: [...policy.when].reverse() })) : built;
  const isSsh = file.protocol === 'ssh';
  const target = isSsh ? anSshTarget('web-1', ['deploy', 'ops'], vector.ceiling ?? 'RawShell') : aTarget('orders-db', vector.databases);
  const input = {
    identity: anIdentity(vector.identity), target, database: vector.account ?? vector.database ?? (isSsh ? 'deploy' : 'orders'), config: aConfig(policies, [target]), nowMs: Date.parse(vector.now ?? noon),
    grants: (vector.grants ?? []).map((grant) => aGrant({ target: target.name, ...grant })), openSessions: vector.openSessions ?? 0,
  };
  return { input, policies };
}

function approvedRule(answer: string, policies: readonly Policy[]): ApprovedRule {
  const [path = '', generation] = answer.split('@');
  const [policy, rule = null] = path.split('/');
  return { policyUid: `uid-${policy}`, policyGeneration: Number(generation ?? policies.find((known) => known.name === policy)?.generation), rule };
}

function ruleName(by: DecidedBy): string {
  return `${by.policy}/${by.rule}`;
}

function decisionFacts(decision: Decision): Readonly<Record<string, unknown>> {
  switch (decision.effect) {
    case 'Allow': return { effect: 'Allow', rules: decision.by.map(ruleName), ...(decision.terms === undefined ? {} : { terms: decision.terms }) };
    case 'Deny': return { effect: 'Deny', policy: decision.by?.policy, rule: decision.by?.rule, code: decision.denial.code, detail: decision.denial.detail, message: decision.denial.message };
    case 'RequireApproval': return { effect: 'RequireApproval', policy: decision.by.policy, rule: decision.by.rule, groups: decision.approval.groups };
    default: return decision satisfies never;
  }
}

function sessionFacts(outcome: AuthorizeOutcome): Readonly<Record<string, unknown>> {
  switch (outcome.outcome) {
    case 'denied': return { session: 'denied', code: outcome.denial.code, detail: outcome.denial.detail };
    case 'needs-approval': return { session: 'needs-approval', policy: outcome.by.policy, groups: outcome.approval.groups };
    case 'allowed': return {
      session: 'allowed', policies: names(outcome.permit.policies), restrictions: names(outcome.permit.restrictions ?? []),
      until: iso(outcome.permit.notAfterMs), reason: outcome.permit.notAfterReason, again: iso(outcome.permit.reauthorizeAtMs ?? null),
    };
    default: return outcome satisfies never;
  }
}

function names(policies: readonly Policy[]): readonly string[] {
  return policies.map((policy) => policy.name);
}

function iso(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString().replace('.000Z', 'Z');
}
