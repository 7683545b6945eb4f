import { type Denial, deny } from '../errors.ts';

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads the query string of a Query or Parse message, its terminator included.
 *
 * The first NUL must be the last byte: the server would run only what stands before it, and so would the parser, but a reader of the record would see more.
 * Invalid UTF-8 is refused, because server and parser could see different characters.
 */
export function readQueryText(bytes: Uint8Array): { readonly outcome: 'text'; readonly text: string } | { readonly outcome: 'refused'; readonly denial: Denial } {
  if (bytes.length === 0 || bytes.indexOf(0) !== bytes.length - 1) {
    return { outcome: 'refused', denial: deny('PROTOCOL_VIOLATION', { message: 'a query string must end with its only NUL byte' }) };
  }
  try {
    return { outcome: 'text', text: decoder.decode(bytes.subarray(0, -1)) };
  } catch {
    return { outcome: 'refused', denial: deny('ENCODING_INVALID') };
  }
}
