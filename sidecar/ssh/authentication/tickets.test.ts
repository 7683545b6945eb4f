import { expect, test } from '@jest/globals';
import type { Identity } from '../../core/identity/identity.ts';
import { TicketDesk, ticketLimits } from './tickets.ts';

const startMs = Date.parse('2026-11-24T12:00:00Z');
const ada: Identity = {
  provider: 'corp', issuer: 'https://id.example', subject: 'ada', username: 'oidc:ada', groups: ['sre'], uid: null, email: null, serviceAccount: null, actors: [], tokenId: null, authTimeMs: null, acr: null, amr: [], issuedAtMs: null,
  expiresAtMs: startMs + 3_600_000, authMethod: 'Token', claims: {},
};
const use = { target: 'web-1', account: 'deploy', address: '10.0.0.1' };
const binding = { target: 'web-1', account: 'deploy', address: null };

function deskAt(): { readonly desk: TicketDesk; readonly pass: (ms: number) => void } {
  let passed = 0;
  return { desk: new TicketDesk({ now: () => startMs + passed, monotonicMs: () => passed }, null), pass: (ms) => { passed += ms; } };
}

function mint(desk: TicketDesk, identity: Identity = ada, address: string | null = null): string {
  const minted = desk.mint(identity, { ...binding, address });
  if (minted.outcome === 'refused') throw new Error(minted.denial.code);
  return minted.ticket;
}

async function outcome(desk: TicketDesk, ticket: string, over: Partial<typeof use> = {}): Promise<string> {
  const redeemed = await desk.redeem(ticket, { ...use, ...over });
  return redeemed.outcome === 'redeemed' ? `${redeemed.identity.username} by ${redeemed.identity.authMethod}` : redeemed.reason;
}

test('a ticket opens once', async () => {
  const { desk } = deskAt();
  const ticket = mint(desk);
  expect([await outcome(desk, ticket), await outcome(desk, ticket)]).toEqual(['oidc:ada by Ticket', 'unknown']);
});

test.each([
  ['another target', { target: 'web-2' }, 'target'], ['another account', { account: 'root' }, 'account'], ['another address', { address: '10.0.0.2' }, 'address'],
])('%s burns it', async (_name, over, reason) => {
  const { desk } = deskAt();
  const ticket = mint(desk, ada, '10.0.0.1');
  expect([await outcome(desk, ticket, over), await outcome(desk, ticket)]).toEqual([reason, 'unknown']);
});

test('another secret burns it', async () => {
  const { desk } = deskAt();
  const ticket = mint(desk);
  expect([await outcome(desk, `${ticket.slice(0, -1)}${ticket.endsWith('A') ? 'B' : 'A'}`), await outcome(desk, ticket)]).toEqual(['secret', 'unknown']);
});

test('it serves until its time is over, and not in that moment', async () => {
  const { desk, pass } = deskAt();
  const [first, second] = [mint(desk), mint(desk)];
  pass(ticketLimits.lifeMs - 1);
  expect(await outcome(desk, first)).toBe('oidc:ada by Ticket');
  pass(1);
  expect([await outcome(desk, second), desk.pending]).toEqual(['time', 0]);
});

test('it never outlives the token that it came from', async () => {
  const { desk, pass } = deskAt();
  const ticket = mint(desk, { ...ada, expiresAtMs: startMs + 10_000 });
  pass(10_000);
  expect(await outcome(desk, ticket)).toBe('time');
  expect(desk.mint({ ...ada, expiresAtMs: startMs + 10_000 }, binding)).toMatchObject({ outcome: 'refused', denial: { code: 'TOKEN_EXPIRED' } });
});

test('twenty may wait for one person; another person, and the twenty-first after a minute, get theirs', () => {
  const { desk, pass } = deskAt();
  for (let i = 0; i < ticketLimits.pendingPerIdentity; i += 1) mint(desk);
  expect(desk.mint(ada, binding).outcome).toBe('refused');
  expect(desk.mint({ ...ada, subject: 'bob' }, binding).outcome).toBe('minted');
  pass(ticketLimits.lifeMs);
  expect(desk.mint(ada, binding).outcome).toBe('minted');
});

test('what is no ticket, and a replica that nobody can ask, are refused', async () => {
  const { desk } = deskAt();
  expect([await outcome(desk, 'sp1_x'), await outcome(deskAt().desk, mint(desk))]).toEqual(['form', 'replica gone']);
});

test('a replica asks the one that minted it', async () => {
  const { desk } = deskAt();
  const other = new TicketDesk({ now: () => startMs, monotonicMs: () => 0 }, { redeem: async (ticket, asked) => (ticket.replica === desk.replica ? desk.redeemOwn(ticket, asked) : null) });
  const ticket = mint(desk);
  expect([await outcome(other, ticket), await outcome(other, ticket)]).toEqual(['oidc:ada by Ticket', 'unknown']);
});
