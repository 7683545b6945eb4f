import type { BackendFacts, EndReason, SessionSubject, SshEvent } from '../../../contract/audit.ts';
import { bytesWithin, factsJson } from './bounded-facts.ts';
import { castsJson, type CastList } from './cast-list.ts';
import type { EventBody } from './encode.ts';
import { sshSessionStart } from './event-catalog.ts';
import { boundedText, createIsoClock } from './json-text.ts';
import { sessionEndBody } from './ocsf.ts';
import { activityJson, actorOf, allowed, always, approvalsJson, authOf, backendOf, DecisionJson, requesterKeysOf, rowJson, startMembers, targetOf } from './ocsf-parts.ts';
import { closingCode } from './ssh-operations.ts';

/** What the event that closes an operation needs to know of the one that opened it. */
export interface OperationMark {
  readonly operation: number;
  readonly channel: number;
  /** `log_seq` of the intent. */
  readonly logSeq: number;
  readonly code: string;
  /** `operation` of a file event, for its activity. */
  readonly kind: string;
  /** `process`, `file` or `dst_endpoint` with its name only, a comma behind it. */
  readonly aboutJson: string;
  readonly policyJson: string;
}

/** Counts that close the record of an SSH session. */
export interface SshTotals {
  readonly durationMs: number;
  readonly operations: number;
  readonly denied: number;
  readonly bytes: number;
}

/**
 * Writes the OCSF 1.8.0 objects of one SSH session: Process Activity for commands and shells, File System Activity for files, SSH Activity for the rest.
 * Of the facts `text` (or `command`) becomes `process.cmd_line`, `path` `file.path`, `to` (or `destination`) `dst_endpoint.name`; all others stand in `evidence.facts` as they came.
 */
export class SshEvents {
  readonly #subject: SessionSubject;
  readonly #requesterKeys: ReadonlySet<string>;
  readonly #iso: (ms: number) => string = createIsoClock();
  readonly #head: string;
  readonly #evidence: string;
  readonly #decisions: DecisionJson = new DecisionJson();

  constructor(subject: SessionSubject, backend: BackendFacts) {
    this.#subject = subject;
    this.#requesterKeys = requesterKeysOf(subject);
    const client = JSON.stringify({ ip: subject.client.ip, port: subject.client.port });
    this.#head = `,"actor":${JSON.stringify(actorOf(subject))},"src_endpoint":${client},"device":${JSON.stringify({ hostname: subject.target.name, type_id: 1 })},`;
    this.#evidence = `"client":${client},"target":${JSON.stringify({ ...targetOf(subject), account: subject.target.database })},"backend":${JSON.stringify(backendOf(backend))},${always}`;
  }

  sessionStart(nowMs: number): EventBody {
    const { transport: { ssh }, recording, sessionId, client } = this.#subject;
    const auth = { ...authOf(this.#subject), method: ssh?.authMethod ?? 'oidc', credential_id: ssh?.credentialId ?? null };
    const legs = ssh === undefined ? null : { client: { ...ssh.client, software: ssh.client.software.slice(0, 256) }, target: { kex: ssh.target.kex, cipher: ssh.target.cipher, host_key: ssh.target.hostKey } };
    return {
      json: `${rowJson(sshSessionStart)}${nowMs},"time_dt":"${this.#iso(nowMs)}"${this.#head}${this.#destination()}"status_id":1,"evidence":{"schema":"evidence/v1","phase":"event",${this.#evidence},`
        + `"auth":${JSON.stringify(auth)},${startMembers(this.#subject)}"transport":${JSON.stringify({ protocol: 'ssh', software: client.applicationName, ssh: legs })},`
        + `"recording":${JSON.stringify({ uid: sessionId, format: 'asciicast/3', content: recording.content, durability: recording.durability })}`,
      truncated: false,
    };
  }

  sessionEnd(nowMs: number, reason: EndReason | 'ProxyLost', totals: SshTotals, casts: CastList): EventBody {
    return sessionEndBody({
      nowMs, actor: actorOf(this.#subject, reason), target: targetOf(this.#subject), sessionId: this.#subject.sessionId, reason, seal: null,
      totals: { durationMs: totals.durationMs, statements: totals.operations, denied: totals.denied, rows: 0, bytes: totals.bytes }, recording: castsJson(this.#subject.sessionId, casts),
    });
  }

  /** `recording.sealed`, for recordings that `session.end` has no room for. */
  sealed(nowMs: number, casts: CastList): EventBody {
    return sealedBody(nowMs, this.#head, this.#evidence, this.#subject.sessionId, casts);
  }

  /**
   * An event that closes nothing.
   *
   * @param logSeq `log_seq` that the line will have. @returns a mark when the event opens an operation.
   */
  event(nowMs: number, operation: number, logSeq: number, event: SshEvent): { readonly body: EventBody; readonly mark: OperationMark | null } {
    const { code, decision, approvals, facts } = event;
    const opens = closingCode(code) !== null;
    const about = aboutJson(code, facts, this.#subject);
    const policy = decision === null ? null : this.#decisions.of(decision);
    const rest = factsJson(facts, about.used);
    const kind = textOf(facts['operation']) ?? '';
    const body = {
      json: `${activityJson(code, kind)}${nowMs},"time_dt":"${this.#iso(nowMs)}"${this.#head}${about.json}${opens ? allowed : dispositionJson(code)}${policy?.policyJson ?? ''}`
        + `${event.reason === null ? '' : `"status_code":${JSON.stringify(event.reason)},`}"evidence":{"schema":"evidence/v1","phase":"${opens ? 'intent' : 'event'}",${this.#evidence},`
        + (approvals.length > 0 ? approvalsJson(approvals, this.#requesterKeys) : event.request === null ? '' : `"request":${JSON.stringify({ name: event.request })},`)
        + `${policy === null || decision === null ? '' : `${policy.decisionJson}${this.#iso(decision.evaluatedAtMs)}"},`}${operationJson(operation, event.channel)}"facts":${rest.json}`,
      truncated: about.cut || rest.cut,
    };
    if (!opens) return { body, mark: null };
    return { body, mark: { operation, channel: event.channel, logSeq, code, kind, aboutJson: about.shortJson, policyJson: policy?.policyJson ?? '' } };
  }

  /** The event that closes an operation. It names its intent and does not repeat what was asked. */
  closing(nowMs: number, mark: OperationMark, event: Pick<SshEvent, 'facts' | 'reason'>): EventBody {
    return closingBody(nowMs, `,"time_dt":"${this.#iso(nowMs)}"${this.#head}`, this.#evidence, mark, event);
  }

  #destination(): string {
    return `"dst_endpoint":${JSON.stringify({ name: this.#subject.target.name })},`;
  }
}

/** `recording.sealed`. @param head the members behind the time, @param evidence those of the evidence that are constant for the session. */
export function sealedBody(nowMs: number, head: string, evidence: string, sessionId: string, casts: CastList): EventBody {
  const first = casts.listed[0];
  return {
    json: `${activityJson('recording.sealed')}${nowMs},"time_dt":"${new Date(nowMs).toISOString()}"${head}"file":${JSON.stringify({ name: first?.uri.split('/').at(-1) ?? '', type_id: 1 })},"status_id":1,`
      + `"evidence":{"schema":"evidence/v1","phase":"event",${evidence},"recording":${JSON.stringify(castsJson(sessionId, casts))}`,
    truncated: false,
  };
}

/** The event that closes an operation, for a living session and for crash recovery. @param head the members behind the time, `time_dt` included. */
export function closingBody(nowMs: number, head: string, evidence: string, mark: OperationMark, event: Pick<SshEvent, 'facts' | 'reason'>): EventBody {
  const code = closingCode(mark.code) ?? 'exec.result';
  const { facts, reason } = event;
  const rest = factsJson(facts, new Set());
  const exit = facts['exit_status'];
  const process = typeof exit === 'number' && Number.isSafeInteger(exit) && mark.aboutJson.startsWith('"process"') ? `"exit_code":${exit},` : '';
  return {
    json: `${activityJson(code, mark.kind)}${nowMs}${head}${mark.aboutJson}${process}"status_id":${statusOf(facts, reason)},${allowed}${mark.policyJson}`
      + `${reason === null ? '' : `"status_code":${JSON.stringify(reason)},`}"evidence":{"schema":"evidence/v1","phase":"result","intent_seq":"${mark.logSeq}",${evidence},${operationJson(mark.operation, mark.channel)}"facts":${rest.json}`,
    truncated: rest.cut,
  };
}

// The text's share of the 64 KiB line.
const textBytes = 24_576;
const pathBytes = 4_096;

/** OCSF: 0 unknown, 1 success, 2 failure. */
function statusOf(facts: Readonly<Record<string, unknown>>, reason: string | null): 0 | 1 | 2 {
  const outcome = facts['outcome'];
  if (outcome === 'Unknown') return 0;
  if (typeof outcome === 'string') return outcome === 'Completed' ? 1 : 2;
  const exit = facts['exit_status'];
  return reason !== null || (typeof exit === 'number' && exit !== 0) ? 2 : 1;
}

function operationJson(operation: number, channel: number): string {
  return `"operation":{"n":"${operation}","channel":${channel}},`;
}

function dispositionJson(code: string): string {
  if (code.endsWith('.held')) return '"action_id":99,"action":"Held","disposition_id":14,"disposition":"Delayed",';
  if (code.endsWith('.cancelled')) return '"status_id":2,"action_id":99,"action":"Cancelled","disposition_id":99,"disposition":"Cancelled",';
  if (code === 'command.observed') return '"status_id":0,';
  return '"status_id":2,"action_id":2,"action":"Denied","disposition_id":2,"disposition":"Blocked",';
}

interface About {
  readonly json: string;
  /** Names only, for the event that closes it. */
  readonly shortJson: string;
  readonly used: ReadonlySet<string>;
  readonly cut: boolean;
}

/** What OCSF wants to know of the thing that an event is about. */
function aboutJson(code: string, facts: Readonly<Record<string, unknown>>, subject: SessionSubject): About {
  if (code.startsWith('file.')) {
    const [key, path] = firstText(facts, ['path', 'paths']);
    const bounded = boundedText(path, pathBytes);
    const name = JSON.stringify(bytesWithin(path.split('/').at(-1) ?? '', 256));
    const json = `"file":{"name":${name},"path":${bounded.json},"type_id":1},`;
    return { json, shortJson: json, used: new Set([key]), cut: bounded.cut };
  }
  if (code.startsWith('forward.') || code === 'channel.refused') {
    const [key, to] = firstText(facts, ['to', 'destination']);
    const json = `"dst_endpoint":${JSON.stringify({ name: to === '' ? subject.target.name : bytesWithin(to, 512) })},`;
    return { json, shortJson: json, used: new Set([key]), cut: false };
  }
  const [key, text] = firstText(facts, ['text', 'command']);
  const bounded = boundedText(text, textBytes);
  const programs: unknown = facts['programs'];
  const program = Array.isArray(programs) && typeof programs[0] === 'string' ? programs[0] : code.startsWith('shell.') ? 'shell' : text.trimStart().split(/\s/, 1)[0] ?? '';
  const name = `"name":${JSON.stringify(bytesWithin(program, 256))},"user":${JSON.stringify({ name: subject.target.database })}`;
  return { json: `"process":{${name}${key === '' ? '' : `,"cmd_line":${bounded.json}`}},`, shortJson: `"process":{${name}},`, used: new Set([key]), cut: bounded.cut };
}

function firstText(facts: Readonly<Record<string, unknown>>, keys: readonly string[]): readonly [string, string] {
  for (const key of keys) {
    const text = textOf(facts[key]);
    if (text !== null) return [key, text];
  }
  return ['', ''];
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
