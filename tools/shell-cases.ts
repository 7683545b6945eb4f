import { readFileSync } from 'node:fs';
import { createShellParser } from '../sidecar/adapters/shell-parser.ts';
import { judgeCase, readCases } from './testkit/shell-verdicts.ts';

/** `shell-cases.ts [FILE]`: prints the verdict of inspection for every case of a JSON file; ends with 1 when one is outside its `accept`. */
const file = process.argv[2] ?? new URL('../sidecar/core/shell/testdata/ssh_cases.json', import.meta.url);
using parser = createShellParser();
const totals = { right: 0, wrong: 0, falseAllow: 0 };
let slowestMs = 0;
for (const shellCase of readCases(readFileSync(file, 'utf8'))) {
  const judged = await judgeCase(shellCase, parser);
  slowestMs = Math.max(slowestMs, judged.milliseconds);
  const right = shellCase.accept.includes(judged.verdict);
  totals[right ? 'right' : 'wrong'] += 1;
  if (!right && judged.verdict === 'allow') totals.falseAllow += 1;
  say(`${right ? 'ok   ' : 'WRONG'} ${shellCase.id.padEnd(12)} ${judged.verdict.padEnd(8)}${right ? '' : ` not in ${shellCase.accept.join(', ')}`} ${JSON.stringify(shellCase.command)}`);
  for (const reason of judged.reasons) say(`        ${reason}`);
}
say(`${totals.right + totals.wrong} cases: ${totals.right} as accepted, ${totals.wrong} not, ${totals.falseAllow} of them allowed wrongly; slowest ${slowestMs.toFixed(1)} ms`);
process.exitCode = totals.wrong === 0 ? 0 : 1;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
