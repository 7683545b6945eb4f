import { describe, expect, test } from '@jest/globals';
import { aRelay, aStatement, backend, frontend, type RelayBench, type RelayOptions, settled } from '../../../tools/testkit/relay-context.ts';
import { deny } from '../../core/errors.ts';
import * as write from '../wire/frame-writer.ts';

const readOnly: RelayOptions = { policies: { oncall: { rules: [{ name: 'reads', action: 'Allow', statements: ['Select', 'CopyIn'] }] } } };
const dba = { groups: ['dba'] };
const asking: RelayOptions = { policies: { oncall: { rules: [
  { name: 'all', action: 'Allow' }, { name: 'deletes', action: 'RequireApproval', statements: ['Delete'], approval: { ...dba, required: 2 } },
  { name: 'ledger', action: 'RequireApproval', tables: ['public.ledger'], approval: { groups: ['finance'] } },
] } } };
const denied = 'E 42501 no rule allows Delete without WHERE on public.t [STATEMENT_NOT_ALLOWED]';
const codes = (relay: RelayBench): readonly unknown[] => relay.recorder.attempts.map(({ event, code }) => [event, code]);

describe('a Query that is allowed', () => {
  test('is forwarded as it came, with one intent per statement', async () => {
    const relay = aRelay();
    await relay.client(write.query('insert into t; select * from t'));
    expect(relay.toServer()).toEqual(['Q insert into t; select * from t']);
    expect(relay.recorder.intents.map(({ protocol, kind, text, transactionStatus }) => [protocol, kind, text, transactionStatus])).toEqual([['simple', 'Insert', 'insert into t', 'I'], ['simple', 'Select', 'select * from t', 'I']]);
  });

  test('takes the unnamed statement and portal away', async () => {
    const relay = aRelay();
    const wait = relay.client(write.parse('', 'select 1'), write.bind('', ''), write.query('select 2'), write.execute(''));
    await settled();
    relay.server(backend.parseComplete, backend.bindComplete, backend.complete('SELECT 1'), backend.ready());
    await wait;
    expect(relay.toClient()).toEqual(['1', '2', 'C SELECT 1', 'Z I', 'E 34000 portal "" does not exist [PORTAL_UNKNOWN]']);
  });

  test('of an empty text leaves the unnamed portal, as the server does', async () => {
    const relay = aRelay();
    await relay.client(write.parse('', 'select 1'), write.bind('', ''), write.flush());
    relay.server(backend.parseComplete, backend.bindComplete);
    await relay.client(write.query(''));
    relay.server(backend.emptyQuery, backend.ready('T'));
    relay.toServer();
    await relay.client(write.execute(''));
    expect(relay.toServer()).toEqual(['E']);
  });

  test('sees the names that its earlier statements make', async () => {
    const relay = aRelay(readOnly);
    await relay.client(write.query('prepare p as select * from t; execute p; deallocate p'));
    expect(relay.recorder.intents).toHaveLength(3);
    expect(relay.toServer()).toHaveLength(1);
  });
});

describe('a Query that is refused', () => {
  test('is answered here when nothing else is going on', async () => {
    const relay = aRelay(readOnly);
    await relay.client(write.query('delete from t'), write.query('select 1'));
    expect([relay.toServer(), relay.toClient(), codes(relay)]).toEqual([['Q select 1'], [denied, 'Z I'], [['statement.denied', 'STATEMENT_NOT_ALLOWED']]]);
  });

  test('is refused whole: one refused statement refuses all, and none of its names count', async () => {
    const relay = aRelay(readOnly);
    await relay.client(write.query('prepare p as select 1; delete from t'));
    expect([relay.toServer(), relay.recorder.intents, relay.context.statements.get('p')]).toEqual([[], [], null]);
  });

  test('fails an open transaction, at its place behind what is on its way', async () => {
    const relay = aRelay(readOnly);
    await relay.client(write.query('select 1'), write.query('delete from t'), write.query('select 2'));
    expect(relay.toServer()).toEqual(['Q select 1', 'Q poison', 'Q select 2']);
    relay.server(backend.complete('SELECT 1'), backend.ready('T'), backend.error('42601'), backend.ready('E'), backend.complete('SELECT 1'), backend.ready('E'));
    expect(relay.toClient()).toEqual(['C SELECT 1', 'Z T', denied, 'Z E', 'C SELECT 1', 'Z E']);
  });

  test('because it cannot be read tells where, and its literals are in no record', async () => {
    const relay = aRelay();
    relay.inspector.answers.set("selec 'secret'", { outcome: 'unreadable', denial: deny('SYNTAX_ERROR'), position: 1, redactedText: "selec '?'" });
    await relay.client(write.query("selec 'secret'"));
    expect([relay.toClient(), relay.recorder.attempts[0]?.intent]).toMatchObject([['E 42601 the statement does not parse [SYNTAX_ERROR]', 'Z I'], { text: "selec '?'", textRedacted: true, kind: 'Other', fingerprint: null }]);
  });

  test('because of a NUL inside ends the session', async () => {
    const relay = aRelay();
    await relay.client(write.frame('Q', Buffer.from('select 1\0; drop table t\0')));
    expect([relay.context.ended?.reason, relay.toServer(), relay.toClient()]).toEqual(['ProtocolViolation', [], []]);
  });

  test('spends no question about masked columns; one that is allowed spends one for each statement', async () => {
    const relay = aRelay();
    relay.inspector.answers.set('ask', { outcome: 'read', statements: [aStatement('select 1', { usesEquality: true })] });
    for (let n = 0; n < 31; n++) await relay.client(write.query('ask'));
    expect([relay.recorder.intents.length, codes(relay)]).toEqual([30, [['statement.denied', 'EQUALITY_LIMIT_REACHED']]]);
  });
});

describe('a Query that needs an approval', () => {
  test('is forwarded whole once approved; the intent of the held statement names the approval, others none', async () => {
    const relay = aRelay(asking);
    const wait = relay.client(write.query('select 1; delete from t'));
    await relay.approver.decide('approved');
    await wait;
    expect(relay.toServer()).toEqual(['Q select 1; delete from t']);
    expect(relay.recorder.intents.map(({ kind, approvals }) => [kind, approvals.map(({ request }) => request)])).toEqual([['Select', []], ['Delete', ['areq-1']]]);
    expect(relay.approver.asks.map(({ statement }) => statement?.text)).toEqual(['select 1;\ndelete from t']);
  });

  test('asks once for two statements under the same rule', async () => {
    const relay = aRelay(asking);
    const wait = relay.client(write.query('delete from t; delete from u'));
    await relay.approver.decide('approved');
    await wait;
    expect([relay.approver.asks.length, relay.recorder.intents.map(({ approvals }) => approvals.length)]).toEqual([1, [1, 1]]);
  });

  test('asks for every rule of every statement: an approval for the first does not cover what a later one needs besides', async () => {
    const relay = aRelay(asking);
    const wait = relay.client(write.query('delete from t; delete from ledger'));
    await relay.approver.decide('approved');
    expect([relay.toServer(), relay.approver.asks.map(({ by }) => by.rule)]).toEqual([[], ['deletes', 'ledger']]);
    await relay.approver.decide('denied');
    await wait;
    expect([relay.toServer(), codes(relay).at(-1)]).toEqual([[], ['statement.denied', 'APPROVAL_DENIED']]);
  });

  test('is judged whole again after the wait: what was allowed before and is denied now refuses all', async () => {
    const relay = aRelay(asking);
    const wait = relay.client(write.query('select * from t; delete from t'));
    await settled();
    relay.context.session.replacePermit(aRelay({ policies: { oncall: { rules: [{ name: 'all', action: 'Allow' }, { name: 'no reads', action: 'Deny', statements: ['Select'] }, { name: 'deletes', action: 'RequireApproval', statements: ['Delete'], approval: { ...dba, required: 2 } }] } } }).context.session.permit);
    await relay.approver.decide('approved');
    await wait;
    expect([relay.toServer(), relay.approver.used, codes(relay).at(-1)]).toEqual([[], 0, ['statement.denied', 'STATEMENT_DENIED']]);
  });

  test.each<[string, ReturnType<typeof aStatement>[] | null]>([['another table', [aStatement('delete from secret')]], ['nothing', []], ['no statement any more', null]])('is superseded when its text means %s by then', async (_what, statements) => {
    const relay = aRelay(asking);
    const wait = relay.client(write.query('delete from t'));
    await settled();
    relay.inspector.answers.set('delete from t', statements ? { outcome: 'read', statements } : { outcome: 'unreadable', denial: deny('SYNTAX_ERROR'), position: null, redactedText: '' });
    await relay.approver.decide('approved');
    await wait;
    expect([relay.toServer(), relay.approver.used, codes(relay).at(-1)]).toEqual([[], 0, ['statement.denied', 'APPROVAL_SUPERSEDED']]);
  });

  test('is dropped when the pipeline in front of it failed meanwhile', async () => {
    const relay = aRelay(asking);
    await relay.client(write.parse('', 'select nope'));
    const wait = relay.client(write.query('delete from t'));
    await settled();
    relay.server(backend.error('42703'));
    await wait;
    await relay.client(write.sync());
    relay.server(backend.ready());
    expect(relay.toServer().filter((line) => line.startsWith('Q'))).toEqual([]);
    expect(relay.toClient().filter((line) => !line.startsWith('N'))).toEqual(['E 42703 no', 'Z I']);
  });

  test('fails its transaction when it is denied', async () => {
    const relay = aRelay(asking);
    await relay.client(write.query('begin'));
    relay.server(backend.complete('BEGIN'), backend.ready('T'));
    const wait = relay.client(write.query('delete from t'));
    await relay.approver.decide('denied');
    await wait;
    expect(relay.toServer()).toEqual(['Q begin', 'Q poison']);
    expect(relay.approver.asks[0]?.statement?.inTransaction).toBe(true);
  });
});

describe('the search path', () => {
  const rows = (...schemas: readonly string[]): readonly Buffer[] => [backend.parseComplete, backend.bindComplete, ...schemas.map((schema) => backend.row(schema)), backend.complete(`SELECT ${schemas.length}`), backend.closeComplete, backend.closeComplete, backend.ready()];
  const question = ['P own select s from pg_catalog.unnest(pg_catalog.current_schemas(true)) s', 'B own own', 'E own', 'C Pown', 'C Sown', 'S'];

  test('is asked for before a text is read, when it is not known, and the client sees nothing of it', async () => {
    const relay = aRelay();
    relay.inspector.pathUnknown = true;
    const wait = relay.client(write.query('select * from t'));
    await settled();
    expect([relay.toServer(), relay.inspector.inspected]).toEqual([question, []]);
    relay.server(...rows('pg_catalog', 'public'));
    await wait;
    expect([relay.inspector.path, relay.toServer(), relay.toClient()]).toEqual([['pg_catalog', 'public'], ['Q select * from t'], []]);
  });

  test('that a Query before it changes is asked for behind that Query', async () => {
    const relay = aRelay();
    const wait = relay.client(write.query('set search_path = secret'), write.query('select * from t'));
    await settled();
    expect(relay.toServer()).toEqual(['Q set search_path = secret', ...question]);
    relay.server(backend.complete('SET'), backend.ready(), ...rows('secret'));
    await wait;
    expect([relay.inspector.path, relay.toServer(), relay.toClient()]).toEqual([['secret'], ['Q select * from t'], ['C SET', 'Z I']]);
  });

  test('is not known after a question that failed, nor inside a failed transaction', async () => {
    const relay = aRelay();
    relay.inspector.pathUnknown = true;
    const wait = relay.client(write.query('select * from t'));
    await settled();
    relay.server(backend.error('42501'), backend.ready());
    await wait;
    expect([relay.inspector.path, relay.toClient()]).toEqual([null, []]);
    relay.context.status = 'E';
    relay.inspector.path = ['public'];
    await relay.client(write.query('select * from t'));
    expect(relay.inspector.path).toBeNull();
  });

  test('of a question that lets the pipeline fail: the client hears of it, and its pipeline is skipped', async () => {
    const relay = aRelay();
    await relay.client(write.parse('a', 'select 1'));
    relay.inspector.pathUnknown = true;
    const wait = relay.client(write.parse('b', 'select 2'));
    await settled();
    relay.server(backend.parseComplete, backend.error('57014'));
    await wait;
    await relay.client(write.sync());
    relay.server(backend.ready());
    expect([relay.toClient(), relay.context.queue.length]).toEqual([['1', 'E 57014 no', 'Z I'], 0]);
  });

  test('question behind a statement that fails is skipped with it', async () => {
    const relay = aRelay();
    await relay.client(write.parse('a', 'select nope'));
    relay.inspector.pathUnknown = true;
    const wait = relay.client(write.parse('b', 'select 2'), write.sync());
    await settled();
    relay.server(backend.error('42703'));
    await wait;
    relay.server(backend.ready());
    expect([relay.toClient(), relay.context.queue.length]).toEqual([['E 42703 no', 'Z I'], 0]);
  });

  test('is not asked for while rows of a COPY are on their way', async () => {
    const relay = aRelay();
    const wait = relay.client(write.query('copy t from stdin'));
    relay.server(backend.copyIn());
    await wait;
    relay.inspector.pathUnknown = true;
    await relay.client(frontend.copyData('1\n'), frontend.copyDone);
    expect(relay.toServer()).toEqual(['Q copy t from stdin', 'd 1', 'c']);
  });
});

test('a long text is read by a worker; what follows waits', async () => {
  const relay = aRelay();
  relay.inspector.slow = true;
  const wait = relay.client(write.query('select 1'), write.query('select 2'));
  expect(relay.toServer()).toEqual([]);
  await wait;
  expect(relay.toServer()).toEqual(['Q select 1', 'Q select 2']);
});
