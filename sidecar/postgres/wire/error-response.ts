import { frame } from './frame-writer.ts';

/** What an ErrorResponse or NoticeResponse says. */
export interface ErrorFields {
  readonly severity: 'ERROR' | 'FATAL' | 'PANIC' | 'WARNING' | 'NOTICE' | 'INFO';
  /** Five characters. */
  readonly sqlstate: string;
  readonly message: string;
  readonly detail: string | null;
  readonly hint: string | null;
  /** 1-based, in characters of the statement. */
  readonly position?: number | null;
}

/** Longest field text in bytes; with all three at their limit the message stays below 8 KiB, so that old libpq takes it. */
const limitBytes = { message: 2_048, detail: 4_096, hint: 1_024 } as const;

/** An ErrorResponse of ours, always below 8 KiB; long texts are cut at a character. */
export function encodeError(fields: ErrorFields): Buffer {
  return frame('E', ...encodeFields(fields));
}

/** A NoticeResponse of ours, always below 8 KiB; long texts are cut at a character. */
export function encodeNotice(fields: ErrorFields): Buffer {
  return frame('N', ...encodeFields(fields));
}

/**
 * Reads the fields of an ErrorResponse or NoticeResponse body that a server sent.
 *
 * @returns field letter to text, first of each letter; null when the body is not terminated as it must be (CVE-2026-6666).
 */
export function readErrorFields(body: Buffer): ReadonlyMap<string, string> | null {
  const fields = new Map<string, string>();
  let offset = 0;
  for (;;) {
    const letter = body[offset];
    if (letter === undefined) return null;
    if (letter === 0) return offset === body.length - 1 ? fields : null;
    const end = body.indexOf(0, offset + 1);
    if (end < 0) return null;
    const name = String.fromCharCode(letter);
    if (!fields.has(name)) fields.set(name, body.toString('utf8', offset + 1, end));
    offset = end + 1;
  }
}

/** The SQLSTATE of an error body, or `XXXXX` when the server sent none that is well formed. */
export function sqlstateOf(body: Buffer): string {
  const code = readErrorFields(body)?.get('C') ?? '';
  return /^[0-9A-Z]{5}$/.test(code) ? code : 'XXXXX';
}

function encodeFields(fields: ErrorFields): Buffer[] {
  const parts = [field('S', fields.severity, 16), field('V', fields.severity, 16), field('C', fields.sqlstate, 5), field('M', fields.message, limitBytes.message)];
  if (fields.detail !== null) parts.push(field('D', fields.detail, limitBytes.detail));
  if (fields.hint !== null) parts.push(field('H', fields.hint, limitBytes.hint));
  if (fields.position !== null && fields.position !== undefined) parts.push(field('P', String(fields.position), 16));
  return [...parts, Buffer.from([0])];
}

function field(letter: string, text: string, limit: number): Buffer {
  return Buffer.concat([Buffer.from(letter, 'latin1'), cut(Buffer.from(text.replaceAll('\0', '\uFFFD'), 'utf8'), limit), Buffer.from([0])]);
}

const ellipsis = Buffer.from('…', 'utf8');

/** Cuts before the first byte of a character, never inside one: the client would refuse the text as invalid UTF-8. */
function cut(bytes: Buffer, limit: number): Buffer {
  if (bytes.length <= limit) return bytes;
  let end = limit - ellipsis.length;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return Buffer.concat([bytes.subarray(0, end), ellipsis]);
}
