import type { DetectorName } from '../../../contract/detectors.ts';
import { byteString, type DetectorHit, type DetectorSet, fromByteString, replaceHits } from './detectors.ts';

/**
 * Masks matches in a JSON text so that it stays JSON: inside a string the match is replaced, a number that is a match becomes 0.
 *
 * A key is context for its value (`{"ssn": 536227841}`), a short string for what follows it (`{"label": "ssn", "value": "536227841"}`).
 * Strings are searched unescaped; one that cannot be unescaped is hidden whole.
 *
 * @param skip bytes before the text (1 for the version byte of binary jsonb).
 * @returns the same view without a match.
 */
export function maskJson(cell: Uint8Array, skip: number, detectors: DetectorSet, context: ReadonlySet<DetectorName>): Uint8Array {
  const text = byteString(skip === 0 ? cell : cell.subarray(skip));
  const parts: string[] = [];
  let copied = 0;
  let key = context;
  let label = context;
  for (let start = tokenStart(text, 0), end = 0; start < text.length; start = tokenStart(text, end)) {
    end = tokenEnd(text, start);
    const token = text.slice(start, end);
    const isString = token[0] === '"';
    const isKey = isString && isFollowedByColon(text, end);
    const inner = isString ? unescaped(token) : token.replace(/^-/, '');
    const hits = inner === null ? [] : detectors.find(inner, isKey ? context : union(key, label));
    if (isKey) key = union(context, detectors.contextOf(inner ?? ''));
    else label = isString && inner !== null && inner.length <= 40 ? detectors.contextOf(inner) : context;
    if (inner !== null && hits.length === 0) continue;
    parts.push(text.slice(copied, start), replacementOf(inner, hits, isString, isKey, detectors));
    copied = end;
  }
  if (parts.length === 0) return cell;
  parts.push(text.slice(copied));
  return fromByteString(String.fromCharCode(...cell.subarray(0, skip)) + parts.join(''));
}

function replacementOf(inner: string | null, hits: readonly DetectorHit[], isString: boolean, isKey: boolean, detectors: DetectorSet): string {
  if (!isKey && hits.some((hit) => hit.style === 'Null')) return 'null';
  if (!isString) return '0';
  if (inner === null || hits.length === 0) return '"********"';
  return escaped(replaceHits(inner, hits, detectors.replacement));
}

/** Where the next string or number begins, or the end of the text. */
function tokenStart(text: string, from: number): number {
  let at = from;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === 0x22 || code === 0x2d || (code >= 0x30 && code <= 0x39)) return at;
    at += 1;
  }
  return at;
}

/** End of the token at `start`. A string without its closing quote ends with the text. */
function tokenEnd(text: string, start: number): number {
  let at = start + 1;
  if (text[start] === '"') {
    while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
    return Math.min(at + 1, text.length);
  }
  while (at < text.length && '0123456789.eE+-'.includes(text[at] as string)) at += 1;
  return at;
}

function isFollowedByColon(text: string, at: number): boolean {
  let next = at;
  while (next < text.length && ' \t\r\n'.includes(text[next] as string)) next += 1;
  return text[next] === ':';
}

/** The content of a JSON string as a byte string; null when it is not valid JSON. */
function unescaped(literal: string): string | null {
  if (!literal.includes('\\') && literal.length > 1 && literal.endsWith('"')) return literal.slice(1, -1);
  try {
    const value: unknown = JSON.parse(Buffer.from(literal, 'latin1').toString('utf8'));
    return typeof value === 'string' ? Buffer.from(value, 'utf8').toString('latin1') : null;
  } catch {
    return null;
  }
}

function escaped(inner: string): string {
  return Buffer.from(JSON.stringify(Buffer.from(inner, 'latin1').toString('utf8')), 'utf8').toString('latin1');
}

function union(a: ReadonlySet<DetectorName>, b: ReadonlySet<DetectorName>): ReadonlySet<DetectorName> {
  return a.size === 0 || a === b ? b : b.size === 0 ? a : new Set([...a, ...b]);
}
