import type { ApprovalRequestView } from '../contract/approval-api.ts';
import { printableText } from '../contract/printable-text.ts';

/** Writes a request for a terminal as the approver must see it: everything that the approval binds, whole, control and bidi characters escaped. */
export function showRequest(request: ApprovalRequestView, nowMs: number): string {
  const { statement, by, approval } = request;
  const lines = [
    `Request    ${request.name}  ${request.phase}  (${request.approvals} of ${request.required} approvals, ${timing(request, nowMs)})`,
    `Requester  ${line(request.requester.username)}  key ${line(request.requester.key)}`,
    ...request.requester.actorKeys.map((key) => `  through  agent ${line(key)}`),
    `Target     ${line(request.target)}, ${placeOf(request)} ${line(request.database)}, namespace ${line(request.namespace)}`,
    `Asks for   ${askedFor(request)}`,
    `Rule       policy ${line(by.policy)} (generation ${by.policyGeneration})${by.rule === null ? '' : `, rule ${line(by.rule)}`}; approvers: ${approval.groups.map(line).join(', ')}`,
  ];
  if (statement !== null) {
    const isSsh = sshKinds.has(statement.kind);
    if (isSsh) lines.push(`Runs       ${statement.objects.map(line).join(', ') || 'nothing'}`);
    else lines.push(`Objects    ${statement.objects.map(line).join(', ') || 'none'};  search_path ${line(statement.searchPath)}${statement.inTransaction ? ';  in an open transaction that keeps its locks' : ''}`);
    lines.push(`${isSsh ? 'Command   ' : 'Statement '} ${line(statement.kind)}${request.whole ? '' : ' (cut)'}`, ...block(statement.text));
    lines.push(...statement.parameters.map((parameter, index) => (isSsh ? `  with ${line(parameter)}` : `  $${index + 1} = ${line(parameter)}`)));
  }
  lines.push(...request.decisions.map((one) => `Decision   ${one.decision} by ${line(one.by)} at ${time(one.decidedAtMs)}${one.reason === '' ? '' : `: ${line(one.reason)}`}${one.counted ? '' : ' (not counted)'}`));
  lines.push(`Digest     ${line(request.digest)}`);
  return `${lines.join('\n')}\n`;
}

/** Writes requests as a table, one a line. */
export function listRequests(requests: readonly ApprovalRequestView[], nowMs: number): string {
  const rows = requests.map((one) => [one.name, line(one.requester.username), line(one.target), action(one), one.phase, `${one.approvals}/${one.required}`, timing(one, nowMs), one.mayDecide ? 'you may decide' : one.mine ? 'yours' : '']);
  const table = [['NAME', 'REQUESTER', 'TARGET', 'ACTION', 'PHASE', 'APPROVALS', 'TIME', ''], ...rows];
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  return `${table.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd()).join('\n')}\n`;
}

/** What an SSH request asks for; the others are classes of SQL statements. */
const sshKinds: ReadonlySet<string> = new Set(['Exec', 'Shell', 'File', 'Forward', 'Agent', 'X11']);

/** A request to open a session does not tell what kind of server it is for. */
function placeOf({ statement }: ApprovalRequestView): string {
  return statement === null ? 'database or account' : sshKinds.has(statement.kind) ? 'account' : 'database';
}

function askedFor(request: ApprovalRequestView): string {
  const ttl = request.approval.grantTtlSeconds === null ? '' : ` for ${duration(request.approval.grantTtlSeconds * 1000)}`;
  if (request.scope === 'Statement') return `running this ${request.statement !== null && sshKinds.has(request.statement.kind) ? 'command' : 'statement'} once, exactly as shown`;
  const what = request.statement === null ? 'opening sessions' : 'this and every later statement that the rule covers';
  return request.scope === 'Session' ? `${request.statement === null ? 'opening one session' : `${what}, in session ${line(request.sessionId)}`}${ttl}` : `a window: ${what}${ttl}`;
}

function action(request: ApprovalRequestView): string {
  if (request.statement === null) return `${request.scope === 'Window' ? 'window' : 'session'} on ${line(request.database)}`;
  const text = printableText(request.statement.text.replaceAll(/\s+/g, ' ').trim(), { oneLine: true });
  return text.length > 48 ? `${text.slice(0, 47)}…` : text;
}

function timing(request: ApprovalRequestView, nowMs: number): string {
  if (request.phase === 'Pending') return `decide within ${duration(request.decideByMs - nowMs)}`;
  if (request.expiresAtMs !== null) return `until ${time(request.expiresAtMs)}`;
  return request.decidedAtMs === null ? `asked ${time(request.createdAtMs)}` : `decided ${time(request.decidedAtMs)}`;
}

function block(text: string): string[] {
  return printableText(text).split('\n').map((one) => `  | ${one}`);
}

function line(text: string): string {
  return printableText(text, { oneLine: true });
}

function time(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');
}

function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
