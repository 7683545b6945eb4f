import { describe, expect, test } from '@jest/globals';
import { aRelay, backend, type RelayBench, type RelayOptions } from '../../../tools/testkit/relay-context.ts';
import { compileRowMask } from '../mask-rows.ts';
import * as write from '../wire/frame-writer.ts';
import type { RowPlan } from './row-plan.ts';

/** A `select` was sent and described. */
async function selecting(options: RelayOptions = {}, prepare: (relay: RelayBench) => void = () => undefined): Promise<RelayBench> {
  const relay = aRelay(options);
  prepare(relay);
  await relay.client(write.query('select * from t'));
  relay.server(backend.rowDescription('a'));
  relay.toServer();
  relay.toClient();
  return relay;
}

const limited = (limits: { readonly rowsPerStatement?: number; readonly bytesPerStatement?: number }): RelayOptions => ({ policies: { oncall: { rules: [{ name: 'all', action: 'Allow' }], limits } } });
const longRow = backend.row('D'.repeat(100_000));
/** In pieces, the second of which begins with the letter of a DataRow. */
function inPieces(relay: RelayBench, frame: Buffer): void {
  relay.server(frame.subarray(0, 50_000));
  relay.server(frame.subarray(50_000));
}
const told = (relay: RelayBench): readonly string[] => relay.toClient().map((line) => (line.startsWith('D ') ? 'D' : line));

describe('rows pass', () => {
  test('as they are, counted, timed and recorded with their columns before they leave', async () => {
    const relay = await selecting();
    relay.clock.advance(5);
    relay.server(backend.row('x'), backend.row(null), backend.complete('SELECT 2'), backend.ready());
    expect(relay.toClient()).toEqual(['D x', 'D NULL', 'C SELECT 2', 'Z I']);
    expect(relay.recorder.columns).toEqual([{ statement: 1, columns: [{ name: 'a', typeOid: 25, style: null, format: 0 }] }]);
    expect(relay.recorder.rows.map((row) => row.body.length)).toEqual([7, 6]);
    expect(relay.recorder.results).toMatchObject([{ statement: 1, outcome: 'Completed', commandTag: 'SELECT 2', rows: 2, firstRowMs: 5, limited: false }]);
  });

  test('of which only the first thousand, or the first megabyte, are stored', async () => {
    const relay = await selecting({ limits: { storedRows: 2, storedBytes: 1_000 } });
    relay.server(backend.row('a'), backend.row('b'), backend.row('c'));
    expect(relay.recorder.rows).toHaveLength(2);
    const large = await selecting({ limits: { storedRows: 100, storedBytes: 10 } });
    large.server(backend.row('twelve bytes'), backend.row('b'));
    expect(large.recorder.rows).toHaveLength(1);
  });

  test('in parts when they are larger than a chunk: counted once, whatever byte a part begins with, and not stored', async () => {
    const relay = await selecting();
    inPieces(relay, longRow);
    expect(told(relay)).toEqual(['D']);
    relay.server(backend.complete('SELECT 1'), backend.ready());
    expect(relay.recorder.results).toMatchObject([{ rows: 1, bytesFromServer: longRow.length }]);
    expect(relay.recorder.rows).toEqual([]);
  });

  test('rewritten by the plan of their description; what is recorded is what was sent', async () => {
    const field = { name: 'a', tableOid: 0, attnum: 0, typeOid: 25, typeModifier: -1, format: 0 } as const;
    const mask = compileRowMask([{ rule: { columns: [], detectors: null, style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny' }, ruleIndex: 0, style: 'Redact', mask: (cell) => (cell.length === 1 ? cell : Buffer.from('***')) }], null, [field]);
    const plan: RowPlan = { fields: [field], recorded: [{ name: 'a', typeOid: 25, style: 'Redact', format: 0 }], mask, counters: () => [...mask.maskedCells], maskedCells: (before) => ({ columns: [{ name: 'a', style: 'Redact', cells: (mask.maskedCells[0] ?? 0) - (before[0] ?? 0) }], detectorHits: 0 }) };
    const relay = await selecting({ masked: true }, (made) => { made.inspector.plan = () => ({ outcome: 'planned', plan }); });
    relay.server(backend.row('123-45-6789'), backend.row('x'), backend.row('987-65-4321'), backend.complete('SELECT 3'), backend.ready());
    expect(relay.toClient()).toEqual(['D ***', 'D x', 'D ***', 'C SELECT 3', 'Z I']);
    expect(relay.recorder.rows.map((row) => row.body.subarray(6).toString())).toEqual(['***', 'x', '***']);
    expect(relay.recorder.results).toMatchObject([{ maskedCells: [{ name: 'a', cells: 3 }] }]);
    expect(relay.context.tally.maskedCells).toBe(3);
  });
});

describe('limits', () => {
  test('the row after the last allowed one stops the statement: cancelled on the server, refused where its end stands', async () => {
    const relay = await selecting(limited({ rowsPerStatement: 2 }));
    relay.server(backend.row('1'), backend.row('2'), backend.row('3'), backend.row('4'));
    expect([told(relay), relay.cancels.count]).toEqual([['D', 'D'], 1]);
    relay.server(backend.error('57014'), backend.ready());
    expect(relay.toClient()).toEqual(['E 54000 the statement passed the row limit of the policy [ROW_LIMIT_REACHED]', 'Z I']);
    expect(relay.recorder.results).toMatchObject([{ outcome: 'Failed', rows: 2, limited: true }]);
  });

  test('exactly as many rows as allowed are no reason to stop', async () => {
    const relay = await selecting(limited({ rowsPerStatement: 2 }));
    relay.server(backend.row('1'), backend.row('2'), backend.complete('SELECT 2'), backend.ready());
    expect([told(relay), relay.cancels.count]).toEqual([['D', 'D', 'C SELECT 2', 'Z I'], 0]);
  });

  test('rows that come in parts count too, and none is cut off in the middle', async () => {
    const relay = await selecting(limited({ rowsPerStatement: 1 }));
    inPieces(relay, longRow);
    inPieces(relay, longRow);
    expect([told(relay), relay.cancels.count]).toEqual([['D'], 1]);
    relay.server(backend.error('57014'), backend.ready());
    expect(told(relay)).toEqual(['E 54000 the statement passed the row limit of the policy [ROW_LIMIT_REACHED]', 'Z I']);
  });

  test('a row that would pass the byte limit does not begin to leave', async () => {
    const relay = await selecting(limited({ bytesPerStatement: 90_000 }));
    inPieces(relay, longRow);
    expect([told(relay), relay.cancels.count]).toEqual([[], 1]);
    relay.server(backend.error('57014'), backend.ready());
    expect(relay.toClient()).toEqual(['E 54000 the statement passed the byte limit of the policy [BYTE_LIMIT_REACHED]', 'Z I']);
  });

  test('a statement that had finished before the cancel arrived is refused all the same, and its transaction cannot commit', async () => {
    const relay = await selecting(limited({ rowsPerStatement: 1 }));
    relay.server(backend.row('1'), backend.row('2'), backend.complete('SELECT 2'));
    expect(told(relay)).toEqual(['D', 'E 54000 the statement passed the row limit of the policy [ROW_LIMIT_REACHED]']);
    relay.server(backend.ready('T'));
    await relay.client();
    expect([relay.toServer(), relay.toClient()]).toEqual([['E poison', 'S'], []]);
    relay.server(backend.error('34000'), backend.ready('E'));
    expect(relay.toClient()).toEqual(['Z E']);
  });
});

describe('rows without a description', () => {
  const executed = async (options: RelayOptions = {}, parsed: readonly Buffer[] = []): Promise<RelayBench> => {
    const relay = aRelay(options);
    await relay.client(write.parse('s', 'select * from t'), ...parsed, write.bind('', 's'), write.execute(''), write.sync());
    relay.toServer();
    return relay;
  };

  test('take the plan of the statement’s own description, once for all its executions', async () => {
    const relay = await executed({}, [write.describe('S', 's')]);
    const plans: number[] = [];
    const { plan } = relay.inspector;
    relay.inspector.plan = (...asked) => { plans.push(asked[0].length); return plan(...asked); };
    relay.server(backend.parseComplete, backend.parameterDescription, backend.rowDescription('a', 'b'), backend.bindComplete, backend.row('1', '2'), backend.complete('SELECT 1'), backend.ready());
    await relay.client(write.bind('', 's'), write.execute(''), write.sync());
    relay.server(backend.bindComplete, backend.row('3', '4'), backend.complete('SELECT 1'), backend.ready());
    expect(plans).toEqual([2]);
    expect(relay.recorder.columns.map(({ columns }) => columns.map((column) => column.name))).toEqual([['a', 'b'], ['a', 'b']]);
  });

  test('take the portal’s description when the client asked for it', async () => {
    const relay = aRelay();
    await relay.client(write.parse('', 'select * from t'), write.bind('', ''), write.describe('P', ''), write.execute(''), write.sync());
    relay.server(backend.parseComplete, backend.bindComplete, backend.rowDescription('a'), backend.row('1'), backend.complete('SELECT 1'), backend.ready());
    expect(relay.recorder.columns).toMatchObject([{ columns: [{ name: 'a' }] }]);
  });

  test('pass unseen where nothing is masked', async () => {
    const relay = await executed();
    relay.server(backend.parseComplete, backend.bindComplete, backend.row('1'), backend.complete('SELECT 1'), backend.ready());
    expect(told(relay)).toEqual(['1', '2', 'D', 'C SELECT 1', 'Z I']);
  });

  test('of a plan that is refused are not passed', async () => {
    const relay = await executed({ masked: true });
    relay.inspector.plan = () => ({ outcome: 'refused', denial: { code: 'MASKING_UNPROVEN', message: 'no', detail: null, hint: '' } });
    relay.server(backend.parseComplete, backend.rowDescription('a'), backend.bindComplete, backend.row('1'), backend.error('57014'), backend.ready());
    expect(told(relay)).toEqual(['1', '2', 'E 42501 no [MASKING_UNPROVEN]', 'Z I']);
  });

  test('of a simple Query are a violation', async () => {
    const relay = aRelay();
    await relay.client(write.query('select * from t'));
    expect(() => relay.server(backend.row('1'))).toThrow('TARGET_PROTOCOL_VIOLATION');
  });
});
