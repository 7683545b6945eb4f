import { randomBytes } from 'node:crypto';
import { afterEach, expect, test } from '@jest/globals';
import { createPeerClient, type PeerOptions, servePeers } from '../../sidecar/adapters/cluster/peers.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { RedeemedTicket, TicketUse } from '../../sidecar/core/ports.ts';
import { TicketDesk } from '../../sidecar/ssh/authentication/tickets.ts';
import { anIdentity } from '../../tools/testkit/policies.ts';
import { freePort } from '../hosts/postgres.ts';

const key = randomBytes(32);
const silent = { error: () => {}, info: () => {}, debug: () => {} };
const open: { close(): unknown }[] = [];
const use: TicketUse = { target: 'web-1', account: 'deploy', address: '10.0.0.7' };
const alice = anIdentity({ user: 'alice', groups: ['sre'], actors: ['bot'], claims: { team: 'payments', list: [1, 'ü'] } });

afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

/** A replica at a loopback address, with its own tickets, that knows the others by their addresses. */
async function replica(host: string, port: number, others: readonly string[], over: Partial<PeerOptions> = {}): Promise<TicketDesk> {
  const options: PeerOptions = { namespace: 'payments', key, port, clock: systemClock(), log: silent, resolve: async () => others, own: () => new Set([host]), ...over };
  const desk: TicketDesk = new TicketDesk(systemClock(), createPeerClient(options));
  const server = await servePeers({ ...options, host, onCancel: () => 'unknown', onTicket: ({ ticket, use: used }) => (ticket.replica === desk.replica ? desk.redeemOwn(ticket, used) : null) });
  open.push({ close: () => server[Symbol.asyncDispose]() });
  return desk;
}

function mint(desk: TicketDesk): string {
  const minted = desk.mint(alice, { target: 'web-1', account: 'deploy', address: null });
  if (minted.outcome !== 'minted') throw new Error(minted.denial.code);
  return minted.ticket;
}

const outcome = (redeemed: RedeemedTicket): string => (redeemed.outcome === 'redeemed' ? 'redeemed' : redeemed.reason);

test('a ticket opens at a replica that did not mint it, as the identity that it was minted for, once', async () => {
  const port = await freePort();
  const [one, other] = [await replica('127.0.0.2', port, ['127.0.0.3', '127.0.0.4']), await replica('127.0.0.3', port, ['127.0.0.2', '127.0.0.4'])];
  await replica('127.0.0.4', port, []);
  const ticket = mint(one);
  expect(await other.redeem(ticket, use)).toMatchObject({ outcome: 'redeemed', identity: { ...alice, authMethod: 'Ticket' } });
  expect([outcome(await other.redeem(ticket, use)), outcome(await one.redeem(ticket, use))]).toEqual(['unknown', 'unknown']);
});

test('of 50 uses of one ticket at once over two replicas exactly one opens', async () => {
  const port = await freePort();
  const desks = [await replica('127.0.0.2', port, ['127.0.0.3']), await replica('127.0.0.3', port, ['127.0.0.2'])] as const;
  const ticket = mint(desks[0]);
  const uses = await Promise.all(Array.from({ length: 50 }, async (_, index) => outcome(await desks[index % 2 === 0 ? 1 : 0].redeem(ticket, use))));
  expect(uses.filter((each) => each === 'redeemed')).toHaveLength(1);
  expect(new Set(uses)).toEqual(new Set(['redeemed', 'unknown']));
});

test('a use for something else burns it at the other replica too', async () => {
  const port = await freePort();
  const [one, other] = [await replica('127.0.0.2', port, ['127.0.0.3']), await replica('127.0.0.3', port, ['127.0.0.2'])];
  for (const [wrong, reason] of [[{ ...use, target: 'web-2' }, 'target'], [{ ...use, account: 'root' }, 'account']] as const) {
    const ticket = mint(one);
    expect([outcome(await other.redeem(ticket, wrong)), outcome(await other.redeem(ticket, use))]).toEqual([reason, 'unknown']);
  }
});

test('without the key of the namespace nobody learns an identity, and the ticket of a replica that is gone opens nothing', async () => {
  const port = await freePort();
  const one = await replica('127.0.0.2', port, []);
  const stranger = new TicketDesk(systemClock(), createPeerClient({ namespace: 'payments', key: randomBytes(32), port, clock: systemClock(), log: silent, resolve: async () => ['127.0.0.2'], own: () => new Set() }));
  const ticket = mint(one);
  expect(outcome(await stranger.redeem(ticket, use))).toBe('replica gone');
  expect(outcome(await one.redeem(ticket, use))).toBe('redeemed');
  const orphan = await replica('127.0.0.3', port, ['127.0.0.9']);
  expect(outcome(await orphan.redeem(mint(one), use))).toBe('replica gone');
});
