import { createPublicKey } from 'node:crypto';
import type { Socket } from 'node:net';
import ssh2, { type ClientInfo, type Connection, type NegotiatedAlgorithms } from 'ssh2';

import { ident, serverAlgorithms } from './algorithms.ts';
import { containThrows, isStrictEnough, keepalive, type RekeyLimits, rekeyRegularly } from './leg.ts';

export interface SshServerOptions {
  /** Private host keys, OpenSSH's format: one per type, best first. */
  readonly hostKeys: readonly Uint8Array[];
  /** From the socket to the end of the first key exchange; 20 s by default. */
  readonly handshakeMs?: number;
  readonly rekey?: RekeyLimits;
}

/** One client's connection, from its first line on. */
export interface ServedConnection {
  /** ssh2's. What its listeners throw ends the connection, never the process; an async listener needs `guarded(fail, ...)`. */
  readonly connection: Connection;
  readonly socket: Socket;
  /** The client's software as it named itself, at most 255 printable characters. */
  readonly software: string;
  /** Null until the first key exchange is over. */
  negotiated(): { readonly kex: string; readonly cipher: string } | null;
  /** Shows a text before the login is decided (RFC 4252, 5.4). Does nothing after it. */
  authBanner(text: string): void;
  /** Says goodbye; the socket is cut a second later if the client does not close it. */
  end(): void;
  /** Ends the connection because of a failure of ours or a broken peer. */
  fail(error: unknown): void;
  /** Aborted once the socket is closed. */
  readonly closed: AbortSignal;
}

export interface SshHandlers {
  /** Called once, synchronously, after the client's first line and before anything else: events that have no listener by its end are refused. */
  connected(served: ServedConnection): void;
  /** What ended the connection before its time: for the log. May come more than once. */
  failed?(error: unknown): void;
}

export interface SshServer {
  /** Serves one socket; resolves once it is closed. Never rejects. */
  serve(socket: Socket, handlers: SshHandlers): Promise<void>;
}

const defaultHandshakeMs = 20_000;
const lingerMs = 1_000;

/**
 * The server of all SSH listeners of a process: ssh2 on sockets that our own listener accepted.
 *
 * No listener of its own, no greeting, no banner. `nativeProblem` must have answered null.
 *
 * @throws Error, in words for a log, when a host key cannot be read or is weak.
 */
export function createSshServer(options: SshServerOptions): SshServer {
  const waiting = new WeakMap<Socket, (connection: Connection, info: ClientInfo) => void>();
  const hostKeys = options.hostKeys.map((key) => {
    const problem = hostKeyProblem(key);
    if (problem !== null) throw new Error(`an SSH host key ${problem}`);
    return Buffer.from(key);
  });
  const server = new ssh2.Server({ hostKeys, ident, algorithms: serverAlgorithms(), ...keepalive }, (connection, info) => {
    // ssh2 does not say which socket a connection is of.
    waiting.get((connection as unknown as { readonly _sock: Socket })._sock)?.(connection, info);
  });
  return { serve: (socket, handlers) => serve(server, waiting, socket, handlers, options) };
}

/** Never the library's words: they could quote the key. */
function hostKeyProblem(bytes: Uint8Array): string | null {
  const parsed = ssh2.utils.parseKey(Buffer.from(bytes));
  if (parsed instanceof Error || !parsed.isPrivateKey()) return 'cannot be read: a private key without a passphrase in OpenSSH\'s format is needed';
  if (parsed.type === 'ssh-ed25519') return null;
  if (parsed.type !== 'ssh-rsa') return 'is neither Ed25519 nor RSA';
  return (createPublicKey(parsed.getPublicPEM()).asymmetricKeyDetails?.modulusLength ?? 0) < leastRsaBits ? `has under ${leastRsaBits} bits` : null;
}

const leastRsaBits = 3_072;

function serve(server: ssh2.Server, waiting: WeakMap<Socket, (connection: Connection, info: ClientInfo) => void>, socket: Socket, handlers: SshHandlers, options: SshServerOptions): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const closed = new AbortController();
  // ssh2 raises no event for a socket that never speaks.
  const handshakeTimer = setTimeout(() => socket.destroy(), options.handshakeMs ?? defaultHandshakeMs);
  socket.once('close', () => {
    clearTimeout(handshakeTimer);
    closed.abort();
    resolve();
  });
  if (socket.destroyed) socket.emit('close');
  const fail = (error: unknown): void => {
    handlers.failed?.(error);
    setTimeout(() => socket.destroy(), lingerMs).unref();
    // What else it sends is read by nobody.
    socket.pause();
    socket.end();
  };
  waiting.set(socket, (connection, info) => {
    waiting.delete(socket);
    containThrows(connection, fail);
    connection.on('error', fail);
    let negotiated: NegotiatedAlgorithms | null = null;
    connection.on('handshake', (agreed: NegotiatedAlgorithms) => {
      clearTimeout(handshakeTimer);
      negotiated = agreed;
      if (!isStrictEnough(connection, agreed)) fail(new Error('the client asked for chacha20-poly1305 without strict key exchange'));
    });
    rekeyRegularly(connection, socket, fail, options.rekey);
    const end = (): void => {
      setTimeout(() => socket.destroy(), lingerMs).unref();
      connection.end();
    };
    handlers.connected({
      connection, socket, fail, end, closed: closed.signal,
      software: printable(info.header.versions.software),
      negotiated: () => (negotiated === null ? null : { kex: negotiated.kex, cipher: negotiated.sc.cipher }),
      authBanner: (text) => (connection as Connection & { authBanner?(text: string): void }).authBanner?.(text),
    });
  });
  server.injectSocket(socket);
  return promise;
}

function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 255);
}
