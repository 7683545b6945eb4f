import { masksText } from '../masks-text.ts';
import { deny } from '../../core/errors.ts';
import { type GateAsk, gateCommand, type GateIo, refuseCommand } from '../command-gate.ts';
import type { GateOutcome, SshContext } from '../context.ts';
import { redactedFacts } from '../gate-facts.ts';
import { finishChannel, stderrTeller } from '../finish-channel.ts';
import type { SessionChannel } from '../session-channel.ts';
import type { TransferCommand } from '../../core/shell/transfer-command.ts';
import { normalPath } from '../../core/ssh-files/paths.ts';
import { createFileJudge, decideNow } from '../sftp/judge-files.ts';
import type { PathResolver } from '../sftp/path-resolver.ts';
import { denialLines } from '../words.ts';
import { runTransfer } from './run-transfer.ts';
import { createScpRelay } from './scp-relay.ts';

/** One `scp -t` or `scp -f` of a client. */
export interface ScpAsk {
  readonly text: string;
  /** Exactly what the target gets. */
  readonly sent: string;
  readonly transfer: TransferCommand;
  /** Null where the target has no SFTP. */
  readonly resolver: PathResolver | null;
}

/**
 * Serves scp's own protocol. The program is started once it is on record, unless a rule refuses the path of its command; then each file and directory is judged, held and recorded under
 * its own name before the other side hears of it. A refused one is left out, as scp does with what it cannot open.
 */
export async function serveScp(context: SshContext, channel: SessionChannel, { text, sent, transfer, resolver }: ScpAsk): Promise<void> {
  const { stream } = channel;
  const tell = stderrTeller(stream);
  const [written = ''] = transfer.paths;
  const resolve = async (path: string): Promise<string | null> => {
    if (resolver === null) return normalPath(path);
    const resolved = await resolver.resolve(path);
    return resolved.outcome === 'resolved' ? resolved.path : null;
  };
  const base = await resolve(written);
  const isDirectory = (await resolver?.isDirectory(written)) ?? false;
  const facts = { operation: transfer.direction.toLowerCase(), program: 'scp', path: base ?? written };
  const items = [{ kind: 'file' as const, operation: transfer.direction, path: base ?? written, bytes: null }];
  const ask: GateAsk = { kind: 'File', channel: channel.number, text, items, cwd: null, pty: false, environment: [], stdin: true, wrap: context.ssh.loginShell.wrap, byteExact: true, facts };
  const refused = base === null ? await refuseCommand(context, ask, deny('FILE_DENIED', { message: 'it cannot be known where this path leads' })) : isDirectory ? null : await refusedAtOnce(context, ask, { tell, cancelled: channel.closed, hasInput: () => false });
  if (base === null || refused?.outcome === 'refused') return finishChannel(stream, { status: 126, lines: refused?.outcome === 'refused' ? denialLines(refused.denial) : [] });
  const operation = await context.recorder.record({
    code: 'file.intent', channel: channel.number, operation: null, decision: null, approvals: [], request: null, reason: null, facts: redactedFacts(context, { ...facts, text, files: 'each is judged under its own name' }),
  });
  const judge = createFileJudge(context, channel.number, { tell, cancelled: channel.closed });
  await runTransfer(context, channel, { text: sent, operation, relay: (ends) => createScpRelay({ ...ends, judge, digestKey: context.digestKey, direction: transfer.direction, base, isDirectory, resolve }) });
}

/** The answer of the gate where it is no already; null where files may pass or be held: they are judged when they come. */
async function refusedAtOnce(context: SshContext, ask: GateAsk, io: GateIo): Promise<GateOutcome | null> {
  const decision = decideNow(context, ask.items);
  const conflicts = decision.effect === 'Allow' && decision.terms?.unmasked !== true && masksText(context.session.permit);
  return decision.effect === 'Deny' || conflicts ? gateCommand(context, ask, io) : null;
}
