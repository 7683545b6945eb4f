import { deny } from '../core/errors.ts';
import type { ChannelServers } from './channel-servers.ts';
import type { ClientSession } from './client-session.ts';
import { refuseCommand } from './command-gate.ts';
import type { SshContext } from './context.ts';
import { denialLines } from './words.ts';

/** Serves a `shell` request by the Target's level: none at `Exec`; the gateway's prompt; the raw shell where it is asked for. Whether a rule grants it is asked by whoever serves it. */
export async function serveShell(context: SshContext, channel: ClientSession, servers: ChannelServers): Promise<void> {
  const { level } = context.ssh;
  if (level === 'RawShell' && channel.wantsRawShell) return servers.rawShell(context, channel);
  if (level !== 'Exec' && !channel.wantsRawShell) return servers.commandMode(context, channel);
  const denial = deny('SHELL_NOT_GRANTED', { detail: `the most that this target has is ${level}` });
  const asked = channel.wantsRawShell ? 'RawShell' : 'CommandMode';
  const outcome = await refuseCommand(
    context,
    { kind: 'Shell', channel: channel.number, text: 'shell', items: [{ kind: 'level', level: asked }], cwd: null, pty: channel.terminal !== null, environment: channel.environment, stdin: true, wrap: false, byteExact: false, facts: {} },
    denial,
  );
  channel.finish(denialLines(denial), outcome.outcome === 'refused' ? outcome.exitStatus : 126);
}
