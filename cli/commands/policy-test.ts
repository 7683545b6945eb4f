import { readFile } from 'node:fs/promises';
import { createShellParser } from '../../sidecar/adapters/shell-parser.ts';
import { createDirectoryCompiler } from '../compile-directory.ts';
import { formatFileProblem } from '../file-problem.ts';
import type { CommandIo } from '../gateway-client.ts';
import { generationMemory } from '../generation-file.ts';
import { readOptions } from '../options.ts';
import { type CaseVerdict, judgeCase } from '../policy-test/judge-case.ts';
import { type PolicyCase, readCases } from '../policy-test/read-cases.ts';
import { shownValue } from '../terminal-text.ts';

export const summary: string = 'ask the policies of a config directory what the gateway would answer';

const usage = `Usage: sallyport policy test [--namespace NAME] [--json] DIR CASES.yaml

Compiles DIR as the gateway would, asks it every case of CASES.yaml and prints each verdict.
A case says who asks (as), for which target, account, and one of command, shell, file, forward,
agent, x11; expect, code and rule say what its author expects. docs/policy.md shows one.

Exit status: 0 every expectation holds, 1 one does not or something cannot be read, 4 wrong usage.
`;

/** `sallyport policy test DIR CASES`: the verdicts of the proxy, without a proxy. */
export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  if (argv.includes('--help')) {
    io.stdout.write(usage);
    return 0;
  }
  const { values, flags, rest } = readOptions(argv, { namespace: 'text', json: 'flag' }, { min: 2, max: 2 });
  const [dir = '', file = ''] = rest;
  const compiled = await createDirectoryCompiler({ dir, namespace: values.namespace ?? null, generations: generationMemory() }).load();
  const read = readCases(await readFile(file, 'utf8'), file);
  // Warnings are for `config check`: a missing Secret changes no decision.
  const problems = [...compiled.problems, ...read.problems].filter(({ severity }) => severity === 'rejected');
  for (const problem of problems) io.stderr.write(`${formatFileProblem(problem)}\n`);
  if (compiled.outcome === 'problems' || problems.length > 0) return 1;

  using parser = createShellParser();
  const nowMs = Date.now();
  let wrong = 0;
  for (const [index, asked] of read.cases.entries()) {
    const judged = await judgeCase(asked, compiled.config, parser, nowMs);
    const name = asked.name ?? asked.command ?? `case ${index + 1}`;
    const missed = 'problem' in judged ? [judged.problem] : missedBy(asked, judged);
    if (missed.length > 0) wrong += 1;
    if (flags.has('json')) io.stdout.write(`${JSON.stringify({ name, ok: missed.length === 0, ...judged })}\n`);
    else io.stdout.write(`${missed.length === 0 ? 'ok   ' : 'WRONG'} ${shownValue(name)}: ${shownValue('problem' in judged ? judged.problem : wordVerdict(judged))}${missed.length === 0 || 'problem' in judged ? '' : `\n      ${shownValue(missed.join('; '))}`}\n`);
  }
  io.stderr.write(`${read.cases.length} cases, ${wrong} not as expected\n`);
  return wrong === 0 ? 0 : 1;
}

function wordVerdict({ verdict, code, rule, why }: CaseVerdict): string {
  return `${[verdict, code, rule === null || rule === '' ? null : `by ${rule}`].filter((part) => part !== null).join(' ')} (${why})`;
}

function missedBy(asked: PolicyCase, judged: CaseVerdict): readonly string[] {
  const pairs = [['expect', asked.expect, judged.verdict], ['code', asked.code, judged.code], ['rule', asked.rule, judged.rule]] as const;
  return pairs.filter(([, wanted, got]) => wanted !== undefined && wanted !== got).map(([field, wanted, got]) => `${field} ${wanted}, got ${got ?? 'none'}`);
}
