/** An exported declaration without a docstring. */
export interface Undocumented {
  readonly name: string;
  /** 1-based. */
  readonly line: number;
}

/**
 * Finds exports without a docstring directly above.
 *
 * @param source of one module, each export at the start of a line, as all of ours are.
 */
export function findUndocumented(source: string): readonly Undocumented[] {
  const lines = source.split('\n');
  return lines.flatMap((text, at) => {
    const name = /^export (?:async |abstract |declare )*(?:function\*?|const|class|interface|type) ([\w$]+)/.exec(text)?.[1];
    const above = lines[at - 1] ?? '';
    // The second signature of an overload shares the docstring of the first.
    const isOverload = name !== undefined && above.endsWith(';') && above.startsWith(`export function ${name}`);
    return name === undefined || isOverload || above.trimEnd().endsWith('*/') ? [] : [{ name, line: at + 1 }];
  });
}
