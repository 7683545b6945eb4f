import { z } from 'zod';
import type { SshTicket } from '../../core/identity/ssh-ticket.ts';
import type { RedeemedTicket, TicketUse } from '../../core/ports.ts';

/** What one replica asks the others when it was shown a ticket that it did not mint. */
export interface PeerTicket {
  readonly ticket: SshTicket;
  readonly use: TicketUse;
}

const version = 1;
const redeem = 2;
const headBytes = 4;
const maxAskBytes = 2_048;
/** An identity holds all claims of its token, which has 16 KiB at most. */
const maxAnswerBytes = 65_536;

/** Longest request of this kind, bytes. */
export const maxTicketMessage: number = headBytes + maxAskBytes;
/** Longest answer, bytes. */
export const maxTicketAnswer: number = headBytes + maxAnswerBytes;

const askSchema = z.strictObject({
  ticket: z.strictObject({ replica: z.string().max(64), id: z.string().max(64), secret: z.string().max(128) }),
  use: z.strictObject({ target: z.string().max(253), account: z.string().max(64), address: z.string().max(64) }),
});

const answerSchema = z.union([
  z.null(),
  z.strictObject({ outcome: z.literal('refused'), reason: z.enum(['form', 'unknown', 'replica gone', 'secret', 'time', 'target', 'account', 'address']) }),
  z.strictObject({
    outcome: z.literal('redeemed'),
    identity: z.looseObject({
      provider: z.string(), issuer: z.string(), subject: z.string().min(1), username: z.string().min(1), groups: z.array(z.string()), expiresAtMs: z.number(), authMethod: z.literal('Ticket'),
      actors: z.array(z.strictObject({ issuer: z.string(), subject: z.string() })), claims: z.record(z.string(), z.unknown()),
    }),
  }),
]);

/** Version, kind, length (big endian, 2 bytes), JSON. */
export function encodePeerTicket(asked: PeerTicket): Buffer {
  const body = Buffer.from(JSON.stringify(asked));
  const head = Buffer.from([version, redeem, 0, 0]);
  head.writeUInt16BE(body.length, 2);
  return Buffer.concat([head, body]);
}

/** Whether a message asks about a ticket, as far as its first two bytes tell. */
export function isPeerTicket(bytes: Buffer): boolean {
  return bytes.length >= 2 && bytes[0] === version && bytes[1] === redeem;
}

/** @returns null while bytes are missing, 'invalid' for anything that `encodePeerTicket` does not make. */
export function readPeerTicket(bytes: Buffer): PeerTicket | null | 'invalid' {
  if (bytes.length < headBytes) return null;
  const length = bytes.readUInt16BE(2);
  if (length > maxAskBytes || bytes.length > headBytes + length) return 'invalid';
  if (bytes.length < headBytes + length) return null;
  const parsed = askSchema.safeParse(readJson(bytes.subarray(headBytes)));
  return parsed.success ? parsed.data : 'invalid';
}

/** Length (big endian, 4 bytes), JSON. Null: the ticket is of another replica, or this one cannot say. */
export function encodeTicketAnswer(answer: RedeemedTicket | null): Buffer {
  const body = Buffer.from(JSON.stringify(answer));
  const head = Buffer.alloc(headBytes);
  head.writeUInt32BE(body.length, 0);
  return body.length > maxAnswerBytes ? encodeTicketAnswer(null) : Buffer.concat([head, body]);
}

/** What is no whole answer counts as none. */
export function readTicketAnswer(bytes: Buffer): RedeemedTicket | null {
  if (bytes.length < headBytes || bytes.length !== headBytes + bytes.readUInt32BE(0)) return null;
  const parsed = answerSchema.safeParse(readJson(bytes.subarray(headBytes)));
  // The form is that of our own code, at most one version apart, and came from somebody who has the namespace's key.
  return parsed.success ? parsed.data as RedeemedTicket | null : null;
}

function readJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
