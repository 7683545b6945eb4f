import type { Socket } from 'node:net';
import type { RecorderFactory, SessionSubject, SshSessionRecorder, SshTransport } from '../../contract/audit.ts';
import { type Denial, deny, SallyportError } from '../core/errors.ts';
import type { Identity } from '../core/identity/identity.ts';
import { redactCommandText } from '../core/masking/redact-command.ts';
import { createTextMask, masksText } from '../core/masking/text-stream.ts';
import type { SecretSource, ShellParser } from '../core/ports.ts';
import type { Admission } from '../core/session/admission.ts';
import { type AdmissionDeps, admitIdentity } from '../core/session/open-session.ts';
import type { Session, SessionEnd } from '../core/session/session.ts';
import { countDenial, type Tally } from '../core/session/tally.ts';
import { classifyShell } from '../core/shell/classify.ts';
import { authenticateClient, type AuthenticationOutcome } from './authentication/authenticate.ts';
import { serveCredentialConnection } from './authentication/credential-subsystem.ts';
import type { AuthenticationDeps } from './authentication/outcome.ts';
import type { ChannelServers } from './channel-servers.ts';
import { ClientChannels } from './channels.ts';
import type { SshContext } from './context.ts';
import { mayGrant } from './may-grant.ts';
import type { ServedConnection, SshServer } from './server.ts';
import { connectSshTarget, type SshUpstream } from './upstream.ts';
import { denialLines, holdLines } from './words.ts';

/** What serving SSH connections takes. */
export interface SshDeps extends AdmissionDeps, Pick<AuthenticationDeps, 'tickets' | 'userCa' | 'deviceLogin' | 'timing'> {
  readonly server: SshServer;
  readonly servers: ChannelServers;
  readonly secrets: SecretSource;
  readonly recorders: RecorderFactory;
  readonly parser: ShellParser;
  readonly count: (outcome: 'opened' | 'denied' | 'failed' | 'closed') => void;
  readonly tally: Tally;
}

/** From the Permit to the end of the login at the target. */
const upstreamDeadlineMs = 20_000;

/** Commands are stopped (TERM, 2 s, KILL), results recorded; then the target's connection is closed, whatever is left. */
const stopMs = 4_000;

/**
 * Serves one connection from accept to close. Reads top to bottom: authentication, admission, target, record, channels, end.
 *
 * The Target is known from the listener's port; the SSH user name is the account that is asked for, never who the person is. Nothing is dialled without a Permit.
 */
export async function serveSshConnection(socket: Socket, admission: Admission, targetName: string, deps: SshDeps): Promise<void> {
  const { promise: route, resolve, reject } = Promise.withResolvers<void>();
  let isServed = false;
  const served = deps.server.serve(socket, {
    connected: (connection) => {
      isServed = true;
      serve(connection, admission, targetName, deps).then(resolve, (error: unknown) => {
        connection.fail(error);
        reject(error as Error);
      });
    },
    failed: (error) => deps.log.debug('ssh connection failed', { target: targetName, error: error instanceof Error ? error.message : 'not an error' }),
  });
  await served;
  if (!isServed) return deps.count('closed');
  await route;
}

async function serve(served: ServedConnection, admission: Admission, targetName: string, deps: SshDeps): Promise<void> {
  const remote = { ip: served.socket.remoteAddress ?? '', port: served.socket.remotePort ?? 0 };
  const login: Login = { served, targetName, remote, sessionId: deps.newSessionId() };
  const ask = { target: targetName, remote };
  const outcome = await authenticateClient(served, ask, deps, admission.signal);
  if (outcome.outcome === 'failed') return refuseLogin(login, outcome.requestedUser, outcome.denial, null, deps);
  if (outcome.wantsCredential) {
    admission.admitted();
    return serveCredentialConnection(served, outcome, ask, deps);
  }
  await serveAccount(login, outcome, admission, deps);
}

interface Login {
  readonly served: ServedConnection;
  readonly targetName: string;
  readonly remote: { readonly ip: string; readonly port: number };
  readonly sessionId: string;
}

type Authenticated = Extract<AuthenticationOutcome, { outcome: 'authenticated' }>;

async function serveAccount(login: Login, who: Authenticated, admission: Admission, deps: SshDeps): Promise<void> {
  const { served, targetName, sessionId } = login;
  // Before anything is awaited: the client opens channels at once.
  const channels = new ClientChannels(served, {
    servers: deps.servers, mayGrant: (what) => mayGrant(deps.config.current()?.config ?? null, targetName, what),
    refused: (facts, denial) => {
      countDenial(deps.tally, denial.code);
      deps.recorders.event('channel.refused', { sessionId, target: targetName, reason: denial.code, ...facts }).catch((error: unknown) => deps.log.error('refusal not recorded', { sessionId, code: codeOf(error) }));
    },
  });
  const refuse = async (denial: Denial, status: number, outcome: 'denied' | 'failed'): Promise<void> => {
    channels.end({ lines: denialLines(denial), status });
    await refuseLogin(login, who.requestedUser, denial, who.identity, deps, outcome);
    await channels.told(true);
    served.end();
  };
  const unavailable = deps.registry.draining ? 'DRAINING' : deps.recorders.unavailable();
  if (unavailable) return refuse(deny(unavailable), 126, 'denied');
  if (who.requestedUser === '') return refuse(deny('ACCOUNT_NOT_GRANTED'), 126, 'denied');
  const opened = await admit(login, who, channels, admission, deps);
  if (opened.outcome === 'denied') return refuse(opened.denial, served.closed.aborted ? 255 : 126, 'denied');
  const { session } = opened;
  // Reaching the target takes the time of its login: others of the same address need not wait for it.
  admission.counted?.();
  try {
    await serveSession(login, who, session, channels, admission, deps);
  } catch (error) {
    if (!(error instanceof SallyportError)) deps.log.error('session failed', { sessionId, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    const denial = session.ended?.denial ?? (error instanceof SallyportError ? error.toDenial() : deny('INTERNAL'));
    const isOurs = denial.code === 'RECORDER_FAILED' || denial.code === 'STORAGE_FULL';
    await refuse(denial, isOurs ? 126 : 255, 'failed');
  } finally {
    deps.registry.remove(session);
  }
}

/** The decision and, where a policy asks for it, an approval, shown on the first channel. Ctrl-C there, or the end of the connection, gives up. */
async function admit(login: Login, who: Authenticated, channels: ClientChannels, admission: Admission, deps: SshDeps): ReturnType<typeof admitIdentity> {
  let resume: (() => void) | null = null;
  try {
    return await admitIdentity(
      who.identity,
      { gone: AbortSignal.any([login.served.closed, channels.cancelled]), announceHold: (notice) => channels.tell(holdLines(notice, deps.clock.now(), 'session held')) },
      {
        target: login.targetName, database: who.requestedUser, sessionId: login.sessionId,
        onHold: (held) => {
          deps.tally.heldLogins += held ? 1 : -1;
          channels.hold(held);
          if (held) resume = admission.pause();
          else resume?.();
        },
      },
      deps, admission.signal,
    );
  } catch (error) {
    return { outcome: 'denied', denial: error instanceof SallyportError ? error.toDenial() : deny('INTERNAL'), identity: who.identity };
  }
}

async function serveSession(login: Login, who: Authenticated, session: Session, channels: ClientChannels, admission: Admission, deps: SshDeps): Promise<void> {
  const { served, targetName } = login;
  const signal = AbortSignal.any([admission.signal, served.closed]);
  await using target = await connectSshTarget(session.permit, { account: who.requestedUser, sessionId: session.id }, { secrets: deps.secrets, clock: deps.clock, log: deps.log, signal, deadlineMs: upstreamDeadlineMs });
  const recorder = deps.recorders.openSsh(session.id);
  await recorder.start(subjectOf(login, who, session, target), { role: who.requestedUser, pid: 0, startedAtMs: target.startedAtMs, credentialRef: `Secret/${session.permit.namespace}/${target.credentialRef}` });
  const ended = new AbortController();
  const context = contextOf({ login, who, session, channels, recorder, target, ended: ended.signal, deps });
  const { promise: over, resolve } = Promise.withResolvers<SessionEnd>();
  // What ends a session, whoever sees it first.
  served.closed.addEventListener('abort', () => session.end({ reason: 'ClientClosed', denial: deny('CONNECTION_LOST') }), { once: true });
  target.closed.addEventListener('abort', () => session.end({ reason: 'TargetClosed', denial: deny('CONNECTION_LOST', { message: 'the target closed the connection' }) }), { once: true });
  session.attach({
    isBusy: () => context.activity.running + context.activity.held > 0, isHeld: () => context.activity.held > 0, isInTransaction: () => false,
    warn: (message) => channels.tell([`sallyport: ${message}`]),
    end: (cause) => {
      ended.abort(cause.denial);
      channels.end({ lines: denialLines(cause.denial), status: 255 });
      resolve(cause);
    },
  });
  if (served.closed.aborted) session.end({ reason: 'ClientClosed', denial: deny('CONNECTION_LOST') });
  if (target.closed.aborted) session.end({ reason: 'TargetClosed', denial: deny('CONNECTION_LOST') });
  admission.admitted();
  deps.count('opened');
  deps.log.info('session opened', { sessionId: session.id, target: targetName, protocol: 'ssh' });
  channels.open(context);
  const end = await over;
  deps.tally.sessionEnds[end.reason]++;
  if (end.reason !== 'ClientClosed') countDenial(deps.tally, end.denial.code);
  deps.log.info('session closed', { sessionId: session.id, target: targetName, reason: end.reason, code: end.denial.code });
  await channels.told(false);
  served.end();
  await idle(context, channels, deps);
  await endRecord(recorder, end, context.totals, deps);
}

/** Waits for the commands that are being stopped, so that their results are on record. */
async function idle(context: SshContext, channels: ClientChannels, deps: SshDeps): Promise<void> {
  const deadline = deps.clock.monotonicMs() + stopMs;
  while ((context.activity.running > 0 || channels.serving > 0) && deps.clock.monotonicMs() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
}

interface ContextParts {
  readonly login: Login;
  readonly who: Authenticated;
  readonly session: Session;
  readonly channels: ClientChannels;
  readonly recorder: SshSessionRecorder;
  readonly target: SshUpstream;
  readonly ended: AbortSignal;
  readonly deps: SshDeps;
}

function contextOf({ login, who, session, channels, recorder, target, ended, deps }: ContextParts): SshContext {
  const { ssh } = session.permit.target as Extract<typeof session.permit.target, { ssh: unknown }>;
  const textMask = (mode: 'exec' | 'pty'): ReturnType<typeof createTextMask> | null => (masksText(session.permit.masking) ? createTextMask(session.permit.masking, mode) : null);
  return {
    session, account: who.requestedUser, recorder, target: target.client, connection: login.served.connection, ssh, approver: deps.approver, clock: deps.clock, log: deps.log, digestKey: deps.digestKey, tally: deps.tally,
    inspect: (text) => classifyShell(text, ssh.loginShell.type, deps.parser), parser: deps.parser, textMask,
    redact: (text) => redactCommandText(text, session.permit.masking),
    activity: { running: 0, held: 0 }, totals: { bytes: 0, denied: 0 }, nextChannel: () => channels.nextChannel(), ended,
    fail: (error) => {
      const isRecord = error instanceof SallyportError && (error.code === 'RECORDER_FAILED' || error.code === 'STORAGE_FULL');
      if (!(error instanceof SallyportError)) deps.log.error('ssh session failed', { sessionId: session.id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
      session.end({ reason: isRecord ? 'RecorderFailed' : 'Failed', denial: error instanceof SallyportError ? error.toDenial() : deny('INTERNAL') });
    },
  };
}

function subjectOf(login: Login, who: Authenticated, session: Session, target: SshUpstream): SessionSubject {
  const { identity, permit } = session;
  const client = login.served.negotiated();
  const ssh: SshTransport = {
    authMethod: identity.authMethod ?? 'Token', credentialId: who.credentialId, client: { kex: client?.kex ?? '', cipher: client?.cipher ?? '', software: login.served.software }, target: target.transport,
  };
  return {
    sessionId: session.id, namespace: permit.namespace,
    identity: {
      issuer: identity.issuer, subject: identity.subject, username: identity.username, groups: identity.groups, email: identity.email, uid: identity.uid, provider: identity.provider, actors: identity.actors,
      tokenId: identity.tokenId, authTimeMs: identity.authTimeMs, acr: identity.acr, amr: identity.amr, expiresAtMs: identity.expiresAtMs,
    },
    client: { ...login.remote, applicationName: login.served.software, requestedUser: who.requestedUser },
    target: { name: permit.target.name, uid: permit.target.uid, labels: permit.target.labels, database: permit.database },
    transport: { tlsVersion: null, cipher: null, ssh },
    policies: [...permit.policies, ...(permit.restrictions ?? [])].map((policy) => ({ name: policy.name, uid: policy.uid, generation: policy.generation, digest: policy.digest })),
    recording: permit.recording, startedAtMs: session.startedAtMs,
  };
}

/** The record's last line; when even that cannot be written, the recovery of the next start writes it. */
async function endRecord(recorder: SshSessionRecorder, end: SessionEnd, totals: SshContext['totals'], deps: SshDeps): Promise<void> {
  try {
    await recorder.end(end.reason, totals);
  } catch (error) {
    deps.log.error('session record not closed', { sessionId: recorder.sessionId, code: codeOf(error) });
  }
}

async function refuseLogin(login: Login, requestedUser: string, denial: Denial, identity: Identity | null, deps: SshDeps, outcome: 'denied' | 'failed' = 'denied'): Promise<void> {
  deps.count(outcome);
  countDenial(deps.tally, denial.code);
  deps.log.info('session refused', { sessionId: login.sessionId, target: login.targetName, code: denial.code });
  try {
    await deps.recorders.authFailed({
      sessionId: login.sessionId, code: denial.code, client: login.remote, target: login.targetName, requestedUser, username: identity?.username ?? null, issuer: identity?.issuer ?? null,
    });
  } catch (error) {
    deps.log.error('refusal not recorded', { sessionId: login.sessionId, code: codeOf(error) });
  }
}

function codeOf(error: unknown): string {
  return error instanceof SallyportError ? error.code : 'INTERNAL';
}
