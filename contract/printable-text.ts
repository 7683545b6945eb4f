/**
 * Makes a text safe to read on a terminal and honest to an approver: every character that controls the terminal, reorders or hides text is shown as `\u{HEX}`.
 * Line feeds and spaces stay unless `oneLine`; look-alike letters are not marked.
 */
export function printableText(text: string, options: { readonly oneLine?: boolean } = {}): string {
  const escaped = text.replace(deceptive, (character) => (character === '\n' ? character : `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`));
  return options.oneLine === true ? escaped.replaceAll('\n', '\\n') : escaped;
}

/** Controls, format and bidi marks, private use, unassigned, lone surrogates, line separators, invisible fillers, blanks other than the space. */
const deceptive = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u{2800}]|(?! )\p{Zs}/gu;
