import { z } from 'zod';
import type { ShellParser } from '../../sidecar/core/ports.ts';
import { classifyShell } from '../../sidecar/core/shell/classify.ts';
import { matchesCommand } from '../../sidecar/core/shell/match-words.ts';
import type { LoginShellType, ShellCommand, ShellFacts } from '../../sidecar/core/shell/shell-facts.ts';

/** The answers that inspection can give; `unknown` is denied, or held where a rule says so. */
export type Verdict = 'allow' | 'deny' | 'approve' | 'unknown';

const casesSchema = z.array(z.object({
  id: z.string(), construct: z.string(), command: z.string(), accept: z.array(z.enum(['allow', 'deny', 'approve', 'unknown'])).min(1), note: z.string().optional(),
  /** Ours: the grammar of the login shell where it is not bash. */
  shell: z.enum(['Bash', 'Posix']).optional(),
}));

/** One text with the verdicts that pass. */
export type ShellCase = z.infer<typeof casesSchema>[number];

/** Reads a file of cases; throws when it has another form. */
export function readCases(json: string): readonly ShellCase[] {
  return casesSchema.parse(JSON.parse(json));
}

// The policy that every case assumes: two programs are denied, two need approval, every other is allowed with any arguments, no file may be written.
const denied = [['rm', '-rf'], ['shutdown']] as const;
const approved = [['sudo'], ['systemctl']] as const;
const allowed = [['*', '**']] as const;

/** The verdict of one case, with what explains it. */
export async function judgeCase({ command, shell }: Pick<ShellCase, 'command' | 'shell'>, parser: ShellParser): Promise<{ readonly verdict: Verdict; readonly reasons: readonly string[]; readonly milliseconds: number }> {
  const started = performance.now();
  const facts = await classifyShell(command, (shell ?? 'Bash') satisfies LoginShellType, parser);
  const verdict = judgeFacts(facts);
  return { verdict, reasons: facts.unknowns.map(({ reason }) => reason), milliseconds: performance.now() - started };
}

/** Worst first: Deny, Unknown, RequireApproval, Allow; a command without a rule is denied. */
function judgeFacts({ commands, unknowns }: ShellFacts): Verdict {
  const judged = commands.map(judgeCommand);
  if (judged.includes('deny')) return 'deny';
  if (unknowns.length > 0 || judged.includes('unknown')) return 'unknown';
  return judged.includes('approve') ? 'approve' : 'allow';
}

function judgeCommand(command: ShellCommand): Verdict {
  const denies = denied.map((pattern) => matchesCommand(pattern, command, 'restricts'));
  const approves = approved.map((pattern) => matchesCommand(pattern, command, 'restricts'));
  if (denies.includes('yes')) return 'deny';
  if (denies.includes('maybe') || approves.includes('maybe')) return 'unknown';
  if (approves.includes('yes')) return 'approve';
  const permitted = !command.needsRule || allowed.some((pattern) => matchesCommand(pattern, command, 'permits') === 'yes');
  return permitted && command.writes.length === 0 ? 'allow' : 'deny';
}
