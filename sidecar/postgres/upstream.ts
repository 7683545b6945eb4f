import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

import { SallyportError } from '../core/errors.ts';
import type { Permit } from '../core/policy/permit.ts';
import type { Clock, SecretSource } from '../core/ports.ts';
import { type Dialed, dialTarget } from './dial.ts';
import { type LoggedIn, login } from './login.ts';
import { terminate } from './wire/frame-writer.ts';
import { targetOf } from './target-of.ts';

/** A logged-in connection to a target, ready for its first statement. Closed by whoever opened it. */
export interface Upstream extends AsyncDisposable {
  readonly socket: Socket | TLSSocket;
  /** What the server sent behind ReadyForQuery: goes to the relay before anything from the socket. */
  readonly leftover: Buffer;
  /** ParameterStatus as the server sent it; `clientParameters` makes what the client is told. */
  readonly parameters: ReadonlyMap<string, string>;
  /** The server's own key: never shown to a client. */
  readonly cancelKey: { readonly pid: number; readonly key: Buffer };
  readonly processId: number;
  readonly serverVersion: { readonly text: string; readonly major: number };
  /** The account that was injected: for the record, never for the client. */
  readonly role: string;
  /** Wall clock, when the login was complete. */
  readonly startedAtMs: number;
  readonly status: 'I';
  /** One more connection to the same server, for `cancelUpstream`. */
  readonly redial: Dialed['redial'];
}

/** What of the client's startup reaches the target. */
export interface UpstreamFacts {
  /** Allow-listed settings; `client_encoding` among them. */
  readonly parameters: ReadonlyMap<string, string>;
  readonly sessionId: string;
  readonly username: string;
}

export interface UpstreamDeps {
  readonly secrets: SecretSource;
  readonly clock: Clock;
  /** The login deadline of the session; its reason is thrown. */
  readonly signal: AbortSignal;
  /** From the first packet to ReadyForQuery. */
  readonly deadlineMs: number;
}

/**
 * Opens the target of a permit: dial, TLS, login, and the checks that everything later rests on.
 *
 * The server sees `sallyport/<session>/<username>` as application name.
 *
 * @throws SallyportError `TARGET_UNREACHABLE`, `TARGET_TLS_FAILED`, `TARGET_LOGIN_FAILED`, `TARGET_UNSUPPORTED`, `TARGET_PROTOCOL_VIOLATION`, `SECRET_UNAVAILABLE`, or
 * the signal's reason. Nothing in them names an address, an account or a text of the server.
 */
export async function connectUpstream(permit: Permit, facts: UpstreamFacts, deps: UpstreamDeps): Promise<Upstream> {
  const parameters = new Map([...facts.parameters, ['application_name', applicationName(`sallyport/${facts.sessionId}/${facts.username}`)]]);
  return await openTarget(permit, permit.database, parameters, deps);
}

/**
 * Dial, login and checks for any connection to a permit's target: sessions and the catalog's own. A login that is refused is tried once more when the Secret holds other values by now:
 * its rotation then costs nobody a session. Throws like `connectUpstream`.
 */
export async function openTarget(permit: Permit, database: string, parameters: ReadonlyMap<string, string>, deps: UpstreamDeps): Promise<Upstream> {
  const limited = { ...deps, signal: AbortSignal.any([deps.signal, AbortSignal.timeout(deps.deadlineMs)]) };
  try {
    return await openOnce(permit, database, parameters, limited);
  } catch (error) {
    if (!(error instanceof SallyportError && error.code === 'TARGET_LOGIN_FAILED') || (await deps.secrets.reread?.(targetOf(permit).credentialsSecret)) !== true) throw error;
    return await openOnce(permit, database, parameters, limited);
  }
}

async function openOnce(permit: Permit, database: string, parameters: ReadonlyMap<string, string>, deps: Omit<UpstreamDeps, 'deadlineMs'>): Promise<Upstream> {
  const postgres = targetOf(permit);
  const { signal } = deps;
  const dialed = await dialTarget(postgres, { secrets: deps.secrets, signal });
  const { socket, redial } = dialed;
  try {
    const state = await login(dialed, postgres, database, parameters, { secrets: deps.secrets, signal });
    const { cancelKey, serverVersion } = checkServer(state, parameters.get('client_encoding') ?? 'UTF8');
    const close = (): Promise<void> => closeUpstream(socket);
    return {
      socket, redial, leftover: state.leftover, parameters: state.parameters, role: state.role, cancelKey, serverVersion, processId: cancelKey.pid,
      startedAtMs: deps.clock.now(), status: 'I', [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** Oldest major version that is tested and that PostgreSQL's project still serves. */
const oldestMajor = 14;

/** Inspection and masking rest on these: with other settings the server reads literals, times or bytes unlike us. */
function checkServer(state: LoggedIn, encodingAsked: string): { readonly cancelKey: Upstream['cancelKey']; readonly serverVersion: Upstream['serverVersion'] } {
  const text = state.parameters.get('server_version') ?? '';
  const major = Number(/^[0-9]{1,3}/.exec(text)?.[0] ?? 0);
  if (major < oldestMajor) throw unsupported('server_version');
  for (const name of ['integer_datetimes', 'standard_conforming_strings']) if (state.parameters.get(name) !== 'on') throw unsupported(name);
  if (encodingKey(state.parameters.get('client_encoding') ?? '') !== encodingKey(encodingAsked)) throw unsupported('client_encoding');
  // Without it a running statement could not be stopped, when a session is revoked for example.
  if (state.cancelKey === null) throw unsupported('BackendKeyData');
  return { cancelKey: state.cancelKey, serverVersion: { text, major } };
}

function encodingKey(name: string): string {
  const key = name.replaceAll(/[^A-Za-z0-9]/g, '').toLowerCase();
  return key === 'unicode' ? 'utf8' : key;
}

/** Printable ASCII, 63 bytes: longer or other characters would be changed by the server. */
function applicationName(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 63);
}

/** Terminate and close; a server that does not close in a second is cut. Closing in a transaction rolls it back. */
async function closeUpstream(socket: Socket | TLSSocket): Promise<void> {
  if (socket.destroyed) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => socket.destroy(), 1_000);
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.on('end', () => socket.destroy());
    socket.resume();
    socket.end(terminate());
  });
}

function unsupported(setting: string): SallyportError {
  return new SallyportError('TARGET_UNSUPPORTED', { setting });
}
