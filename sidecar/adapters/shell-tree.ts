import { parse } from 'unbash';

/** Most characters of a tree: the thread that asked reads it at once. */
const limitCharacters = 8 * 1024 * 1024;

/**
 * unbash's tree of a text as JSON, so that all its lazy parts are resolved; null when it is too deep for the stack or too large.
 * A text that does not parse has a tree too, with `errors` on some script node.
 */
export function readShellTree(text: string): string | null {
  try {
    const json = JSON.stringify(parse(text));
    return json.length > limitCharacters ? null : json;
  } catch {
    // A stack that is used up, or a defect of the parser: nothing to be relied on either way.
    return null;
  }
}
