import { deny, type Denial } from '../errors.ts';

/** What a token says of itself before anything is verified: good for choosing providers, for nothing else. */
export interface TokenEnvelope {
  readonly algorithm: string;
  readonly issuer: string;
}

/** The unverified outside of a token, or its refusal. */
export type EnvelopeOutcome = { readonly outcome: 'read'; readonly envelope: TokenEnvelope } | { readonly outcome: 'denied'; readonly denial: Denial };

/** Largest token in bytes (docs/identity.md). */
export const maxTokenBytes = 16_384;

/**
 * Reads the form of a compact JWS: three base64url parts, a header with `alg` and at most `kid` and `typ` of the fields that matter, an `iss`.
 *
 * Refused: over 16 KiB (before anything is decoded), JSON and multi-part forms, names that occur twice (readers differ on which one counts),
 * `crit`, `b64`, and every header field that offers a key of its own (`jwk`, `jku`, `x5u`, `x5c`): a URL or key from a token is never used (I1, I6).
 */
export function readTokenEnvelope(token: string): EnvelopeOutcome {
  if (token.length === 0) return denied(deny('TOKEN_MISSING'));
  if (Buffer.byteLength(token) > maxTokenBytes) return denied(deny('TOKEN_TOO_LONG'));
  const parts = compactForm.exec(token);
  const header = parts?.[1] === undefined ? null : readJsonObject(parts[1]);
  const payload = parts?.[2] === undefined ? null : readJsonObject(parts[2]);
  if (header === null || payload === null) return denied(deny('TOKEN_MALFORMED'));

  const refused = refusedHeaderFields.find((name) => Object.hasOwn(header, name));
  if (refused !== undefined) return denied(deny('TOKEN_HEADER_REFUSED', { detail: `header field "${refused}"` }));
  if (!isAcceptedKeyId(header['kid'])) return denied(deny('TOKEN_HEADER_REFUSED', { detail: 'header field "kid"' }));
  if (!isAcceptedType(header['typ'])) return denied(deny('TOKEN_TYPE_WRONG'));
  const algorithm = header['alg'];
  if (typeof algorithm !== 'string') return denied(deny('TOKEN_MALFORMED'));
  const issuer = payload['iss'];
  if (typeof issuer !== 'string') return denied(deny('TOKEN_ISSUER_UNKNOWN'));
  return { outcome: 'read', envelope: { algorithm, issuer } };
}

const compactForm = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)$/;
const refusedHeaderFields = ['crit', 'b64', 'jwk', 'jku', 'x5u', 'x5c', 'zip', 'enc'] as const;

function denied(denial: Denial): EnvelopeOutcome {
  return { outcome: 'denied', denial };
}

function isAcceptedKeyId(kid: unknown): boolean {
  return kid === undefined || (typeof kid === 'string' && kid.length > 0 && kid.length <= 256 && /^[\x20-\x7e]+$/.test(kid));
}

/** RFC 7519 and RFC 9068; other types (`dpop+jwt`, `logout+jwt`, `secevent+jwt`) are signed by the same issuer for another purpose. */
function isAcceptedType(typ: unknown): boolean {
  return typ === undefined || (typeof typ === 'string' && /^(application\/)?(jwt|at\+jwt)$/i.test(typ));
}

function readJsonObject(part: string): Readonly<Record<string, unknown>> | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(part, 'base64url'));
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || Array.isArray(value) || hasRepeatedName(text)) return null;
    return value as Readonly<Record<string, unknown>>;
  } catch {
    return null;
  }
}

/** For a text that `JSON.parse` accepted: whether some object in it holds one name twice, escapes resolved. */
function hasRepeatedName(text: string): boolean {
  const open: (Set<string> | null)[] = [];
  for (const [token, colon] of matchTokens(text)) {
    if (token === '{') open.push(new Set());
    else if (token === '[') open.push(null);
    else if (token === '}' || token === ']') open.pop();
    else if (colon) {
      const name = JSON.parse(token) as string;
      const names = open.at(-1);
      if (names?.has(name)) return true;
      names?.add(name);
    }
  }
  return false;
}

/** Strings and brackets in order; the flag says that a colon follows, so the string is a name. */
function* matchTokens(text: string): Generator<readonly [string, boolean]> {
  for (const [, name, other] of text.matchAll(/("(?:[^"\\]|\\.)*")\s*:|("(?:[^"\\]|\\.)*"|[{}[\]])/g)) {
    if (name !== undefined) yield [name, true];
    else if (other !== undefined) yield [other, false];
  }
}
