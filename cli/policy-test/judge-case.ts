import type { ProxyConfig, Target } from '../../contract/proxy-config.ts';
import { type Identity, subjectKey } from '../../sidecar/core/identity/identity.ts';
import { authorize } from '../../sidecar/core/policy/authorize.ts';
import type { Decision, Grant, SshCommand, SshItem } from '../../sidecar/core/policy/decision.ts';
import type { Permit } from '../../sidecar/core/policy/permit.ts';
import { type ApprovedRule, reviewCommand } from '../../sidecar/core/policy/review-command.ts';
import { shellItems, transferItems } from '../../sidecar/core/policy/ssh-items.ts';
import type { ShellParser } from '../../sidecar/core/ports.ts';
import { checkCommandText } from '../../sidecar/core/shell/check-text.ts';
import { classifyShell } from '../../sidecar/core/shell/classify.ts';
import { readTransferCommand } from '../../sidecar/core/shell/transfer-command.ts';
import { masksText } from '../../sidecar/ssh/masks-text.ts';
import type { PolicyCase } from './read-cases.ts';

/** What the gateway would answer. `rule` is `policy/rule`, or the policy alone where it decides on the session. */
export interface CaseVerdict {
  readonly verdict: Decision['effect'];
  /** Of a denial. */
  readonly code: string | null;
  readonly rule: string | null;
  /** A sentence for the author. */
  readonly why: string;
}

/** A case that asks nothing that the policies could be asked. */
export interface CaseProblem { readonly problem: string }

/**
 * Asks the compiled policies what the gateway would: first for the session, then for the command, with its very code (D8). What only a target could tell (where a link leads, the
 * home directory) is taken as written.
 */
export async function judgeCase(asked: PolicyCase, config: ProxyConfig, parser: ShellParser, nowMs: number): Promise<CaseVerdict | CaseProblem> {
  const target = config.targets.find(({ name }) => name === asked.target);
  if (target === undefined) return { problem: asked.target === undefined ? 'name a target' : `there is no Target ${asked.target}` };
  const atMs = asked.at === undefined ? nowMs : Date.parse(asked.at);
  const identity = identityOf(asked, config, atMs);
  if (identity === null) return { problem: 'there is no IdentityProvider for this subject' };
  const grants = grantsOf(asked, config, target, identity, atMs);
  const session = authorize({ identity, target, database: ('ssh' in target ? asked.account : asked.database) ?? '', config, nowMs: atMs, grants, openSessions: 0 });
  if (session.outcome === 'denied') return { verdict: 'Deny', code: session.denial.code, rule: null, why: [session.denial.message, ...session.explain].join('; ') };
  if (session.outcome === 'needs-approval') return { verdict: 'RequireApproval', code: null, rule: session.by.policy, why: `the session needs ${session.approval.required} of ${session.approval.groups.join(', ')}` };
  const items = await itemsOf(asked, target, parser);
  if (items === null) return { verdict: 'Allow', code: null, rule: session.permit.policies.map(({ name }) => name).join(', '), why: 'the session opens' };
  if ('problem' in items) return items;
  if ('code' in items) return items;
  const facts: SshCommand = { kind: items.kind, account: asked.account ?? '', items: items.items };
  const decision = reviewCommand(facts, session.permit, { nowMs: atMs, grants, sessionId: 'policy-test', approved: (asked.approved ?? []).map((answer) => approvedRule(answer, config)) });
  return wordDecision(decision, session.permit, items.byteExact);
}

function wordDecision(decision: Decision, permit: Permit, byteExact: boolean): CaseVerdict {
  switch (decision.effect) {
    case 'Allow':
      if ((byteExact || decision.terms?.output === 'Binary') && decision.terms?.unmasked !== true && masksText(permit)) return { verdict: 'Deny', code: 'MASKING_CONFLICT', rule: null, why: 'its bytes cannot be masked, and a policy masks' };
      return { verdict: 'Allow', code: null, rule: decision.by.map(({ policy, rule }) => `${policy}/${rule}`).join(', '), why: decision.by.length === 0 ? 'it runs nothing' : 'every part has a rule' };
    case 'Deny': return { verdict: 'Deny', code: decision.denial.code, rule: decision.by === null ? null : `${decision.by.policy}/${decision.by.rule}`, why: [decision.denial.message, decision.denial.detail].filter((part) => part !== null).join(': ') };
    case 'RequireApproval': return { verdict: 'RequireApproval', code: null, rule: `${decision.by.policy}/${decision.by.rule}`, why: `it needs ${decision.approval.required} of ${decision.approval.groups.join(', ')}` };
    default: return decision satisfies never;
  }
}

type Items = { readonly kind: SshCommand['kind']; readonly items: readonly SshItem[]; readonly byteExact: boolean };

async function itemsOf({ command, shell, file, forward, agent, x11 }: PolicyCase, target: Target, parser: ShellParser): Promise<Items | CaseVerdict | CaseProblem | null> {
  const asks = [command, shell, file, forward, agent, x11].filter((ask) => ask !== undefined).length;
  if (asks === 0) return null;
  if (asks > 1) return { problem: 'ask for one of command, shell, file, forward, agent, x11' };
  if (!('ssh' in target)) return { problem: 'commands, shells, files and forwards are of SSH Targets; a statement needs the catalog of its database' };
  if (shell !== undefined) return { kind: 'Shell', items: [{ kind: 'level', level: shell }], byteExact: false };
  if (file !== undefined) return { kind: 'File', items: [{ kind: 'file', operation: file.operation, path: file.path, bytes: file.bytes ?? null }], byteExact: true };
  if (forward !== undefined) {
    if ((forward.to === undefined) === (forward.listen === undefined)) return { problem: 'a forward has one of to and listen' };
    return { kind: 'Forward', items: [{ kind: 'forward', direction: forward.to === undefined ? 'listen' : 'to', destination: forward.to ?? forward.listen ?? '' }], byteExact: true };
  }
  if (command === undefined) return { kind: agent === true ? 'Agent' : 'X11', items: [{ kind: agent === true ? 'agent' : 'x11' }], byteExact: true };
  const invalid = checkCommandText(command);
  if (invalid !== null) return { verdict: 'Deny', code: invalid, rule: null, why: 'no shell takes this text' };
  const transfer = readTransferCommand(command);
  if (transfer === null) return { kind: 'Exec', items: shellItems(await classifyShell(command, target.ssh.loginShell.type, parser)), byteExact: false };
  const items = transferItems(transfer);
  return items === null ? { problem: `the path of a transfer is absolute here: where a relative one leads, only the target knows` } : { kind: 'File', items, byteExact: true };
}

function identityOf({ as: who = {} }: PolicyCase, config: ProxyConfig, atMs: number): Identity | null {
  const type = who.serviceAccount === undefined ? 'OIDC' : 'ServiceAccount';
  const provider = config.identityProviders.find((each) => (who.provider === undefined ? each.type === type : each.name === who.provider));
  if (provider === undefined) return null;
  const [namespace = '', name = ''] = who.serviceAccount?.split('/') ?? [];
  const username = who.serviceAccount === undefined ? (who.user ?? 'nobody') : `system:serviceaccount:${namespace}:${name}`;
  return {
    provider: provider.name, issuer: provider.issuer, subject: username, username, groups: who.groups ?? [], uid: null, email: null, serviceAccount: who.serviceAccount === undefined ? null : { namespace, name },
    actors: [], tokenId: null, authTimeMs: null, acr: null, amr: [], issuedAtMs: null, expiresAtMs: atMs + sessionMs, ...(who.by === undefined ? {} : { authMethod: who.by }),
    claims: { iss: provider.issuer, sub: username, ...who.claims },
  };
}

const sessionMs = 3_600_000;

function grantsOf({ opened = [], account, database }: PolicyCase, config: ProxyConfig, target: Target, identity: Identity, atMs: number): readonly Grant[] {
  return config.policies.filter(({ name }) => opened.includes(name)).map((policy) => ({
    requestName: 'policy-test', requestUid: 'policy-test', policyUid: policy.uid, policyGeneration: policy.generation, rule: null, scope: 'Window', sessionId: null, subject: subjectKey(identity), target: target.name,
    database: account ?? database ?? '', expiresAtMs: atMs + sessionMs, approvers: [],
  }));
}

function approvedRule(answer: string, config: ProxyConfig): ApprovedRule {
  const [name, rule = null] = answer.split('/');
  const policy = config.policies.find((each) => each.name === name);
  return { policyUid: policy?.uid ?? '', policyGeneration: policy?.generation ?? 0, rule };
}
