/** Quotes a text as one word for any POSIX shell and fish: single quotes, each quote inside written `'"'"'`. fish would read a backslash before a quote or backslash inside single quotes, so those stand outside too. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll(/['\\]+/gu, (run) => `'${[...run].map((char) => (char === "'" ? `"'"` : '"\\\\"')).join('')}'`)}'`;
}

/** What is sent to an account whose login shell is not bash: a pure function of the approved text. */
export function wrapForBash(text: string): string {
  return `exec bash --noprofile --norc -c ${shellQuote(text)}`;
}
