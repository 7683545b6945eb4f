import { describe, expect, test } from '@jest/globals';
import { allowAll, aRelay, backend, frontend, type RelayBench, type RelayOptions, settled } from '../../../tools/testkit/relay-context.ts';
import { deny } from '../../core/errors.ts';
import * as write from '../wire/frame-writer.ts';

const limited = (limits: { readonly rowsPerStatement?: number; readonly bytesPerStatement?: number }): RelayOptions => ({ policies: { oncall: { ...allowAll, limits } } });

async function copyingOut(options: RelayOptions = {}, prepare: (relay: RelayBench) => void = () => undefined): Promise<RelayBench> {
  const relay = aRelay(options);
  prepare(relay);
  await relay.client(write.query('copy t to stdout'));
  relay.server(backend.copyOut());
  expect(relay.toClient()).toEqual(['H']);
  return relay;
}

async function copyingIn(options: RelayOptions = {}): Promise<RelayBench> {
  const relay = aRelay(options);
  const wait = relay.client(write.query('copy t from stdin'));
  await settled();
  relay.server(backend.copyIn());
  await wait;
  relay.toServer();
  expect(relay.toClient()).toEqual(['G']);
  return relay;
}

describe('COPY TO', () => {
  test('passes its rows, counts and records them', async () => {
    const relay = await copyingOut();
    relay.server(backend.copyData('1\n'), backend.copyData('2\n'), backend.copyDone, backend.complete('COPY 2'), backend.ready());
    expect(relay.toClient()).toEqual(['d 1', 'd 2', 'c', 'C COPY 2', 'Z I']);
    expect([relay.recorder.copies, relay.recorder.results]).toMatchObject([[{ direction: 'out', text: '1\n' }, { text: '2\n' }], [{ rows: 2, commandTag: 'COPY 2' }]]);
  });

  test('masks its rows by a plan that starts with its column count', async () => {
    const started: number[] = [];
    const relay = await copyingOut({ masked: true }, (made) => {
      made.inspector.copyPlan = { outcome: 'masked', format: 0, columns: null, start: (columns) => void started.push(columns), push: (body) => [Buffer.from(`masked ${Buffer.from(body).toString().trim()}`)], end: () => [Buffer.from('rest')], maskedCells: () => ({ columns: [{ name: 'ssn', style: 'Redact', cells: 1 }], detectorHits: 2 }) };
    });
    relay.server(backend.copyData('1\n'), backend.copyDone, backend.complete('COPY 1'), backend.ready());
    expect([started, relay.toClient(), relay.recorder.copies.map(({ text }) => text)]).toEqual([[1], ['d masked 1', 'd rest', 'c', 'C COPY 1', 'Z I'], ['masked 1', 'rest']]);
    expect(relay.recorder.results).toMatchObject([{ maskedCells: [{ name: 'ssn', style: 'Redact', cells: 1 }], detectorHits: 2 }]);
  });

  test.each<[string, RelayBench['inspector']['copyPlan']]>([
    ['is refused', { outcome: 'refused', denial: deny('MASKING_UNPROVEN') }],
    ['has another format', { outcome: 'masked', format: 1, columns: null, start: () => undefined, push: () => [], end: () => [], maskedCells: () => ({ columns: [], detectorHits: 0 }) }],
    ['has another number of columns', { outcome: 'masked', format: 0, columns: 3, start: () => undefined, push: () => [], end: () => [], maskedCells: () => ({ columns: [], detectorHits: 0 }) }],
  ])('whose plan %s passes nothing and is stopped', async (_what, plan) => {
    const relay = await copyingOut({ masked: true }, (made) => { made.inspector.copyPlan = plan; });
    relay.server(backend.copyData('secret\n'), backend.copyDone, backend.error('57014'), backend.ready());
    expect([relay.toClient(), relay.cancels.count]).toEqual([['E 42501 it cannot be proven that the answer holds no masked value [MASKING_UNPROVEN]', 'Z I'], 1]);
  });

  test('stops at the row limit, between rows', async () => {
    const relay = await copyingOut(limited({ rowsPerStatement: 1 }));
    relay.server(backend.copyData('1\n'), backend.copyData('2\n'), backend.copyDone, backend.complete('COPY 2'), backend.ready());
    expect(relay.toClient()).toEqual(['d 1', 'E 54000 the statement passed the row limit of the policy [ROW_LIMIT_REACHED]', 'Z I']);
  });

  test('does not begin a row that would pass the byte limit, and cuts none off: the client can still read what follows', async () => {
    const relay = await copyingOut(limited({ bytesPerStatement: 150_000 }));
    for (let n = 0; n < 2; n++) {
      const long = backend.copyData('x'.repeat(100_000));
      relay.server(long.subarray(0, 70_000));
      relay.server(long.subarray(70_000));
    }
    relay.server(backend.error('57014'), backend.ready());
    expect(relay.toClient().map((line) => line.slice(0, 20))).toEqual(['d xxxxxxxxxxxxxxxxxx', 'E 54000 the statemen', 'Z I']);
    expect(relay.recorder.results).toMatchObject([{ rows: 1, limited: true }]);
  });

  test('from a statement that is no COPY is a violation', async () => {
    const relay = aRelay();
    await relay.client(write.query('select 1'));
    expect(() => relay.server(backend.copyOut())).toThrow('TARGET_PROTOCOL_VIOLATION');
    expect(() => relay.server(backend.copyData('x'))).toThrow('TARGET_PROTOCOL_VIOLATION');
  });

  test('in the other direction than it was written is a violation', async () => {
    const relay = aRelay();
    await relay.client(write.query('copy t to stdout'));
    expect(() => relay.server(backend.copyIn())).toThrow('TARGET_PROTOCOL_VIOLATION');
  });
});

describe('COPY FROM', () => {
  test('takes the client’s rows, counted and recorded', async () => {
    const relay = await copyingIn();
    await relay.client(frontend.copyData('1\n'), frontend.copyData('2\n'), frontend.copyDone);
    expect(relay.toServer()).toEqual(['d 1', 'd 2', 'c']);
    relay.server(backend.complete('COPY 2'), backend.ready());
    expect([relay.recorder.copies.map(({ direction, text }) => [direction, text]), relay.context.copyIn]).toEqual([[['in', '1\n'], ['in', '2\n']], null]);
  });

  test('in a masked session stores none of them', async () => {
    const relay = await copyingIn({ masked: true });
    await relay.client(frontend.copyData('536-90-4399\n'), frontend.copyFail);
    expect([relay.toServer(), relay.recorder.copies.map(({ text }) => text)]).toEqual([['d 536-90-4399', 'f no'], ['']]);
  });

  test('ignores Sync and Flush meanwhile, as the server does, and takes nothing else', async () => {
    const relay = await copyingIn();
    await relay.client(write.sync(), write.flush());
    expect(relay.toServer()).toEqual([]);
    await expect(relay.client(write.query('select 1'))).rejects.toThrow('PROTOCOL_VIOLATION');
  });

  test('that failed drops what the client still sends', async () => {
    const relay = await copyingIn();
    await relay.client(frontend.copyData('x\n'));
    relay.server(backend.error('22P02'), backend.ready());
    relay.toServer();
    await relay.client(frontend.copyData('y\n'), frontend.copyDone, write.query('select 1'));
    expect(relay.toServer()).toEqual(['Q select 1']);
  });

  test('holds everything behind it back until it starts, answers of earlier statements notwithstanding', async () => {
    const relay = aRelay();
    let done = false;
    const wait = relay.client(write.query('select 1; copy t from stdin'), frontend.copyData('1\n'), frontend.copyDone).then(() => { done = true; });
    await settled();
    relay.server(backend.rowDescription('a'), backend.row('1'), backend.complete('SELECT 1'));
    await settled();
    expect([done, relay.toServer()]).toEqual([false, ['Q select 1; copy t from stdin']]);
    relay.server(backend.copyIn());
    await wait;
    expect(relay.toServer()).toEqual(['d 1', 'c']);
  });

  test('behind an open pipeline holds its Sync back until it starts', async () => {
    const relay = aRelay();
    const wait = relay.client(write.parse('', 'select 1'), write.bind('', ''), write.execute(''), write.parse('', 'copy t from stdin'), write.bind('', ''), write.execute(''), write.sync());
    await settled();
    relay.server(backend.parseComplete, backend.bindComplete, backend.complete('SELECT 1'), backend.parseComplete, backend.bindComplete);
    await settled();
    expect(relay.toServer().at(-1)).toBe('E');
    relay.server(backend.copyIn());
    await wait;
    expect(relay.toServer()).toEqual([]);
    await relay.client(frontend.copyDone, write.sync());
    expect(relay.toServer()).toEqual(['c', 'S']);
  });

  test('that is skipped because an earlier statement failed lets the rest go on', async () => {
    const relay = aRelay();
    const wait = relay.client(write.parse('', 'copy t from stdin'), write.bind('', ''), write.execute(''), write.sync());
    await settled();
    relay.server(backend.error('42P01'));
    await wait;
    relay.server(backend.ready());
    expect([relay.toServer().at(-1), relay.toClient(), relay.context.copyStarted]).toEqual(['S', ['E 42P01 no', 'Z I'], null]);
  });

  test('followed by another one in the same Query: the rows of each go to it', async () => {
    const relay = aRelay();
    const wait = relay.client(write.query('copy t from stdin; copy u from stdin'), frontend.copyData('1\n'), frontend.copyDone, frontend.copyData('2\n'), frontend.copyDone);
    await settled();
    relay.server(backend.copyIn());
    await settled();
    expect(relay.toServer()).toEqual(['Q copy t from stdin; copy u from stdin', 'd 1', 'c']);
    relay.server(backend.complete('COPY 1'), backend.copyIn());
    await wait;
    expect(relay.toServer()).toEqual(['d 2', 'c']);
    relay.server(backend.complete('COPY 1'), backend.ready());
    expect(relay.recorder.copies.map(({ statement, text }) => [statement, text])).toEqual([[1, '1\n'], [2, '2\n']]);
  });

  test('waits for its record to be durable before its data is awaited', async () => {
    const relay = aRelay({ durability: 'Fsync' });
    const wait = relay.client(write.query('copy t from stdin'));
    await settled();
    expect(relay.toServer()).toEqual([]);
    relay.recorder.written();
    await settled();
    expect(relay.toServer()).toEqual(['Q copy t from stdin']);
    relay.server(backend.copyIn());
    await wait;
  });
});
