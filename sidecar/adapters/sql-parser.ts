import type { SqlParse, SqlParser } from '../core/ports.ts';
import { loadParserFactory, type ParserInstance } from './parser-instance.ts';
import { createParserPool, defaultParserPoolLimits, type ParserPool, type ParserPoolLimits } from './parser-pool.ts';

/** Longest text that is parsed on the caller's own thread, UTF-8 bytes: 8,000 nested terms in 16 kB still fit the stack (measured). */
export const inlineLimitBytes: number = 8 * 1024;

/**
 * PostgreSQL's own grammar as the `SqlParser` port.
 *
 * Texts up to `inlineLimitBytes` answer synchronously (about 6 us for a short statement), longer ones come from a worker thread.
 * An instance that threw is never used again: a spare takes its place at once and the next spare is made behind it.
 */
export async function createSqlParser(limits: ParserPoolLimits = defaultParserPoolLimits): Promise<SqlParser & AsyncDisposable> {
  const create = await loadParserFactory();
  const pool = createParserPool(limits);
  const instances = await createSpares(create);

  /** Runs on the current instance; undefined when there is none or it was ruined. */
  const attempt = <T>(action: (instance: ParserInstance) => T): T | undefined => {
    const instance = instances.current();
    if (instance === null) return undefined;
    try {
      return action(instance);
    } catch {
      instances.drop(instance);
      return undefined;
    }
  };
  const parseInline = (text: string): SqlParse => attempt((instance) => readParse(instance.parse(text))) ?? { outcome: 'failed', code: 'STATEMENT_TOO_DEEP' };

  return {
    parse(text) {
      if (text === '') return { outcome: 'parsed', tree: { stmts: [] } };
      // The grammar would stop reading at a NUL; the server has already refused one by then.
      if (text.includes('\0')) return { outcome: 'invalid', message: 'the text holds a NUL character', position: null };
      if (!isShort(text)) return parseInThread(pool.run(text));
      if (instances.current() !== null) return parseInline(text);
      return instances.refilled().then(() => parseInline(text));
    },
    parsePlPgSql(text) {
      if (!isShort(text) || text.includes('\0')) return null;
      return attempt((instance) => decode(instance.parsePlPgSql(text))) ?? null;
    },
    fingerprint(text) {
      if (!isShort(text) || text.includes('\0')) return null;
      return attempt((instance) => instance.fingerprint(text)) ?? null;
    },
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  };
}

function isShort(text: string): boolean {
  return text.length <= inlineLimitBytes && (text.length * 3 <= inlineLimitBytes || Buffer.byteLength(text) <= inlineLimitBytes);
}

function readParse(parsed: ReturnType<ParserInstance['parse']>): SqlParse {
  return 'json' in parsed ? { outcome: 'parsed', tree: JSON.parse(parsed.json) as unknown } : { outcome: 'invalid', ...parsed };
}

function decode(json: string | null): unknown {
  return json === null ? null : JSON.parse(json);
}

async function parseInThread(running: ReturnType<ParserPool['run']>): Promise<SqlParse> {
  const answer = await running;
  switch (answer.outcome) {
    case 'timeout': return { outcome: 'failed', code: 'PARSE_TIMEOUT' };
    case 'ruined': return { outcome: 'failed', code: 'STATEMENT_TOO_DEEP' };
    case 'invalid': return { outcome: 'invalid', message: answer.message, position: answer.position };
    case 'parsed':
      try {
        return { outcome: 'parsed', tree: JSON.parse(answer.json) as unknown, fingerprints: answer.fingerprints, plpgsql: answer.plpgsql.map(decode) };
      } catch {
        return { outcome: 'failed', code: 'STATEMENT_TOO_DEEP' };
      }
    default: return answer satisfies never;
  }
}

interface Spares {
  current(): ParserInstance | null;
  /** Takes a ruined instance out of use. */
  drop(instance: ParserInstance): void;
  /** Settles when an instance is at hand again. */
  refilled(): Promise<void>;
}

async function createSpares(create: () => Promise<ParserInstance>): Promise<Spares> {
  const ready: ParserInstance[] = [await create(), await create()];
  let making: Promise<void> = Promise.resolve();
  const make = (): Promise<void> => (making = making.then(create).then((fresh) => { ready.push(fresh); }, () => undefined));
  return {
    current: () => ready[0] ?? null,
    drop(instance) {
      const at = ready.indexOf(instance);
      if (at < 0) return;
      ready.splice(at, 1);
      void make();
    },
    // Making one may have failed for lack of memory: then this is where it is tried again.
    refilled: () => making.then(() => (ready.length === 0 ? make() : undefined)),
  };
}
