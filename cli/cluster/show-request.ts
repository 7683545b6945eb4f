import { printableText } from '../../contract/printable-text.ts';
import type { ClusterRequest, ClusterUser } from './requests.ts';

/** Writes a request for a terminal as the approver must see it: everything that the digest covers, whole, control and bidi characters escaped. */
export function showClusterRequest(request: ClusterRequest): string {
  const { spec, status, metadata } = request;
  const facts = spec.facts ?? [];
  const decided = status?.conditions?.find((condition) => condition.type === 'Decided');
  const lines = [
    `Request    ${line(metadata.namespace)}/${line(metadata.name)}  ${phaseOf(request)}  (${line(status?.approvals ?? `0/${spec.approvers.required}`)} approvals${decided === undefined ? '' : `: ${line(decided.message)}`})`,
    `Requester  ${line(spec.requester.username)}${spec.requester.uid === undefined ? '' : `  uid ${line(spec.requester.uid)}`}`,
    ...(spec.requester.actor === undefined ? [] : [`  through  agent ${line(spec.requester.actor)}`]),
    `Target     ${line(spec.targetRef.name)}`,
    `Asks for   ${line(spec.action)}: ${coverage(request)}`,
    `Rule       policy ${line(spec.policyRef.name)} (generation ${spec.policyRef.generation})${spec.policyRef.rule === undefined ? '' : `, rule ${line(spec.policyRef.rule)}`}; approvers: ${spec.approvers.groups.map(line).join(', ')}`,
    `Asked      ${line(metadata.creationTimestamp)}, decide within ${line(spec.decideWithin)}${status?.expiresAt === undefined ? '' : `; approved until ${line(status.expiresAt)}`}`,
    ...(spec.reason === undefined ? [] : [`Reason     ${line(spec.reason)}`]),
    ...facts.map((fact) => `Fact       ${line(fact.name)} = ${line(fact.value)}`),
    ...(spec.statement === undefined ? [] : ['Statement', ...printableText(spec.statement).split('\n').map((one) => `  | ${one}`)]),
    ...(spec.parameters ?? []).map((parameter, index) => `  $${index + 1} = ${line(parameter)}`),
    ...(status?.decisions ?? []).map((one) => `Decision   ${line(one.decision)} by ${line(one.by)} at ${line(one.at ?? '?')}${one.counted ? '' : ` (does not count: ${line(one.ignoredReason ?? 'not yet counted')})`}`),
    `Digest     ${line(spec.digest)}`,
  ];
  return `${lines.join('\n')}\n`;
}

/** Writes requests as a table, one a line. */
export function listTable(requests: readonly ClusterRequest[], user: ClusterUser): string {
  const rows = requests.map((one) => [
    one.metadata.namespace, one.metadata.name, one.spec.requester.username, one.spec.targetRef.name, one.spec.action, phaseOf(one), one.status?.approvals ?? `0/${one.spec.approvers.required}`, noteOf(one, user),
  ].map(line));
  const table = [['NAMESPACE', 'NAME', 'REQUESTER', 'TARGET', 'ACTION', 'PHASE', 'APPROVALS', ''], ...rows];
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  return `${table.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd()).join('\n')}\n`;
}

/** The phase as people know it: an approved statement that was forwarded is used. */
export function phaseOf(request: ClusterRequest): string {
  const { phase = 'Pending', use } = request.status ?? {};
  return phase === 'Approved' && use?.state === 'Used' && request.spec.scope === 'Statement' ? 'Used' : phase;
}

function noteOf(request: ClusterRequest, user: ClusterUser): string {
  if (request.spec.requester.username === user.username) return 'yours';
  return phaseOf(request) === 'Pending' && request.spec.approvers.groups.some((group) => user.groups.includes(group)) ? 'you may decide' : '';
}

function coverage({ spec }: ClusterRequest): string {
  if (spec.scope === 'Statement') return 'running this statement once, exactly as shown';
  const ttl = spec.grantTTL === undefined ? '' : ` for ${line(spec.grantTTL)}`;
  const what = spec.policyRef.rule === undefined ? 'opening sessions' : 'every statement that the rule covers';
  return spec.scope === 'Session' ? `${spec.policyRef.rule === undefined ? 'opening one session' : `${what}, in one session`}${ttl}` : `a window: ${what}${ttl}`;
}

function line(text: string): string {
  return printableText(text, { oneLine: true });
}
