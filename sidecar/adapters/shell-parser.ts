import { commandLimitBytes } from '../core/shell/check-text.ts';
import type { ShellParse, ShellParser } from '../core/ports.ts';
import { createParserPool, type ParserPoolLimits } from './parser-pool.ts';
import { readShellTree } from './shell-tree.ts';
import type { ShellParseAnswer } from './shell-parser-thread.ts';

/** Longest text that is parsed on the caller's own thread, in characters, and the most substitutions in it: below 3 ms each (measured). */
const inlineLimit = { characters: 2_048, openings: 64 } as const;

/** Limits of the pool for long texts. Its thread takes a fraction of a second to come up, once. */
export const shellParserLimits: ParserPoolLimits = { deadlineMs: 250, queued: 64, waitMs: 5_000, heapMegabytes: 256 };

/**
 * unbash as the `ShellParser` port. Short texts answer synchronously, longer ones from a worker thread with a deadline;
 * what takes longer, is nested too deep or waits too long is PARSE_TIMEOUT.
 */
export function createShellParser(limits: ParserPoolLimits = shellParserLimits): ShellParser & Disposable & AsyncDisposable {
  const pool = createParserPool<Exclude<ShellParseAnswer, { readonly outcome: 'ready' }>>(limits, { module: './shell-parser-thread', name: 'shell-parser' });
  const close = (): Promise<void> => Promise.resolve(pool[Symbol.asyncDispose]());
  return {
    parseShell(text) {
      if (text.length > commandLimitBytes || Buffer.byteLength(text) > commandLimitBytes) return { outcome: 'failed', code: 'STATEMENT_TOO_LONG' };
      return isShort(text) ? decode(readShellTree(text)) : pool.run(text).then((answer) => decode(answer.outcome === 'parsed' ? answer.json : null));
    },
    [Symbol.dispose]: () => void close(),
    [Symbol.asyncDispose]: close,
  };
}

function isShort(text: string): boolean {
  return text.length <= inlineLimit.characters && (text.match(/[(`{]/gu)?.length ?? 0) <= inlineLimit.openings;
}

function decode(json: string | null): ShellParse {
  return json === null ? { outcome: 'failed', code: 'PARSE_TIMEOUT' } : { outcome: 'parsed', tree: JSON.parse(json) as unknown };
}
