import { createDirectoryCompiler } from '../compile-directory.ts';
import { formatFileProblem } from '../file-problem.ts';
import type { CommandIo } from '../gateway-client.ts';
import { generationMemory } from '../generation-file.ts';
import { readOptions } from '../options.ts';

export const summary: string = 'check the YAML of a config directory as the gateway would read it';

const usage = `Usage: sallyport config check [--namespace NAME] DIR

Reads every *.yaml and *.yml of DIR, checks it as the API server and the gateway would, and prints
each problem as file:line:column: field: message.

Exit status: 0 no error (there may be warnings), 1 errors, 4 wrong usage.
`;

/** `sallyport config check DIR`: prints every problem of a config directory, or what it holds. */
export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  if (argv.includes('--help')) {
    io.stdout.write(usage);
    return 0;
  }
  const { values, rest } = readOptions(argv, { namespace: 'text' }, { min: 1, max: 1 });
  const compiler = createDirectoryCompiler({ dir: rest[0] ?? '', namespace: values.namespace ?? null, generations: generationMemory() });
  const outcome = await compiler.load();
  for (const problem of outcome.problems) io.stderr.write(`${formatFileProblem(problem)}\n`);
  if (outcome.outcome === 'problems') {
    const errors = outcome.problems.filter((problem) => problem.severity === 'rejected').length;
    io.stderr.write(`${count(errors, 'error')} [CONFIG_INVALID]\n`);
    return 1;
  }
  const { config } = outcome;
  io.stdout.write(`${count(config.targets.length, 'target')}, ${count(config.policies.length, 'policy', 'policies')}, ${count(config.identityProviders.length, 'identity provider')}: ok\n`);
  return 0;
}

function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}
