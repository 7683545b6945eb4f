/**
 * Something wrong in a config file, where a person finds it. Never holds a value of a Secret.
 *
 * `rejected`: the object is not in force as written. `warning`: it is, but a part has no effect.
 */
export interface FileProblem {
  readonly severity: 'rejected' | 'warning';
  readonly file: string;
  /** 1-based; 1 when the file as a whole is meant. */
  readonly line: number;
  readonly column: number;
  /** `spec.postgres.port`; empty for an object or file as a whole. */
  readonly field: string;
  readonly message: string;
}

/** `dir/targets.yaml:7:11: spec.postgres.port: Invalid value: 0: ...`, as compilers write it, so that editors can jump there. */
export function formatFileProblem(problem: FileProblem): string {
  const field = problem.field === '' ? '' : `${problem.field}: `;
  return `${problem.file}:${problem.line}:${problem.column}: ${problem.severity === 'warning' ? 'warning: ' : ''}${field}${problem.message}`;
}
