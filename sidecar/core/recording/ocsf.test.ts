import { describe, expect, test } from '@jest/globals';
import { aBackend, aDecision, anIntent, aResult, aSubject } from '../../../tools/testkit/audit.ts';
import type { EventCode } from '../../../contract/audit.ts';
import { type EventBody, LogEncoder, newChain, type SessionChain } from './encode.ts';
import { eventCatalog, statementActivity } from './event-catalog.ts';
import { boundedText, createIsoClock } from './json-text.ts';
import { SessionEvents } from './ocsf.ts';
import { person } from './ocsf-parts.ts';
import { authFailedBody, factsBody, lifecycleBody } from './ocsf-process.ts';
import { closingBodies, OpenSessions } from './open-sessions.ts';
import { hash } from 'node:crypto';
import { readRecord } from './record-view.ts';

const now = Date.UTC(2026, 8, 21, 14, 15, 23, 456);
const client = { ip: '10.0.0.1', port: 1 };

/** One sample of every event code, as it would be written. */
function samples(): ReadonlyMap<EventCode, Readonly<Record<string, unknown>>> {
  const encoder = new LogEncoder({ origin: 'local/payments/01LOG', logId: '01LOG', namespace: 'payments', version: '0.1.0' });
  const chain = newChain('01SESSION');
  const events = new SessionEvents(aSubject(), aBackend());
  const made = events.intent(now, 1, 1, anIntent());
  const { approvals: _a, continues: _c, ...attempt } = anIntent({ kind: 'Drop' });
  const facts = { request: 'areq-1', requestUid: 'r1', requester: { key: 'k', username: 'a' }, approver: { key: 'l', username: 'b' }, decision: 'Approve' };
  const bodies: readonly (readonly [EventCode, EventBody, SessionChain | null])[] = [
    ['session.start', events.sessionStart(now), chain], ['statement.intent', made.body, chain], ['statement.result', events.result(now, made.mark, aResult(1)), chain],
    ...(['statement.denied', 'statement.held', 'statement.cancelled'] as const).map((event) => [event, events.attempt(now, 2, { event, intent: attempt, code: 'STATEMENT_DENIED', request: null }), chain] as const),
    ['session.end', events.sessionEnd(now, 'ClientClosed', { durationMs: 5, statements: 1, denied: 1, rows: 50, bytes: 4120 }, { uri: 'recordings/x', sha256: 'sha256:aa', bytes: 9 }), chain],
    ['auth.failed', authFailedBody(now, { code: 'TOKEN_EXPIRED', client, target: 'orders-db', requestedUser: 'a', username: null, issuer: null }), null],
    ...(['request.created', 'request.decided', 'request.expired', 'request.withdrawn', 'policy.changed', 'session.terminated', 'evidence.exported'] as const).map((code) => [code, factsBody(code, now, facts), null] as const),
    ...(['log.opened', 'log.closed', 'log.recovered', 'heartbeat', 'audit.failed', 'audit.restored'] as const).map((code) => [code, lifecycleBody(code, now, { log: {} }), null] as const),
  ];
  return new Map(bodies.map(([code, body, owner]) => [code, JSON.parse(encoder.next(code, body, owner)) as Readonly<Record<string, unknown>>]));
}

describe('every event', () => {
  const all = samples();

  test('of the catalogue has a sample here', () => {
    expect([...all.keys()].sort()).toEqual(Object.keys(eventCatalog).sort());
  });

  test.each([...all])('%s has what OCSF 1.8.0 requires of its class', (code, event) => {
    const row = eventCatalog[code];
    expect(event).toMatchObject({
      category_uid: row.category, class_uid: row.class, type_uid: row.class * 100 + Number(event['activity_id']), severity_id: row.severity, time: now, time_dt: '2026-09-21T14:15:23.456Z',
      metadata: { version: '1.8.0', event_code: code, product: { name: 'sallyport', vendor_name: 'Sallyport' } },
      evidence: { schema: 'evidence/v1', integrity: { alg: 'sha256-line/1', log_origin: 'local/payments/01LOG' } },
    });
    const required: Readonly<Record<number, readonly string[]>> = { 6005: ['actor', 'src_endpoint', 'database'], 3002: ['user', 'service'], 3004: ['entity'], 6002: ['app'], 6003: ['actor', 'api', 'src_endpoint'] };
    expect((required[row.class] ?? []).filter((attribute) => event[attribute] === undefined)).toEqual([]);
    expect(Object.keys(event).filter((attribute) => !allowed.has(attribute))).toEqual([]);
    expect('session_seq' in ((event['evidence'] as Record<string, Record<string, unknown>>)['integrity'] ?? {})).toBe(row.chained);
  });
});

const allowed = new Set([
  'metadata', 'activity_id', 'activity_name', 'category_uid', 'class_uid', 'type_uid', 'severity_id', 'time', 'time_dt', 'status', 'status_id', 'status_code', 'action', 'action_id', 'disposition', 'disposition_id',
  'actor', 'user', 'service', 'src_endpoint', 'dst_endpoint', 'database', 'query_info', 'policy', 'entity', 'app', 'api', 'evidence',
]);

test.each([['Select', 4], ['Explain', 4], ['CopyOut', 1], ['Insert', 5], ['CopyIn', 5], ['Update', 2], ['Alter', 2], ['Delete', 7], ['Truncate', 7], ['Drop', 7], ['Create', 6], ['Grant', 99], ['constructor', 99]])('a %s is activity %i', (kind, id) => {
  expect(statementActivity(kind).id ?? 99).toBe(id);
});

test('an approval by the requester\'s own agent is marked as not distinct', () => {
  const agent = { issuer: 'https://idp.bank.example', subject: 'agent-1' };
  const subject = aSubject();
  const events = new SessionEvents({ ...subject, identity: { ...subject.identity, actors: [agent] } }, aBackend());
  const approval = { request: 'r', requestUid: 'u', scope: 'Statement', approver: { key: JSON.stringify([agent.issuer, agent.subject]), username: 'x' }, decisionUid: 'd', timeMs: now, method: 'oidc', boundDigest: 'sha256:aa' };
  const made = events.intent(now, 1, 1, anIntent({ approvals: [approval] }));
  expect(made.body.json).toContain('"distinct_from_requester":false');
});

test('a decision that differs only in its time reuses nothing but its constant part', () => {
  const events = new SessionEvents(aSubject(), aBackend());
  const times = [1000, 2000].map((ms) => events.intent(now, 1, 1, anIntent({ decision: aDecision({ evaluatedAtMs: ms }) })).body.json.match(/"evaluated_at":"([^"]+)"/)?.[1]);
  expect(times).toEqual(['1970-01-01T00:00:01.000Z', '1970-01-01T00:00:02.000Z']);
});

test('a record that would pass 64 KiB is refused and leaves the chain where it was', () => {
  const encoder = new LogEncoder({ origin: 'o', logId: 'l', namespace: 'n', version: '0' });
  const chain = newChain('s');
  expect(() => encoder.next('session.start', { json: `"x":"${'y'.repeat(70_000)}","evidence":{"a":1`, truncated: false }, chain)).toThrow('RECORDER_FAILED');
  expect([encoder.size, chain.nextSeq]).toEqual([0, 0]);
});

test.each([['short', 100, false], ['x'.repeat(200), 100, true], ['\u0000'.repeat(50), 100, true], ['é漢😀'.repeat(30), 64, true]])('a text is cut to its JSON bytes: %j', (text, limit, cut) => {
  const bounded = boundedText(text, limit);
  expect(Buffer.byteLength(bounded.json)).toBeLessThanOrEqual(limit);
  expect([bounded.cut, text.startsWith((JSON.parse(bounded.json) as string).replace(/[\ud800-\udbff]$/, ''))]).toEqual([cut, true]);
});

test('the fast clock writes the same text as the slow one', () => {
  const iso = createIsoClock();
  const times = [0, 999, 1000, 1001.7, now, now + 59, 5];
  expect(times.map(iso)).toEqual(times.map((ms) => new Date(ms).toISOString()));
});

test('what a lost process left open gets an Unknown result and an end, for its user and target', () => {
  const encoder = new LogEncoder({ origin: 'o', logId: 'l', namespace: 'n', version: '0' });
  const chain = newChain('01SESSION');
  const events = new SessionEvents(aSubject(), aBackend());
  const open = new OpenSessions();
  for (const [code, body] of [['session.start', events.sessionStart(now)], ['statement.intent', events.intent(now, 1, 1, anIntent()).body]] as const) {
    const line = encoder.next(code, body, chain);
    const record = readRecord(line);
    if (record !== null) open.feed(record, hash('sha256', line, 'hex'));
  }
  const [session] = open.list();
  if (session === undefined) throw new Error('no open session');
  expect(session.chain).toEqual(chain);
  const lines = closingBodies(session, now + 5, 'ProxyLost', null).map(({ code, body }) => JSON.parse(encoder.next(code, body, session.chain)) as unknown);
  expect(lines).toMatchObject([
    { status_id: 0, actor: { user: { name: 'oidc:asmith@bank.example' } }, policy: { name: 'oncall' }, evidence: { intent_seq: '1', result: { outcome: 'Unknown' }, target: { name: 'orders-db' } } },
    { user: { name: 'oidc:asmith@bank.example' }, evidence: { end: { reason: 'ProxyLost' }, session: { statements: 1 } } },
  ]);
});

test('what a lost process had denied and finished counts in the end that is written for it', () => {
  const encoder = new LogEncoder({ origin: 'o', logId: 'l', namespace: 'n', version: '0' });
  const chain = newChain('01SESSION');
  const events = new SessionEvents(aSubject(), aBackend());
  const open = new OpenSessions();
  const made = events.intent(now, 1, 1, anIntent());
  const { approvals: _a, continues: _c, ...attempt } = anIntent({ kind: 'Drop' });
  for (const [code, body] of [
    ['session.start', events.sessionStart(now)], ['statement.intent', made.body], ['statement.result', events.result(now, made.mark, aResult(1))],
    ['statement.denied', events.attempt(now, 2, { event: 'statement.denied', intent: attempt, code: 'STATEMENT_DENIED', request: null })],
  ] as const) {
    const line = encoder.next(code, body, chain);
    const record = readRecord(line);
    if (record !== null) open.feed(record, hash('sha256', line, 'hex'));
  }
  expect(open.list()).toMatchObject([{ statements: 1, denied: 1, rows: 50, bytes: 4120, openIntents: new Map() }]);
});

test('facts that would pass their limit keep what is small, and say that they were cut', () => {
  const facts = { request: 'areq-1', decision: 'Deny', long: 'x'.repeat(60_000), list: Array.from({ length: 500 }, (_, n) => n), small: { key: 'k' }, approver: 'bob' };
  const body = factsBody('request.decided', now, facts);
  expect([body.truncated, body.json.length < 8_000, body.json.includes('"small":{"key":"k"}'), body.json.includes('"list":null'), body.json.includes('"disposition":"Rejected"'), body.json.includes('"name":"bob"')]).toEqual([true, true, true, true, true, true]);
});

test.each([['["https://idp","ann"]', { uid: 'ann', issuer: 'https://idp' }], ['[1]', { uid: '[1]', issuer: null }], ['not a key', { uid: 'not a key', issuer: null }]])('the subject key %s is shown as %j', (key, shown) => {
  expect(person(key)).toEqual(shown);
});
