import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { boundDigest } from '../../../contract/approval-digest.ts';
import { fakeClock } from '../../../tools/testkit/fake-clock.ts';
import type { Identity } from '../../core/identity/identity.ts';
import { type HeldFor, type HoldNotice, waitForApproval } from '../../core/session/approval-hold.ts';
import { type DirectoryApprovals, openDirectoryApprovals } from './access-requests.ts';

const silent = { error: () => {}, info: () => {}, debug: () => {} };
const alice = anIdentity('alice', ['sre']);
const bob = anIdentity('bob', ['dba']);
let directory: string;
let desk: DirectoryApprovals;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sallyport-hold-'));
  desk = await openDirectoryApprovals({ dataDirectory: directory, clock: fakeClock(), log: silent, isPolicyCurrent: () => true, onEvent: async () => {} });
});

afterEach(async () => {
  await desk.close();
  await rm(directory, { recursive: true, force: true });
});

test('a held command is shown with a digest that anyone can recompute, and goes on once after the approval', async () => {
  const { notices, outcome, request } = await hold(aHeldStatement(), new AbortController().signal);
  const shown = desk.find(request, bob);
  if (shown === null) throw new Error('the approver cannot see the request');
  const { targetUid: _none, ...view } = shown;
  expect(shown.digest).toBe(boundDigest(view, shown.statementHmac));

  await desk.decide({ name: request, by: bob, decision: 'Approve', reason: '', digest: shown.digest, method: 'oidc' });

  const released = await outcome;
  if (released.outcome !== 'approved') throw new Error(released.denial.code);
  expect(released.approvals).toMatchObject([{ request, approver: { username: 'oidc:bob' }, boundDigest: shown.digest }]);
  expect([await released.use(), await released.use()]).toEqual([true, false]);
  expect(notices.map((notice) => [notice.kind, notice.howToDecide])).toEqual([['held', `sallyport approve ${request}`], ['released', `sallyport approve ${request}`]]);
});

test('a cancelled command leaves nothing that could be approved', async () => {
  const cancel = new AbortController();
  const { outcome, request } = await hold(aHeldStatement(), cancel.signal);
  cancel.abort();

  expect(await outcome).toMatchObject({ outcome: 'denied', denial: { code: 'HOLD_CANCELLED' } });
  expect(desk.find(request, bob)?.phase).toBe('Withdrawn');
});

test('a user who hangs up while opening a session waits comes back to the same request and is let in once it is approved', async () => {
  const gone = new AbortController();
  const first = await hold(aHeldSession('s1'), gone.signal);
  gone.abort();
  await first.outcome;
  expect(desk.find(first.request, alice)?.phase).toBe('Pending');
  await desk.decide({ name: first.request, by: bob, decision: 'Approve', reason: '', digest: null, method: 'oidc' });

  const second = await hold(aHeldSession('s2'), new AbortController().signal);

  expect(second.request).toBe(first.request);
  expect(await second.outcome).toMatchObject({ outcome: 'approved', grant: { scope: 'Session', sessionId: 's2' } });
});

async function hold(held: HeldFor, cancelled: AbortSignal) {
  const notices: HoldNotice[] = [];
  const named = Promise.withResolvers<string>();
  const outcome = waitForApproval(held, { approver: desk, cancelled, announce: (notice) => notices.push(notice), onPending: async (pending) => named.resolve(pending.name) });
  return { notices, outcome, request: await named.promise };
}

function aHeldStatement(): HeldFor {
  const text = 'ALTER TABLE orders ADD COLUMN note text';
  return {
    ...aHeldSession('s1'), approval: { groups: ['dba'], required: 1, decideWithinSeconds: 600, scope: 'Statement', grantTtlSeconds: null },
    statement: { view: { text, parameters: [], kind: 'Alter', objects: ['public.orders'], searchPath: 'public', inTransaction: false }, exact: { text: Buffer.from(text), parameters: [] } },
  };
}

function aHeldSession(sessionId: string): HeldFor {
  return {
    sessionId, identity: alice, target: 'orders-db', namespace: 'payments', database: 'orders', statement: null, digestKey: new Uint8Array(32),
    by: { policy: 'oncall', policyUid: 'uid-1', policyGeneration: 3, policyDigest: 'sha256:p', rule: null },
    approval: { groups: ['dba'], required: 1, decideWithinSeconds: 600, scope: 'Session', grantTtlSeconds: 3600 },
  };
}

function anIdentity(name: string, groups: readonly string[]): Identity {
  return {
    provider: 'idp', issuer: 'https://idp', subject: name, username: `oidc:${name}`, groups, uid: null, email: null, serviceAccount: null, actors: [], tokenId: null, authTimeMs: null, acr: null,
    amr: [], issuedAtMs: null, expiresAtMs: Number.MAX_SAFE_INTEGER, claims: {},
  };
}
