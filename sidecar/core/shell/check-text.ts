import type { ErrorCode } from '../errors.ts';

/** Longest command text, UTF-8 bytes. */
export const commandLimitBytes: number = 64 * 1024;

/** COMMAND_INVALID for what no shell should be given: NUL, C0 controls except tab and newline, DEL, bytes that were no UTF-8 (U+FFFD, lone surrogates), over 64 KiB; else null. */
export function checkCommandText(text: string): ErrorCode | null {
  return refused.test(text) || Buffer.byteLength(text) > commandLimitBytes ? 'COMMAND_INVALID' : null;
}

/** Characters that show a text otherwise than the shell reads it: bidi controls, invisible characters, spaces that are not ASCII. Null when there are none. */
export function findDeceptiveCharacter(text: string): string | null {
  if (isAscii(text)) return null;
  const found = deceptive.exec(text) ?? swallowing.exec(text);
  return found === null ? null : `U+${(found[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
}

/** True for printable ASCII only: what a program's name may consist of. */
export function isPlainName(text: string): boolean {
  return /^[\x20-\x7e]*$/u.test(text);
}

function isAscii(text: string): boolean {
  // Tab, newline and printable characters: checkCommandText has refused the rest.
  return /^[\x00-\x7f]*$/u.test(text);
}

// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const refused = /[\x00-\x08\x0b-\x1f\x7f\ufffd]|\p{Surrogate}/u;
// Control, format, unassigned and private characters, separators other than the space, and letters that show as nothing.
const deceptive = /[\x80-\x9f]|\p{Cf}|\p{Cn}|\p{Co}|\p{Zl}|\p{Zp}|(?! )\p{Zs}|[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufe00-\ufe0f]|[\u{e0000}-\u{e0fff}]/u;
// In some older multi-byte locales these bytes are the second half of a character, so the shell would not see them.
const swallowing = /[^\x00-\x7f](?=[\\`|])/u;
