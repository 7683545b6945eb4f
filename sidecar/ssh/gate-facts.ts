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
    programs: shownPrograms(context, ask.items), unknowns: unknownsOf(ask.items).map((reason) => context.redact(reason)),
    cwd: ask.cwd === null ? null : context.redact(ask.cwd), pty: ask.pty && (terms?.pty ?? true), stdin: ask.stdin, wrap: ask.wrap, environment: ask.environment.map(([name]) => name),
    ...(terms === null ? {} : { output: terms.output, unmasked: terms.unmasked }), ...(isForward(ask.kind) ? ask.facts : redactedFacts(context, ask.facts)),
  };
}

/** Facts for a record: names of files and destinations can hold values that the policies mask. */
export function redactedFacts(context: Pick<SshContext, 'redact'>, facts: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const shown = (fact: unknown): unknown => (typeof fact === 'string' ? context.redact(fact) : Array.isArray(fact) ? fact.map(shown) : fact);
  return Object.fromEntries(Object.entries(facts).map(([name, fact]) => [name, shown(fact)]));
}

/** Programs and paths as records and approvers may see them. Where a forward leads is never hidden: it is what is decided. */
export function shownPrograms(context: Pick<SshContext, 'redact'>, items: readonly SshItem[]): readonly string[] {
  const isPlace = items.some((item) => item.kind === 'forward');
  return programsOf(items).map((name) => (isPlace ? name : context.redact(name)));
}

function isForward(kind: GateAsk['kind']): boolean {
  return kind === 'Forward' || kind === 'Agent' || kind === 'X11';
}

/**
 * What an approver sees besides the text, one line each; bound exactly, as text parameters.
 *
 * @returns as bound, and as shown where values that the policies mask stand in it.
 */
export function askParameters(context: SshContext, ask: GateAsk, terms: SshTerms): { readonly exact: readonly string[]; readonly shown: readonly string[] } {
  const exact = [
    `account=${context.account}`, `cwd=${ask.cwd ?? '~'}`, `pty=${ask.pty && terms.pty ? 'yes' : 'no'}`, `stdin=${ask.pty && terms.pty ? 'terminal' : ask.stdin && terms.stdin === 'Attach' ? 'attached' : 'closed'}`, `wrap=${ask.wrap ? 'yes' : 'no'}`,
    ...ask.environment.map(([name, value]) => `env ${name}=${value}`),
    ...unknownsOf(ask.items).map((reason) => `unknown: ${reason}`),
    ...(ask.wrap ? [`sent=${wrapForBash(ask.text)}`] : []),
  ];
  return { exact, shown: exact.map((parameter) => context.redact(parameter)) };
}

/** Programs and paths that a request names, each once. */
function programsOf(items: readonly SshItem[]): readonly string[] {
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
