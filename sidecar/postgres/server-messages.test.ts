import { describe, expect, test } from '@jest/globals';
import { allowAll, aRelay, backend, frontend, type RelayBench, type RelayOptions } from '../../tools/testkit/relay-context.ts';
import { serverLimits } from './server-messages.ts';
import * as write from './wire/frame-writer.ts';

const pipeline = (...texts: readonly string[]): readonly Buffer[] => texts.flatMap((text) => [write.parse('', text), write.bind('', ''), write.execute('')]);

async function sent(options: RelayOptions, ...frames: readonly Buffer[]): Promise<RelayBench> {
  const relay = aRelay(options);
  await relay.client(...frames);
  relay.toServer();
  return relay;
}
/** FunctionCall is allowed by rules that name it only. */
const calling: RelayOptions = { policies: { oncall: { rules: [{ name: 'all', action: 'Allow' }, { name: 'calls', action: 'Allow', statements: ['FunctionCall'] }] } } };
const querying = (text = 'select * from t', options: RelayOptions = {}): Promise<RelayBench> => sent(options, write.query(text));
const results = (relay: RelayBench): readonly unknown[] => relay.recorder.results.map(({ statement, outcome, sqlstate }) => [statement, outcome, sqlstate]);

describe('the table of backend messages', () => {
  // PostgreSQL 18, "Message Formats": what a server may send after the login.
  const known = '123ACDEGHINSTVWZcdnst';

  test('names every message type of the protocol after login, and no other', () => {
    expect(Object.keys(serverLimits).sort().join('')).toBe(known);
  });

  test.each([...'0456789BFJKLMOPQRUXYabefghijklmopqruvwxyz', '\0', '\u00ff'])('a message of type %j ends the session', async (type) => {
    const relay = await querying();
    expect(() => relay.server(write.frame(type))).toThrow(/PROTOCOL_VIOLATION/);
  });
});

describe('a server that breaks the protocol is found out', () => {
  test.each<[string, Buffer]>([
    ['ParseComplete', backend.parseComplete], ['BindComplete', backend.bindComplete], ['CloseComplete', backend.closeComplete], ['NoData', backend.noData], ['ParameterDescription', backend.parameterDescription],
    ['PortalSuspended', backend.portalSuspended], ['CopyBothResponse', write.frame('W', Buffer.alloc(3))], ['CopyInResponse', backend.copyIn()], ['CopyOutResponse', backend.copyOut()], ['CopyData', backend.copyData('x')],
    ['a command tag that is none', backend.complete('SELECT 1; DROP')], ['a row before its description', backend.row('x')], ['an error without its end', write.frame('E', Buffer.from('SERROR'))], ['a notice without its end', write.frame('N', Buffer.from('SNOTICE'))],
    ['ReadyForQuery of an unknown status', write.frame('Z', Buffer.from('X'))], ['ReadyForQuery with more than a status', write.frame('Z', Buffer.from('II'))], ['FunctionCallResponse without a call', write.frame('V', Buffer.alloc(4))],
  ])('%s in answer to a Query', async (_what, frame) => {
    const relay = await querying();
    expect(() => relay.server(frame)).toThrow('TARGET_PROTOCOL_VIOLATION');
  });

  test.each<[string, Buffer]>([['CommandComplete', backend.complete('SELECT 1')], ['RowDescription', backend.rowDescription('a')], ['ReadyForQuery', backend.ready()], ['EmptyQueryResponse', backend.emptyQuery]])('%s that nobody asked for', async (_what, frame) => {
    const relay = aRelay();
    expect(() => relay.server(frame)).toThrow('TARGET_PROTOCOL_VIOLATION');
  });

  test('a second ReadyForQuery', async () => {
    const relay = await querying();
    relay.server(backend.complete('SELECT 0'), backend.ready());
    expect(() => relay.server(backend.ready())).toThrow('TARGET_PROTOCOL_VIOLATION');
  });

  test('more results than statements', async () => {
    const relay = await querying('select 1; select 2');
    relay.server(backend.complete('SELECT 1'), backend.complete('SELECT 1'));
    expect(() => relay.server(backend.complete('SELECT 1'))).toThrow('TARGET_PROTOCOL_VIOLATION');
  });

  test('a portal that was refused and ran all the same', async () => {
    const relay = aRelay({ policies: { oncall: { rules: [{ name: 'reads', action: 'Allow', statements: ['Select'] }] } } });
    await relay.client(write.query('begin'));
    relay.server(backend.complete('BEGIN'), backend.ready('T'));
    await relay.client(write.query('delete from t'));
    expect(() => relay.server(backend.error('22012'))).toThrow('TARGET_PROTOCOL_VIOLATION');
  });

  test('ReadyForQuery in place of the failure that was asked for', async () => {
    const relay = aRelay({ policies: { oncall: { rules: [{ name: 'reads', action: 'Allow', statements: ['Select'] }] } } });
    await relay.client(write.query('begin'));
    relay.server(backend.complete('BEGIN'), backend.ready('T'));
    await relay.client(write.query('delete from t'));
    expect(() => relay.server(backend.ready('T'))).toThrow('TARGET_PROTOCOL_VIOLATION');
  });

  test('a row without a description in a masked session, although it was asked for', async () => {
    const relay = await sent({ masked: true }, ...pipeline('select * from t'), write.sync());
    relay.server(backend.parseComplete, backend.noData, backend.bindComplete);
    expect(() => relay.server(backend.row('x'))).toThrow('TARGET_PROTOCOL_VIOLATION');
  });
});

describe('answers', () => {
  test('of a Query belong to its statements in their order; each has its result', async () => {
    const relay = await querying('insert into t; select * from t');
    relay.server(backend.complete('INSERT 0 1'), backend.rowDescription('a'), backend.row('1'), backend.complete('SELECT 1'), backend.ready('I'));
    expect(relay.toClient()).toEqual(['C INSERT 0 1', 'T 1', 'D 1', 'C SELECT 1', 'Z I']);
    expect(relay.recorder.results).toMatchObject([{ statement: 1, commandTag: 'INSERT 0 1', rows: 0 }, { statement: 2, commandTag: 'SELECT 1', rows: 1 }]);
    expect(relay.context.totals).toMatchObject({ rows: 1 });
  });

  test('of an empty text are EmptyQueryResponse', async () => {
    const relay = await querying('');
    relay.server(backend.emptyQuery, backend.ready());
    expect(relay.toClient()).toEqual(['I', 'Z I']);
    const extended = await sent({}, ...pipeline(''), write.sync());
    extended.server(backend.parseComplete, backend.bindComplete, backend.emptyQuery, backend.ready());
    expect([extended.toClient(), results(extended)]).toEqual([['1', '2', 'I', 'Z I'], [[1, 'Completed', null]]]);
  });

  test('of a pipeline change the names when they arrive', async () => {
    const relay = await sent({}, write.parse('s', 'select * from t'), write.bind('p', 's'), write.describe('P', 'p'), write.execute('p', 1), write.close('S', 's'), write.sync());
    relay.server(backend.parseComplete, backend.bindComplete, backend.rowDescription('a'), backend.row('1'), backend.portalSuspended, backend.closeComplete, backend.ready('T'));
    expect(relay.toClient()).toEqual(['1', '2', 'T 1', 'D 1', 's', '3', 'Z T']);
    expect([relay.context.statements.get('s'), relay.context.portals.get('p')?.name]).toEqual([null, 'p']);
    await relay.client(write.execute('p'), write.sync());
    relay.server(backend.row('2'), backend.complete('SELECT 1'), backend.ready('I'));
    expect(relay.recorder.intents.map((intent) => intent.continues)).toEqual([null, 1]);
    expect(relay.context.portals.get('p')).toBeNull();
  });

  test('of Close and Describe of nothing are passed', async () => {
    const relay = await sent({}, write.close('P', 'nope'), write.describe('S', 'nope'), write.sync());
    relay.server(backend.closeComplete, backend.error('26000'), backend.ready());
    expect(relay.toClient()).toEqual(['3', 'E 26000 no', 'Z I']);
  });

  test('to our own Describe in a masked session are swallowed', async () => {
    const relay = aRelay({ masked: true });
    await relay.client(...pipeline('select * from t'), write.sync());
    expect(relay.toServer()).toEqual(['P select * from t', 'D S', 'B', 'E', 'S']);
    relay.server(backend.parseComplete, backend.parameterDescription, backend.rowDescription('a'), backend.bindComplete, backend.row('1'), backend.complete('SELECT 1'), backend.ready());
    expect(relay.toClient()).toEqual(['1', '2', 'D 1', 'C SELECT 1', 'Z I']);
  });

  test('hold cursors survive the end of the transaction, others and the unnamed statement do not', async () => {
    const relay = await querying('declare a cursor for select * from t; declare b cursor with hold for select * from t');
    relay.server(backend.complete('DECLARE CURSOR'), backend.complete('DECLARE CURSOR'), backend.ready('T'));
    expect([relay.context.portals.get('a')?.name, relay.context.portals.get('b')?.name]).toEqual(['a', 'b']);
    await relay.client(write.parse('', 'select 1'), write.sync());
    relay.server(backend.parseComplete, backend.ready('T'));
    await relay.client(write.query('commit'));
    expect(relay.context.statements.get('')).toBeNull();
    relay.server(backend.complete('COMMIT'), backend.ready('I'));
    expect([relay.context.portals.get('a'), relay.context.portals.get('b')?.name, relay.context.statements.get('')]).toEqual([null, 'b', null]);
    expect(relay.inspector.transactionsOver).toBe(1);
  });
});

describe('an error', () => {
  test('ends a Query: later statements of it never ran', async () => {
    const relay = await querying('select 1; select 2; select 3');
    relay.server(backend.complete('SELECT 1'), backend.error('22012', 'division by zero'), backend.ready());
    expect(relay.toClient()).toEqual(['C SELECT 1', 'E 22012 division by zero', 'Z I']);
    expect(results(relay)).toEqual([[1, 'Completed', null], [2, 'Failed', '22012'], [3, 'NotForwarded', null]]);
    expect(relay.recorder.notices).toEqual([{ statement: 2, kind: 'e', message: 'division by zero' }]);
  });

  test('skips a pipeline to its Sync: what was queued is recorded as not run, what the client still sends is dropped', async () => {
    const relay = await sent({}, ...pipeline('select 1/0', 'insert into t'), write.flush());
    relay.server(backend.parseComplete, backend.bindComplete, backend.error('22012'));
    await relay.client(...pipeline('insert into t'), write.describe('S', ''), write.close('S', ''), write.flush(), write.query('select 1'), frontend.functionCall(1));
    expect(relay.toServer()).toEqual([]);
    await relay.client(write.sync());
    expect(relay.toServer()).toEqual(['S']);
    relay.server(backend.ready());
    expect(relay.toClient()).toEqual(['1', '2', 'E 22012 no', 'Z I']);
    expect(results(relay)).toEqual([[1, 'Failed', '22012'], [2, 'NotForwarded', null]]);
  });

  test('skips Queries and calls that stand before the Sync, as the server does, and each has its record', async () => {
    const relay = await sent(calling, write.parse('', 'select nope'), write.query('insert into t'), frontend.functionCall(1), write.sync(), write.query('select 2'));
    relay.server(backend.error('42703'), backend.ready(), backend.complete('SELECT 1'), backend.ready());
    expect(relay.toClient()).toEqual(['E 42703 no', 'Z I', 'C SELECT 1', 'Z I']);
    expect(results(relay)).toEqual([[1, 'NotForwarded', null], [2, 'NotForwarded', null], [3, 'Completed', null]]);
    expect(relay.context.queue.length).toBe(0);
  });

  test('at Sync, when the commit fails, is told, and the Sync is answered', async () => {
    const relay = await sent({}, ...pipeline('insert into t'), write.sync());
    relay.server(backend.parseComplete, backend.bindComplete, backend.complete('INSERT 0 1'), backend.error('23503', 'deferred'), backend.ready());
    expect(relay.toClient()).toEqual(['1', '2', 'C INSERT 0 1', 'E 23503 deferred', 'Z I']);
    expect([relay.context.discarding, relay.context.queue.length]).toEqual(['no', 0]);
  });

  test('of a function call leaves what is pipelined behind it alone', async () => {
    const relay = await sent(calling, frontend.functionCall(1), write.query('select 2'));
    relay.server(backend.error('22012'), backend.ready(), backend.complete('SELECT 1'), backend.ready());
    expect(relay.toClient()).toEqual(['E 22012 no', 'Z I', 'C SELECT 1', 'Z I']);
    expect(results(relay)).toEqual([[1, 'Failed', '22012'], [2, 'Completed', null]]);
  });

  test('of Parse takes the unnamed statement away, and throws away what the skipped messages had named', async () => {
    const relay = await sent({}, write.parse('', 'select 1'), write.sync());
    relay.server(backend.parseComplete, backend.ready());
    await relay.client(write.parse('', 'select nope'), write.parse('named', 'select 1'), write.sync());
    relay.server(backend.error('42703'), backend.ready());
    expect([relay.context.statements.get(''), relay.context.statements.get('named')]).toEqual([null, null]);
  });

  test('keeps the names that are on their way behind the Sync', async () => {
    const relay = await sent({}, write.parse('a', 'select nope'), write.sync(), write.parse('b', 'select 1'), write.bind('p', 'b'), write.query('prepare c as select 1'), write.close('S', 'z'));
    relay.server(backend.error('42703'));
    expect([relay.context.statements.get('a'), relay.context.statements.get('b')?.name, relay.context.statements.get('c')?.name, relay.context.portals.get('p')?.name]).toEqual([null, 'b', 'c', 'p']);
  });

  test('of a statement that a user cancelled is Cancelled', async () => {
    const relay = await querying();
    relay.server(backend.error('57014'), backend.ready());
    expect(results(relay)).toEqual([[1, 'Cancelled', '57014']]);
  });

  test('in answer to our own Describe is told to the client, whose pipeline it ended', async () => {
    const relay = await sent({ masked: true }, ...pipeline('select * from t'), write.sync());
    relay.server(backend.parseComplete, backend.error('57014'), backend.ready());
    expect(relay.toClient()).toEqual(['1', 'E 57014 rebuilt', 'Z I']);
  });

  test.each<[string, Buffer]>([['FATAL', backend.error('57P01', 'terminating', 'FATAL')], ['PANIC', backend.error('XX000', 'broken', 'PANIC')]])('that is %s ends the session after it was told', async (_severity, frame) => {
    const relay = await querying();
    relay.server(frame);
    expect(relay.toClient()).toHaveLength(1);
    expect(relay.context.ended).toMatchObject({ reason: 'TargetClosed', denial: { code: 'CONNECTION_LOST' } });
  });

  test('that answers nothing ends the session', () => {
    const relay = aRelay();
    relay.server(backend.error('25P03'));
    expect(relay.context.ended?.reason).toBe('TargetClosed');
  });
});

describe('beside the answers', () => {
  test('notices pass and are recorded with their statement; in a masked session they are rebuilt', async () => {
    const relay = await querying();
    relay.server(backend.notice('hello'));
    expect([relay.toClient(), relay.recorder.notices]).toEqual([['N 00000 hello'], [{ statement: 1, kind: 'n', message: 'hello' }]]);
    const masked = await querying('select * from t', { masked: true });
    masked.server(backend.notice('hello'));
    expect([masked.toClient(), masked.recorder.notices[0]?.message]).toEqual([['N 00000 rebuilt'], 'rebuilt']);
    const idle = aRelay();
    idle.server(backend.notice('idle'));
    expect(idle.recorder.notices).toEqual([{ statement: 0, kind: 'n', message: 'idle' }]);
  });

  test('notices of an Execute belong to it', async () => {
    const relay = await sent({}, ...pipeline('select 1'), write.sync());
    relay.server(backend.parseComplete, backend.bindComplete, backend.notice('from it'));
    expect(relay.recorder.notices).toEqual([{ statement: 1, kind: 'n', message: 'from it' }]);
  });

  test('notifications pass only where nothing is masked', () => {
    const relay = aRelay();
    relay.server(backend.notification);
    const masked = aRelay({ masked: true });
    masked.server(backend.notification);
    expect([relay.toClient().length, masked.toClient()]).toEqual([1, []]);
  });

  test('parameter reports pass, except those that name the injected account; masked ones are checked', () => {
    const relay = aRelay();
    relay.server(write.parameterStatus('TimeZone', 'UTC'), write.parameterStatus('is_superuser', 'on'), write.parameterStatus('session_authorization', 'gateway'), write.parameterStatus('application_name', 'sallyport/x'));
    expect(relay.toClient()).toEqual(['S TimeZone UTC']);
    const masked = aRelay({ masked: true });
    masked.server(write.parameterStatus('TimeZone', 'odd'), write.parameterStatus('search_path', 'secret'));
    expect(masked.toClient()).toEqual(['S TimeZone shown']);
  });

  test.each([['standard_conforming_strings', 'off', 'SETTING_REFUSED'], ['client_encoding', 'SJIS', 'ENCODING_REFUSED']])('a session whose %s is %s ends: server and gateway would read texts unlike', (name, value, code) => {
    const relay = aRelay();
    relay.server(write.parameterStatus(name, value));
    expect(relay.context.ended?.denial.code).toBe(code);
  });

  test.each([['standard_conforming_strings', 'on'], ['client_encoding', 'UTF8'], ['client_encoding', 'SQL_ASCII']])('%s = %s is as it must be', (name, value) => {
    const relay = aRelay();
    relay.server(write.parameterStatus(name, value));
    expect(relay.context.ended).toBeNull();
  });

  test('column names that a detector found something in are replaced', async () => {
    const relay = await querying();
    relay.inspector.names = ['column_1'];
    relay.server(backend.rowDescription('536-90-4399'), backend.complete('SELECT 0'), backend.ready());
    const extended = await sent({}, write.parse('', 'select * from t'), write.describe('S', ''), write.sync());
    extended.inspector.names = ['column_1'];
    extended.server(backend.parseComplete, backend.parameterDescription, backend.rowDescription('536-90-4399'), backend.ready());
    expect([relay.toClient(), extended.toClient()]).toEqual([['T 1', 'C SELECT 0', 'Z I'], ['1', 't', 'T 1', 'Z I']]);
    expect(relay.context.ended).toBeNull();
  });
});

describe('a function call', () => {
  test('is answered, recorded, and ended by ReadyForQuery', async () => {
    const relay = await sent(calling, frontend.functionCall(1));
    relay.server(write.frame('V', Buffer.alloc(4)), backend.ready());
    expect([relay.toClient(), results(relay), relay.context.queue.length]).toEqual([['V', 'Z I'], [[1, 'Completed', null]], 0]);
    expect(relay.inspector.effects).toEqual([{ kind: 'FunctionCall', completed: true }]);
  });

  test('that fails as it commits, after its answer, is told and not recorded twice', async () => {
    const relay = await sent(calling, frontend.functionCall(1));
    relay.server(write.frame('V', Buffer.alloc(4)), backend.error('23503'), backend.ready());
    expect([relay.toClient(), results(relay)]).toEqual([['V', 'E 23503 no', 'Z I'], [[1, 'Completed', null]]]);
  });

  test('without a rule for it is refused and recorded; in a masked session always; and none is held', async () => {
    const none = await sent({ policies: { oncall: { rules: [{ name: 'reads', action: 'Allow', statements: ['Select'] }] } } }, frontend.functionCall(1));
    const masked = await sent({ masked: true }, frontend.functionCall(1));
    const held = await sent({ policies: { oncall: { rules: [{ name: 'ask', action: 'RequireApproval', statements: ['FunctionCall'], approval: { groups: ['dba'] } }] } } }, frontend.functionCall(1));
    expect([none, masked, held].map((relay) => [relay.toClient(), relay.recorder.attempts.map((attempt) => attempt.code)])).toEqual([
      [['E 42501 no rule allows FunctionCall whose objects cannot be known [STATEMENT_NOT_ALLOWED]', 'Z I'], ['STATEMENT_NOT_ALLOWED']],
      [['E 0A000 the fast-path function call is not allowed [FUNCTION_CALL_REFUSED]', 'Z I'], ['FUNCTION_CALL_REFUSED']],
      [['E 0A000 the fast-path function call is not allowed [FUNCTION_CALL_REFUSED]', 'Z I'], ['FUNCTION_CALL_REFUSED']],
    ]);
  });

  test('whose result comes after masking began ends the session', async () => {
    const relay = await sent(calling, frontend.functionCall(1));
    relay.inspector.masked = true;
    expect(() => relay.server(write.frame('V', Buffer.alloc(4)))).toThrow('TARGET_PROTOCOL_VIOLATION');
  });
});

describe('after a limit was told', () => {
  const limited: RelayOptions = { policies: { oncall: { ...allowAll, limits: { rowsPerStatement: 1 } } } };

  test('nothing of the rest of the pipeline reaches the client, and what it sends up to its Sync is dropped', async () => {
    const relay = await sent(limited, ...pipeline('select * from t', 'select 2'), write.flush());
    relay.server(backend.parseComplete, backend.bindComplete, backend.row('1'), backend.row('2'), backend.complete('SELECT 2'));
    expect(relay.toClient()).toEqual(['1', '2', 'D 1', 'E 54000 the statement passed the row limit of the policy [ROW_LIMIT_REACHED]']);
    relay.server(backend.parseComplete, backend.bindComplete, backend.row('1'), backend.complete('SELECT 1'));
    await relay.client(...pipeline('select 3'), write.sync());
    expect(relay.toServer()).toEqual(['S']);
    relay.server(backend.ready('I'));
    expect(relay.toClient()).toEqual(['Z I']);
  });

  test('a suspended portal of it is ended too', async () => {
    const relay = await sent(limited, write.parse('', 'select * from t'), write.bind('', ''), write.execute('', 2), write.sync());
    relay.server(backend.parseComplete, backend.bindComplete, backend.row('1'), backend.row('2'), backend.portalSuspended, backend.ready('I'));
    expect(relay.toClient()).toEqual(['1', '2', 'D 1', 'E 54000 the statement passed the row limit of the policy [ROW_LIMIT_REACHED]', 'Z I']);
  });

  test('inside a transaction with more on its way the session ends: the transaction must not commit', async () => {
    const relay = await sent(limited, write.query('select * from t'), write.query('commit'));
    relay.server(backend.rowDescription('a'), backend.row('1'), backend.row('2'), backend.complete('SELECT 2'), backend.ready('T'));
    expect(relay.context.ended).toMatchObject({ reason: 'Failed', denial: { code: 'ROW_LIMIT_REACHED' } });
  });
});
