import { createHash } from 'node:crypto';
import { SallyportError } from '../core/errors.ts';
import type { CatalogColumn, CatalogFunction, CatalogRelation, CatalogSnapshot } from '../core/sql/catalog-snapshot.ts';

/** One row of a text-format answer. */
export type CatalogRow = readonly (string | null)[];
/** Runs one statement in the simple protocol and gives its rows; rejects when the server answers with an error. */
export type CatalogQuery = (sql: string) => Promise<readonly CatalogRow[]>;

/** More relations than this are not read: their snapshot would not fit. */
const relationLimit = 50_000;

/**
 * Reads what masking and classification need of one database, in one REPEATABLE READ, read-only transaction.
 *
 * The connection should have an empty `search_path`; every name in the statements is qualified with `pg_catalog` all the same. Works on PostgreSQL 14 to 18.
 * Names of system relations are read without their columns.
 *
 * @throws SallyportError `CATALOG_UNAVAILABLE` with more than 50,000 relations; whatever `query` rejects with otherwise.
 */
export async function readCatalog(query: CatalogQuery): Promise<CatalogSnapshot> {
  await query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  try {
    // pg_get_viewdef and pg_get_expr qualify what the search path does not show.
    await query(`SELECT pg_catalog.set_config('search_path', '', true), pg_catalog.set_config('lock_timeout', '${lockMs}', true)`);
    const readEpoch = await readCatalogEpoch(query);
    let isPartial = false;
    const deparsed = async (sql: (deparse: Deparse) => string): Promise<readonly CatalogRow[]> => {
      const { rows, wasLocked } = await readUnlessLocked(query, sql);
      isPartial ||= wasLocked;
      return rows;
    };
    const relationRows = await deparsed(relationsSql);
    if (relationRows.length > relationLimit) throw new SallyportError('CATALOG_UNAVAILABLE', { relations: relationRows.length, limit: relationLimit });
    const columns = readColumns(await deparsed(columnsSql));
    const parents = groupNumbers(await query(inheritsSql));
    const triggers = groupNumbers(await query(triggersSql));
    const relations = relationRows.map((row) => readRelation(row, columns, parents, triggers));
    const functions = (await deparsed(functionsSql)).map(readFunction);
    const systemFunctions = new Set((await query(systemFunctionsSql)).map(text));
    const operators = await query(operatorsSql);
    const types = await query(typesSql);
    const schemas = new Set((await query('SELECT nspname FROM pg_catalog.pg_namespace')).map(text));
    await query('COMMIT');
    return {
      // Another epoch than the poll gives: what was locked is read again with the next poll.
      epoch: isPartial ? `${readEpoch}-partial` : readEpoch,
      relations: new Map(relations.map((relation) => [relation.oid, relation])),
      relationsByName: groupBy(relations, (relation) => relation.name, (relation) => relation.oid),
      functionsByName: groupBy(functions, (item) => item.name, (item) => item),
      systemFunctions,
      userOperators: new Set(operators.map(text)),
      operatorFunctions: groupBy(operators, text, (row) => Number(row[1])),
      userTypes: groupBy(types.filter((row) => row[4] === 't'), text, (row) => row[1] ?? ''),
      typesWithCode: new Set(types.filter((row) => row[5] === 't').map(text)),
      typeBase: new Map(types.filter((row) => row[3] !== '0').map((row) => [Number(row[2]), Number(row[3])])),
      schemas,
    };
  } catch (error) {
    await query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** The server's deparsers wait for locks on the relations that a definition names; a migration may hold one for long. */
const lockMs = 500;

/** Writes an expression that deparses; of a locked relation it is `lockedText`. */
type Deparse = (expression: string) => string;

/** No parser reads it: what could not be read counts as what cannot be proven. */
const lockedText = "'(locked'";

async function readUnlessLocked(query: CatalogQuery, sql: (deparse: Deparse) => string): Promise<{ readonly rows: readonly CatalogRow[]; readonly wasLocked: boolean }> {
  await query('SAVEPOINT sallyport');
  try {
    const rows = await query(sql((expression) => expression));
    await query('RELEASE SAVEPOINT sallyport');
    return { rows, wasLocked: false };
  } catch (error) {
    if (!isLockTimeout(error)) throw error;
    await query('ROLLBACK TO SAVEPOINT sallyport');
    return { rows: await query(sql(() => lockedText)), wasLocked: true };
  }
}

/** lock_not_available, as our side connection and as drivers tell it. */
function isLockTimeout(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const { code, detail } = error as { readonly code?: unknown; readonly detail?: unknown };
  return code === '55P03' || (typeof detail === 'object' && detail !== null && (detail as { readonly sqlstate?: unknown }).sqlstate === '55P03');
}

/**
 * The epoch that `readCatalog` would give now: one statement over (oid, xmin) of the rows that a snapshot is made of. Any DDL that matters changes it.
 */
export async function readCatalogEpoch(query: CatalogQuery): Promise<string> {
  const [row] = await query(epochSql);
  if (!row || row.length === 0) throw new SallyportError('CATALOG_UNAVAILABLE', { reason: 'no epoch' });
  return createHash('sha256').update(JSON.stringify(row)).digest('hex').slice(0, 32);
}

// Objects created after initdb have OIDs from 16384 (FirstNormalObjectId in access/transam.h). Temporary relations of other sessions are left out:
// nobody else can read them, and each would change the epoch.
const userRelation = "c.oid >= 16384 AND c.relpersistence <> 't' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";

const epochSql = `SELECT ${[
  fingerprint('pg_class t', 't.oid', "t.oid >= 16384 AND t.relpersistence <> 't' AND t.relkind <> 't'"),
  fingerprint('pg_attribute t JOIN pg_catalog.pg_class c ON c.oid = t.attrelid', "t.attrelid, ':', t.attnum", `t.attnum > 0 AND ${userRelation}`),
  fingerprint('pg_attrdef t JOIN pg_catalog.pg_class c ON c.oid = t.adrelid', 't.oid', userRelation),
  fingerprint('pg_inherits t', "t.inhrelid, ':', t.inhparent", 'true'),
  fingerprint('pg_rewrite t', 't.oid', 't.oid >= 16384'),
  fingerprint('pg_trigger t', 't.oid', 'NOT t.tgisinternal'),
  fingerprint('pg_proc t', 't.oid', 't.oid >= 16384'),
  fingerprint('pg_operator t', 't.oid', 't.oid >= 16384'),
  fingerprint('pg_type t', 't.oid', "t.oid >= 16384 AND t.typtype <> 'c' AND t.typelem = 0"),
  fingerprint('pg_constraint t', 't.oid', 't.contypid <> 0 AND t.oid >= 16384'),
  fingerprint('pg_cast t', 't.oid', 't.oid >= 16384'),
  fingerprint('pg_namespace t', 't.oid', "t.nspname NOT LIKE 'pg\\_%temp\\_%'"),
  fingerprint('pg_depend t JOIN pg_catalog.pg_class c ON c.oid = t.objid', "t.objid, ':', t.refobjid, ':', t.refobjsubid", `c.relkind = 'S' AND c.oid >= 16384 AND ${sequenceOwner('t')}`),
].join(', ')}`;

const relationsSql = (deparse: Deparse): string => `
  SELECT c.oid, n.nspname, c.relname, c.relkind, u.is_user,
    CASE WHEN u.is_user AND c.relkind IN ('v', 'm') THEN ${deparse('pg_catalog.pg_get_viewdef(c.oid)')} END,
    d.refobjid, d.refobjsubid,
    c.relhasrules AND EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class = c.oid AND w.ev_type <> '1')
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL (SELECT n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AS is_user) u
  LEFT JOIN pg_catalog.pg_depend d ON d.objid = c.oid AND c.relkind = 'S' AND ${sequenceOwner('d')}
  WHERE c.relpersistence <> 't' AND (u.is_user OR c.relkind IN ('r', 'v', 'm', 'f')) AND c.relkind NOT IN ('t', 'c')
  ORDER BY c.oid LIMIT ${relationLimit + 1}`;

const columnsSql = (deparse: Deparse): string => `
  SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, CASE WHEN e.oid IS NOT NULL THEN ${deparse('pg_catalog.pg_get_expr(e.adbin, e.adrelid)')} END, a.attgenerated
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  LEFT JOIN pg_catalog.pg_attrdef e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
  WHERE a.attnum > 0 AND NOT a.attisdropped AND ${userRelation}
  ORDER BY a.attrelid, a.attnum`;

const inheritsSql = 'SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits ORDER BY inhrelid, inhseqno';

const triggersSql = 'SELECT tgrelid, tgfoid FROM pg_catalog.pg_trigger WHERE NOT tgisinternal ORDER BY tgrelid, tgfoid';

// Functions that somebody added to pg_catalog count as the user's.
const functionsSql = (deparse: Deparse): string => `
  SELECT p.oid, n.nspname, p.proname, l.lanname, p.prosrc, p.proretset, p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype,
    CASE WHEN l.lanname = 'plpgsql' THEN pg_catalog.pg_get_functiondef(p.oid) END,
    CASE WHEN l.lanname = 'c' THEN p.probin END,
    CASE WHEN p.prokind = 'a' THEN (
      SELECT pg_catalog.concat_ws(',', g.aggtransfn::pg_catalog.oid, g.aggfinalfn::pg_catalog.oid, g.aggcombinefn::pg_catalog.oid, g.aggserialfn::pg_catalog.oid,
        g.aggdeserialfn::pg_catalog.oid, g.aggmtransfn::pg_catalog.oid, g.aggminvtransfn::pg_catalog.oid, g.aggmfinalfn::pg_catalog.oid)
      FROM pg_catalog.pg_aggregate g WHERE g.aggfnoid = p.oid) END,
    CASE WHEN p.prosqlbody IS NOT NULL THEN ${deparse('pg_catalog.pg_get_function_sqlbody(p.oid)')} END,
    CASE WHEN p.proargdefaults IS NOT NULL THEN pg_catalog.pg_get_expr(p.proargdefaults, 0) END
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  WHERE p.oid >= 16384 OR n.nspname NOT IN ('pg_catalog', 'information_schema')
  ORDER BY p.oid`;

const systemFunctionsSql = `
  SELECT DISTINCT p.proname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'pg_catalog'`;

const operatorsSql = 'SELECT o.oprname, o.oprcode::pg_catalog.oid FROM pg_catalog.pg_operator o WHERE o.oid >= 16384';

// Code behind a type: a CHECK of a domain that calls a user function (or a domain below it that may), a cast that is not compiled, a range's own function.
const typesSql = `
  SELECT t.typname, n.nspname, t.oid, CASE WHEN t.typtype = 'd' THEN t.typbasetype WHEN t.typlen = -1 THEN t.typelem ELSE 0 END,
    n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast'),
    (t.typtype = 'd' AND (
      EXISTS (SELECT FROM pg_catalog.pg_type b WHERE b.oid = t.typbasetype AND b.typtype = 'd' AND b.oid >= 16384)
      OR EXISTS (SELECT FROM pg_catalog.pg_constraint k
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = k.oid AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        WHERE k.contypid = t.oid AND d.refobjid >= 16384)))
    OR EXISTS (SELECT FROM pg_catalog.pg_cast x JOIN pg_catalog.pg_proc f ON f.oid = x.castfunc JOIN pg_catalog.pg_language l ON l.oid = f.prolang
      WHERE f.oid >= 16384 AND l.lanname <> 'c' AND t.oid IN (x.castsource, x.casttarget))
    OR EXISTS (SELECT FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid AND r.rngcanonical::pg_catalog.oid >= 16384)
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  WHERE n.nspname NOT LIKE 'pg\\_%temp\\_%' AND (t.oid >= 16384 OR t.typtype = 'd' OR (t.typlen = -1 AND t.typelem <> 0))`;

/** Count and sum of 64-bit hashes over key and xmin: cheap per row and independent of their order. */
function fingerprint(from: string, key: string, where: string): string {
  return `(SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat(${key}, ':', t.xmin), 0))) FROM pg_catalog.${from} WHERE ${where})`;
}

/** Owned by a column: `OWNED BY` is an automatic dependency, an identity column an internal one. */
function sequenceOwner(alias: string): string {
  const relation = "'pg_catalog.pg_class'::pg_catalog.regclass";
  return `${alias}.classid = ${relation} AND ${alias}.refclassid = ${relation} AND ${alias}.refobjsubid > 0 AND ${alias}.deptype IN ('a', 'i')`;
}

function readRelation(
  row: CatalogRow, columns: ReadonlyMap<number, readonly CatalogColumn[]>, parents: ReadonlyMap<number, readonly number[]>, triggers: ReadonlyMap<number, readonly number[]>,
): CatalogRelation {
  const oid = Number(row[0]);
  const hasRules = row[8] === 't';
  const triggerFunctions = triggers.get(oid) ?? [];
  return {
    oid,
    schema: row[1] ?? '',
    name: row[2] ?? '',
    kind: (row[3] ?? 'r') as CatalogRelation['kind'],
    columns: columns.get(oid) ?? [],
    parents: parents.get(oid) ?? [],
    definition: row[5] ?? null,
    ownedBy: row[6] ? { relation: Number(row[6]), attnum: Number(row[7]) } : null,
    hasTriggers: hasRules || triggerFunctions.length > 0,
    ...(hasRules ? {} : { triggerFunctions }),
  };
}

function readColumns(rows: readonly CatalogRow[]): ReadonlyMap<number, readonly CatalogColumn[]> {
  return groupBy(rows, (row) => Number(row[0]), (row): CatalogColumn => ({
    attnum: Number(row[1]), name: row[2] ?? '', typeOid: Number(row[3]), typeModifier: Number(row[4]), ...readDefault(row[5] ?? null, row[6] ?? ''),
  }));
}

/** Only a default that calls something can bring a value from elsewhere. */
function readDefault(expression: string | null, generated: string): Partial<CatalogColumn> {
  if (expression === null) return {};
  return generated !== '' ? { generated: expression } : expression.includes('(') || expression.includes('::') ? { default: expression } : {};
}

function readFunction(row: CatalogRow): CatalogFunction {
  const [oid, schema, name, language, source, returnsSet, isTrigger, definition, library, supports, sqlBody, defaults] = row;
  return {
    oid: Number(oid),
    schema: schema ?? '',
    name: name ?? '',
    language: language ?? '',
    body: sqlBody ? statementsOfBody(sqlBody) : (source ?? ''),
    returnsSet: returnsSet === 't',
    isTrigger: isTrigger === 't',
    ...(definition == null ? {} : { definition }),
    ...(defaults == null ? {} : { defaults }),
    ...(library == null ? {} : { library }),
    ...(supports == null ? {} : { supports: supports.split(',').map(Number).filter((support) => support >= 16384) }),
  };
}

/** `pg_get_function_sqlbody` gives `RETURN expression` or `BEGIN ATOMIC … END`; as plain statements the SQL parser reads them. */
function statementsOfBody(body: string): string {
  const atomic = body.match(/^\s*BEGIN ATOMIC\b([\s\S]*)\bEND\s*$/);
  if (atomic) return atomic[1] ?? '';
  return body.replace(/^\s*RETURN\b/, 'SELECT');
}

function groupNumbers(rows: readonly CatalogRow[]): ReadonlyMap<number, readonly number[]> {
  return groupBy(rows, (row) => Number(row[0]), (row) => Number(row[1]));
}

function groupBy<T, K, V>(items: readonly T[], key: (item: T) => K, value: (item: T) => V): ReadonlyMap<K, readonly V[]> {
  const groups = new Map<K, V[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(value(item));
    else groups.set(key(item), [value(item)]);
  }
  return groups;
}

function text(row: CatalogRow): string {
  return row[0] ?? '';
}
