import type { Socket } from 'node:net';
import ssh2, { type Client, type NegotiatedAlgorithms } from 'ssh2';

import type { SshTransport } from '../../contract/audit.ts';
import type { SshTarget } from '../../contract/proxy-config.ts';
import { dialHost, DialError } from '../../runtime/dial.ts';
import { SallyportError } from '../core/errors.ts';
import type { Permit } from '../core/policy/permit.ts';
import type { Clock, Logger, SecretSource } from '../core/ports.ts';
import { ident, targetAlgorithms } from './algorithms.ts';
import { type HostKeyVerdict, hostKeyAlgorithms, judgeHostKey, pinnedFingerprints } from './host-keys.ts';
import { containThrows, isStrictEnough, keepalive, type RekeyLimits, rekeyRegularly } from './leg.ts';
import { readTargetCredential, singleLogin, type TargetCredential } from './target-credentials.ts';

/** A logged-in connection to an SSH target. Closed by whoever opened it. */
export interface SshUpstream extends AsyncDisposable {
  /** ssh2's. What its listeners throw ends the connection, never the process; an async listener needs `guarded(fail, ...)`. */
  readonly client: Client;
  readonly transport: SshTransport['target'];
  /** Name of the Secret that was used: for the record, never for the client. */
  readonly credentialRef: string;
  /** Wall clock, when the login was complete. */
  readonly startedAtMs: number;
  /** Aborted when the connection is over, whoever ended it; the reason is a SallyportError, `CONNECTION_LOST` where the target ended it. */
  readonly closed: AbortSignal;
  /** Ends the connection because of a failure of ours or a broken target. */
  fail(error: unknown): void;
}

export interface SshUpstreamDeps {
  readonly secrets: SecretSource;
  readonly clock: Clock;
  /** The login deadline of the session; its reason is thrown. */
  readonly signal: AbortSignal;
  /** From the dial to the end of the login. */
  readonly deadlineMs: number;
  /** Says which host key was shown instead of which. */
  readonly log?: Logger;
  readonly rekey?: RekeyLimits;
}

/**
 * Opens the SSH target of a permit for one account: dial, host key, one login.
 *
 * The host key is verified before any credential is sent, and a login is tried once: lock-out counters are real. A login that is refused is tried once more when the Secret holds other
 * values by now: its rotation then costs nobody a session.
 *
 * @throws SallyportError `TARGET_UNREACHABLE`, `TARGET_HOST_KEY`, `TARGET_LOGIN_FAILED`, `SECRET_UNAVAILABLE`, or the signal's reason; TypeError for a permit of another protocol.
 * Nothing in them names an address, an account or a text of the server.
 */
export async function connectSshTarget(permit: Permit, ask: { readonly account: string; readonly sessionId: string }, deps: SshUpstreamDeps): Promise<SshUpstream> {
  const { target } = permit;
  if (!('ssh' in target)) throw new TypeError('the permit is not for an SSH target');
  if (!target.ssh.accounts.includes(ask.account)) throw new TypeError('the account is none of the target');
  const own = Object.hasOwn(target.ssh.accountCredentials, ask.account) ? target.ssh.accountCredentials[ask.account] : undefined;
  const secret = own ?? target.ssh.credentialsSecret;
  const limited = { ...deps, signal: AbortSignal.any([deps.signal, AbortSignal.timeout(deps.deadlineMs)]) };
  const login = async (): Promise<SshUpstream> => openOnce(target, ask, secret, await readTargetCredential(secret, deps.secrets), limited);
  try {
    return await login();
  } catch (error) {
    if (!(error instanceof SallyportError && error.code === 'TARGET_LOGIN_FAILED') || (await deps.secrets.reread?.(secret)) !== true) throw error;
    return await login();
  }
}

async function openOnce(target: SshTarget, ask: { readonly account: string; readonly sessionId: string }, secret: string, credential: TargetCredential, deps: SshUpstreamDeps): Promise<SshUpstream> {
  const socket = await dial(target, deps.signal);
  const closed = new AbortController();
  const client = new ssh2.Client();
  const fail = (error: unknown): void => {
    if (!closed.signal.aborted) closed.abort(error instanceof SallyportError ? error : new SallyportError('CONNECTION_LOST', {}, { cause: error }));
    socket.destroy();
  };
  try {
    const { agreed, hostKey } = await logIn(client, socket, target, ask, credential, deps, fail);
    client.once('close', () => fail(new SallyportError('CONNECTION_LOST')));
    return {
      client, fail, closed: closed.signal, credentialRef: secret, startedAtMs: deps.clock.now(), transport: { kex: agreed.kex, cipher: agreed.cs.cipher, hostKey },
      [Symbol.asyncDispose]: () => close(client, socket),
    };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

async function dial(target: SshTarget, signal: AbortSignal): Promise<Socket> {
  try {
    return (await dialHost(target.ssh.host, target.ssh.port, signal)).socket;
  } catch (error) {
    if (error instanceof SallyportError) throw error;
    throw new SallyportError('TARGET_UNREACHABLE', error instanceof DialError ? { reason: error.reason } : { reason: 'the target did not answer in time' }, { cause: error });
  }
}

interface LoggedIn {
  readonly agreed: NegotiatedAlgorithms;
  readonly hostKey: string;
}

function logIn(
  client: Client, socket: Socket, target: SshTarget, ask: { readonly account: string; readonly sessionId: string }, credential: TargetCredential, deps: SshUpstreamDeps, fail: (error: unknown) => void,
): Promise<LoggedIn> {
  return new Promise((resolve, reject) => {
    let verdict: HostKeyVerdict | null = null;
    let agreed: NegotiatedAlgorithms | null = null;
    const settle = (error: unknown): void => {
      deps.signal.removeEventListener('abort', onAbort);
      if (error === null && agreed !== null && verdict !== null) return resolve({ agreed, hostKey: verdict.fingerprint });
      reject(error as Error);
      fail(error);
    };
    const onAbort = (): void => settle(deps.signal.reason instanceof SallyportError ? deps.signal.reason : new SallyportError('TARGET_UNREACHABLE', { reason: 'the target did not answer in time' }));
    if (deps.signal.aborted) return onAbort();
    deps.signal.addEventListener('abort', onAbort, { once: true });

    containThrows(client, settle);
    client.on('error', (error) => settle(asFailure(error, verdict)));
    client.once('close', () => settle(new SallyportError('TARGET_UNREACHABLE', { reason: 'the target closed the connection' })));
    client.once('ready', () => settle(null));
    // Nobody here can type a new password.
    client.on('change password', () => settle(new SallyportError('TARGET_LOGIN_FAILED')));
    client.on('handshake', (negotiated: NegotiatedAlgorithms) => {
      agreed = negotiated;
      if (!isStrictEnough(client, negotiated)) settle(new SallyportError('TARGET_UNREACHABLE', { reason: 'the target offers chacha20-poly1305 without strict key exchange' }));
    });
    rekeyRegularly(client, socket, fail, deps.rekey);

    const verify = (shown: Buffer): boolean => {
      verdict = judgeHostKey(shown, target.ssh, deps.clock.now());
      if (verdict.outcome === 'refused') deps.log?.info('target host key refused', { sessionId: ask.sessionId, target: target.name, reason: verdict.reason, shown: verdict.fingerprint, pinned: pinnedFingerprints(target.ssh) });
      return verdict.outcome === 'accepted';
    };
    const authHandler = singleLogin(ask.account, credential, () => settle(new SallyportError('TARGET_LOGIN_FAILED')));
    // 0: the deadline is ours.
    client.connect({ sock: socket, ident, username: ask.account, algorithms: targetAlgorithms(hostKeyAlgorithms(target.ssh)), hostVerifier: verify, authHandler: authHandler as never, readyTimeout: 0, ...keepalive });
  });
}

function asFailure(error: Error & { readonly level?: string }, verdict: HostKeyVerdict | null): SallyportError {
  if (verdict?.outcome === 'refused') return new SallyportError('TARGET_HOST_KEY', { shown: verdict.fingerprint, reason: verdict.reason }, { cause: error });
  // Nothing of what the host could show is pinned.
  if (verdict === null && error.message.includes('no matching host key')) return new SallyportError('TARGET_HOST_KEY', { shown: 'none of a pinned type', reason: 'the target has no host key of a pinned type' }, { cause: error });
  if (error.level === 'client-authentication') return new SallyportError('TARGET_LOGIN_FAILED', {}, { cause: error });
  return new SallyportError('TARGET_UNREACHABLE', { reason: 'the connection to the target broke' }, { cause: error });
}

/** Says goodbye; a target that does not close in a second is cut. */
async function close(client: Client, socket: Socket): Promise<void> {
  if (socket.destroyed) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => socket.destroy(), 1_000);
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    client.end();
  });
}
