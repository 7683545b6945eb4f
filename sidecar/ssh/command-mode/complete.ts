import { masksText } from '../masks-text.ts';
import { permits, rulesOf } from '../../core/policy/permit-rules.ts';
import { shellItems } from '../../core/policy/ssh-items.ts';
import { shellQuote } from '../../core/shell/quote.ts';
import { gateCommand } from '../command-gate.ts';
import type { SshContext } from '../context.ts';
import type { SessionChannel } from '../session-channel.ts';
import { readWordAtCursor, sharedStart, writeRest } from './complete-word.ts';
import type { Completion } from './line-prompt.ts';
import { collectQuietly } from './run-line.ts';
import { sentText } from './sent-text.ts';

const nothing: Completion = { insert: '', candidates: [] };

/**
 * Completes the word before the cursor, as far as policy lets the user see the names anyway:
 * programs are those that a rule of theirs names; files are what `ls -1Ap DIR` prints, where that command is allowed without an approval. It is recorded and masked like a command that was typed.
 */
export function openCompletion(context: SshContext, channel: SessionChannel, cwd: () => string | null): (before: string, signal: AbortSignal) => Promise<Completion> {
  return async (before, signal) => {
    const word = readWordAtCursor(before);
    if (word === null) return nothing;
    const slash = word.text.lastIndexOf('/') + 1;
    const [directory, start] = [word.text.slice(0, slash), word.text.slice(slash)];
    const names = word.kind === 'program' ? programNames(context) : await fileNames(context, channel, directory, cwd(), signal);
    const fitting = [...new Set(names)].filter((name) => name.startsWith(start) && (start !== '' || word.kind === 'program' || !name.startsWith('.'))).sort();
    if (fitting.length === 0 || (word.kind === 'program' && start === '')) return nothing;
    const shared = sharedStart(fitting).slice(start.length);
    return { insert: shared === '' && fitting.length > 1 ? '' : writeRest(shared, word.quote, fitting.length === 1), candidates: fitting };
  };
}

function programNames(context: SshContext): readonly string[] {
  const { session, account, clock } = context;
  const now = clock.now();
  return rulesOf(session.permit).filter((entry) => permits(entry, session.permit, now)).flatMap(({ rule }) => {
    if (!('ssh' in rule) || rule.ssh.match.kind !== 'Commands' || (rule.ssh.accounts !== null && !rule.ssh.accounts.includes(account))) return [];
    return rule.ssh.match.patterns.flatMap(([program]) => (program === undefined || /[*?[/]/u.test(program) ? [] : [program]));
  });
}

/** Most bytes of names that are read. */
const limitBytes = 256 * 1024;

async function fileNames(context: SshContext, channel: SessionChannel, directory: string, cwd: string | null, signal: AbortSignal): Promise<readonly string[]> {
  // `~/` is an expansion of the shell, so its prefix stays bare.
  const shown = directory === '' ? '' : directory.startsWith('~/') ? ` ~/${directory.length > 2 ? shellQuote(directory.slice(2)) : ''}` : ` ${shellQuote(directory.startsWith('-') ? `./${directory}` : directory)}`;
  const text = `ls -1Ap${shown}`;
  const facts = await context.inspect(text);
  const items = shellItems(facts);
  const grants = context.approver.grants(context.session.subject, context.session.permit.target.name, context.session.identity);
  // Asked first, so that Tab neither waits for an approver nor fills the record with refusals.
  if (context.session.decide({ kind: 'Exec', account: context.account, items }, context.clock.now(), grants).effect !== 'Allow') return [];
  const gate = await gateCommand(context, {
    kind: 'Exec', channel: channel.number, text, items, cwd, pty: false, environment: channel.environment, stdin: false, wrap: context.ssh.loginShell.wrap, byteExact: false, facts: { level: 'CommandMode', completion: true },
  }, { tell: () => undefined, cancelled: signal, hasInput: () => false });
  if (gate.outcome === 'refused') return [];
  const { output, status } = await collectQuietly(context, channel, { text: sentText(text, cwd, context.ssh.loginShell.wrap), operation: gate.operation }, limitBytes, signal);
  if (status !== 0) return [];
  const isMasked = masksText(context.session.permit);
  // A name with a masked value in it would not be the name; names that control the terminal are not shown.
  return output.split('\n').filter((name) => name !== '' && !/[\p{Cc}\p{Cf}\uFFFD]/u.test(name) && !(isMasked && name.includes('*')));
}
