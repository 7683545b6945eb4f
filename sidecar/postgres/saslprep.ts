/**
 * Prepares a password as PostgreSQL does (RFC 4013), so that both sides derive one key.
 *
 * Like in PostgreSQL a password that is plain ASCII, not UTF-8, or holds what SASLprep forbids is taken as it is.
 * The table of characters that Unicode 3.2 did not have is not kept: they pass, changed only if NFKC changes them.
 */
export function prepareSaslPassword(password: Buffer): Buffer {
  if (password.every((byte) => byte < 0x80)) return password;
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(password);
  } catch {
    return password;
  }
  const prepared = text.replaceAll(otherSpaces, ' ').replaceAll(mappedToNothing, '').normalize('NFKC');
  return prepared === '' || forbidden.test(prepared) || !isBidirectionallySound(prepared) ? password : Buffer.from(prepared, 'utf8');
}

/** RFC 3454 table C.1.2. */
const otherSpaces = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/gu;
/** RFC 3454 table B.1. */
const mappedToNothing = /[\u00ad\u034f\u1806\u180b-\u180d\u200b-\u200d\u2060\ufe00-\ufe0f\ufeff]/gu;
/** RFC 3454 tables C.1.2, C.2.1, C.2.2, C.3 to C.9. */
const forbidden =
  /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000\u0000-\u001f\u007f-\u009f\u06dd\u070f\u180e\u200c\u200d\u2028\u2029\u2060-\u2063\u206a-\u206f\ufeff\ufff9-\uffff\u0340\u0341\u200e\u200f\u202a-\u202e\u2ff0-\u2ffb\ufdd0-\ufdef\p{Co}\p{Cs}\u{1d173}-\u{1d17a}\u{e0001}\u{e0020}-\u{e007f}]|[\u{1fffe}\u{1ffff}\u{2fffe}\u{2ffff}\u{3fffe}\u{3ffff}\u{4fffe}\u{4ffff}\u{5fffe}\u{5ffff}\u{6fffe}\u{6ffff}\u{7fffe}\u{7ffff}\u{8fffe}\u{8ffff}\u{9fffe}\u{9ffff}\u{afffe}\u{affff}\u{bfffe}\u{bffff}\u{cfffe}\u{cffff}\u{dfffe}\u{dffff}\u{efffe}\u{effff}]/u;

/** RFC 3454 section 6: with a right-to-left character there is no left-to-right one, and both ends are right-to-left. */
function isBidirectionallySound(text: string): boolean {
  if (!rightToLeft.test(text)) return true;
  const characters = [...text];
  return !leftToRight.test(text) && rightToLeft.test(characters[0] ?? '') && rightToLeft.test(characters.at(-1) ?? '');
}

/** Approximates tables D.1 and D.2 by script: letters of right-to-left scripts, and all other letters. */
const rightToLeft = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}]/u;
const leftToRight = /(?![\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}])\p{L}/u;
