import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { AccessSessionResource } from '../../../contract/api/v1alpha1.gen.ts';
import type { DecisionRecord, EndReason, RecorderFactory, SessionRecorder, SessionSubject, StatementIntent } from '../../../contract/audit.ts';
import { aLog } from '../../../tools/testkit/cluster-config.ts';
import { type FakeApi, fakeApiServer } from '../../../tools/testkit/fake-api-server.ts';
import { fakeClock, type FakeClock } from '../../../tools/testkit/fake-clock.ts';
import { aConfig } from '../../../tools/testkit/policies.ts';
import { pass, settle } from '../../../tools/testkit/settle.ts';
import { type AccessSessions, type AccessSessionsDeps, openAccessSessions, sessionLimits, type TerminateAsk } from './access-sessions.ts';
import { accessSessionKind } from './kinds.ts';
import { sessionObjectName } from './session-object.ts';

const canary = 'CANARY-078-05-1120';
const policyUid = '11111111-1111-4111-8111-111111111111';

let clock: FakeClock;
let api: FakeApi;
let ended: { readonly sessionId: string; readonly asked: TerminateAsk }[];
let announced: string[];
let recorded: string[];
let sessions: AccessSessions;

beforeEach(async () => {
  clock = fakeClock(Date.parse('2026-11-24T12:00:00Z'));
  api = fakeApiServer({ clock });
  [ended, announced, recorded] = [[], [], []];
  sessions = await open({});
});

afterEach(async () => {
  api.faults.clear();
  await close();
});

async function open(over: Partial<AccessSessionsDeps>): Promise<AccessSessions> {
  const opened = openAccessSessions(someRecorders(), {
    client: api.client('proxy-0'), namespace: 'payments', pod: 'proxy-0', objects: 'All', config: () => aConfig([]), clock, random: () => 0.5, log: aLog(),
    terminate: (sessionId, asked) => void ended.push({ sessionId, asked }), announce: ({ name }, what, by) => void announced.push(`${what} ${name} ${by}`), ...over,
  });
  await settle();
  return opened;
}

async function reopen(over: Partial<AccessSessionsDeps>): Promise<void> {
  await close();
  sessions = await open(over);
}

async function close(): Promise<void> {
  let isClosed = false;
  void sessions[Symbol.asyncDispose]().then(() => { isClosed = true; });
  for (let turn = 0; turn < 50 && !isClosed; turn++) await pass(clock, 500);
  expect(isClosed).toBe(true);
}

function stored(sessionId: string): AccessSessionResource | null {
  return api.get<AccessSessionResource>(accessSessionKind, 'payments', sessionObjectName(sessionId));
}

async function start(sessionId = '01J8ZX4Q0G6T9YV3M2N1B0A9C8', over: Partial<SessionSubject> = {}): Promise<SessionRecorder> {
  const recorder = sessions.recorders.open(sessionId);
  await recorder.start({ ...aSubject(sessionId), ...over }, { role: 'gateway', pid: 7, startedAtMs: clock.now(), credentialRef: 'Secret/payments/orders-gateway' });
  return recorder;
}

describe('a session', () => {
  test('is shown from its start to its end, with what happened in numbers', async () => {
    const recorder = await start();
    await pass(clock, 1_000);
    expect(stored(recorder.sessionId)?.spec).toEqual({
      sessionID: recorder.sessionId, user: { username: 'oidc:alice', uid: 'u-1', actor: 'oidc:bot', identityProvider: 'okta' }, targetRef: { name: 'orders-db', uid: policyUid }, protocol: 'PostgreSQL',
      client: { address: '10.0.0.9', program: 'psql' }, account: 'alice', pod: 'proxy-0', startedAt: '2026-11-24T12:00:00Z', policies: [{ name: 'oncall', uid: policyUid, generation: 3 }],
    });
    expect(stored(recorder.sessionId)?.status).toMatchObject({ observedGeneration: 1, phase: 'Active', commands: 0 });

    await recorder.recordIntents([anIntent(), anIntent({ approvals: [anApproval()] })]);
    recorder.recordResult({ ...aResult(1), rows: 5, bytesToClient: 80, maskedCells: [{ name: 'ssn', style: 'Partial', cells: 5 }] });
    recorder.recordResult({ ...aResult(2), rows: 2, bytesToClient: 20 });
    await recorder.recordAttempt({ event: 'statement.held', intent: anIntent(), code: null, request: 'r-1' });
    await recorder.recordAttempt({ event: 'statement.denied', intent: anIntent({ decision: aDecision({ effect: 'Deny', rule: 'no-drop' }) }), code: 'STATEMENT_DENIED', request: null });
    await recorder.end('ClientClosed', { rows: 7, bytes: 100, denied: 1 });
    await pass(clock, 1_000);

    expect(stored(recorder.sessionId)?.status).toEqual({
      observedGeneration: 1, phase: 'Ended', endedAt: '2026-11-24T12:00:01Z', endReason: 'ClientClosed', lastSeenAt: '2026-11-24T12:00:01Z', commands: 2, denied: 1, held: 1, approved: 1, maskedValues: 5, rows: 7, bytesOut: 100,
      lastDecision: { action: 'Deny', policy: 'oncall', rule: 'no-drop', at: '2026-11-24T12:00:00Z' },
      recording: { uri: 'recordings/x.sqlrec.gz', sha256: 'ab'.repeat(32), content: 'Full', format: 'sqlrec/1' }, audit: { logOrigin: 'local/payments/01', firstSequence: 3, lastSequence: 9, chainHead: `sha256:${'cd'.repeat(32)}` },
    });
  });

  test('says nothing of a statement, a parameter or a value, and takes at most 8 KiB', async () => {
    const long = Array.from({ length: 40 }, (_, n) => ({ name: `${'p'.repeat(240)}${n}`, uid: policyUid, generation: 1, digest: 'd' }));
    const recorder = await start('S2', { policies: long });
    await recorder.recordIntents([anIntent({ text: `select '${canary}'`, parameters: [{ n: 1, type: 'text', format: 'text', value: canary, hmac: null, redacted: false, bytes: 9 }] })]);
    await recorder.recordAttempt({ event: 'statement.denied', intent: anIntent({ text: canary }), code: 'STATEMENT_DENIED', request: null });
    recorder.row(1, Buffer.from(canary));
    await recorder.end('ClientClosed', { rows: 1, bytes: 1, denied: 1 });
    await pass(clock, 1_000);
    const text = JSON.stringify(stored('S2'));
    expect([text.includes(canary), Buffer.byteLength(JSON.stringify({ ...stored('S2'), metadata: {} })) <= 8_192, text.includes('"commands":1')]).toEqual([false, true, true]);
  });

  test('shows what its client calls itself without characters that deceive', async () => {
    const recorder = await start('S3', { client: { ip: '10.0.0.9', port: 1, applicationName: 'psql\u202e\n', requestedUser: 'x'.repeat(99) } });
    await pass(clock, 1_000);
    expect(stored(recorder.sessionId)?.spec).toMatchObject({ client: { program: 'psql\\u{202e}\\n' }, account: 'x'.repeat(63) });
  });

  test('is patched at most every thirty seconds, and not at all while nothing happens', async () => {
    const recorder = await start();
    await pass(clock, 2_000);
    api.forgetCalls();
    for (let second = 0; second < 65; second++) {
      await recorder.recordIntents([anIntent()]);
      await pass(clock, 1_000);
    }
    expect(api.writes().map(({ verb }) => verb)).toEqual(['patch', 'patch']);
    await pass(clock, 31_000);
    api.forgetCalls();
    await pass(clock, 300_000);
    expect(api.writes()).toEqual([]);
  });

  test('whose record could not be written is not counted, and its failure passes through', async () => {
    await reopen({});
    const broken = openAccessSessions(someRecorders({ fails: true }), { client: api.client('proxy-0'), namespace: 'payments', pod: 'proxy-0', objects: 'All', config: () => null, clock, random: () => 0.5, log: aLog(), terminate: () => {} });
    const recorder = broken.recorders.open('S9');
    await expect(recorder.start(aSubject('S9'), { role: 'r', pid: 1, startedAtMs: 0, credentialRef: '' })).rejects.toThrow('full');
    await pass(clock, 2_000);
    expect(stored('S9')).toBeNull();
    await Promise.all([broken[Symbol.asyncDispose](), pass(clock, 1_000)]);
  });
});

describe('which sessions get an object', () => {
  test('Notable: not those that are over within five seconds, unless something was denied, held or approved', async () => {
    await reopen({ objects: 'Notable' });
    const short = await start('short');
    const denied = await start('denied');
    const long = await start('long');
    await denied.recordAttempt({ event: 'statement.denied', intent: anIntent(), code: 'STATEMENT_DENIED', request: null });
    await pass(clock, 2_000);
    for (const recorder of [short, denied]) await recorder.end('ClientClosed', { rows: 0, bytes: 0, denied: 0 });
    await pass(clock, 5_000);
    await long.end('ClientClosed', { rows: 0, bytes: 0, denied: 0 });
    await pass(clock, 2_000);
    expect(['short', 'denied', 'long'].map((id) => stored(id)?.status?.phase)).toEqual([undefined, 'Ended', 'Ended']);
  });

  test('None: no object, no watch, no request', async () => {
    await reopen({ objects: 'None' });
    api.forgetCalls();
    const recorder = await start();
    await pass(clock, 60_000);
    await recorder.end('ClientClosed', { rows: 0, bytes: 0, denied: 0 });
    expect([api.calls.length, api.watches.size]).toEqual([0, 0]);
  });
});

describe('many sessions', () => {
  test('share two requests a second after a burst of twenty', async () => {
    for (let n = 0; n < 100; n++) await start(`many-${n}`);
    api.forgetCalls();
    await pass(clock, 30_000);
    expect(api.writes().length).toBeGreaterThan(20 + 50);
    expect(api.writes().length).toBeLessThanOrEqual(sessionLimits.burst + 30 * sessionLimits.ratePerSecond + 1);
  });

  test('are kept while the API server is away, a thousand ended ones at most, and written once it is back, with pauses that grow', async () => {
    api.faults.add({ fault: { kind: 'reset' }, times: Infinity });
    api.forgetCalls();
    for (let n = 0; n < 1_100; n++) {
      const recorder = await start(`away-${n}`);
      await recorder.end('ClientClosed', { rows: 0, bytes: 0, denied: 0 });
    }
    await pass(clock, 120_000);
    const tried = api.calls.filter(({ verb }) => verb === 'create').length;
    expect([sessions.waiting, sessions.dropped, tried > 2, tried < 12]).toEqual([sessionLimits.endedWaiting, 100, true, true]);
    api.faults.clear();
    await pass(clock, 1_100_000, 1_000);
    expect([sessions.waiting, stored('away-1099')?.status?.phase, stored('away-5')]).toEqual([0, 'Ended', null]);
  }, 30_000);

  test('that the API server refuses are given up after five tries and stand in nobody else’s way', async () => {
    api.faults.add({ fault: { kind: 'status', status: 403, reason: 'Forbidden' }, times: Infinity, when: ({ verb, body }) => verb === 'create' && JSON.stringify(body).includes('refused') });
    await start('refused');
    await start('welcome');
    await pass(clock, 200_000, 1_000);
    expect([stored('welcome')?.status?.phase, sessions.dropped]).toEqual(['Active', 1]);
  });

  test('are all brought to their end when the proxy ends', async () => {
    const recorders = [];
    for (let n = 0; n < 100; n++) recorders.push(await start(`end-${n}`));
    await pass(clock, 2_000);
    for (const recorder of recorders) await recorder.end('ProxyShutdown', { rows: 0, bytes: 0, denied: 0 });
    await close();
    expect(new Set(recorders.map(({ sessionId }) => stored(sessionId)?.status?.phase))).toEqual(new Set(['Ended']));
  });
});

describe('a person who sets spec.terminate', () => {
  const terminate = (sessionId: string, by = 'oidc:carol', reason = 'leaves the team'): void => {
    const object = stored(sessionId);
    if (object === null) throw new Error('no object');
    api.put<AccessSessionResource>(accessSessionKind, { ...object, spec: { ...object.spec, terminate: { by, reason } } }, by);
  };

  test('ends the session at once; the status says who, and so do the records', async () => {
    const recorder = await start();
    await pass(clock, 1_000);
    terminate(recorder.sessionId);
    await settle();
    expect(ended).toEqual([{ sessionId: recorder.sessionId, asked: { by: 'oidc:carol', reason: 'leaves the team' } }]);
    await recorder.end('Terminated', { rows: 0, bytes: 0, denied: 0 });
    await pass(clock, 1_000);
    expect(stored(recorder.sessionId)?.status).toMatchObject({ phase: 'Terminated', endReason: 'Terminated', observedGeneration: 2, conditions: [{ type: 'Terminated', status: 'True', message: 'ended by oidc:carol' }] });
    expect(recorded).toEqual([`session.terminated ${JSON.stringify({ sessionId: recorder.sessionId, name: sessionObjectName(recorder.sessionId), actor: { key: 'oidc:carol', username: 'oidc:carol' }, reason: 'leaves the team', target: 'orders-db' })}`]);
    expect(announced).toEqual([`Terminated ${sessionObjectName(recorder.sessionId)} oidc:carol`]);
  });

  test('ends nothing of another pod, and nothing twice', async () => {
    const recorder = await start();
    await pass(clock, 1_000);
    const foreign = stored(recorder.sessionId);
    if (foreign === null) throw new Error('no object');
    api.put<AccessSessionResource>(accessSessionKind, { ...foreign, metadata: { name: 's-foreign', namespace: 'payments' }, spec: { ...foreign.spec, pod: 'proxy-1', terminate: { by: 'oidc:carol' } } });
    await settle();
    expect(ended).toEqual([]);
    terminate(recorder.sessionId);
    await pass(clock, 700_000, 10_000);
    expect(ended).toHaveLength(1);
  });
});

test('an SSH session shows its account, what it ran and was refused, and its recording', async () => {
  const recorder = sessions.recorders.openSsh('01SSH');
  const event = { channel: 1, operation: null, decision: aDecision(), approvals: [], request: null, reason: null, facts: {} } as const;
  const subject = aSubject('01SSH');
  await recorder.start({ ...subject, transport: { ...subject.transport, ssh: { authMethod: 'Ticket', credentialId: 't', client: { kex: 'k', cipher: 'c', software: 's' }, target: { kex: 'k', cipher: 'c', hostKey: 'h' } } } }, { role: 'deploy', pid: 0, startedAtMs: 1, credentialRef: 'x' });
  await recorder.record({ ...event, code: 'exec.held' });
  await recorder.record({ ...event, code: 'exec.intent', approvals: [anApproval()] });
  recorder.note({ ...event, code: 'exec.result', operation: 1, decision: null, facts: { bytes_out: 10, bytes_err: 2, detector_hits: 3 } });
  await recorder.record({ ...event, code: 'file.denied', decision: aDecision({ effect: 'Deny', rule: 'none' }) });
  recorder.note({ ...event, code: 'channel.refused', decision: null });
  await recorder.end('ClientClosed', { bytes: 12, denied: 2 });
  await pass(clock, 60_000, 1_000);
  expect(stored('01SSH')).toMatchObject({
    spec: { protocol: 'SSH' },
    status: { commands: 1, held: 1, approved: 1, denied: 2, bytesOut: 12, maskedValues: 3, lastDecision: { action: 'Deny', rule: 'none' }, recording: { uri: 'recordings/x.1.cast.gz', format: 'asciicast/3' } },
  });
});

test('a session that was cut by the gateway is announced, one that its user closed is not', async () => {
  const ends: readonly EndReason[] = ['Revoked', 'ClientClosed', 'PolicyChanged'];
  for (const reason of ends) await (await start(`by-${reason}`)).end(reason, { rows: 0, bytes: 0, denied: 0 });
  expect(announced).toEqual(['EndedByForce s-by-revoked Revoked', 'EndedByForce s-by-policychanged PolicyChanged']);
});

function someRecorders(how: { readonly fails?: boolean } = {}): RecorderFactory {
  return {
    unavailable: () => null, authFailed: async () => {}, onFailure: () => {}, close: async () => {},
    event: async (code, facts) => void recorded.push(`${code} ${JSON.stringify(facts)}`),
    openSsh: (sessionId) => ({
      sessionId, start: async () => {}, record: async () => 1, note: () => {}, openCast: () => { throw new Error('no recording here'); }, end: async () => {},
      seal: () => ({ recording: { uri: 'recordings/x.1.cast.gz', sha256: 'ef'.repeat(32), format: 'asciicast/3' }, log: { origin: 'local/payments/01', firstSequence: 3, lastSequence: 9, chainHead: 'cd'.repeat(32) } }),
    }),
    open: (sessionId) => {
      let statements = 0;
      return {
        sessionId,
        start: async () => { if (how.fails === true) throw new Error('the disk is full'); },
        recordIntents: (intents) => intents.map(() => ++statements),
        recordResult: () => {}, recordAttempt: async () => {}, describe: () => {}, row: () => {}, copy: () => {}, notice: () => {}, flush: () => {}, end: async () => {},
        seal: () => ({ recording: { uri: 'recordings/x.sqlrec.gz', sha256: 'ab'.repeat(32) }, log: { origin: 'local/payments/01', firstSequence: 3, lastSequence: 9, chainHead: 'cd'.repeat(32) } }),
      };
    },
  };
}

function aSubject(sessionId: string): SessionSubject {
  return {
    sessionId, namespace: 'payments',
    identity: {
      issuer: 'https://idp.bank.example', subject: 'alice', username: 'oidc:alice', groups: ['sre'], email: 'alice@bank.example', uid: 'u-1', provider: 'okta', actors: [{ issuer: 'https://idp.bank.example', subject: 'bot' }],
      tokenId: 't-1', authTimeMs: null, acr: null, amr: [], expiresAtMs: 2e12,
    },
    client: { ip: '10.0.0.9', port: 50_000, applicationName: 'psql', requestedUser: 'alice' }, target: { name: 'orders-db', uid: policyUid, labels: {}, database: 'orders' }, transport: { tlsVersion: 'TLSv1.3', cipher: 'x' },
    policies: [{ name: 'oncall', uid: policyUid, generation: 3, digest: 'd' }], recording: { content: 'Full', durability: 'Write' }, startedAtMs: clock.now(),
  };
}

function aDecision(over: Partial<DecisionRecord> = {}): DecisionRecord {
  return { effect: 'Allow', reason: 'rule', policy: 'oncall', policyUid, policyGeneration: 3, policyDigest: 'd', rule: 'reads', evaluatedAtMs: Date.parse('2026-11-24T12:00:00Z'), ...over };
}

function anIntent(over: Partial<StatementIntent> = {}): StatementIntent {
  return {
    protocol: 'simple', statementName: '', portalName: '', kind: 'Select', objects: ['public.orders'], fingerprint: null, text: 'select 1', textRedacted: false, textHmac: 'h', parameters: [], transactionStatus: 'I',
    decision: aDecision(), approvals: [], continues: null, ...over,
  };
}

function anApproval(): StatementIntent['approvals'][number] {
  return { request: 'r-1', requestUid: 'u', scope: 'Statement', approver: { key: 'oidc:bob', username: 'oidc:bob' }, decisionUid: 'd', timeMs: 1, method: 'kubernetes', boundDigest: 'x' };
}

function aResult(statement: number): Parameters<SessionRecorder['recordResult']>[0] {
  return {
    statement, outcome: 'Completed', commandTag: 'SELECT 1', rows: 0, bytesFromServer: 0, bytesToClient: 0, maskedCells: [], detectorHits: 0, sqlstate: null, firstRowMs: null, durationMs: 1, transactionStatus: 'I', limited: false,
  };
}
