import type { Duplex } from 'node:stream';

/** A peer that keeps sending or never closes is cut after this long. */
const lingerMs = 1_000;

/**
 * Sends a last message, closes our side and waits until the peer has closed, at most one second.
 *
 * What the peer still sends is read and dropped: closing with unread bytes resets the connection, and a reset can destroy the message on its way.
 */
export function sendAndClose(socket: Duplex, lastWords: Buffer | null): Promise<void> {
  if (socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => socket.destroy(), lingerMs);
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.on('error', () => socket.destroy());
    socket.on('end', () => socket.destroy());
    socket.on('data', () => undefined);
    socket.resume();
    if (lastWords) socket.end(lastWords);
    else socket.end();
  });
}
