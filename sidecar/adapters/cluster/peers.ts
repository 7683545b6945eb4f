import { createHmac } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { networkInterfaces } from 'node:os';
import { connect, createServer, type SecureContextOptions, type TLSSocket } from 'node:tls';
import { peersService } from '../../../contract/names.ts';
import type { Clock, Logger, RedeemedTicket, TicketPeers } from '../../core/ports.ts';
import { encodePeerAnswer, encodePeerCancel, type PeerAnswer, type PeerCancel, readPeerAnswer, readPeerCancel } from './peer-message.ts';
import { encodePeerTicket, encodeTicketAnswer, isPeerTicket, maxTicketAnswer, type PeerTicket, readPeerTicket, readTicketAnswer } from './peer-ticket.ts';

/** The other replicas, to be asked about a cancel key or an SSH ticket that is none of ours. */
export interface PeerClient extends TicketPeers {
  /** Asks all of them at once; resolves when one has cancelled, all have answered, or after a second. Never rejects. */
  cancel(pid: number, key: Buffer): Promise<void>;
}

/** How a replica finds and knows the others. */
export interface PeerOptions {
  readonly namespace: string;
  /** The namespace's key `peers`, 32 bytes: only the proxies of a namespace have it. */
  readonly key: Uint8Array;
  readonly port: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Addresses behind the headless Service; DNS by default. */
  readonly resolve?: () => Promise<readonly string[]>;
  /** Addresses of this replica, which does not ask itself. */
  readonly own?: () => ReadonlySet<string>;
}

/** Limits among replicas. */
export const peerLimits = { peers: 32, timeoutMs: 3_000, resolvedMs: 5_000, asksPerSecond: 50, answersPerSecond: 200, connections: 64 } as const;

/**
 * Asks the other replicas of this proxy about cancel keys and tickets.
 *
 * Both sides prove that they have the namespace's key in the handshake (TLS-PSK with ephemeral keys), so there is nothing to replay: what is recorded of one connection opens no other.
 */
export function createPeerClient(options: PeerOptions): PeerClient {
  let resolved: { readonly atMs: number; readonly addresses: Promise<readonly string[]> } | null = null;
  const mayAsk = perSecond(options.clock, peerLimits.asksPerSecond);
  const mayAskForTickets = perSecond(options.clock, peerLimits.asksPerSecond);
  const addresses = (): Promise<readonly string[]> => {
    const nowMs = options.clock.monotonicMs();
    if (resolved === null || nowMs - resolved.atMs >= peerLimits.resolvedMs) resolved = { atMs: nowMs, addresses: otherAddresses(options) };
    return resolved.addresses;
  };
  return {
    cancel: async (pid, key) => {
      if (!mayAsk()) return;
      const limit = AbortSignal.timeout(peerLimits.timeoutMs);
      const answered = addresses().then((all) => anyCancelled(all.map(async (address) => readPeerAnswer(await askPeer(address, encodePeerCancel({ pid, key }), 2, options, limit)))));
      await Promise.race([answered, aborted(limit)]);
    },
    redeem: async (ticket, use) => {
      if (!mayAskForTickets()) return null;
      const limit = AbortSignal.timeout(peerLimits.timeoutMs);
      const asked = encodePeerTicket({ ticket, use });
      const answered = addresses().then((all) => firstRedeemed(all.map(async (address) => readTicketAnswer(await askPeer(address, asked, maxTicketAnswer, options, limit)))));
      return await Promise.race([answered, aborted(limit).then(() => null)]);
    },
  };
}

/** A server for the other replicas. */
export interface PeerServer extends AsyncDisposable {
  readonly port: number;
}

/**
 * Answers the other replicas, also while it drains: its sessions are still there to be cancelled. Nothing that a peer asks is asked on.
 *
 * @throws the system's error when the port cannot be opened.
 */
export async function servePeers(options: PeerOptions & { readonly host: string; readonly onCancel: (pid: number, key: Buffer) => PeerAnswer; /** Null: the ticket is of another replica. */ readonly onTicket?: (asked: PeerTicket) => RedeemedTicket | null }): Promise<PeerServer> {
  const mayAnswer = perSecond(options.clock, peerLimits.answersPerSecond);
  const identity = identityOf(options.namespace);
  const server = createServer({ ...handshake, handshakeTimeout: peerLimits.timeoutMs, pskCallback: (_socket, name) => (name === identity ? pskOf(options.key) : null) }, (socket) => {
    serve(socket, {
      cancel: (asked) => encodePeerAnswer(mayAnswer() ? options.onCancel(asked.pid, asked.key) : 'limited'),
      ticket: (asked) => encodeTicketAnswer(mayAnswer() ? options.onTicket?.(asked) ?? null : null),
    });
  });
  server.maxConnections = peerLimits.connections;
  server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
    options.log.debug('peer refused', { error: error.message });
    // Node leaves a socket whose handshake took too long open.
    socket.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: options.host, port: options.port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  server.on('error', (error: Error) => options.log.error('peer listener failed', { error: error.message }));
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    [Symbol.asyncDispose]: async () => void server.close(),
  };
}

/** Ephemeral keys, authenticated by the shared one; nothing else is offered or accepted. */
const handshake: SecureContextOptions & { readonly minVersion: 'TLSv1.2'; readonly maxVersion: 'TLSv1.2' } = { ciphers: 'ECDHE-PSK-CHACHA20-POLY1305', minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' };

function pskOf(key: Uint8Array): Buffer {
  return createHmac('sha256', key).update('sallyport/peers/tls-psk/v1').digest();
}

function identityOf(namespace: string): string {
  return `sallyport-peer/v1/${namespace}`;
}

interface Answers {
  readonly cancel: (asked: PeerCancel) => Buffer;
  readonly ticket: (asked: PeerTicket) => Buffer;
}

function serve(socket: TLSSocket, answers: Answers): void {
  let received = Buffer.alloc(0);
  socket.on('error', () => socket.destroy());
  socket.setTimeout(peerLimits.timeoutMs, () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    const answer = answerTo(received, answers);
    if (answer === null) return;
    socket.removeAllListeners('data');
    if (answer === 'invalid') socket.destroy();
    else socket.end(answer);
  });
}

function answerTo(received: Buffer, answers: Answers): Buffer | null | 'invalid' {
  if (isPeerTicket(received)) {
    const asked = readPeerTicket(received);
    return asked === null || asked === 'invalid' ? asked : answers.ticket(asked);
  }
  const asked = readPeerCancel(received);
  return asked === null || asked === 'invalid' ? asked : answers.cancel(asked);
}

/** Whatever goes wrong with one peer is an answer of that peer that says nothing. */
function askPeer(address: string, asked: Buffer, maxBytes: number, options: PeerOptions, limit: AbortSignal): Promise<Buffer> {
  return new Promise((resolve) => {
    const socket = connect({ ...handshake, host: address, port: options.port, checkServerIdentity: () => undefined, pskCallback: () => ({ psk: pskOf(options.key), identity: identityOf(options.namespace) }) });
    let received = Buffer.alloc(0);
    const done = (): void => {
      limit.removeEventListener('abort', done);
      socket.destroy();
      resolve(received);
    };
    if (limit.aborted) return done();
    limit.addEventListener('abort', done, { once: true });
    socket.on('secureConnect', () => socket.end(asked));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]).subarray(0, maxBytes);
    });
    socket.on('error', done);
    socket.on('close', done);
  });
}

async function anyCancelled(asked: readonly Promise<PeerAnswer>[]): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  for (const answer of asked) void answer.then((said) => { if (said === 'cancelled') resolve(); });
  await Promise.race([promise, Promise.all(asked)]);
}

async function firstRedeemed(asked: readonly Promise<RedeemedTicket | null>[]): Promise<RedeemedTicket | null> {
  const { promise, resolve } = Promise.withResolvers<RedeemedTicket | null>();
  for (const answer of asked) void answer.then((said) => { if (said !== null) resolve(said); });
  return Promise.race([promise, Promise.all(asked).then((all) => all.find((said) => said !== null) ?? null)]);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function otherAddresses(options: PeerOptions): Promise<readonly string[]> {
  try {
    const found = await (options.resolve ?? (() => fromDns(options.namespace)))();
    const own = (options.own ?? ownAddresses)();
    return [...new Set(found)].filter((address) => !own.has(address)).slice(0, peerLimits.peers);
  } catch (error) {
    options.log.debug('peers cannot be found', { error: error instanceof Error ? error.message : 'unknown' });
    return [];
  }
}

async function fromDns(namespace: string): Promise<readonly string[]> {
  return (await lookup(`${peersService}.${namespace}.svc`, { all: true })).map(({ address }) => address);
}

function ownAddresses(): ReadonlySet<string> {
  return new Set(Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address)));
}

/** At most so many in one second. */
function perSecond(clock: Clock, limit: number): () => boolean {
  let second = 0;
  let count = 0;
  return () => {
    const now = Math.floor(clock.monotonicMs() / 1_000);
    if (now !== second) count = 0;
    second = now;
    return ++count <= limit;
  };
}
