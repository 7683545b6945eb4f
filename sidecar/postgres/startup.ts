import type { Socket } from 'node:net';
import { TLSSocket, type SecureContext } from 'node:tls';

import { type Denial, type ErrorCode, deny, SallyportError } from '../core/errors.ts';
import { parseStartupMessage } from './startup-message.ts';
import { readStartupParameters, type StartupParameters } from './startup-parameters.ts';
import { wordDenial } from './sqlstate.ts';
import { sendAndClose } from './wire/close-socket.ts';
import { encodeError } from './wire/error-response.ts';
import { negotiateProtocolVersion, requestCodes } from './wire/frame-writer.ts';
import { SocketReader } from './wire/packet-reader.ts';

/** Where a connection comes from; an IPv4 address mapped into IPv6 is shown as IPv4. */
export interface Remote {
  readonly ip: string;
  readonly port: number;
}

/** A client that wants a session and has said so completely. */
export interface StartupSession extends StartupParameters {
  readonly kind: 'session';
  /** The TLS socket when TLS is on. */
  readonly socket: Socket | TLSSocket;
  /** Holds what the client sent ahead. */
  readonly reader: SocketReader;
  readonly protocolMinor: 0 | 2;
  /** Null only on a loopback connection where plaintext was allowed. */
  readonly tls: { readonly version: string; readonly cipher: string } | null;
  readonly remote: Remote;
}

/** What the first packets of a connection asked for. */
export type Startup =
  | StartupSession
  | { readonly kind: 'cancel'; readonly pid: number; readonly key: Buffer; readonly socket: Socket | TLSSocket; readonly remote: Remote }
  /** Refused and answered, or gone: nothing is left to do. `code` is null when the peer just went away. */
  | { readonly kind: 'closed'; readonly code: ErrorCode | null; readonly remote: Remote };

/** What the startup needs. */
export interface StartupDeps {
  /** Asked at each handshake, so that a renewed certificate is used at once; null means: no TLS here. */
  readonly tls: { secureContext(): SecureContext } | null;
  /** Plaintext is accepted from loopback addresses only, and only when this is set. */
  readonly allowPlaintextLoopback: boolean;
  /** The login deadline; a SallyportError as reason is what the client is told. */
  readonly signal: AbortSignal;
}

/**
 * Reads the first packets of a connection: GSSENCRequest gets `N`, SSLRequest and direct TLS become TLS, NegotiateProtocolVersion is answered inside.
 *
 * Never throws for what a peer can do: a refusal is worded as FATAL where the peer can read it, the socket is closed, and `closed` returned.
 * Bytes that arrive behind SSLRequest in plaintext close the connection (CVE-2021-23222).
 *
 * @see PostgreSQL 18, "SSL Session Encryption" and ProcessStartupPacket
 */
export async function readStartup(socket: Socket, deps: StartupDeps): Promise<Startup> {
  const remote = { ip: plainAddress(socket.remoteAddress ?? ''), port: socket.remotePort ?? 0 };
  let leg: Leg = { socket, reader: new SocketReader(socket), tls: null };
  try {
    if ((await leg.reader.peekByte(deps.signal)) === tlsHandshakeByte) leg = await acceptTls(leg, deps, 'required');
    // One SSLRequest and one GSSENCRequest on each side of the handshake, then the StartupMessage: more is not a client.
    for (let packets = 0; packets < 5; packets++) {
      const packet = await readPacket(leg.reader, deps.signal);
      if (packet.code === requestCodes.cancel) return readCancel(packet.body, leg.socket, remote);
      if (packet.code !== requestCodes.ssl && packet.code !== requestCodes.gssEncryption) return await openSession(packet.body, leg, remote, deps);
      if (packet.body.length !== 4 || leg.reader.buffered > 0) return drop(leg, 'PROTOCOL_VIOLATION', remote);
      const encrypt = packet.code === requestCodes.ssl && leg.tls === null && deps.tls !== null;
      leg.socket.write(encrypt ? 'S' : 'N');
      if (encrypt) leg = await acceptTls(leg, deps, 'optional');
    }
    throw new SallyportError('PROTOCOL_VIOLATION');
  } catch (error) {
    return await closeFor(error, leg, remote);
  }
}

interface Leg {
  readonly socket: Socket | TLSSocket;
  readonly reader: SocketReader;
  readonly tls: StartupSession['tls'];
}

/** First byte of a TLS record that carries a handshake; as a length it would be far over the limit. */
const tlsHandshakeByte = 0x16;
/** MAX_STARTUP_PACKET_LENGTH in pqcomm.h, the length field included. */
const limitStartupBytes = 10_000;

async function readPacket(reader: SocketReader, signal: AbortSignal): Promise<{ readonly code: number; readonly body: Buffer }> {
  const length = (await reader.readExactly(4, signal)).readUInt32BE(0);
  if (length < 8 || length > limitStartupBytes) throw new SallyportError('PROTOCOL_VIOLATION', { length });
  const body = await reader.readExactly(length - 4, signal);
  return { code: body.readUInt32BE(0), body };
}

function readCancel(body: Buffer, socket: Socket | TLSSocket, remote: Remote): Startup {
  // 16 to 268 bytes with the length field: a key of 4 to 256 bytes.
  if (body.length < 12 || body.length > 264) throw new SallyportError('PROTOCOL_VIOLATION', { length: body.length });
  return { kind: 'cancel', pid: body.readUInt32BE(4), key: Buffer.from(body.subarray(8)), socket, remote };
}

async function openSession(body: Buffer, leg: Leg, remote: Remote, deps: StartupDeps): Promise<Startup> {
  const parsed = parseStartupMessage(body);
  if (parsed.outcome === 'refused') return await refuse(parsed.denial, leg, remote);
  // Before anything is asked for: a client in plaintext must never get to send its token.
  if (leg.tls === null && !(deps.allowPlaintextLoopback && isLoopback(remote.ip))) return await refuse(deny('TLS_REQUIRED'), leg, remote);
  const read = readStartupParameters(parsed.message.pairs);
  if (read.outcome === 'refused') return await refuse(read.denial, leg, remote);
  const { protocolMinor, negotiate } = parsed.message;
  if (negotiate !== null) leg.socket.write(negotiateProtocolVersion(protocolMinor, negotiate));
  return { kind: 'session', ...read.startup, ...leg, protocolMinor, remote };
}

/** Hands what was read ahead back to the socket and makes it a TLS socket; ALPN, when the client offers it, must be `postgresql`. */
async function acceptTls(leg: Leg, deps: StartupDeps, alpn: 'required' | 'optional'): Promise<Leg> {
  if (deps.tls === null) throw new SallyportError('TLS_REQUIRED');
  const ahead = leg.reader.takeBuffered();
  if (ahead.length > 0) leg.socket.unshift(ahead);
  const socket = new TLSSocket(leg.socket, { isServer: true, secureContext: deps.tls.secureContext(), ALPNProtocols: ['postgresql'], requestCert: false, rejectUnauthorized: false });
  try {
    await handshake(socket, deps.signal);
    if (alpn === 'required' && socket.alpnProtocol !== 'postgresql') throw new SallyportError('ALPN_REQUIRED');
  } catch (error) {
    socket.destroy();
    leg.socket.destroy();
    throw error;
  }
  socket.disableRenegotiation();
  return { socket, reader: new SocketReader(socket), tls: { version: socket.getProtocol() ?? 'unknown', cipher: socket.getCipher().standardName } };
}

function handshake(socket: TLSSocket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error: SallyportError | null): void => {
      signal.removeEventListener('abort', onAbort);
      if (error) reject(error);
      else resolve();
    };
    const onAbort = (): void => settle(signal.reason instanceof SallyportError ? signal.reason : new SallyportError('STARTUP_TIMEOUT'));
    socket.once('secure', () => settle(null));
    socket.on('error', () => settle(new SallyportError('CONNECTION_LOST')));
    socket.once('close', () => settle(new SallyportError('CONNECTION_LOST')));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}

async function closeFor(error: unknown, leg: Leg, remote: Remote): Promise<Startup> {
  const code = error instanceof SallyportError ? error.code : 'INTERNAL';
  if (code === 'CONNECTION_LOST') return drop(leg, null, remote);
  return leg.socket.destroyed ? drop(leg, code, remote) : await refuse(deny(code), leg, remote);
}

/** Without a word: what came in plaintext where TLS belongs is not answered. */
function drop(leg: Leg, code: ErrorCode | null, remote: Remote): Startup {
  leg.socket.destroy();
  return { kind: 'closed', code, remote };
}

async function refuse(denial: Denial, leg: Leg, remote: Remote): Promise<Startup> {
  leg.reader.takeBuffered();
  await sendAndClose(leg.socket, encodeError({ severity: 'FATAL', ...wordDenial(denial, 'login') }));
  return { kind: 'closed', code: denial.code, remote };
}

function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}

function isLoopback(ip: string): boolean {
  return ip === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(ip);
}
