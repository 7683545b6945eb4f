import type { ChannelServers } from './channel-servers.ts';
import { serveCommandMode } from './command-mode/serve-command-mode.ts';
import { grantsAgent } from './forwarding/serve-agent.ts';
import { serveForward } from './forwarding/serve-forward.ts';
import { serveListen } from './forwarding/serve-listen.ts';
import { grantsX11 } from './forwarding/serve-x11.ts';
import { serveRawShell } from './raw-shell.ts';
import { serveSftp } from './sftp/serve-sftp.ts';
import { serveTransfer } from './transfer/serve-transfer.ts';

/** Who serves which row of the closed table of channel and request types. */
export const channelServers: ChannelServers = {
  commandMode: serveCommandMode, rawShell: serveRawShell, sftp: serveSftp, transfer: serveTransfer, forward: serveForward, listen: serveListen, grantsAgent, grantsX11,
};
