import type { AccessSessionResource } from '../../../contract/api/v1alpha1.gen.ts';
import type { DecisionRecord, EndReason, SessionSeal, SessionSubject, SshEvent } from '../../../contract/audit.ts';
import { apiVersion, targetLabel } from '../../../contract/names.ts';
import { printableText } from '../../../contract/printable-text.ts';
import { bytesToUser, closesOperation, closingCode, hiddenValues, isRefusal } from '../../core/recording/ssh-operations.ts';

/** Name of the AccessSession of a session: its id in lower case, which a name of Kubernetes has to be. */
export function sessionObjectName(sessionId: string): string {
  return `s-${sessionId.toLowerCase().replace(/[^a-z0-9-]/g, '-')}`;
}

/** What has happened in a session so far: numbers and the last decision, never a statement or a value. */
export interface SessionSummary {
  readonly commands: number;
  readonly denied: number;
  readonly held: number;
  readonly approved: number;
  readonly maskedValues: number;
  readonly rows: number;
  readonly bytesOut: number;
  readonly lastDecision: Pick<DecisionRecord, 'effect' | 'policy' | 'rule' | 'evaluatedAtMs'> | null;
}

/** What an event of an SSH session adds: what was let through is a command of its own, what was refused or held is no more than that. Pure. */
export function countSshEvent(summary: SessionSummary, event: SshEvent): SessionSummary {
  const { code, decision, approvals, facts } = event;
  const opens = closingCode(code) !== null;
  const closes = closesOperation(code);
  return {
    ...summary,
    commands: summary.commands + (opens ? 1 : 0), approved: summary.approved + (opens && approvals.length > 0 ? 1 : 0),
    denied: summary.denied + (isRefusal(code) ? 1 : 0), held: summary.held + (code === 'exec.held' ? 1 : 0),
    bytesOut: summary.bytesOut + (closes ? bytesToUser(facts) : 0), maskedValues: summary.maskedValues + (closes ? hiddenValues(facts) : 0),
    lastDecision: decision ?? summary.lastDecision,
  };
}

/** How a session ended. */
export interface SessionEnding {
  readonly atMs: number;
  readonly reason: EndReason;
  readonly seal: SessionSeal | null;
  /** Who asked for it (`spec.terminate`), null when nobody did. */
  readonly terminatedBy: string | null;
}

/** An object takes at most 8 KiB, of which the status needs some. */
const specBytes = 6_144;

/** The AccessSession as it is created: who, on what, from where. Pure. @param agent the agent that acts for the user, in Kubernetes form. */
export function sessionObject(subject: SessionSubject, place: { readonly namespace: string; readonly pod: string; readonly agent: string | null }): AccessSessionResource {
  const { identity, target, client } = subject;
  const policies = [...new Map(subject.policies.map(({ name, uid, generation }) => [name, { name, uid, generation: Math.max(1, generation) }])).values()].slice(0, 16);
  const spec: AccessSessionResource['spec'] = {
    sessionID: subject.sessionId,
    user: { username: identity.username, ...(identity.uid === null ? {} : { uid: identity.uid.slice(0, 128) }), ...(place.agent === null ? {} : { actor: place.agent }), identityProvider: identity.provider },
    targetRef: { name: target.name, uid: target.uid },
    protocol: subject.transport.ssh === undefined ? 'PostgreSQL' : 'SSH',
    client: { address: client.ip.slice(0, 64), ...(client.applicationName === null ? {} : { program: shown(client.applicationName, 128) }) },
    account: shown(client.requestedUser, 63),
    pod: place.pod,
    startedAt: wholeSeconds(subject.startedAtMs),
  };
  while (policies.length > 0 && Buffer.byteLength(JSON.stringify({ ...spec, policies })) > specBytes) policies.pop();
  return {
    apiVersion, kind: 'AccessSession', metadata: { name: sessionObjectName(subject.sessionId), namespace: place.namespace, ...(target.name.length > 63 ? {} : { labels: { [targetLabel]: target.name } }) },
    spec: { ...spec, ...(policies.length === 0 ? {} : { policies }) },
  };
}

/** The status to write: whole numbers so far, and the end once there is one. Pure. */
export function sessionStatus(summary: SessionSummary, at: { readonly nowMs: number; readonly generation: number; readonly content: 'Full' | 'Metadata' }, ending: SessionEnding | null): NonNullable<AccessSessionResource['status']> {
  const { commands, denied, held, approved, maskedValues, rows, bytesOut, lastDecision } = summary;
  return {
    observedGeneration: at.generation,
    phase: ending === null ? 'Active' : ending.terminatedBy === null ? 'Ended' : 'Terminated',
    lastSeenAt: wholeSeconds(at.nowMs),
    commands, denied, held, approved, maskedValues, rows, bytesOut,
    ...(lastDecision === null ? {} : {
      lastDecision: {
        action: lastDecision.effect, at: wholeSeconds(lastDecision.evaluatedAtMs), ...(lastDecision.policy === null ? {} : { policy: lastDecision.policy }), ...(lastDecision.rule === null ? {} : { rule: lastDecision.rule.slice(0, 63) }),
      },
    }),
    ...(ending === null ? {} : endOf(ending, at)),
  };
}

function endOf(ending: SessionEnding, at: { readonly generation: number; readonly content: 'Full' | 'Metadata' }): Partial<NonNullable<AccessSessionResource['status']>> {
  const { seal } = ending;
  const endedAt = wholeSeconds(ending.atMs);
  return {
    endedAt, endReason: ending.reason,
    ...(seal?.recording == null ? {} : { recording: { uri: seal.recording.uri.slice(0, 1_024), sha256: seal.recording.sha256, content: at.content, format: seal.recording.format ?? 'sqlrec/1' } }),
    ...(seal === null ? {} : { audit: { logOrigin: seal.log.origin.slice(0, 253), firstSequence: seal.log.firstSequence, lastSequence: seal.log.lastSequence, chainHead: `sha256:${seal.log.chainHead}` } }),
    ...(ending.terminatedBy === null ? {} : {
      conditions: [{ type: 'Terminated', status: 'True', observedGeneration: at.generation, lastTransitionTime: endedAt, reason: 'Terminated', message: `ended by ${printableText(ending.terminatedBy, { oneLine: true })}`.slice(0, 4_096) }],
    }),
  };
}

function shown(text: string, limit: number): string {
  return printableText(text, { oneLine: true }).slice(0, limit);
}

function wholeSeconds(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
