import { type Denial, deny } from '../../core/errors.ts';
import { shellItems } from '../../core/policy/ssh-items.ts';
import { ruleDetail } from '../../core/session/approval-hold.ts';
import { isAtOrAbove, normalPath } from '../../core/ssh-files/paths.ts';
import { wrapForBash } from '../../core/shell/quote.ts';
import type { TransferCommand } from '../../core/shell/transfer-command.ts';
import { gateCommand, type GateAsk, refuseCommand } from '../command-gate.ts';
import type { SshContext } from '../context.ts';
import { finishChannel, stderrTeller } from '../finish-channel.ts';
import type { SessionChannel } from '../session-channel.ts';
import type { FileItem } from '../sftp/resolve-demand.ts';
import { decideNow } from '../sftp/judge-files.ts';
import { openPathResolver, type PathResolver } from '../sftp/path-resolver.ts';
import { denialLines } from '../words.ts';
import { runTransfer } from './run-transfer.ts';
import { serveScp } from './serve-scp.ts';

/**
 * Serves a transfer program that a client starts by itself (`scp -O`, `rsync`, `git`): judged as files, relayed byte for byte, recorded with bytes and digests (ssh.md 12).
 *
 * scp's own protocol is read, so each of its files is judged under its name. rsync's and git's are not: they are judged by the paths of their command, a whole directory where rsync
 * can reach one.
 *
 * @throws SallyportError when the record cannot be written: then the session ends.
 */
export async function serveTransfer(context: SshContext, channel: SessionChannel, text: string, transfer: TransferCommand): Promise<void> {
  // Judged as files, and yet a command: a rule that denies it is heard first.
  const command = context.session.decide({ kind: 'Exec', account: context.account, items: shellItems(await context.inspect(text)) }, context.clock.now(), []);
  if (command.effect === 'Deny' && command.by !== null) {
    const denied = await refuseCommand(context, askOf(context, channel, text, transfer, []), { ...command.denial, detail: command.denial.detail ?? ruleDetail(command.by) });
    return finishChannel(channel.stream, { status: denied.outcome === 'refused' ? denied.exitStatus : 126, lines: denied.outcome === 'refused' ? denialLines(denied.denial) : [] });
  }
  using resolver = await openPathResolver(context);
  // Awaited: the resolver is closed at the end of this function.
  if (transfer.kind === 'scp') return await serveScp(context, channel, { text, sent: sentText(context, text), transfer, resolver });
  const judged = await itemsOf(context, transfer, resolver);
  const ask = askOf(context, channel, text, transfer, judged.outcome === 'read' ? judged.items : []);
  const gated = judged.outcome === 'refused'
    ? await refuseCommand(context, ask, judged.denial)
    : await gateCommand(context, ask, { tell: stderrTeller(channel.stream), cancelled: channel.closed, hasInput: () => false });
  if (gated.outcome === 'refused') return finishChannel(channel.stream, { status: gated.exitStatus, lines: denialLines(gated.denial) });
  await runTransfer(context, channel, { text: sentText(context, text), operation: gated.operation, relay: null });
}

/** Exactly what the target gets. */
function sentText(context: SshContext, text: string): string {
  return context.ssh.loginShell.wrap ? wrapForBash(text) : text;
}

type Items = { readonly outcome: 'read'; readonly items: readonly FileItem[] } | { readonly outcome: 'refused'; readonly denial: Denial };

async function itemsOf(context: SshContext, transfer: TransferCommand, resolver: PathResolver | null): Promise<Items> {
  const home = await resolvedOrNull('.', resolver);
  const items: FileItem[] = [];
  for (const written of transfer.paths) {
    const path = await resolvedOrNull(written, resolver);
    if (path === null) return { outcome: 'refused', denial: deny('FILE_DENIED', { message: 'it cannot be known where this path leads', hint: 'write it from the root, to a directory that exists' }) };
    // Policy knows the usual homes; this is the account's own, wherever it lies.
    if (transfer.kind === 'rsync' && home !== null && isAtOrAbove(path, home)) {
      return { outcome: 'refused', denial: deny('FILE_DENIED', { message: 'rsync could reach files here that a login shell reads, under names that are not seen', hint: 'name a directory below, or use sftp or scp' }) };
    }
    if (transfer.kind === 'git' && mayWriteInside(context, path)) {
      return { outcome: 'refused', denial: deny('FILE_DENIED', { message: 'git would do here what the files of the repository say, and you may write these', hint: 'a rule for git names the repository and nothing below it: `/srv/git/*.git`' }) };
    }
    const below = transfer.kind === 'rsync' ? 'All' as const : 'Moved' as const;
    items.push({ operation: transfer.direction, path, bytes: null, below });
    // git tries the name with this ending too.
    if (transfer.kind === 'git' && !path.endsWith('.git')) items.push({ operation: transfer.direction, path: `${path}.git`, bytes: null, below });
  }
  return { outcome: 'read', items };
}

/** Null where it cannot be known. Without SFTP on the target an absolute path is taken as it is. */
async function resolvedOrNull(path: string, resolver: PathResolver | null): Promise<string | null> {
  if (resolver === null) return normalPath(path);
  const resolved = await resolver.resolve(path);
  return resolved.outcome === 'resolved' ? resolved.path : null;
}

function askOf(context: SshContext, channel: SessionChannel, text: string, transfer: TransferCommand, items: readonly FileItem[]): GateAsk {
  const paths = items.map((item) => item.path);
  return {
    kind: 'File', channel: channel.number, text, items: items.map((item) => ({ kind: 'file', ...item })), cwd: null, pty: false, environment: channel.environment, stdin: true, wrap: context.ssh.loginShell.wrap, byteExact: true,
    facts: { operation: transfer.direction.toLowerCase(), program: transfer.kind, path: paths[0] ?? transfer.paths[0] ?? '', ...(paths.length > 1 ? { paths } : {}), whole_directory: transfer.kind === 'rsync' },
  };
}

/** Whether the user may write what git obeys: hooks are programs, `config` and `commondir` lead to other hooks and other repositories. A write that people are asked about is seen by them. */
function mayWriteInside(context: SshContext, repository: string): boolean {
  return [repository, `${repository}.git`, `${repository}/.git`].some((directory) =>
    ['hooks/update', 'config', 'commondir'].some((name) => decideNow(context, [{ kind: 'file', operation: 'Write', path: `${directory}/${name}`, bytes: null }]).effect === 'Allow'));
}
