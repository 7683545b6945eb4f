import type { SshRule } from '../../../contract/proxy-config.ts';
import type { SshTerms } from './decision.ts';

/**
 * How a command may run: what every rule that permits a part of it gives. A terminal, input and binary output are words of `commands` rules, so only those are asked, and without
 * one there is none of it.
 */
export function combineTerms(rules: readonly SshRule[]): SshTerms {
  const commands = rules.flatMap(({ ssh: { match } }) => (match.kind === 'Commands' ? [match] : []));
  const sizes = rules.flatMap(({ ssh: { match } }) => (match.kind === 'Files' && match.maxBytes !== null ? [match.maxBytes] : []));
  const allCommands = (says: (match: (typeof commands)[number]) => boolean): boolean => commands.length > 0 && commands.every(says);
  return {
    pty: allCommands((match) => match.pty),
    stdin: allCommands((match) => match.stdin === 'Attach') ? 'Attach' : 'Closed',
    output: allCommands((match) => match.output === 'Binary') ? 'Binary' : 'Text',
    unmasked: rules.length > 0 && rules.every((rule) => rule.ssh.unmasked),
    maxBytes: sizes.length === 0 ? null : Math.min(...sizes),
  };
}
