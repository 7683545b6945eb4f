import { isIP, type Socket } from 'node:net';
import { checkServerIdentity, type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';

import type { PostgresTarget } from '../../contract/proxy-config.ts';
import { dialAddresses, DialError, dialHost } from '../../runtime/dial.ts';
import { SallyportError } from '../core/errors.ts';
import type { SecretSource } from '../core/ports.ts';
import { endPointBinding } from './certificate-binding.ts';
import { sslRequest } from './wire/frame-writer.ts';
import { SocketReader } from './wire/packet-reader.ts';

/** A connection to a target before its login. */
export interface Dialed {
  readonly socket: Socket | TLSSocket;
  readonly reader: SocketReader;
  /** Connects once more to the same address with the same TLS settings, for a CancelRequest: also when the Secrets have changed or gone since. */
  redial(signal: AbortSignal): Promise<Dialed>;
  readonly tls: DialedTls | null;
}

/** What the login may rely on. */
export interface DialedTls {
  /** Nobody but the target can be at the other end: VerifyFull, or VerifyCA against a CA of the target's own. */
  readonly verified: boolean;
  /** `tls-server-end-point`; null when the certificate has none. */
  readonly binding: Buffer | null;
}

/**
 * Connects to a target: its addresses one after the other, then TLS as the target asks.
 *
 * The caller has checked a Permit. TCP keepalive 30 s, no delay. A server that answers `N` where TLS is asked for, or sends a byte behind its `S`, is refused.
 *
 * @throws SallyportError `TARGET_UNREACHABLE`, `TARGET_TLS_FAILED`, `SECRET_UNAVAILABLE`; the signal's reason when that is one.
 */
export async function dialTarget(postgres: PostgresTarget['postgres'], deps: { readonly secrets: SecretSource; readonly signal: AbortSignal }): Promise<Dialed> {
  const tlsOptions = postgres.tls.mode === 'Disable' ? null : await readTlsOptions(postgres, deps.secrets);
  return secure(postgres, await reach(() => dialHost(postgres.host, postgres.port, deps.signal), deps.signal), tlsOptions, deps.signal);
}

type Reached = Awaited<ReturnType<typeof dialHost>>;

async function reach(dial: () => Promise<Reached>, signal: AbortSignal): Promise<Reached> {
  try {
    return await dial();
  } catch (error) {
    if (signal.aborted) throw reasonOf(signal);
    throw new SallyportError('TARGET_UNREACHABLE', error instanceof DialError ? { reason: error.reason } : {}, { cause: error });
  }
}

async function secure(postgres: PostgresTarget['postgres'], { socket, address }: Reached, tlsOptions: ConnectionOptions | null, signal: AbortSignal): Promise<Dialed> {
  const redial = async (again: AbortSignal): Promise<Dialed> => secure(postgres, await reach(() => dialAddresses([address], postgres.port, again), again), tlsOptions, again);
  try {
    if (tlsOptions === null) return { socket, reader: new SocketReader(socket), redial, tls: null };
    await askForTls(socket, signal);
    const secured = await handshake(socket, tlsOptions, signal);
    const certificate = secured.getPeerX509Certificate();
    const verified = postgres.tls.mode === 'VerifyFull' || postgres.tls.caSecret !== null;
    return { socket: secured, reader: new SocketReader(secured), redial, tls: { verified, binding: certificate ? endPointBinding(certificate.raw) : null } };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

async function askForTls(socket: Socket, signal: AbortSignal): Promise<void> {
  const reader = new SocketReader(socket);
  socket.write(sslRequest());
  const answer = await reader.readExactly(1, signal).catch((error: unknown) => { throw asTargetFailure(error); });
  const behind = reader.takeBuffered();
  // Never plaintext instead, and never a byte that came before the handshake (CVE-2021-23222).
  if (answer[0] !== 0x53) throw new SallyportError('TARGET_TLS_FAILED', { reason: 'the target does not offer TLS' });
  if (behind.length > 0) throw new SallyportError('TARGET_TLS_FAILED', { reason: 'the target sent bytes before the handshake' });
}

function handshake(plain: Socket, options: ConnectionOptions, signal: AbortSignal): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ ...options, socket: plain });
    const settle = (error: unknown): void => {
      signal.removeEventListener('abort', onAbort);
      if (error === null) return resolve(socket);
      socket.destroy();
      // The reason is for the log only; texts of OpenSSL name neither key nor password.
      reject(error instanceof SallyportError ? error : new SallyportError('TARGET_TLS_FAILED', { reason: reasonText(error) }, { cause: error }));
    };
    const onAbort = (): void => settle(reasonOf(signal));
    socket.once('secureConnect', () => settle(null));
    socket.on('error', settle);
    socket.once('close', () => settle(new SallyportError('TARGET_TLS_FAILED', { reason: 'the target closed the connection' })));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}

async function readTlsOptions(postgres: PostgresTarget['postgres'], secrets: SecretSource): Promise<ConnectionOptions> {
  const { tls, credentialsSecret, host } = postgres;
  const ca = tls.caSecret === null ? undefined : Buffer.from(await secrets.read(tls.caSecret.name, tls.caSecret.key));
  const [cert, key] = [await secrets.readOptional(credentialsSecret, 'tls.crt'), await secrets.readOptional(credentialsSecret, 'tls.key')];
  const name = tls.serverName ?? host;
  return {
    minVersion: 'TLSv1.2', rejectUnauthorized: true, ALPNProtocols: ['postgresql'],
    checkServerIdentity: (_, certificate) => (tls.mode === 'VerifyFull' ? checkServerIdentity(name, certificate) : undefined),
    // SNI takes names only.
    ...(isIP(name) ? {} : { servername: name }), ...(ca ? { ca } : {}), ...(cert && key ? { cert: Buffer.from(cert), key: Buffer.from(key) } : {}),
  };
}

/** A reader's failure in the words of the target: closed or too slow. Anything else stays as it is. */
export function asTargetFailure(error: unknown): unknown {
  const code = error instanceof SallyportError ? error.code : null;
  if (code !== 'CONNECTION_LOST' && code !== 'STARTUP_TIMEOUT') return error;
  const reason = code === 'CONNECTION_LOST' ? 'the target closed the connection' : 'the target did not answer in time';
  return new SallyportError('TARGET_UNREACHABLE', { reason }, { cause: error });
}

function reasonOf(signal: AbortSignal): SallyportError {
  return signal.reason instanceof SallyportError ? signal.reason : new SallyportError('TARGET_UNREACHABLE', { reason: 'the target did not answer in time' });
}

/** A constant word for the log: the message could name the target's certificate. */
function reasonText(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return /^[A-Z0-9_]{3,60}$/.test(code) ? code : 'the handshake failed';
}
