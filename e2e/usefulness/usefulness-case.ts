import { readFileSync } from 'node:fs';

/** One everyday statement of a corpus file. */
export interface UsefulnessCase {
  readonly name: string;
  /** As it is sent; several statements when the corpus has them on one line. */
  readonly sql: string;
  /** Output columns whose every cell must be masked (or NULL). */
  readonly masks: readonly string[];
  /** A masked column decides or is computed with: such a statement may be refused, the others never. */
  readonly touchesMasked: boolean;
  /** Changes something: run in a transaction of its own in any case, said for readers. */
  readonly writes: boolean;
}

/**
 * Reads a corpus file: `-- name: …`, then optionally `-- masks: column, …`, `-- touches: masked`, `-- write`, then the statement up to the next `-- name:` or the end.
 *
 * @throws Error naming the file and the case that is not of this form.
 */
export function readCorpus(file: string): readonly UsefulnessCase[] {
  const parts = readFileSync(file, 'utf8').split(/^-- name: /m).slice(1);
  const cases = parts.map((part) => readCase(part, file));
  const names = cases.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new Error(`${file}: two cases are named ${twice}`);
  return cases;
}

function readCase(part: string, file: string): UsefulnessCase {
  const [name = '', ...lines] = part.split('\n');
  const marks = lines.filter((line) => /^-- (masks: |touches: masked$|write$)/.test(line));
  const sql = lines.filter((line) => !marks.includes(line)).join('\n').trim();
  if (name === '' || sql === '') throw new Error(`${file}: the case "${name}" has no statement`);
  const masks = marks.filter((line) => line.startsWith('-- masks: ')).flatMap((line) => line.slice('-- masks: '.length).split(',').map((column) => column.trim()));
  return { name, sql, masks, touchesMasked: masks.length > 0 || marks.includes('-- touches: masked'), writes: marks.includes('-- write') };
}
