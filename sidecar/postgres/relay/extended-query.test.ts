import { describe, expect, test } from '@jest/globals';
import { allowAll, aRelay, aStatement, backend, type RelayBench, type RelayOptions, settled } from '../../../tools/testkit/relay-context.ts';
import { deny, SallyportError } from '../../core/errors.ts';
import * as write from '../wire/frame-writer.ts';

const readOnly: RelayOptions = { policies: { oncall: { rules: [{ name: 'reads', action: 'Allow', statements: ['Select', 'Set'] }] } } };
const asking: RelayOptions = { policies: { oncall: { rules: [{ name: 'all', action: 'Allow' }, { name: 'deletes', action: 'RequireApproval', statements: ['Delete'], approval: { groups: ['dba'] } }] } } };
const statement = (text: string, name = '', portal = ''): readonly Buffer[] => [write.parse(name, text), write.bind(portal, name)];
const run = (text: string): readonly Buffer[] => [...statement(text), write.execute('')];
const denied = 'E 42501 no rule allows Delete without WHERE on public.t [STATEMENT_NOT_ALLOWED]';
const codes = (relay: RelayBench): readonly unknown[] => relay.recorder.attempts.map(({ event, code }) => [event, code]);

/** A named statement that the server has confirmed. */
async function prepared(options: RelayOptions, text: string, name = 's'): Promise<RelayBench> {
  const relay = aRelay(options);
  await relay.client(write.parse(name, text), write.sync());
  relay.server(backend.parseComplete, backend.ready());
  relay.toServer();
  relay.toClient();
  return relay;
}

describe('a pipeline that is allowed', () => {
  test('is forwarded as it came, one intent per Execute, none per Parse', async () => {
    const relay = aRelay();
    await relay.client(write.parse('s', 'select * from t where a = $1', [23]), write.bind('p', 's', ['7']), write.describe('P', 'p'), write.execute('p', 5), write.execute('p'), write.flush(), write.close('P', 'p'), write.sync());
    expect(relay.toServer()).toEqual(['P s select * from t where a = $1', 'B p s 7', 'D Pp', 'E p', 'E p', 'H', 'C Pp', 'S']);
    expect(relay.recorder.intents).toMatchObject([
      { protocol: 'extended', statementName: 's', portalName: 'p', kind: 'Select', objects: ['public.t'], parameters: [{ n: 1, value: '7' }], decision: { effect: 'Allow', reason: 'PolicyMatched', policy: 'oncall', rule: 'all' }, textHmac: 'hmac(select * from t where a = $1)' },
      { protocol: 'extended', portalName: 'p' },
    ]);
  });

  test('of an empty text is recorded and forwarded', async () => {
    const relay = aRelay(readOnly);
    await relay.client(...run(''), write.sync());
    expect([relay.toServer(), relay.recorder.intents.map(({ kind }) => kind)]).toEqual([['P', 'B', 'E', 'S'], ['Other']]);
  });
});

describe('a pipeline that fails on the server while a text is read', () => {
  test('is asked nothing any more: the server would skip the question, and the session would wait for ever', async () => {
    const relay = aRelay();
    await relay.client(write.describe('P', 'nope'));
    relay.toServer();
    relay.inspector.slow = true;
    relay.inspector.pathUnknown = true;
    const sent = relay.client(write.parse('', 'truncate t'), write.sync());
    relay.server(backend.error('34000', 'portal "nope" does not exist'));
    await sent;
    expect(relay.toServer()).toEqual(['S']);
    relay.server(backend.ready());
    expect(relay.toClient()).toEqual(['E 34000 portal "nope" does not exist', 'Z I']);
  });
});

describe('a refusal that the server need not know of', () => {
  test('is answered here; what follows up to Sync is dropped, and Sync is answered here', async () => {
    const relay = aRelay(readOnly);
    await relay.client(...run('delete from t'), write.describe('P', ''), write.flush(), write.sync());
    expect([relay.toServer(), relay.toClient(), codes(relay)]).toEqual([[], [denied, 'Z I'], [['statement.denied', 'STATEMENT_NOT_ALLOWED']]]);
    await relay.client(...run('select 1'), write.sync());
    expect(relay.toServer()).toEqual(['P select 1', 'B', 'E', 'S']);
  });

  test.each<[string, (relay: RelayBench) => void, Buffer, string]>([
    ['a text with a NUL inside', () => undefined, write.frame('P', Buffer.from('\0select\xff\0\0\0', 'latin1')), 'E 22021 the text is not valid UTF-8 [ENCODING_INVALID]'],
    ['a text that does not parse', (relay) => void relay.inspector.answers.set('selec', { outcome: 'unreadable', denial: deny('SYNTAX_ERROR'), position: 1, redactedText: 'selec' }), write.parse('', 'selec'), 'E 42601 the statement does not parse [SYNTAX_ERROR]'],
    ['several statements in one Parse', () => undefined, write.parse('', 'select 1; select 2'), 'E 42601 cannot insert multiple commands into a prepared statement [SYNTAX_ERROR]'],
    ['a Bind of an unknown statement', () => undefined, write.bind('', 'nope'), 'E 26000 prepared statement "nope" does not exist [STATEMENT_INVALIDATED]'],
    ['a Bind of no statement', () => undefined, write.bind('', ''), 'E 26000 unnamed prepared statement does not exist [STATEMENT_INVALIDATED]'],
    ['an Execute of an unknown portal', () => undefined, write.execute('nope'), 'E 34000 portal "nope" does not exist [PORTAL_UNKNOWN]'],
    ['what cannot be masked, in a masked session', (relay) => {
      relay.inspector.masked = true;
      relay.inspector.answers.set('select x', { outcome: 'read', statements: [aStatement('select x', { masking: { outcome: 'refused', denial: deny('MASKING_UNPROVEN') } })] });
    }, write.parse('', 'select x'), 'E 42501 it cannot be proven that the answer holds no masked value [MASKING_UNPROVEN]'],
    ['what is refused whatever the rules say', (relay) => void relay.inspector.answers.set('set x', { outcome: 'read', statements: [aStatement('set x = 1', { refusal: deny('SETTING_REFUSED') })] }), write.parse('', 'set x'), 'E 42501 this setting cannot be changed through the gateway [SETTING_REFUSED]'],
  ])('%s', async (_what, prepare, frame, error) => {
    const relay = aRelay();
    prepare(relay);
    await relay.client(frame, write.sync());
    expect([relay.toServer(), relay.toClient()]).toEqual([[], [error, 'Z I']]);
  });

  test('a statement or portal above its number', async () => {
    const relay = aRelay({ limits: { preparedStatements: 1, portals: 1 } });
    await relay.client(write.parse('a', 'select 1'), write.bind('a', 'a'), write.sync());
    relay.server(backend.parseComplete, backend.bindComplete, backend.ready('T'));
    await relay.client(write.bind('b', 'a'), write.sync());
    relay.server(backend.error('34000'), backend.ready('E'));
    expect(relay.toClient().slice(3)).toEqual(['E 53400 too many prepared statements or portals [TOO_MANY_STATEMENTS]', 'Z E']);
    await relay.client(write.parse('b', 'select 1'), write.sync());
    relay.server(backend.error('34000'), backend.ready('E'));
    expect(relay.toClient()).toEqual(['E 53400 too many prepared statements or portals [TOO_MANY_STATEMENTS]', 'Z E']);
  });

  test('a message whose fields do not fill it is a violation', async () => {
    await expect(aRelay().client(write.frame('B', Buffer.from('\0\0')))).rejects.toThrow('PROTOCOL_VIOLATION');
  });

  test('the third text that ruined a parser ends the session', async () => {
    const relay = aRelay();
    relay.inspector.answers.set('deep', { outcome: 'unreadable', denial: deny('STATEMENT_TOO_DEEP'), position: null, redactedText: '' });
    for (let n = 0; n < 2; n++) await relay.client(write.parse('', 'deep'), write.sync());
    expect(relay.context.ended).toBeNull();
    await relay.client(write.parse('', 'deep'));
    expect(relay.context.ended).toMatchObject({ reason: 'Failed', denial: { code: 'STATEMENT_TOO_DEEP' } });
  });
});

describe('a refusal inside something', () => {
  test('makes the server fail in its place: behind what was forwarded, the client gets our error', async () => {
    const relay = aRelay(readOnly);
    await relay.client(...run('select 1'), ...run('delete from t'), ...run('select 2'), write.sync());
    expect(relay.toServer()).toEqual(['P select 1', 'B', 'E', 'E poison', 'S']);
    relay.server(backend.parseComplete, backend.bindComplete, backend.complete('SELECT 1'), backend.error('34000'), backend.ready());
    expect(relay.toClient()).toEqual(['1', '2', 'C SELECT 1', denied, 'Z I']);
  });

  test('makes an open transaction fail', async () => {
    const relay = aRelay(readOnly);
    relay.context.status = 'T';
    await relay.client(...run('delete from t'), write.sync());
    expect(relay.toServer()).toEqual(['E poison', 'S']);
    relay.server(backend.error('34000'), backend.ready('E'));
    expect(relay.toClient()).toEqual([denied, 'Z E']);
  });

  test('that the server’s own error overtook is told no more: one pipeline, one error', async () => {
    const relay = aRelay(readOnly);
    relay.inspector.slow = true;
    await relay.client(write.parse('', 'select nope'));
    const refused = relay.client(...run('delete from t'));
    relay.server(backend.error('42703'));
    await refused;
    await relay.client(write.sync());
    relay.server(backend.ready());
    expect([relay.toServer(), relay.toClient()]).toEqual([['P select nope', 'S'], ['E 42703 no', 'Z I']]);
  });
});

describe('a statement that needs an approval', () => {
  test.each<[string, readonly Buffer[], readonly string[]]>([
    ['Flush', [write.flush()], ['P delete from t', 'B', 'H']], ['Sync', [write.sync()], ['P delete from t', 'B', 'S']], ['another Bind', [write.bind('other', '')], ['P delete from t', 'B']],
    ['a Parse', [write.parse('x', 'select 1')], ['P delete from t', 'B', 'P x select 1']], ['a Query', [write.query('select 1')], ['P delete from t', 'B', 'Q select 1']], ['a Close', [write.close('P', 'x')], ['P delete from t', 'B', 'C Px']],
  ])('waits with its Parse and Bind, which go in their order when %s comes first', async (_what, frames, forwarded) => {
    const relay = aRelay(asking);
    await relay.client(...statement('delete from t'));
    expect(relay.toServer()).toEqual([]);
    await relay.client(...frames);
    expect(relay.toServer().slice(0, forwarded.length)).toEqual(forwarded);
  });

  test('waits with the Describe of its portal', async () => {
    const relay = aRelay(asking);
    await relay.client(...statement('delete from t'), write.describe('P', ''));
    expect(relay.toServer()).toEqual([]);
    const wait = relay.client(write.execute(''), write.sync());
    await relay.approver.decide('approved');
    await wait;
    expect(relay.toServer()).toEqual(['P delete from t', 'B', 'D P', 'E', 'S']);
  });

  test('is forwarded once approved, its intent naming the approval', async () => {
    const relay = aRelay(asking);
    const wait = relay.client(...run('delete from t'), write.sync());
    await relay.approver.decide('approved');
    await wait;
    expect(relay.toServer()).toEqual(['P delete from t', 'B', 'E', 'S']);
    expect(relay.recorder.intents).toMatchObject([{ decision: { effect: 'Allow', rule: 'all' }, approvals: [{ request: 'areq-1', approver: { username: 'dba' } }] }]);
    expect([codes(relay), relay.approver.used]).toEqual([[['statement.held', null]], 1]);
  });

  test('never reaches the server when it is denied, and its portal is forgotten', async () => {
    const relay = aRelay(asking);
    const wait = relay.client(...statement('delete from t', 's', 'p'), write.execute('p'), write.sync());
    await relay.approver.decide('denied');
    await wait;
    expect([relay.toServer(), codes(relay)]).toEqual([[], [['statement.held', null], ['statement.denied', 'APPROVAL_DENIED']]]);
    expect(relay.toClient().slice(1)).toEqual(['E 42501 the approver said no [APPROVAL_DENIED]', 'Z I']);
    expect([relay.context.portals.size, relay.context.statements.size]).toEqual([0, 0]);
  });

  test('is not forwarded when an earlier statement of its pipeline failed meanwhile: the server skips it', async () => {
    const relay = aRelay(asking);
    await relay.client(...run('select 1/0'));
    const wait = relay.client(...run('delete from t'));
    await settled();
    relay.server(backend.parseComplete, backend.bindComplete, backend.error('22012'));
    await wait;
    await relay.client(write.sync());
    relay.server(backend.ready());
    expect(relay.toServer()).toEqual(['P select 1/0', 'B', 'E', 'H', 'S']);
    expect(relay.toClient().filter((line) => !line.startsWith('N'))).toEqual(['1', '2', 'E 22012 no', 'Z I']);
    expect(codes(relay)).toEqual([['statement.held', null], ['statement.cancelled', 'HOLD_CANCELLED']]);
  });

  test('is not forwarded when the session ended while it waited', async () => {
    const relay = aRelay(asking);
    const wait = relay.client(...run('delete from t'), write.sync());
    await relay.approver.decide('withdrawn');
    relay.context.end({ reason: 'Revoked', denial: deny('SESSION_REVOKED') });
    await wait;
    expect(relay.toServer()).toEqual([]);
  });

  test('is superseded when what it names means something else by then', async () => {
    const relay = aRelay(asking);
    const wait = relay.client(...run('delete from t'), write.sync());
    await settled();
    relay.inspector.version++;
    relay.inspector.answers.set('delete from t', { outcome: 'read', statements: [aStatement('delete from other')] });
    await relay.approver.decide('approved');
    await wait;
    expect([relay.toServer(), codes(relay), relay.approver.used]).toEqual([[], [['statement.held', null], ['statement.denied', 'APPROVAL_SUPERSEDED']], 0]);
  });

  test('goes on page by page once its portal has started, without another approval', async () => {
    const relay = aRelay(asking);
    const wait = relay.client(...statement('delete from t', '', 'p'), write.execute('p', 1), write.sync());
    await relay.approver.decide('approved');
    await wait;
    relay.server(backend.parseComplete, backend.bindComplete, backend.row('1'), backend.portalSuspended, backend.ready('T'));
    await relay.client(write.execute('p', 1), write.sync());
    expect([relay.approver.asks.length, relay.recorder.intents.map(({ continues }) => continues)]).toEqual([1, [null, 1]]);
  });

  test('keeps back a few messages at most', async () => {
    const relay = aRelay(asking);
    await relay.client(...statement('delete from t'), ...Array.from({ length: 20 }, () => write.describe('S', '')));
    expect(relay.toServer().length).toBeGreaterThan(10);
    expect(relay.context.kept.length).toBeLessThan(10);
  });
});

describe('a prepared statement', () => {
  test('is judged again when the catalog, the path or the rules changed since: at Bind', async () => {
    const relay = await prepared({ policies: { oncall: { rules: [{ name: 'open', action: 'Allow', tables: ['public.t'] }] } } }, 'select * from t');
    relay.inspector.version++;
    relay.inspector.answers.set('select * from t', { outcome: 'read', statements: [aStatement('select * from secret')] });
    await relay.client(write.bind('', 's'), write.execute(''), write.sync());
    expect([relay.toServer(), relay.toClient()]).toEqual([[], ['E 42501 no rule allows Select on public.secret [STATEMENT_NOT_ALLOWED]', 'Z I']]);
  });

  test('is not judged again when nothing changed', async () => {
    const relay = await prepared({}, 'select * from t');
    for (let n = 0; n < 3; n++) await relay.client(write.bind('', 's'), write.execute(''), write.sync());
    expect(relay.inspector.inspected).toEqual(['select * from t']);
  });

  test('is judged under the search path that a statement before it in the same pipeline has set', async () => {
    const relay = await prepared(readOnly, 'select * from t');
    await relay.client(write.parse('set', 'set search_path = secret'), write.sync());
    relay.server(backend.parseComplete, backend.ready());
    relay.toServer();
    relay.toClient();
    const wait = relay.client(write.bind('', 'set'), write.execute(''), write.bind('', 's'), write.execute(''), write.sync());
    await settled();
    expect(relay.toServer()).toEqual(['B set', 'E', 'P own select s from pg_catalog.unnest(pg_catalog.current_schemas(true)) s', 'B own own', 'E own', 'C Pown', 'C Sown', 'H']);
    relay.inspector.answers.set('select * from t', { outcome: 'read', statements: [aStatement('delete from secret')] });
    relay.server(backend.bindComplete, backend.complete('SET'), backend.parseComplete, backend.bindComplete, backend.row('secret'), backend.complete('SELECT 1'), backend.closeComplete, backend.closeComplete);
    await wait;
    expect([relay.inspector.path, relay.toServer(), relay.toClient()]).toEqual([['secret'], ['E poison', 'S'], ['2', 'C SET']]);
  });

  test('stays dead when its text cannot be read any more', async () => {
    const relay = await prepared({}, 'select * from t');
    relay.inspector.version++;
    relay.inspector.answers.set('select * from t', { outcome: 'unreadable', denial: deny('STATEMENT_TOO_DEEP'), position: null, redactedText: '' });
    await relay.client(write.bind('', 's'), write.sync());
    expect(relay.toClient()).toEqual(['E 26000 the prepared statement is no longer valid for masking [STATEMENT_INVALIDATED]', 'Z I']);
  });

  test('waits for a catalog that must be read; without one nothing goes', async () => {
    const relay = await prepared({}, 'select * from t');
    relay.inspector.refreshing = () => Promise.resolve().then(() => { relay.inspector.version++; });
    await relay.client(write.bind('', 's'), write.execute(''), write.sync());
    expect([relay.toServer(), relay.inspector.inspected.length]).toEqual([['B s', 'E', 'S'], 3]);
    relay.inspector.failure = new SallyportError('CATALOG_UNAVAILABLE');
    await expect(relay.client(write.bind('', 's'))).rejects.toThrow('CATALOG_UNAVAILABLE');
  });

  test('of SQL’s PREPARE can be bound; in a masked session its description is asked for before its first row', async () => {
    const relay = aRelay({ masked: true });
    await relay.client(write.query('prepare s as select * from t'));
    relay.server(backend.complete('PREPARE'), backend.ready());
    relay.toServer();
    await relay.client(write.bind('', 's'), write.execute(''), write.sync());
    expect(relay.toServer()).toEqual(['B s', 'D P', 'E', 'S']);
    relay.server(backend.bindComplete, backend.rowDescription('a'), backend.row('1'), backend.complete('SELECT 1'), backend.ready());
    expect(relay.toClient()).toEqual(['C PREPARE', 'Z I', '2', 'D 1', 'C SELECT 1', 'Z I']);
  });
});

describe('a portal', () => {
  test('is what its names meant at Bind: when they mean something else now, it is refused', async () => {
    const relay = await prepared({}, 'select * from t');
    relay.context.status = 'T';
    await relay.client(write.bind('p', 's'), write.sync());
    relay.server(backend.bindComplete, backend.ready('T'));
    relay.inspector.version++;
    relay.inspector.answers.set('select * from t', { outcome: 'read', statements: [aStatement('select * from harmless')] });
    await relay.client(write.execute('p'), write.sync());
    relay.server(backend.error('34000'), backend.ready('E'));
    expect(relay.toClient()).toEqual(['2', 'Z T', 'E 26000 the names in the statement mean something else than when its portal was made [STATEMENT_INVALIDATED]', 'Z E']);
  });

  test('whose statement was read again to the same effect goes on', async () => {
    const relay = await prepared({}, 'select * from t');
    await relay.client(write.bind('p', 's'));
    relay.inspector.version++;
    await relay.client(write.execute('p'), write.sync());
    expect(relay.toServer()).toEqual(['B p s', 'E p', 'S']);
  });

  test('of a statement whose names are looked up as it runs is judged under the path of then', async () => {
    const relay = await prepared({}, 'drop table t');
    await relay.client(write.bind('p', 's'), write.sync());
    relay.server(backend.bindComplete, backend.ready('T'));
    relay.inspector.pathUnknown = true;
    const wait = relay.client(write.execute('p'), write.sync());
    await settled();
    relay.inspector.answers.set('drop table t', { outcome: 'read', statements: [aStatement('drop table secret')] });
    relay.server(backend.parseComplete, backend.bindComplete, backend.row('secret'), backend.complete('SELECT 1'), backend.closeComplete, backend.closeComplete, backend.ready('T'));
    await wait;
    expect(relay.toServer().slice(-2)).toEqual(['E poison', 'S']);
  });

  test('of EXECUTE is judged as the statement that it names, as that is now', async () => {
    const relay = await prepared({ policies: { oncall: { rules: [{ name: 'open', action: 'Allow', tables: ['public.t'] }] } } }, 'select * from t', 'inner');
    await relay.client(...statement('execute inner', 'outer', 'p'), write.sync());
    relay.server(backend.parseComplete, backend.bindComplete, backend.ready('T'));
    relay.inspector.version++;
    relay.inspector.answers.set('select * from t', { outcome: 'read', statements: [aStatement('select * from secret')] });
    await relay.client(write.execute('p'), write.sync());
    expect(relay.recorder.attempts.map(({ code }) => code)).toEqual(['STATEMENT_NOT_ALLOWED']);
  });

  test('spends the questions about masked columns, once per Execute', async () => {
    const relay = aRelay({ policies: { oncall: allowAll } });
    relay.inspector.answers.set('select 1', { outcome: 'read', statements: [aStatement('select 1', { usesEquality: true })] });
    await relay.client(write.parse('', 'select 1'));
    for (let n = 0; n < 31; n++) await relay.client(write.bind('', ''), write.execute(''));
    expect([relay.recorder.intents.length, relay.recorder.attempts.map(({ code }) => code)]).toEqual([30, ['EQUALITY_LIMIT_REACHED']]);
  });
});
