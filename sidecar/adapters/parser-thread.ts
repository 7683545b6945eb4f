import { type MessagePort, parentPort } from 'node:worker_threads';
import { loadParserFactory, type ParserInstance } from './parser-instance.ts';

/** What the pool posts. */
export interface ParseJob {
  readonly id: number;
  readonly text: string;
}

/** What the thread posts: first `ready`, then one answer per job. `json` texts are not decoded here: a string crosses threads faster than a tree. */
export type ParseAnswer =
  | { readonly id: 0; readonly outcome: 'ready' }
  | { readonly id: number; readonly outcome: 'parsed'; readonly json: string; readonly fingerprints: readonly (string | null)[]; readonly plpgsql: readonly (string | null)[] }
  | { readonly id: number; readonly outcome: 'invalid'; readonly message: string; readonly position: number | null }
  | { readonly id: number; readonly outcome: 'ruined' };

// A fresh instance starts with 128 MiB; one that a long text has made grow is not kept.
const keptMemoryBytes = 128 * 1024 * 1024;

if (parentPort !== null) await serve(parentPort);

async function serve(port: MessagePort): Promise<void> {
  const create = await loadParserFactory();
  let instance = await create();
  port.on('message', (job: ParseJob) => {
    const answer = parseJob(instance, job);
    if (answer.outcome !== 'ruined' && instance.memoryBytes() <= keptMemoryBytes) {
      port.postMessage(answer);
      return;
    }
    // The answer waits for the next instance, because the pool sends the next job right after it.
    void create().then((fresh) => {
      instance = fresh;
      port.postMessage(answer);
    });
  });
  port.postMessage({ id: 0, outcome: 'ready' } satisfies ParseAnswer);
}

function parseJob(instance: ParserInstance, { id, text }: ParseJob): ParseAnswer {
  try {
    const parsed = instance.parse(text);
    if (!('json' in parsed)) return { id, outcome: 'invalid', ...parsed };
    const statements = sliceStatements(text, parsed.json);
    return {
      id, outcome: 'parsed', json: parsed.json,
      fingerprints: statements.map(({ slice }) => instance.fingerprint(slice)),
      plpgsql: statements.map(({ kind, slice }) => (kind === 'DoStmt' || kind === 'CreateFunctionStmt' ? instance.parsePlPgSql(slice) : null)),
    };
  } catch {
    return { id, outcome: 'ruined' };
  }
}

function sliceStatements(text: string, json: string): readonly { readonly kind: string; readonly slice: string }[] {
  const bytes = Buffer.from(text);
  const tree = JSON.parse(json) as { readonly stmts?: readonly { readonly stmt?: object; readonly stmt_location?: number; readonly stmt_len?: number }[] };
  return (tree.stmts ?? []).map(({ stmt, stmt_location: start = 0, stmt_len: length = 0 }) => ({
    kind: Object.keys(stmt ?? {})[0] ?? '',
    slice: bytes.toString('utf8', start, length === 0 ? bytes.length : start + length),
  }));
}
