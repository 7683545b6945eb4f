import { randomBytes, randomInt } from 'node:crypto';
import { type Denial, deny } from '../../core/errors.ts';
import { type Identity, subjectKey } from '../../core/identity/identity.ts';
import { formatTicket, hashTicketSecret, isTicketSecret, readTicket, type SshTicket } from '../../core/identity/ssh-ticket.ts';
import type { Clock, RedeemedTicket, TicketPeers, TicketUse } from '../../core/ports.ts';

/** What a ticket opens: one connection to this Target with this account, from this address where one is given. */
export interface TicketBinding {
  readonly target: string;
  readonly account: string;
  readonly address: string | null;
}

/** `expiresAtMs` is Unix time. */
export type MintOutcome =
  | { readonly outcome: 'minted'; readonly ticket: string; readonly id: string; readonly expiresAtMs: number }
  | { readonly outcome: 'refused'; readonly denial: Denial };

/** Bounds of tickets (ssh.md 3.4). */
export const ticketLimits = { lifeMs: 60_000, pendingPerIdentity: 20, pending: 5_000 } as const;

interface Kept extends TicketBinding {
  readonly identity: Identity;
  readonly hash: Uint8Array;
  readonly expiresAtMonotonicMs: number;
}

/**
 * The one-time tickets that this process minted. State, because a ticket lives in the memory of its replica and nowhere else; of its secret only the SHA-256 is kept.
 *
 * @param peers who knows the tickets of other replicas; null where there is one replica only.
 */
export class TicketDesk {
  readonly #clock: Clock;
  readonly #peers: TicketPeers | null;
  readonly #kept = new Map<string, Kept>();
  /** What the tickets of this replica bear: 8 lower-case letters and digits. */
  readonly replica: string = randomName(8);

  constructor(clock: Clock, peers: TicketPeers | null) {
    this.#clock = clock;
    this.#peers = peers;
  }

  /** Tickets that are neither used nor over. */
  get pending(): number {
    this.#forgetOld();
    return this.#kept.size;
  }

  /** Mints a ticket for 60 s; it never outlives the token that `identity` came from. */
  mint(identity: Identity, binding: TicketBinding): MintOutcome {
    this.#forgetOld();
    const now = this.#clock.now();
    const lifeMs = Math.min(ticketLimits.lifeMs, identity.expiresAtMs - now);
    if (lifeMs <= 0) return { outcome: 'refused', denial: deny('TOKEN_EXPIRED') };
    const key = subjectKey(identity);
    const own = [...this.#kept.values()].filter((kept) => subjectKey(kept.identity) === key).length;
    if (own >= ticketLimits.pendingPerIdentity || this.#kept.size >= ticketLimits.pending) return { outcome: 'refused', denial: deny('TOO_MANY_CONNECTIONS', { detail: 'too many tickets wait to be used', hint: 'use one, or wait a minute' }) };
    const ticket = { replica: this.replica, id: randomName(16), secret: randomBytes(32).toString('base64url') };
    this.#kept.set(ticket.id, { ...binding, identity: { ...identity, authMethod: 'Ticket' }, hash: hashTicketSecret(ticket.secret), expiresAtMonotonicMs: this.#clock.monotonicMs() + lifeMs });
    return { outcome: 'minted', ticket: formatTicket(ticket), id: ticket.id, expiresAtMs: now + lifeMs };
  }

  /** Uses up a ticket, wherever it was minted. Never rejects. */
  async redeem(text: string, use: TicketUse): Promise<RedeemedTicket & { readonly id: string | null }> {
    const ticket = readTicket(text);
    if (ticket === null) return { outcome: 'refused', reason: 'form', id: null };
    const redeemed = ticket.replica === this.replica ? this.redeemOwn(ticket, use) : await this.#peers?.redeem(ticket, use);
    return { ...(redeemed ?? { outcome: 'refused', reason: 'replica gone' }), id: ticket.id };
  }

  /** Uses up a ticket of this replica, for itself or a peer that was shown it. One step, and taken out before it is judged: of any number of uses one at most succeeds, and a misused ticket is gone. */
  redeemOwn(ticket: SshTicket, use: TicketUse): RedeemedTicket {
    const kept = this.#kept.get(ticket.id);
    if (kept === undefined) return { outcome: 'refused', reason: 'unknown' };
    this.#kept.delete(ticket.id);
    if (!isTicketSecret(ticket.secret, kept.hash)) return { outcome: 'refused', reason: 'secret' };
    if (this.#clock.monotonicMs() >= kept.expiresAtMonotonicMs || this.#clock.now() >= kept.identity.expiresAtMs) return { outcome: 'refused', reason: 'time' };
    if (use.target !== kept.target) return { outcome: 'refused', reason: 'target' };
    if (use.account !== kept.account) return { outcome: 'refused', reason: 'account' };
    if (kept.address !== null && use.address !== kept.address) return { outcome: 'refused', reason: 'address' };
    return { outcome: 'redeemed', identity: kept.identity };
  }

  #forgetOld(): void {
    const now = this.#clock.monotonicMs();
    for (const [id, kept] of this.#kept) if (now >= kept.expiresAtMonotonicMs) this.#kept.delete(id);
  }
}

const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789';

function randomName(length: number): string {
  return Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('');
}
