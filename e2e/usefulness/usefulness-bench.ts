import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { allowEverything, startWorld, type World } from '../hosts/gateway.ts';
import { type Answer, cstring, type Frame, int16, int32, message, openRaw, type RawClient, readCells, readFields } from '../leaks/raw-client.ts';
import type { UsefulnessCase } from './usefulness-case.ts';

/** How results are asked for. */
export type Format = 'text' | 'binary';

/** What became of a statement through the gateway, compared with what the server itself answers. */
export type UsefulnessOutcome =
  | { readonly verdict: 'equal' }
  | { readonly verdict: 'masked'; readonly cells: number }
  | { readonly verdict: 'refused'; readonly code: string; readonly hint: string }
  /** It differs where it must not, or shows what it must not. */
  | { readonly verdict: 'wrong'; readonly what: string }
  /** The case cannot be run on the server itself. */
  | { readonly verdict: 'broken'; readonly what: string };

/** A server with the corpus' schema and a gateway that masks its columns. */
export interface UsefulnessBench extends AsyncDisposable {
  readonly world: World;
  run(item: UsefulnessCase, format: Format): Promise<UsefulnessOutcome>;
}

/** The columns that the corpus' policy masks. */
export const maskedColumns: readonly string[] = [
  'public.customer.c_phone', 'public.customer.c_acctbal', 'public.supplier.s_phone', 'bank.clients.ssn', 'bank.clients.email', 'bank.clients.phone', 'bank.clients.birth_date', 'bank.cards.pan', 'bank.accounts.iban',
  'hr.employees.salary', 'hr.employees.personal',
];

const policies = `${allowEverything}  masking:
  - {columns: [${maskedColumns.join(', ')}], style: Redact}
`;

/** Starts server, issuer and gateway; both connections stay open for all statements, as a pool keeps them. */
export async function startUsefulnessBench(): Promise<UsefulnessBench> {
  const schema = readFileSync(join(import.meta.dirname, 'schema.sql'), 'utf8');
  const world = await startWorld({
    policies,
    prepare: async (postgres) => {
      const owner = new pg.Client({ host: postgres.socketDirectory, port: postgres.port, user: postgres.owner, database: 'postgres' });
      await owner.connect();
      await owner.query(schema);
      await owner.end();
    },
  });
  const secrets = await readSecrets(world);
  const token = await world.token('engineer');
  const direct = await openRaw({ port: join(world.postgres.socketDirectory, `.s.PGSQL.${world.postgres.port}`), ca: null, user: world.postgres.owner, database: 'postgres', password: '' });
  const proxied = await openRaw({ port: world.port, ca: world.ca, user: 'me', database: 'postgres', password: token });
  return {
    world,
    run: async (item, format) => {
      if (format === 'binary' && isSeveral(item.sql)) return { verdict: 'equal' };
      const expected = await inTransaction(direct.client, item, format);
      const problem = errorOf(expected);
      if (problem) return { verdict: 'broken', what: `${problem.get('C')} ${problem.get('M')}` };
      return compare(item, expected, await inTransaction(proxied.client, item, format), secrets);
    },
    [Symbol.asyncDispose]: async () => {
      await direct.client.close();
      await proxied.client.close();
      await world[Symbol.asyncDispose]();
    },
  };
}

/** Every stored value of a masked column that is long enough to be no accident. */
async function readSecrets(world: World): Promise<readonly Buffer[]> {
  const owner = new pg.Client({ host: world.postgres.socketDirectory, port: world.postgres.port, user: world.postgres.owner, database: 'postgres' });
  await owner.connect();
  const values: string[] = [];
  for (const name of maskedColumns) {
    const [schema, table, column] = name.split('.');
    const { rows } = await owner.query<{ v: string | null }>(`select distinct ${column}::text as v from ${schema}.${table}`);
    values.push(...rows.flatMap(({ v }) => (v !== null && v.length >= 8 ? [v] : [])));
  }
  await owner.end();
  return values.map((value) => Buffer.from(value));
}

/** The extended protocol carries one statement. */
function isSeveral(sql: string): boolean {
  return /;\s*\S/.test(sql.trim()) || sql.trim() === ';' || /^\s*copy\b/i.test(sql);
}

async function inTransaction(client: RawClient, item: UsefulnessCase, format: Format): Promise<Answer> {
  await client.query('begin');
  try {
    return format === 'text' ? await client.query(item.sql) : await client.exchange(extendedBinary(item.sql));
  } finally {
    await client.query('rollback');
  }
}

function extendedBinary(sql: string): Buffer {
  return Buffer.concat([
    message('P', Buffer.concat([cstring(''), cstring(sql), int16(0)])), message('B', Buffer.concat([cstring(''), cstring(''), int16(0), int16(0), int16(1), int16(1)])),
    message('D', cstring('P')), message('E', Buffer.concat([cstring(''), int32(0)])), message('S', Buffer.alloc(0)),
  ]);
}

function errorOf(answer: Answer): ReadonlyMap<string, string> | null {
  const frame = answer.frames.find(({ type }) => type === 'E');
  return frame === undefined ? null : readFields(frame.body);
}

function compare(item: UsefulnessCase, expected: Answer, actual: Answer, secrets: readonly Buffer[]): UsefulnessOutcome {
  const wrong = (what: string): UsefulnessOutcome => ({ verdict: 'wrong', what });
  const problem = errorOf(actual);
  const shown = Buffer.concat(actual.frames.map(({ body }) => body));
  const leaked = secrets.find((secret) => !item.sql.includes(secret.toString()) && shown.includes(secret));
  if (leaked !== undefined) return wrong('a masked value is shown');
  if (problem !== null) {
    const code = /\[([A-Z_]+)\]/.exec(problem.get('M') ?? '')?.[1];
    return code === undefined ? wrong(`${problem.get('C')} ${problem.get('M')}`) : { verdict: 'refused', code, hint: `${problem.get('D') ?? ''} ${problem.get('H') ?? ''}`.trim() };
  }
  const [want, have] = [answers(expected), answers(actual)];
  if (want.map(({ type }) => type).join('') !== have.map(({ type }) => type).join('')) return wrong(`messages ${have.map(({ type }) => type).join('')} instead of ${want.map(({ type }) => type).join('')}`);
  let columns: readonly string[] = [];
  let masked = 0;
  for (const [index, frame] of want.entries()) {
    const other = have[index] as Frame;
    if (frame.type === 'T') {
      columns = columnsOf(frame.body).map(({ name }) => name);
      if (JSON.stringify(columnsOf(frame.body)) !== JSON.stringify(columnsOf(other.body))) return wrong('the columns differ');
    } else if (frame.type !== 'D') {
      if (!frame.body.equals(other.body)) return wrong(`a ${frame.type} message differs`);
    }
    if (frame.type !== 'D') continue;
    const [left, right] = [readCells(frame.body), readCells(other.body)];
    if (left === null || right === null || left.length !== right.length) return wrong('a row has another number of cells');
    for (const [column, cell] of left.entries()) {
      const got = right[column] ?? null;
      const isEqual = cell === null || got === null ? cell === got : cell.equals(got);
      if (item.masks.includes(columns[column] ?? '')) {
        if (isEqual && cell !== null && cell.length > 4) return wrong(`column ${columns[column]} is not masked`);
        if (!isEqual) masked++;
      } else if (!isEqual) return wrong(`column ${columns[column]} differs: ${got?.toString('latin1').slice(0, 60)} instead of ${cell?.toString('latin1').slice(0, 60)}`);
    }
  }
  return masked > 0 ? { verdict: 'masked', cells: masked } : { verdict: 'equal' };
}

/** What answers the statement: notices and parameters come when they like. */
function answers(answer: Answer): readonly Frame[] {
  return answer.frames.filter(({ type }) => !['N', 'S', 'Z'].includes(type));
}

interface Column {
  readonly name: string;
  readonly attribute: number;
  /** Null for types and tables that the statement itself made: their OIDs are others in each run. */
  readonly type: number | null;
  readonly size: number;
  readonly modifier: number;
  readonly format: number;
}

function columnsOf(body: Buffer): readonly Column[] {
  const columns: Column[] = [];
  let at = 2;
  for (let left = body.readInt16BE(0); left > 0; left--) {
    const end = body.indexOf(0, at);
    const type = body.readUInt32BE(end + 7);
    columns.push({
      name: body.toString('utf8', at, end), attribute: body.readInt16BE(end + 5), type: type < 16_384 ? type : null, size: body.readInt16BE(end + 11), modifier: body.readInt32BE(end + 13), format: body.readInt16BE(end + 17),
    });
    at = end + 19;
  }
  return columns;
}
