import type { FieldPath } from '../../contract/api/structural-schema.ts';
import type { AccessPolicyResource } from '../../contract/api/v1alpha1.gen.ts';
import type { SshMatch, SshRule } from '../../contract/proxy-config.ts';
import { splitCommandPattern } from './command-pattern.ts';
import { pathPatternProblem } from './path-pattern.ts';
import type { Findings } from './problem.ts';

type RuleResource = NonNullable<AccessPolicyResource['spec']['rules']>[number];
type SshResource = NonNullable<RuleResource['ssh']>;

/** Compiles what one rule says about SSH; `path` is that of the `ssh` field. The schema has seen to it that it speaks about exactly one thing. */
export function compileSshRule(ssh: SshResource, action: RuleResource['action'], path: FieldPath, findings: Findings): SshRule['ssh'] {
  if (action === 'Deny') refuseTerms(ssh, path, findings);
  // The schema refuses it first; read as a permission it would let everything pass that nobody can read.
  if (action === 'Allow' && ssh.unknown !== undefined) findings.reject([...path, 'unknown'], 'Invalid', 'what cannot be read for certain may be denied or approved, never allowed');
  const match = compileMatch(ssh, path, findings);
  return { accounts: ssh.accounts === undefined ? null : [...ssh.accounts].sort(), match, unmasked: ssh.unmasked ?? false };
}

/** They say how a permitted command runs. Beside Deny they would read as conditions, which they are not. */
function refuseTerms(ssh: SshResource, path: FieldPath, findings: Findings): void {
  for (const name of ['pty', 'stdin', 'writes', 'output', 'unmasked'] as const) {
    if (ssh[name] !== undefined) findings.reject([...path, name], 'Invalid', `${name} says how a permitted command runs, and a Deny rule permits none`);
  }
  if (ssh.files?.maxBytes !== undefined) findings.reject([...path, 'files', 'maxBytes'], 'Invalid', 'maxBytes says how much may pass, and a Deny rule permits nothing');
}

function compileMatch(ssh: SshResource, path: FieldPath, findings: Findings): SshMatch {
  if (ssh.commands !== undefined) {
    return {
      kind: 'Commands', patterns: compilePatterns(ssh.commands, [...path, 'commands'], findings), pty: ssh.pty ?? false, stdin: ssh.stdin ?? 'Closed',
      writes: compilePaths(ssh.writes ?? [], [...path, 'writes'], findings), output: ssh.output ?? 'Text',
    };
  }
  if (ssh.unknown !== undefined) return { kind: 'Unknown' };
  if (ssh.level !== undefined) return { kind: 'Level', level: ssh.level };
  if (ssh.files !== undefined) {
    const { operations, paths, maxBytes } = ssh.files;
    return { kind: 'Files', operations: operationNames.filter((name) => operations.includes(name)), paths: compilePaths(paths, [...path, 'files', 'paths'], findings), maxBytes: maxBytes ?? null };
  }
  if (ssh.forward !== undefined) return { kind: 'Forward', to: [...ssh.forward.to ?? []].sort(), listen: [...ssh.forward.listen ?? []].sort() };
  return { kind: ssh.agent === undefined ? 'X11' : 'Agent' };
}

const operationNames = ['Read', 'Write', 'List'] as const;

/** Sorted and without repetition: `df  -h` and `df -h` are one pattern. */
function compilePatterns(texts: readonly string[], path: FieldPath, findings: Findings): string[][] {
  const split = new Map<string, string[]>();
  texts.forEach((text, index) => {
    const pattern = splitCommandPattern(text);
    if (pattern.outcome === 'refused') findings.reject([...path, index], 'Invalid', pattern.message);
    else split.set(JSON.stringify(pattern.words), [...pattern.words]);
  });
  return [...split].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, words]) => words);
}

function compilePaths(texts: readonly string[], path: FieldPath, findings: Findings): string[] {
  texts.forEach((text, index) => {
    const problem = pathPatternProblem(text);
    if (problem !== null) findings.reject([...path, index], 'Invalid', problem);
  });
  return [...texts].sort();
}
