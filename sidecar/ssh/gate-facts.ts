import { statementHmac } from '../../contract/approval-digest.ts';
import type { SshItem, SshTerms } from '../core/policy/decision.ts';
import { wrapForBash } from '../core/shell/quote.ts';
import type { GateAsk } from './command-gate.ts';
import type { SshContext } from './context.ts';

/** What a record says of a request. @param terms null while they are not known. */
export function askFacts(context: SshContext, ask: GateAsk, terms: SshTerms | null): Readonly<Record<string, unknown>> {
  const text = context.redact(ask.text);
  return {
    text, ...(text === ask.text ? {} : { text_redacted: true }), text_hmac: statementHmac(context.digestKey, { text: Buffer.from(ask.text), parameters: [] }), kind: ask.kind,
    programs: programsOf(ask.items), unknowns: unknownsOf(ask.items).map((reason) => context.redact(reason)),
    cwd: ask.cwd, pty: ask.pty && (terms?.pty ?? true), stdin: ask.stdin, wrap: ask.wrap, environment: ask.environment.map(([name]) => name),
    ...(terms === null ? {} : { output: terms.output, unmasked: terms.unmasked }), ...ask.facts,
  };
}

/**
 * What an approver sees besides the text, one line each; bound exactly, as text parameters.
 *
 * @returns as bound, and as shown where values that the policies mask stand in it.
 */
export function askParameters(context: SshContext, ask: GateAsk, terms: SshTerms): { readonly exact: readonly string[]; readonly shown: readonly string[] } {
  const exact = [
    `account=${context.account}`, `cwd=${ask.cwd ?? '~'}`, `pty=${ask.pty && terms.pty ? 'yes' : 'no'}`, `stdin=${ask.stdin && terms.stdin === 'Attach' ? 'attached' : 'closed'}`, `wrap=${ask.wrap ? 'yes' : 'no'}`,
    ...ask.environment.map(([name, value]) => `env ${name}=${value}`),
    ...unknownsOf(ask.items).map((reason) => `unknown: ${reason}`),
    ...(ask.wrap ? [`sent=${wrapForBash(ask.text)}`] : []),
  ];
  return { exact, shown: exact.map((parameter) => context.redact(parameter)) };
}

/** Programs and paths that a request names, each once. */
export function programsOf(items: readonly SshItem[]): readonly string[] {
  return [...new Set(items.flatMap((item) => {
    switch (item.kind) {
      case 'command': return [item.command.program, ...item.command.writes.map((write) => `> ${write.path ?? write.source}`)];
      case 'unknown': return [];
      case 'level': return [item.level];
      case 'file': return [item.path];
      case 'forward': return [item.destination];
      case 'agent': case 'x11': return [item.kind];
      default: return item satisfies never;
    }
  }))];
}

function unknownsOf(items: readonly SshItem[]): readonly string[] {
  return items.flatMap((item) => (item.kind === 'unknown' ? [item.reason] : []));
}
