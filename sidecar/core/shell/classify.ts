import type { ShellParser } from '../ports.ts';
import { checkCommandText, findDeceptiveCharacter } from './check-text.ts';
import { collect } from './collect.ts';
import type { NestedText } from './interpret-command.ts';
import type { LoginShellType, ShellCommand, ShellFacts, ShellUnknown } from './shell-facts.ts';
import type { Script } from './tree.ts';

/** Deepest nesting of shell texts in shell texts (`sh -c`, `eval`, `ssh`). */
const depthLimit = 8;
/** Most shell texts and most commands in one text: more than any reader would check. */
const textLimit = 64;
const commandLimit = 1_000;
/** Most reasons that one text keeps: one suffices to decide. */
const unknownLimit = 50;

/**
 * Says what a command text would run: every command at any depth, wrappers unwrapped, shell texts inside shell texts read.
 * Never throws for bad text: whatever cannot be read for certain is an unknown.
 *
 * @param shell grammar of the account's login shell.
 */
export async function classifyShell(text: string, shell: LoginShellType, parser: ShellParser): Promise<ShellFacts> {
  const commands: ShellCommand[] = [];
  const unknowns: ShellUnknown[] = [];
  const waiting: (NestedText & { readonly depth: number })[] = [{ text, shell, writes: [], depth: 0 }];
  for (let read = 0; waiting.length > 0; read += 1) {
    const next = waiting.shift() as NestedText & { readonly depth: number };
    const problem = next.depth > depthLimit ? 'shell texts are nested too deep' : read >= textLimit || commands.length > commandLimit ? 'the text runs too many commands' : checkCommandText(next.text) === null ? null : 'the text is not text that a shell would take';
    if (problem !== null) {
      unknowns.push({ reason: problem, source: next.text.slice(0, 200) });
      continue;
    }
    if (next.depth === 0 && /^[-+]/u.test(text)) unknowns.push({ reason: 'the shell reads this text as an option', source: text.slice(0, 200) });
    const deceptive = findTextProblem(next.text);
    if (deceptive !== null) unknowns.push(deceptive);
    const pending = parser.parseShell(next.text);
    const parsed = pending instanceof Promise ? await pending : pending;
    if (parsed.outcome === 'failed') {
      unknowns.push({ reason: parsed.code === 'PARSE_TIMEOUT' ? 'the text took too long to read' : 'the text is too long', source: next.text.slice(0, 200) });
      continue;
    }
    const found = collect(parsed.tree as Script, next.text, next.shell, next.writes);
    commands.push(...found.commands.slice(0, commandLimit));
    unknowns.push(...found.unknowns.slice(0, unknownLimit));
    if (found.commands.length > commandLimit) unknowns.push({ reason: 'the text runs too many commands', source: next.text.slice(0, 200) });
    waiting.push(...found.nested.map((inner) => ({ ...inner, depth: next.depth + 1 })));
  }
  return { commands, unknowns };
}

function findTextProblem(text: string): ShellUnknown | null {
  const deceptive = findDeceptiveCharacter(text);
  return deceptive === null ? null : { reason: `the text holds ${deceptive}, which shows otherwise than it is read`, source: text.slice(0, 200) };
}
