import { createHash, timingSafeEqual } from 'node:crypto';

/** A one-time ticket in its parts: `sp1_REPLICA_ID_SECRET`, 73 characters. */
export interface SshTicket {
  /** Of the replica that minted it and alone knows it. */
  readonly replica: string;
  readonly id: string;
  /** 32 random bytes, base64url. */
  readonly secret: string;
}

/** What every ticket begins with: how a password is told from a token. */
export const ticketPrefix = 'sp1_';

/** The text that a user's SSH client sends as its password. `replica` and `id` are lower-case letters and digits, 8 and 16 of them. */
export function formatTicket(ticket: SshTicket): string {
  return `${ticketPrefix}${ticket.replica}_${ticket.id}_${ticket.secret}`;
}

/** Null for everything that `formatTicket` would not write. */
export function readTicket(text: string): SshTicket | null {
  const match = /^sp1_([a-z0-9]{8})_([a-z0-9]{16})_([A-Za-z0-9_-]{43})$/.exec(text);
  return match?.[1] === undefined || match[2] === undefined || match[3] === undefined ? null : { replica: match[1], id: match[2], secret: match[3] };
}

/** What is kept of a secret: its SHA-256. */
export function hashTicketSecret(secret: string): Uint8Array {
  return createHash('sha256').update(secret).digest();
}

/** Whether a secret is the one that was kept, in constant time. */
export function isTicketSecret(secret: string, kept: Uint8Array): boolean {
  return timingSafeEqual(hashTicketSecret(secret), kept);
}
