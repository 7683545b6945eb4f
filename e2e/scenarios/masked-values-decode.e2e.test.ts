import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pipeline } from 'node:stream/promises';
import { Readable, Writable } from 'node:stream';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import type { MaskingRule } from '../../contract/proxy-config.ts';
import { compileDetectors } from '../../sidecar/core/masking/detectors.ts';
import { createMaskKey } from '../../sidecar/core/masking/mask-key.ts';
import type { FieldDescription } from '../../sidecar/core/masking/masker.ts';
import { compileColumnMask } from '../../sidecar/core/masking/styles.ts';
import { typeShape } from '../../sidecar/core/masking/type-families.ts';
import type { CopyOptions } from '../../sidecar/core/sql/statement-facts.ts';
import { createFrameSink } from '../../sidecar/postgres/frame-sink.ts';
import { createCopyMask } from '../../sidecar/postgres/mask-copy.ts';
import { compileRowMask } from '../../sidecar/postgres/mask-rows.ts';
import { type PostgresHost, startPostgres } from '../hosts/postgres.ts';

// Real values of a real server go through the masker, and the server itself (its input and receive functions) and node-postgres decode the result.

const key = createMaskKey(Buffer.alloc(32, 7), { namespace: 'payments', epoch: 1 });
const secret = 'K7QX93ZP';
const columns: readonly (readonly [type: string, literal: string])[] = [
  ['text', secret], ['varchar(11)', '536-22-7841'], ['varchar(40)', secret], ['char(11)', '536-22-7841'], ['char(30)', secret], ['name', secret], ['"char"', 'x'],
  ['int2', '12345'], ['int4', '-85123'], ['int8', '4539628173056482'], ['numeric', '123456.7890'], ['numeric(12,2)', '-85123.45'], ['numeric', 'NaN'], ['numeric', '0.00000012345'], ['money', '1234.56'],
  ['float4', '1.5'], ['float8', '4.539628173056482e15'], ['bool', 't'], ['date', '1980-02-03'], ['timestamp', '1980-02-03 04:05:06.789'], ['timestamptz', '1980-02-03 04:05:06.789+02'],
  ['time', '04:05:06'], ['timetz', '04:05:06+02'], ['interval', '3 days 04:05:06'], ['uuid', '6fa459ea-ee8a-3ca4-894e-db77e160355e'], ['bytea', `\\x00ff${Buffer.from(secret).toString('hex')}`],
  ['inet', '10.1.2.3'], ['inet', '2001:db8::1/64'], ['cidr', '10.1.0.0/16'], ['macaddr', '08:00:2b:01:02:03'], ['macaddr8', '08:00:2b:01:02:03:04:05'],
  ['json', `{"a": "${secret}"}`], ['jsonb', `{"a": "${secret}"}`], ['text[]', `{${secret},NULL,"a, \\"b\\" c","x\\\\y"}`], ['text[]', '[0:1][3:4]={{ab,cd},{ef,gh}}'], ['varchar(11)[]', '{536-22-7841}'], ['name[]', `{${secret}}`],
  ['int4[]', '{1,2,NULL}'], ['numeric[]', '{1.5}'], ['date[]', '{1980-02-03}'], ['uuid[]', '{6fa459ea-ee8a-3ca4-894e-db77e160355e}'], ['jsonb[]', '{"{}"}'], ['bytea[]', '{"\\\\x00ff"}'],
  ['int4range', '[1,5)'], ['tstzrange', '[1980-02-03,1980-02-04)'], ['daterange', '[1980-02-03,1980-02-05)'], ['int8multirange', '{[1,5)}'], ['int4range[]', '{"[1,5)"}'],
  ['xml', `<a>${secret}</a>`], ['point', '(1,2)'], ['mood', 'sad'], ['mood[]', '{sad,ok}'], ['pair', '(1,two)'], ['ssn', '536-22-7841'], ['ssn[]', '{536-22-7841}'], ['tsvector', `${secret}:1`], ['bit(3)', '101'],
];

let host: PostgresHost;
let client: pg.Client;
let typeBase: ReadonlyMap<number, number>;
let arrayTypes: ReadonlySet<number>;

beforeAll(async () => {
  host = await startPostgres();
  client = new pg.Client({ host: host.host, port: host.port, user: host.owner, password: host.password, database: 'postgres' });
  await client.connect();
  await client.query("create type mood as enum ('sad', 'ok'); create type pair as (a int, b text); create domain ssn as varchar(40) check (length(value) > 1)");
  await client.query(`create table cells (${columns.map(([type], index) => `c${index} ${type}`).join(', ')})`);
  await client.query(`insert into cells values (${columns.map(([type, literal]) => `${pg.escapeLiteral(literal)}::${type}`).join(', ')}), (${columns.map(() => 'null').join(', ')})`);
  const types = await client.query<{ oid: number; base: number; is_array: boolean }>(
    "select oid::int, case when typtype = 'd' then typbasetype else typelem end::int as base, typtype <> 'd' as is_array from pg_type where typtype = 'd' or typcategory = 'A' and typlen = -1 and typelem <> 0");
  typeBase = new Map(types.rows.map((row) => [row.oid, row.base]));
  arrayTypes = new Set(types.rows.filter((row) => row.is_array).map((row) => row.oid));
}, 60_000);

afterAll(async () => {
  await client?.end();
  await host?.stop();
});

const rule = (style: MaskingRule['style']): MaskingRule =>
  ({ columns: [{ schema: 'public', table: 'cells', column: '*' }], detectors: null, style, keepFirst: 0, keepLast: style === 'Partial' ? 4 : 0, predicates: 'Deny' });
const maskOf = (field: FieldDescription, style: MaskingRule['style']): ReturnType<typeof compileColumnMask> =>
  compileColumnMask(field, { rule: rule(style), ruleIndex: 0, bare: true }, key, typeBase, arrayTypes);
const raw = { getTypeParser: () => (value: unknown) => value };

/** Every cell as the server sends it. node-postgres turns binary results into strings, so the binary form is taken from COPY, which uses the same send functions. */
async function select(format: 0 | 1): Promise<{ readonly fields: readonly FieldDescription[]; readonly rows: readonly (readonly (Buffer | null)[])[] }> {
  const result = await client.query<(string | null)[]>({ text: 'select * from cells', rowMode: 'array', types: raw } as pg.QueryArrayConfig);
  const fields = result.fields.map((field): FieldDescription => ({ name: field.name, tableOid: field.tableID, attnum: field.columnID, typeOid: field.dataTypeID, typeModifier: field.dataTypeModifier, format }));
  return { fields, rows: format === 1 ? await binaryRows() : result.rows.map((row) => row.map((cell) => (cell === null ? null : Buffer.from(cell)))) };
}

async function binaryRows(): Promise<(Buffer | null)[][]> {
  const chunks: Buffer[] = [];
  await pipeline(client.query(copyTo('copy cells to stdout with (format binary)')), new Writable({ write: (chunk: Buffer, _encoding, done) => { chunks.push(chunk); done(); } }));
  const bytes = Buffer.concat(chunks);
  const rows: (Buffer | null)[][] = [];
  let at = 19;
  while (bytes.readInt16BE(at) !== -1) {
    const row: (Buffer | null)[] = [];
    const count = bytes.readInt16BE(at);
    at += 2;
    for (let index = 0; index < count; index += 1) {
      const length = bytes.readInt32BE(at);
      row.push(length === -1 ? null : bytes.subarray(at + 4, at + 4 + length));
      at += 4 + Math.max(length, 0);
    }
    rows.push(row);
  }
  return rows;
}

/** Sends one row through the row mask as a DataRow frame, and reads the cells of the frame that leaves. */
function throughRowMask(fields: readonly FieldDescription[], row: readonly (Buffer | null)[], style: MaskingRule['style']): (Buffer | null)[] {
  const body = Buffer.concat([Buffer.alloc(7), ...row.flatMap((cell) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(cell === null ? -1 : cell.length);
    return [length, cell ?? Buffer.alloc(0)];
  })]);
  body[0] = 0x44;
  body.writeInt32BE(body.length - 1, 1);
  body.writeUInt16BE(row.length, 5);
  const out = createFrameSink(1_000_000);
  const mask = compileRowMask(fields.map((field) => maskOf(field, style)), null, fields);
  const frame = mask.maskFrame(body, 0, body.length, out) ? out.take() : body;
  expect(frame.readInt32BE(1)).toBe(frame.length - 1);
  const cells: (Buffer | null)[] = [];
  let at = 7;
  for (let index = 0; index < frame.readUInt16BE(5); index += 1) {
    const length = frame.readInt32BE(at);
    cells.push(length === -1 ? null : frame.subarray(at + 4, at + 4 + length));
    at += 4 + Math.max(length, 0);
  }
  expect(at).toBe(frame.length);
  return cells;
}

/** What the server reads in a masked cell: a Buffer goes through the type's receive function, a string through its input function. */
async function decodedByServer(type: string, cell: Buffer | null, format: 0 | 1): Promise<string | null> {
  if (cell === null) return null;
  const result = await client.query<{ decoded: string }>(`select ($1::${type})::text as decoded`, [format === 1 ? cell : cell.toString()]);
  return result.rows[0]?.decoded ?? null;
}

describe.each(['Null', 'Redact', 'Partial', 'Hash'] as const)('style %s', (style) => {
  test('gives values that the server decodes as the column\'s type, equal in text and binary, and NULL stays NULL', async () => {
    const [text, binary] = [await select(0), await select(1)];
    const [textCells, binaryCells] = [throughRowMask(text.fields, text.rows[0] ?? [], style), throughRowMask(binary.fields, binary.rows[0] ?? [], style)];
    for (const [index, [type]] of columns.entries()) {
      const [fromText, fromBinary] = [await decodedByServer(type, textCells[index] ?? null, 0), await decodedByServer(type, binaryCells[index] ?? null, 1)];
      expect({ type, value: fromBinary }).toEqual({ type, value: fromText });
      const original = text.rows[0]?.[index]?.toString();
      // Only what is equal to the redacted value by chance, or a digit or two, may look like the original.
      if (type !== '"char"' && original !== 'NaN') expect({ type, value: fromText }).not.toEqual({ type, value: original });
    }
    expect(throughRowMask(text.fields, text.rows[1] ?? [], style)).toEqual(columns.map(() => null));
    expect(Buffer.concat([...textCells, ...binaryCells].map((cell) => cell ?? Buffer.alloc(0))).toString('latin1')).not.toContain(secret);
  });

  test('gives values that node-postgres decodes in text and in binary', async () => {
    for (const format of [0, 1] as const) {
      const { fields, rows } = await select(format);
      const cells = throughRowMask(fields, rows[0] ?? [], style);
      for (const [index, field] of fields.entries()) {
        const cell = cells[index] ?? null;
        const parse = pg.types.getTypeParser(field.typeOid, format === 0 ? 'text' : 'binary') as (value: string | Buffer) => unknown;
        if (cell !== null) expect(() => parse(format === 0 ? cell.toString() : Buffer.from(cell))).not.toThrow();
      }
    }
  });

  const copyOptions: CopyOptions = {
    direction: 'out', format: 'text', delimiter: '\t', quote: '"', escape: '"', nullString: '\\N', header: false, forceQuote: null, relation: null, columns: null, understood: true,
  };
  test.each([
    ['text', { ...copyOptions }, ''],
    ['text with an odd delimiter and NULL', { ...copyOptions, delimiter: '*', nullString: 'nil' }, "delimiter '*', null 'nil'"],
    ['CSV', { ...copyOptions, format: 'csv', delimiter: ',', nullString: '' }, 'format csv'],
    ['CSV with odd marks and a header', { ...copyOptions, format: 'csv', delimiter: '1', quote: "'", escape: '\\', nullString: 'nil', header: true }, "format csv, delimiter '1', quote '''', escape '\\', null 'nil', header, force_quote *"],
    ['binary', { ...copyOptions, format: 'binary' }, 'format binary'],
  ] as const)('COPY in %s gives the masked cells of SELECT, read back by COPY FROM', async (_, options, clause) => {
    const format = options.format === 'binary' ? 1 : 0;
    const { fields, rows } = await select(format);
    const mask = createCopyMask(options, fields.map((field) => maskOf(field, style)), null, fields, { typeBase, arrayTypes });
    const bodies: Buffer[] = [];
    const stream = client.query(copyTo(`copy cells to stdout${clause === '' ? '' : ` with (${clause})`}`));
    await pipeline(stream, new Writable({ write: (chunk: Buffer, _encoding, done) => {
      // Chunks of the stream are cut anew: rows straddle them.
      for (let at = 0; at < chunk.length; at += 7) bodies.push(...mask.push(chunk.subarray(at, at + 7)).map((body) => Buffer.from(body)));
      done();
    } }));
    bodies.push(...mask.end().map((body) => Buffer.from(body)));
    await client.query('drop table if exists masked; create table masked (like cells)');
    await pipeline(Readable.from(bodies), client.query(copyFrom(`copy masked from stdin${clause === '' ? '' : ` with (${clause.replace(', force_quote *', '')})`}`)));
    const result = await client.query<(string | null)[]>({ text: `select ${columns.map((_column, index) => `c${index}::text`).join(', ')} from masked`, rowMode: 'array' });
    const selected = throughRowMask(fields, rows[0] ?? [], style);
    for (const [index, [type]] of columns.entries()) {
      const expected = await client.query<{ value: string | null }>(`select $1::${type}::text as value`, [selected[index] === null ? null : format === 1 ? selected[index] : selected[index]?.toString()]);
      expect({ type, value: result.rows[0]?.[index]?.trimEnd() }).toEqual({ type, value: expected.rows[0]?.value?.trimEnd() });
    }
    expect(result.rows[1]).toEqual(columns.map(() => null));
    expect(Buffer.concat(bodies).toString('latin1')).not.toContain(secret);
    expect(mask.rows()).toBe(2);
  });
});

test('type OIDs and array elements are those of pg_type', async () => {
  const types = await client.query<{ oid: number; typname: string; typelem: number; is_array: boolean }>("select oid::int, typname, typelem::int, typcategory = 'A' and typlen = -1 as is_array from pg_type where typnamespace = 'pg_catalog'::regnamespace");
  const sameName: Readonly<Record<string, string>> = { unknown: 'text', cstring: 'text' };
  for (const { oid, typname, typelem, is_array } of types.rows) {
    const shape = typeShape(oid, new Map());
    if (shape.family === 'array') expect({ typname, is_array, element: typelem }).toEqual({ typname, is_array: typname !== '_record', element: shape.element?.oid });
    else if (shape.family === 'range' || shape.family === 'multirange') expect(typname).toMatch(new RegExp(`${shape.family}$`));
    else if (shape.family !== 'other') expect({ oid, family: shape.family }).toEqual({ oid, family: sameName[typname] ?? typname });
    else if (is_array && typname.startsWith('_')) expect({ typname, family: typeShape(typelem, new Map()).family }).toEqual({ typname, family: 'other' });
  }
  expect(types.rows.length).toBeGreaterThan(100);
});

test('detectors change matches only, and what they change decodes', async () => {
  const detectors = compileDetectors([{ ...rule('Redact'), columns: null, detectors: ['us-ssn', 'payment-card'] }], key);
  for (const format of [0, 1] as const) {
    const { fields, rows } = await select(format);
    const mask = compileRowMask(fields.map(() => null), detectors, fields, { typeBase, arrayTypes });
    const row = rows[0] ?? [];
    const before = Buffer.concat([Buffer.alloc(7), ...row.flatMap((cell) => { const length = Buffer.alloc(4); length.writeInt32BE(cell?.length ?? -1); return [length, cell ?? Buffer.alloc(0)]; })]);
    before[0] = 0x44;
    before.writeInt32BE(before.length - 1, 1);
    before.writeUInt16BE(row.length, 5);
    const out = createFrameSink(1_000_000);
    mask.maskFrame(before, 0, before.length, out);
    const changed = columns.map(([type, literal]) => `${type} ${literal}`).filter((_, index) => mask.detectorHits[index] === 1);
    expect(changed).toEqual([
      'varchar(11) 536-22-7841', 'char(11) 536-22-7841', 'int8 4539628173056482', 'float8 4.539628173056482e15', 'varchar(11)[] {536-22-7841}', 'ssn 536-22-7841', 'ssn[] {536-22-7841}',
    ]);
  }
});
