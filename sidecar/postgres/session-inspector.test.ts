import { beforeEach, describe, expect, test } from '@jest/globals';
import type { MaskingRule } from '../../contract/proxy-config.ts';
import { aPermit, aStatement } from '../../tools/testkit/relay-context.ts';
import { fakeClock } from '../../tools/testkit/fake-clock.ts';
import { aPolicy } from '../../tools/testkit/policies.ts';
import { SallyportError } from '../core/errors.ts';
import type { FieldDescription, MaskKey } from '../core/masking/masker.ts';
import type { SqlParse, SqlParser } from '../core/ports.ts';
import { Session } from '../core/session/session.ts';
import type { CatalogFunction, CatalogRelation, CatalogSnapshot } from '../core/sql/catalog-snapshot.ts';
import { createInspectionCache } from '../core/sql/inspection-cache.ts';
import type { StatementEffect, StatementFacts } from '../core/sql/statement-facts.ts';
import type { SessionInspector } from './inspector.ts';
import { type CatalogView, openSessionInspector } from './session-inspector.ts';

const ssn: MaskingRule = { columns: [{ schema: 'public', table: 'people', column: 'ssn' }], detectors: null, style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny' };
const detector: MaskingRule = { columns: null, detectors: ['us-ssn'], style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny' };

/** A catalog of one table; the test replaces the snapshot. */
class FakeCatalog implements CatalogView {
  snapshot: CatalogSnapshot = aSnapshot('e1');
  slow = false;
  failure: SallyportError | null = null;
  invalidations = 0;
  released = false;

  current(): CatalogSnapshot | Promise<CatalogSnapshot> {
    if (this.failure) throw this.failure;
    return this.slow ? Promise.resolve(this.snapshot) : this.snapshot;
  }

  invalidate(): void {
    this.invalidations++;
  }

  release(): void {
    this.released = true;
  }
}

function aSnapshot(epoch: string, functions: readonly CatalogFunction[] = []): CatalogSnapshot {
  const people: CatalogRelation = {
    oid: 100, schema: 'public', name: 'people', kind: 'r', parents: [], definition: null, ownedBy: null, hasTriggers: false,
    columns: [{ attnum: 1, name: 'id', typeOid: 23, typeModifier: -1 }, { attnum: 2, name: 'ssn', typeOid: 25, typeModifier: -1 }],
  };
  return {
    epoch, relations: new Map([[100, people]]), relationsByName: new Map([['people', [100]]]), functionsByName: Map.groupBy(functions, ({ name }) => name), systemFunctions: new Set(['now']), userOperators: new Set(),
    userTypes: new Map(), typeBase: new Map(), schemas: new Set(['public', 'pg_catalog']),
  };
}

/** Knows the texts of these tests: `trees` by text. */
class FakeParser implements SqlParser {
  slow = false;
  parsed: string[] = [];

  parse(text: string): SqlParse | Promise<SqlParse> {
    this.parsed.push(text);
    const parse: SqlParse = text === 'wrong' ? { outcome: 'invalid', message: 'syntax error at or near "wrong"', position: 1 } : { outcome: 'parsed', tree: { stmts: [{ stmt: selectOf(text) }] } };
    return this.slow ? Promise.resolve(parse) : parse;
  }

  parsePlPgSql(): unknown {
    return null;
  }

  fingerprint(): string | null {
    return 'f00d';
  }
}

/** `select COLUMN from people`. */
function selectOf(text: string): unknown {
  const column = /select (\w+)/.exec(text)?.[1] ?? 'id';
  return { SelectStmt: {
    targetList: [{ ResTarget: { val: { ColumnRef: { fields: [{ String: { sval: column } }] } } } }], fromClause: [{ RangeVar: { relname: 'people', inh: true, relpersistence: 'p' } }], limitOption: 'LIMIT_OPTION_DEFAULT', op: 'SETOP_NONE',
  } };
}

const maskKey: MaskKey = { keyId: 'k1', hmac: (domain, text) => Buffer.from(`${domain} ${text}`.padEnd(32, '.').slice(0, 32)) };
let catalog: FakeCatalog;
let parser: FakeParser;
let session: Session;

const clock = fakeClock();
const permit = (masking: readonly MaskingRule[]): ReturnType<typeof aPermit> => aPermit([aPolicy('oncall', { rules: [{ name: 'all', action: 'Allow' }], masking: [...masking] })], clock.now());

async function open(masking: readonly MaskingRule[] = []): Promise<SessionInspector> {
  session = new Session('s1', permit(masking), clock);
  return openSessionInspector({ session, parser, cache: createInspectionCache(), catalog, maskKey, digestKey: new Uint8Array(32) });
}

beforeEach(() => {
  catalog = new FakeCatalog();
  parser = new FakeParser();
});

const field = (name: string, attnum: number, typeOid = 25): FieldDescription => ({ name, tableOid: 100, attnum, typeOid, typeModifier: -1, format: 0 });
const withEffect = (effect: StatementEffect | null, changes: Partial<StatementFacts> = {}): StatementFacts => aStatement('select 1', { effect, ...changes });
async function known(masking: readonly MaskingRule[] = []): Promise<SessionInspector> {
  const inspector = await open(masking);
  inspector.setSearchPath(['public']);
  return inspector;
}

describe('the search path', () => {
  test('is unknown at first, known once the server has answered, and part of the key', async () => {
    const inspector = await open();
    expect([inspector.searchPathUnknown(), inspector.searchPathText()]).toEqual([true, 'unknown']);
    const before = inspector.key();
    inspector.setSearchPath(['public', 'app']);
    expect([inspector.searchPathUnknown(), inspector.searchPathText(), inspector.key() === before]).toEqual([false, 'public, app', false]);
  });

  test('of one schema with a comma in its name has another key than one of two schemas', async () => {
    const inspector = await open();
    inspector.setSearchPath(['a,b']);
    const before = inspector.key();
    inspector.setSearchPath(['a', 'b']);
    expect(inspector.key()).not.toBe(before);
  });

  test.each<[string, StatementFacts]>([
    ['SET search_path', withEffect({ kind: 'set', name: 'search_path', value: 'app', local: false })],
    ['SET ROLE', withEffect({ kind: 'set', name: 'role', value: 'app', local: false })],
    ['SET SESSION AUTHORIZATION', withEffect({ kind: 'set', name: 'session_authorization', value: 'app', local: false })],
    ['RESET search_path', withEffect({ kind: 'reset', name: 'search_path' })],
    ['RESET ALL', withEffect({ kind: 'reset', name: null })],
    ['DISCARD ALL', withEffect({ kind: 'discard', what: 'ALL' })],
    ['DDL', withEffect({ kind: 'ddl' })],
    ['a temporary table', withEffect({ kind: 'create-temp', name: 'people' })],
    ['DO', withEffect(null, { kind: 'Do' })],
    ['CALL', withEffect(null, { kind: 'Call' })],
    ['a function of the user', withEffect(null, { calls: ['public.anything'] })],
    ['EXECUTE of a statement that is not known', withEffect({ kind: 'execute', name: 'p' })],
    ['EXECUTE of a SET', withEffect({ kind: 'execute', name: 'p' }, { runs: withEffect({ kind: 'set', name: 'search_path', value: 'app', local: false }) })],
  ])('is not known any more as soon as %s is sent', async (_what, facts) => {
    const inspector = await known();
    inspector.sent(facts);
    expect(inspector.searchPathUnknown()).toBe(true);
  });

  test.each<[string, StatementFacts]>([
    ['another setting', withEffect({ kind: 'set', name: 'work_mem', value: '4MB', local: false })],
    ['DISCARD PLANS', withEffect({ kind: 'discard', what: 'PLANS' })],
    ['a statement of its own', withEffect(null)],
    ['EXECUTE of a plain statement', withEffect({ kind: 'execute', name: 'p' }, { runs: withEffect(null) })],
    ['COMMIT of a transaction that left it alone', withEffect({ kind: 'transaction', what: 'commit' })],
    ['pg_sleep', withEffect(null, { calls: ['pg_catalog.pg_sleep'] })],
    ['a function of a library that only computes', withEffect(null, { calls: ['public.digest'] })],
  ])('stays known after %s', async (_what, facts) => {
    catalog.snapshot = aSnapshot('e1', [{ oid: 1, schema: 'public', name: 'digest', language: 'c', body: '', returnsSet: false, isTrigger: false, library: '$libdir/pgcrypto' }]);
    const inspector = await known();
    inspector.sent(facts);
    inspector.ran(facts, true);
    expect(inspector.searchPathUnknown()).toBe(false);
  });

  test.each(['commit', 'rollback'] as const)('that a transaction changed is asked for again after %s: SET LOCAL ends there', async (what) => {
    const inspector = await known();
    inspector.ran(withEffect({ kind: 'set', name: 'search_path', value: 'app', local: true }), true);
    inspector.setSearchPath(['app']);
    inspector.sent(withEffect({ kind: 'transaction', what }));
    expect(inspector.searchPathUnknown()).toBe(true);
    inspector.setSearchPath(['app']);
    inspector.transactionOver();
    expect(inspector.searchPathUnknown()).toBe(true);
  });

  test('that the server reports after the end of the transaction stays known', async () => {
    const inspector = await known();
    inspector.ran(withEffect({ kind: 'set', name: 'search_path', value: 'app', local: false }), true);
    inspector.transactionOver();
    inspector.setSearchPath(['app']);
    inspector.transactionOver();
    expect(inspector.searchPathUnknown()).toBe(false);
  });
});

describe('the catalog', () => {
  test('of now gives another key once it changed: a prepared statement is read again', async () => {
    const inspector = await known();
    const before = inspector.key();
    expect(inspector.refresh()).toBeUndefined();
    expect(inspector.key()).toBe(before);
    catalog.snapshot = aSnapshot('e2');
    await inspector.refresh();
    expect(inspector.key()).not.toBe(before);
  });

  test('is waited for when it must be read first', async () => {
    const inspector = await known();
    const before = inspector.key();
    catalog.snapshot = aSnapshot('e2');
    catalog.slow = true;
    await inspector.refresh();
    expect(inspector.key()).not.toBe(before);
    expect(await inspector.inspect('select id from people')).toMatchObject({ outcome: 'read', statements: [{ objects: ['public.people'] }] });
  });

  test('that cannot be read lets nothing pass', async () => {
    const inspector = await known();
    catalog.failure = new SallyportError('CATALOG_UNAVAILABLE');
    expect(() => inspector.inspect('select id from people')).toThrow('CATALOG_UNAVAILABLE');
    expect(() => inspector.refresh()).toThrow('CATALOG_UNAVAILABLE');
  });

  test('is read anew after the transaction of a definition, and a new table counts at once', async () => {
    const inspector = await known();
    const before = inspector.key();
    inspector.ran(aStatement('create table fresh'), true);
    expect([inspector.key() === before, catalog.invalidations]).toEqual([false, 0]);
    inspector.transactionOver();
    expect(catalog.invalidations).toBe(1);
  });

  test('is read at the start of a masked session, and let go at the end of each', async () => {
    const inspector = await open([ssn]);
    inspector.close();
    expect([catalog.invalidations, catalog.released]).toEqual([1, true]);
  });
});

describe('temporary tables', () => {
  test('are part of the key until DISCARD', async () => {
    const inspector = await known();
    const before = inspector.key();
    inspector.ran(withEffect({ kind: 'create-temp', name: 'people' }), true);
    inspector.setSearchPath(['public']);
    expect(inspector.key()).not.toBe(before);
    inspector.ran(withEffect({ kind: 'discard', what: 'TEMP' }), true);
    inspector.setSearchPath(['public']);
    expect(inspector.key()).toBe(before);
  });
});

describe('texts', () => {
  test('are read once per key, and again under another', async () => {
    const inspector = await known();
    const first = inspector.inspect('select id from people');
    expect(inspector.inspect('select id from people')).toBe(first);
    inspector.setSearchPath(['app']);
    expect(inspector.inspect('select id from people')).not.toBe(first);
    expect(parser.parsed).toHaveLength(2);
  });

  test('that a worker parses are a promise', async () => {
    const inspector = await known();
    parser.slow = true;
    expect(await inspector.inspect('select id from people')).toMatchObject({ outcome: 'read' });
    expect(await inspector.inspect('wrong')).toMatchObject({ outcome: 'unreadable', denial: { code: 'SYNTAX_ERROR' } });
  });

  test('have a keyed hash, the same each time, and one of their own each', async () => {
    const inspector = await open();
    const [one, two] = [inspector.textHmac('select 1'), inspector.textHmac('select 2')];
    expect([one.length, one === two, inspector.textHmac('select 1') === one]).toEqual(['hmac-sha256:'.length + 64, false, true]);
    for (let n = 0; n < 200; n++) inspector.textHmac(`select ${n} from t`);
    expect(inspector.textHmac('select 1')).toBe(one);
  });
});

describe('masking', () => {
  test('starts with the permit that brings it, and its key changes', async () => {
    const inspector = await known();
    const before = inspector.key();
    expect(inspector.masked).toBe(false);
    session.replacePermit(permit([ssn]));
    expect([inspector.masked, inspector.key() === before]).toEqual([true, false]);
  });

  test('plans a masked column by its origin and judgement, and counts what it masked', async () => {
    const inspector = await known([ssn]);
    const inspected = await inspector.inspect('select ssn from people');
    const facts = inspected.outcome === 'read' ? inspected.statements[0] : undefined;
    const planned = inspector.planRow([field('ssn', 2)], facts?.masking ?? { outcome: 'clear' });
    expect(planned).toMatchObject({ outcome: 'planned', plan: { recorded: [{ name: 'ssn', style: 'Redact' }] } });
    expect(inspector.planRow([field('ssn', 2)], facts?.masking ?? { outcome: 'clear' })).toEqual(planned);
    if (planned.outcome !== 'planned' || !planned.plan.mask) throw new Error('not masked');
    expect(planned.plan.maskedCells(planned.plan.counters())).toEqual({ columns: [], detectorHits: 0 });
  });

  test('refuses a masked column that the judgement does not know', async () => {
    const inspector = await known([ssn]);
    expect(inspector.planRow([field('ssn', 2)], { outcome: 'columns', columns: [null] }).outcome).toBe('refused');
  });

  test('leaves the rows of a session without rules alone', async () => {
    const inspector = await known();
    expect(inspector.planRow([field('ssn', 2)], { outcome: 'clear' })).toMatchObject({ outcome: 'planned', plan: { mask: null } });
    expect(inspector.copyMask(aStatement('copy people to stdout'))).toEqual({ outcome: 'plain' });
  });

  test('of a COPY is fixed by the columns of its table', async () => {
    const inspector = await known([ssn]);
    const facts = aStatement('copy people to stdout', { masking: { outcome: 'columns', columns: [null, { rule: 0, bare: true }] } });
    const plan = inspector.copyMask(facts);
    if (plan.outcome !== 'masked') throw new Error('not masked');
    expect([plan.format, plan.columns, plan.push(Buffer.from('1\tx\n'))]).toEqual([0, 2, []]);
    plan.start(2);
    expect(Buffer.concat(plan.push(Buffer.from('1\t536-90-4399\n'))).toString()).not.toContain('536-90-4399');
    expect([plan.maskedCells(), plan.end()]).toEqual([{ columns: [{ name: 'ssn', style: expect.any(String), cells: 1 }], detectorHits: 0 }, []]);
  });

  test('of a COPY that was refused stays refused; of one whose columns nobody knows only detectors can say', async () => {
    const inspector = await known([ssn]);
    const denial = { code: 'MASKING_UNPROVEN', message: 'no', detail: null, hint: '' } as const;
    expect(inspector.copyMask(aStatement('copy people to stdout', { masking: { outcome: 'refused', denial } }))).toEqual({ outcome: 'refused', denial });
    const query = aStatement('copy people to stdout');
    expect(inspector.copyMask({ ...query, copy: query.copy && { ...query.copy, relation: null } })).toEqual({ outcome: 'plain' });
    expect((await known([detector])).copyMask({ ...query, copy: query.copy && { ...query.copy, relation: null } })).toMatchObject({ outcome: 'masked', columns: null });
  });

  test('hides values in names, refusals, notices, parameters and parameter reports', async () => {
    const inspector = await known([detector]);
    expect(inspector.shownName('stmt 536-90-4399')).not.toContain('536-90-4399');
    expect(inspector.shownName('short')).toBe('short');
    expect(JSON.stringify(inspector.shownDenial({ code: 'PORTAL_UNKNOWN', message: 'portal "536-90-4399" does not exist', detail: '536-90-4399', hint: 'h' }))).not.toContain('536-90-4399');
    expect(inspector.columnNames([field('536-90-4399', 1), field('id', 2)])).toEqual(['column_1', 'id']);
    expect(inspector.columnNames([field('id', 1)])).toBeNull();
    expect([inspector.parameterStatus('TimeZone', '<536-90-4399>0'), inspector.parameterStatus('TimeZone', 'UTC')]).toEqual([null, 'UTC']);
    expect(inspector.rebuild(new Map([['S', 'ERROR'], ['V', 'ERROR'], ['C', '22P02'], ['M', 'invalid input: "536-90-4399"']]), null).get('M')).not.toContain('536-90-4399');
    expect(inspector.showParameters([{ format: 0, value: Buffer.from('536-90-4399') }, { format: 0, value: Buffer.from('x') }, { format: 0, value: Buffer.from('y') }], [25, 25], [2])).toMatchObject([
      { value: null, redacted: true }, { value: null, redacted: true, type: 'text' }, { value: 'y', redacted: false, type: 'unknown' },
    ]);
  });

  test('lets everything be said in a session without rules', async () => {
    const inspector = await known();
    const denial = { code: 'PORTAL_UNKNOWN', message: 'portal "x"', detail: null, hint: '' } as const;
    expect([inspector.shownDenial(denial), inspector.parameterStatus('TimeZone', '<x>0'), inspector.columnNames([field('a', 1)])]).toEqual([denial, '<x>0', null]);
  });
});
