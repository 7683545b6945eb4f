import { describe, expect, test } from '@jest/globals';
import { aBackend, aDecision, anIntent, aResult, aSubject } from '../../../tools/testkit/audit.ts';
import { anSshEvent, anSshSubject } from '../../../tools/testkit/ssh-audit.ts';
import type { EventCode } from '../../../contract/audit.ts';
import { type EventBody, LogEncoder, newChain, type SessionChain } from './encode.ts';
import { eventCatalog, fileActivity, statementActivity } from './event-catalog.ts';
import { factsJson } from './bounded-facts.ts';
import { boundedText, createIsoClock } from './json-text.ts';
import { SessionEvents } from './ocsf.ts';
import { person } from './ocsf-parts.ts';
import { type OperationMark, SshEvents } from './ocsf-ssh.ts';
import { bytesToUser, closingCode, hiddenValues } from './ssh-operations.ts';
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
    ...sshSamples(chain),
    ['credential.minted', factsBody('credential.minted', now, facts), null],
    ...(['request.created', 'request.decided', 'request.expired', 'request.withdrawn', 'policy.changed', 'session.terminated', 'evidence.exported'] as const).map((code) => [code, factsBody(code, now, facts), null] as const),
    ...(['log.opened', 'log.closed', 'log.recovered', 'heartbeat', 'audit.failed', 'audit.restored'] as const).map((code) => [code, lifecycleBody(code, now, { log: {} }), null] as const),
  ];
  return new Map(bodies.map(([code, body, owner]) => [code, JSON.parse(encoder.next(code, body, owner)) as Readonly<Record<string, unknown>>]));
}

/** One of each event of an SSH session, but the two that it has in common with others. */
function sshSamples(chain: SessionChain): readonly (readonly [EventCode, EventBody, SessionChain])[] {
  const events = new SshEvents(anSshSubject(), aBackend());
  const facts: Readonly<Record<string, Readonly<Record<string, unknown>>>> = { file: { operation: 'Rename', path: '/srv/a' }, forward: { to: '127.0.0.1:9090' } };
  const open = (['exec.intent', 'shell.start', 'file.intent', 'forward.open'] as const).flatMap((code) => {
    const { body, mark } = events.event(now, 1, 1, anSshEvent({ code, facts: facts[code.split('.')[0] ?? ''] ?? { text: 'uptime' } }));
    return [[code, body, chain] as const, [closingCode(code) ?? code, events.closing(now, mark as OperationMark, { facts: { exit_status: 0 }, reason: null }), chain] as const];
  });
  const single = (['exec.denied', 'exec.held', 'exec.cancelled', 'command.observed', 'file.denied', 'forward.refused', 'channel.refused'] as const)
    .map((code) => [code, events.event(now, 2, 1, anSshEvent({ code, request: 'areq-1', reason: 'COMMAND_DENIED', facts: { path: '/srv/a', to: 'x:1', operation: 'odd' } })).body, chain] as const);
  return [...open, ...single, ['recording.sealed', events.sealed(now, { count: 0, listed: [] }), chain]];
}

test('an SSH session starts as SSH Activity, with both legs and how its user logged in', () => {
  const line = new LogEncoder({ origin: 'o', logId: 'l', namespace: 'n', version: '0' }).next('session.start', new SshEvents(anSshSubject(), aBackend()).sessionStart(now), newChain('s'));
  expect(JSON.parse(line)).toMatchObject({ class_uid: 4007, type_uid: 400_701, dst_endpoint: { name: 'web-1' }, evidence: { auth: { method: 'Certificate' }, target: { account: 'deploy' }, transport: { protocol: 'ssh' } } });
  const bare = new SshEvents({ ...anSshSubject(), transport: { tlsVersion: null, cipher: null } }, aBackend()).sessionStart(now);
  expect(bare.json).toContain('"ssh":null');
});

test.each([['Read', 2], ['write', 3], ['Remove', 4], ['Rename', 5], ['mkdir', 1], ['setstat', 6], ['stat', 8], ['list', 14], ['odd', 99], ['constructor', 99]])('a file operation %s is activity %i', (operation, id) => {
  expect(fileActivity(operation).id).toBe(id);
});

test.each([[{ outcome: 'Completed', exit_status: 3 }, null, 1], [{ outcome: 'Unknown' }, null, 0], [{ outcome: 'Failed' }, null, 2], [{ exit_status: 0 }, null, 1], [{ exit_status: 1 }, null, 2], [{}, 'BYTE_LIMIT_REACHED', 2], [{}, null, 1]])('a result with %j and reason %s has status %i', (facts, reason, status) => {
  const events = new SshEvents(anSshSubject(), aBackend());
  const { mark } = events.event(now, 1, 1, anSshEvent());
  expect(events.closing(now, mark as OperationMark, { facts, reason }).json).toContain(`"status_id":${status},`);
});

test('the bytes and hidden values of an operation are those of its closing facts', () => {
  expect(bytesToUser({ bytes_out: 3, bytes_err: 4, bytes_down: 5, bytes_read: 6, bytes_in: 100 })).toBe(18);
  expect(bytesToUser({ bytes_out: -1, bytes_err: 'x', bytes_read: 1.5 })).toBe(0);
  expect(hiddenValues({ detector_hits: 2 })).toBe(2);
});

test('an SSH approval stands in the intent, and the request alone in what was only held', () => {
  const events = new SshEvents(anSshSubject(), aBackend());
  const approval = { request: 'r', requestUid: 'u', scope: 'Statement', approver: { key: 'k', username: 'x' }, decisionUid: 'd', timeMs: now, method: 'oidc', boundDigest: 'sha256:aa' };
  expect(events.event(now, 1, 1, anSshEvent({ approvals: [approval] })).body.json).toContain('"bound_digest":"sha256:aa"');
  expect(events.event(now, 1, 1, anSshEvent({ code: 'exec.held', request: 'areq-7' })).body.json).toContain('"request":{"name":"areq-7"}');
  expect(events.event(now, 1, 1, anSshEvent({ decision: null, facts: { programs: [1] } })).body.json).not.toContain('"decision"');
});

test('facts beyond their room are cut in texts and lists, and what is neither is null', () => {
  const { json, cut } = factsJson({ list: [...Array.from({ length: 50 }, () => 'x'.repeat(900)), { a: 1 }], odd: [{ a: 1 }, 'y'.repeat(9000)], small: 1, object: { a: 'z'.repeat(9000) }, gone: undefined, text: 'é'.repeat(9000), more: 'é'.repeat(9000), rest: 'é'.repeat(9000), last: 'é'.repeat(9000) }, new Set(['small']));
  expect(cut).toBe(true);
  expect(Buffer.byteLength(json)).toBeLessThanOrEqual(16_384);
  expect(JSON.parse(json)).toMatchObject({ object: null });
});

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
    const required: Readonly<Record<number, readonly string[]>> = { 6005: ['actor', 'src_endpoint', 'database'], 3002: ['user', 'service'], 3004: ['entity'], 6002: ['app'], 6003: ['actor', 'api', 'src_endpoint'], 1007: ['actor', 'device', 'process'], 1001: ['actor', 'device', 'file'], 4007: ['src_endpoint', 'dst_endpoint'] };
    expect((required[row.class] ?? []).filter((attribute) => event[attribute] === undefined)).toEqual([]);
    expect(Object.keys(event).filter((attribute) => !allowed.has(attribute))).toEqual([]);
    expect('session_seq' in ((event['evidence'] as Record<string, Record<string, unknown>>)['integrity'] ?? {})).toBe(row.chained);
  });
});

const allowed = new Set([
  'metadata', 'activity_id', 'activity_name', 'category_uid', 'class_uid', 'type_uid', 'severity_id', 'time', 'time_dt', 'status', 'status_id', 'status_code', 'action', 'action_id', 'disposition', 'disposition_id',
  'actor', 'user', 'service', 'src_endpoint', 'dst_endpoint', 'database', 'query_info', 'policy', 'entity', 'app', 'api', 'evidence', 'device', 'process', 'file', 'exit_code',
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
