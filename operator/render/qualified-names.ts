/** A name split as PostgreSQL would, or why it cannot be. `folded`: an unquoted part had upper case letters, which PostgreSQL reads as lower case. */
export type QualifiedName =
  | { readonly outcome: 'split'; readonly parts: readonly string[]; readonly folded: boolean }
  | { readonly outcome: 'refused'; readonly message: string };

/**
 * Splits `schema.table` or `schema.table.column` into names as they stand in the catalog: quoted parts as they are (`""` is one quote), others in lower case.
 *
 * @param labels what the parts are, for messages; their number is the number of parts.
 * @param wildcard whether an unquoted `*` may stand for a whole part.
 * @see PostgreSQL, "Identifiers and Key Words"; NAMEDATALEN - 1 = 63 bytes
 */
export function splitQualifiedName(text: string, labels: readonly string[], wildcard: boolean): QualifiedName {
  const form = labels.join('.');
  const parts: string[] = [];
  let folded = false;
  let at = 0;
  for (;;) {
    const part = readPart(text, at);
    if (part === null) return { outcome: 'refused', message: `not of the form ${form}` };
    if (part.name === '*' && (part.quoted || !wildcard)) return { outcome: 'refused', message: part.quoted ? 'a quoted "*" is not supported' : '* is not supported here: name each one' };
    if (Buffer.byteLength(part.name) > 63) return { outcome: 'refused', message: 'a name is longer than 63 bytes, the most that PostgreSQL keeps' };
    // PostgreSQL folds ASCII letters only when the server's encoding is UTF8.
    const name = part.quoted ? part.name : part.name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
    folded ||= name !== part.name;
    parts.push(name);
    if (part.end === text.length) break;
    if (text[part.end] !== '.' || parts.length === labels.length) return { outcome: 'refused', message: `not of the form ${form}` };
    at = part.end + 1;
  }
  if (parts.length !== labels.length) return { outcome: 'refused', message: `not of the form ${form}` };
  return { outcome: 'split', parts, folded };
}

function readPart(text: string, at: number): { readonly name: string; readonly quoted: boolean; readonly end: number } | null {
  const sticky = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    return pattern.exec(text);
  };
  const quoted = sticky(/"((?:[^"\0]|"")+)"/y);
  if (quoted !== null) return { name: (quoted[1] ?? '').replaceAll('""', '"'), quoted: true, end: at + quoted[0].length };
  const plain = sticky(/\*|[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y);
  return plain === null ? null : { name: plain[0], quoted: false, end: at + plain[0].length };
}
