import type { Socket } from 'node:net';
import type { RecorderFactory, SessionRecorder, SessionSubject } from '../../contract/audit.ts';
import { type Denial, deny, SallyportError } from '../core/errors.ts';
import type { Identity } from '../core/identity/identity.ts';
import type { Permit } from '../core/policy/permit.ts';
import type { SecretSource } from '../core/ports.ts';
import { type AdmissionDeps, openSession } from '../core/session/open-session.ts';
import type { Admission } from '../core/session/admission.ts';
import type { EqualityBudget } from '../core/session/equality-budget.ts';
import type { Session, SessionEnd } from '../core/session/session.ts';
import { countDenial, type Tally } from '../core/session/tally.ts';
import type { CancelKeys, CancelPeers } from './cancel-keys.ts';
import { cancelUpstream } from './cancel-upstream.ts';
import { explainCutToken, ownParameters, PostgresClientPort } from './client-port.ts';
import type { SessionInspector } from './inspector.ts';
import { holdWords } from './relay/hold-statement.ts';
import { relay } from './relay/relay.ts';
import { readStartup, type StartupDeps, type StartupSession } from './startup.ts';
import { targetOf } from './target-of.ts';
import { connectUpstream, type Upstream } from './upstream.ts';
import { sendAndClose } from './wire/close-socket.ts';

/** What serving PostgreSQL connections takes. */
export interface PostgresDeps extends AdmissionDeps {
  readonly tls: StartupDeps['tls'];
  readonly allowPlaintextLoopback: boolean;
  readonly secrets: SecretSource;
  readonly recorders: RecorderFactory;
  readonly cancelKeys: CancelKeys;
  /** Null where there is one replica only. */
  readonly cancelPeers?: CancelPeers | null;
  readonly equalities: EqualityBudget;
  /** Reads the catalog if need be. Throws CATALOG_UNAVAILABLE. */
  readonly openInspector: (session: Session, upstream: Upstream) => Promise<SessionInspector>;
  readonly count: (outcome: 'opened' | 'denied' | 'failed' | 'cancel' | 'closed') => void;
  readonly tally: Tally;
}

/** From the first packet to the target's ReadyForQuery. */
const upstreamDeadlineMs = 20_000;

/**
 * Serves one connection from accept to close. Reads top to bottom: startup, admission, target, ready, relay, end.
 *
 * The target is known from the listener's port, never from a name that the client chose. Nothing is dialled without a permit, and success is said last.
 */
export async function serveConnection(socket: Socket, admission: Admission, targetName: string, deps: PostgresDeps): Promise<void> {
  const startup = await readStartup(socket, { tls: deps.tls, allowPlaintextLoopback: deps.allowPlaintextLoopback, signal: admission.signal });
  if (startup.kind === 'closed') return deps.count('closed');
  if (startup.kind === 'cancel') {
    deps.count('cancel');
    const outcome = deps.cancelKeys.cancel(startup.pid, startup.key, startup.remote.ip);
    // The Service may have led the client to another replica than the one that holds its session.
    if (outcome === 'unknown') await deps.cancelPeers?.cancel(startup.pid, startup.key);
    // Over TLS libpq takes an end without close_notify for an error of the cancel.
    await sendAndClose(startup.socket, null);
    return;
  }
  const login: Login = { startup, targetName, sessionId: deps.newSessionId(), port: new PostgresClientPort(startup) };
  const unavailable = deps.registry.draining ? 'DRAINING' : deps.recorders.unavailable();
  if (unavailable) return refuseLogin(login, deny(unavailable), null, deps);
  const opened = await admit(login, admission, deps);
  if (opened.outcome === 'denied') return refuseLogin(login, opened.denial, opened.identity, deps);
  const { session } = opened;
  try {
    await serveSession(login, session, admission, deps);
  } catch (error) {
    if (!(error instanceof SallyportError)) deps.log.error('session failed', { sessionId: session.id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    await refuseLogin(login, error instanceof SallyportError ? error.toDenial() : deny('INTERNAL'), session.identity, deps, 'failed');
  } finally {
    deps.registry.remove(session);
  }
}

interface Login {
  readonly startup: StartupSession;
  readonly targetName: string;
  readonly sessionId: string;
  readonly port: PostgresClientPort;
}

/** Token, decision and, where the policy asks for it, an approval, shown to the client as notices. */
async function admit(login: Login, admission: Admission, deps: PostgresDeps): ReturnType<typeof openSession> {
  const { port, startup } = login;
  let tokenBytes = 0;
  let resume: (() => void) | null = null;
  try {
    const opened = await openSession(
      {
        gone: port.gone,
        askForToken: async (signal) => {
          const asked = await port.askForToken(signal);
          if (asked.outcome === 'token') tokenBytes = asked.token.length;
          return asked;
        },
        announceHold: (notice) => port.notice({ sqlstate: notice.kind === 'held' ? 'SP001' : notice.kind === 'waiting' ? 'SP002' : 'SP003', ...sessionWords(notice) }),
      },
      {
        target: login.targetName, database: startup.database, sessionId: login.sessionId,
        onHold: (held) => {
          deps.tally.heldLogins += held ? 1 : -1;
          if (held) resume = admission.pause();
          else resume?.();
        },
      },
      deps, admission.signal,
    );
    return opened.outcome === 'denied' ? { ...opened, denial: explainCutToken(opened.denial, tokenBytes) } : opened;
  } catch (error) {
    return { outcome: 'denied', denial: error instanceof SallyportError ? error.toDenial() : deny('INTERNAL'), identity: null };
  }
}

function sessionWords(notice: Parameters<typeof holdWords>[0]): ReturnType<typeof holdWords> {
  const words = holdWords(notice);
  return { ...words, message: words.message.replace(/^statement held/, 'session held') };
}

async function serveSession(login: Login, session: Session, admission: Admission, deps: PostgresDeps): Promise<void> {
  const { startup } = login;
  await using upstream = await connectUpstream(
    session.permit, { parameters: startup.parameters, sessionId: session.id, username: session.identity.username },
    { secrets: deps.secrets, clock: deps.clock, signal: admission.signal, deadlineMs: upstreamDeadlineMs },
  );
  const inspector = await deps.openInspector(session, upstream);
  try {
    const recorder = deps.recorders.open(session.id);
    await recorder.start(subjectOf(login, session), { role: upstream.role, pid: upstream.processId, startedAtMs: upstream.startedAtMs, credentialRef: `Secret/${session.permit.namespace}/${targetOf(session.permit).credentialsSecret}` });
    const { end, totals } = await runRelay(login, session, recorder, inspector, upstream, admission, deps);
    deps.tally.sessionEnds[end.reason]++;
    if (end.reason !== 'ClientClosed') countDenial(deps.tally, end.denial.code);
    deps.log.info('session closed', { sessionId: session.id, target: login.targetName, reason: end.reason, code: end.denial.code });
    await endRecord(recorder, end, totals, deps);
  } finally {
    inspector.close();
    startup.reader.takeBuffered();
  }
}

async function runRelay(login: Login, session: Session, recorder: SessionRecorder, inspector: SessionInspector, upstream: Upstream, admission: Admission, deps: PostgresDeps): ReturnType<typeof relay> {
  const { startup, port } = login;
  let cancel = (): void => undefined;
  const key = deps.cancelKeys.issue(startup.protocolMinor === 2 ? 32 : 4, () => cancel());
  try {
    port.ready(shownParameters(upstream.parameters, inspector), key);
    admission.admitted();
    deps.count('opened');
    deps.log.info('session opened', { sessionId: session.id, target: login.targetName, protocol: 'postgres' });
    return await relay({
      client: startup.socket, clientLeftover: startup.reader.takeBuffered(), upstream: upstream.socket, upstreamLeftover: upstream.leftover, session, recorder, inspector,
      approver: deps.approver, clock: deps.clock, log: deps.log, digestKey: deps.digestKey, equalities: deps.equalities, tally: deps.tally, cancelUpstream: () => cancelUpstream(upstream), onCancelReady: (ready) => { cancel = ready; },
    });
  } finally {
    key.remove();
  }
}

/** The target's role or database may have been given a value as a setting: what it reports at login is checked as later reports are. */
function shownParameters(parameters: ReadonlyMap<string, string>, inspector: SessionInspector): ReadonlyMap<string, string> {
  return new Map([...parameters].flatMap(([name, value]) => {
    const shown = ownParameters.has(name) ? value : inspector.parameterStatus(name, value);
    return shown === null ? [] : [[name, shown] as const];
  }));
}

/** The record's last line; when even that cannot be written, the recovery of the next start writes it. */
async function endRecord(recorder: SessionRecorder, end: SessionEnd, totals: { readonly rows: number; readonly bytes: number; readonly denied: number }, deps: PostgresDeps): Promise<void> {
  try {
    await recorder.end(end.reason, totals);
  } catch (error) {
    deps.log.error('session record not closed', { sessionId: recorder.sessionId, code: error instanceof SallyportError ? error.code : 'INTERNAL' });
  }
}

async function refuseLogin(login: Login, denial: Denial, identity: Identity | null, deps: PostgresDeps, outcome: 'denied' | 'failed' = 'denied'): Promise<void> {
  const { startup } = login;
  deps.count(outcome);
  countDenial(deps.tally, denial.code);
  deps.log.info('session refused', { sessionId: login.sessionId, target: login.targetName, code: denial.code });
  try {
    await deps.recorders.authFailed({
      sessionId: login.sessionId, code: denial.code, client: startup.remote, target: login.targetName, requestedUser: startup.user, username: identity?.username ?? null, issuer: identity?.issuer ?? null,
    });
  } catch (error) {
    deps.log.error('refusal not recorded', { sessionId: login.sessionId, code: error instanceof SallyportError ? error.code : 'INTERNAL' });
  }
  await login.port.deny(denial);
}

function subjectOf(login: Login, session: Session): SessionSubject {
  const { startup } = login;
  const { identity } = session;
  const { permit }: { permit: Permit } = session;
  return {
    sessionId: session.id, namespace: permit.namespace,
    identity: {
      issuer: identity.issuer, subject: identity.subject, username: identity.username, groups: identity.groups, email: identity.email, uid: identity.uid, provider: identity.provider, actors: identity.actors,
      tokenId: identity.tokenId, authTimeMs: identity.authTimeMs, acr: identity.acr, amr: identity.amr, expiresAtMs: identity.expiresAtMs,
    },
    client: { ip: startup.remote.ip, port: startup.remote.port, applicationName: startup.applicationName, requestedUser: startup.user },
    target: { name: permit.target.name, uid: permit.target.uid, labels: permit.target.labels, database: permit.database },
    transport: { tlsVersion: startup.tls?.version ?? null, cipher: startup.tls?.cipher ?? null },
    policies: [...permit.policies, ...(permit.restrictions ?? [])].map((policy) => ({ name: policy.name, uid: policy.uid, generation: policy.generation, digest: policy.digest })),
    recording: permit.recording, startedAtMs: session.startedAtMs,
  };
}
