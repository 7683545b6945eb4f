import type { Part, Word } from './tree.ts';

/** The first piece of a word that only bash reads this way, named for the reader; null when every POSIX shell agrees. */
export function findBashism(word: Word): string | null {
  return findInParts(word.parts ?? []) ?? (word.text.includes("$'") && (word.parts ?? []).length === 0 ? "$'...'" : null);
}

function findInParts(parts: readonly Part[]): string | null {
  for (const part of parts) {
    const found = findInPart(part);
    if (found !== null) return found;
  }
  return null;
}

function findInPart(part: Part): string | null {
  switch (part.type) {
    case 'AnsiCQuoted':
      return "$'...'";
    case 'LocaleString':
      return '$"..."';
    case 'ProcessSubstitution':
      return 'a process substitution';
    case 'ExtendedGlob':
      return 'an extended pattern';
    case 'BraceExpansion':
      return 'a brace expansion';
    case 'DoubleQuoted':
      return findInParts(part.parts);
    case 'Glob':
      return part.text.startsWith('[^') ? 'the pattern [^' : findInParts(part.parts ?? []);
    case 'ArithmeticExpansion':
      return part.text.startsWith('$[') ? '$[' : null;
    case 'ParameterExpansion':
      if (part.index !== undefined) return 'an array';
      if (part.prefix === '!') return '${!';
      return part.operation !== undefined && part.operation.type !== 'Default' && part.operation.type !== 'Remove' ? 'this expansion' : null;
    default:
      return null;
  }
}
