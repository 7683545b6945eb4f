/**
 * Decodes the inside of `$'...'` from `start` on.
 *
 * @returns `end` after the closing quote, -1 without one. `text` is null when the meaning depends on the locale or the shell's version: NUL, bytes over 127, `\c`, escapes that bash does not know.
 */
export function decodeAnsiC(source: string, start: number): { readonly text: string | null; readonly end: number } {
  let text: string | null = '';
  const put = (piece: string | null): void => {
    text = text === null || piece === null ? null : text + piece;
  };
  let at = start;
  while (at < source.length) {
    const char = source[at] as string;
    if (char === "'") return { text, end: at + 1 };
    if (char !== '\\') {
      put(char);
      at += 1;
      continue;
    }
    const coded = /^\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|[uU]([0-9A-Fa-f]{1,8}))/u.exec(source.slice(at, at + 10));
    if (coded === null) {
      put(plain[source[at + 1] ?? ''] ?? null);
      at += 2;
    } else {
      const [whole, octal, byte, point] = coded;
      // `\u` takes four digits and `\U` eight.
      const digits = octal ?? byte ?? (source[at + 1] === 'u' ? (point ?? '').slice(0, 4) : point ?? '');
      const value = Number.parseInt(digits, octal === undefined ? 16 : 8);
      put(value > 0 && value < 128 ? String.fromCharCode(value) : null);
      at += octal !== undefined || byte !== undefined ? whole.length : 2 + digits.length;
    }
  }
  return { text, end: -1 };
}

const plain: Readonly<Record<string, string>> = { a: '\x07', b: '\b', e: '\x1b', E: '\x1b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v', '\\': '\\', "'": "'", '"': '"', '?': '?' };
