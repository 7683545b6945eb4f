import { parse } from 'unbash';
import type { ShellParse, ShellParser } from '../core/ports.ts';

/** Longest shell text, UTF-8 bytes. */
const limitBytes = 64 * 1024;

/** unbash as the `ShellParser` port. */
export function createShellParser(): ShellParser & Disposable {
  return {
    parseShell(text): ShellParse {
      if (Buffer.byteLength(text) > limitBytes) return { outcome: 'failed', code: 'STATEMENT_TOO_LONG' };
      try {
        return { outcome: 'parsed', tree: JSON.parse(JSON.stringify(parse(text))) as unknown };
      } catch {
        // Too deep for the stack.
        return { outcome: 'failed', code: 'PARSE_TIMEOUT' };
      }
    },
    [Symbol.dispose]: () => undefined,
  };
}
