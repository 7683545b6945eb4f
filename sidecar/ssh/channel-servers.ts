import type { ServerChannel, SocketBindInfo, SocketRequestInfo, TcpipBindInfo, TcpipRequestInfo, X11Info } from 'ssh2';
import type { TransferCommand } from '../core/shell/transfer-command.ts';
import type { SshContext } from './context.ts';
import type { SessionChannel } from './session-channel.ts';

/** A forward that the client asks for: `direct-tcpip`, or `direct-streamlocal@openssh.com`. */
export type ForwardOpen = { readonly type: 'tcpip'; readonly info: TcpipRequestInfo } | { readonly type: 'streamlocal'; readonly info: SocketRequestInfo };

/** A global request for listening on the target, or for its end. */
export type ForwardListen =
  | { readonly name: 'tcpip-forward' | 'cancel-tcpip-forward'; readonly info: TcpipBindInfo }
  | { readonly name: 'streamlocal-forward@openssh.com' | 'cancel-streamlocal-forward@openssh.com'; readonly info: SocketBindInfo };

/**
 * Who serves which row of the closed table of channel and request types (ssh.md 6). Each resolves when its channel is done, records what it lets through and what it refuses (`gateCommand`),
 * and rejects only for a failure of ours or of the recorder: then the session ends.
 */
export interface ChannelServers {
  /** `shell` at level CommandMode. */
  readonly commandMode: (context: SshContext, channel: SessionChannel) => Promise<void>;
  /** `shell` at level RawShell, which the client asked for. */
  readonly rawShell: (context: SshContext, channel: SessionChannel) => Promise<void>;
  /** Subsystem `sftp`, as a raw channel. */
  readonly sftp: (context: SshContext, channel: SessionChannel) => Promise<void>;
  /** `exec` of a text that `readTransferCommand` knows. */
  readonly transfer: (context: SshContext, channel: SessionChannel, text: string, transfer: TransferCommand) => Promise<void>;
  /** A channel towards the target's network. `accept` after the gate; `refuse` once, with the text that `ssh -W` prints. */
  readonly forward: (context: SshContext, asked: ForwardOpen, accept: () => ServerChannel, refuse: (text: string) => void) => Promise<void>;
  /** Answers once. */
  readonly listen: (context: SshContext, asked: ForwardListen, accept: (chosenPort?: number) => void, refuse: () => void) => Promise<void>;
  /** `auth-agent-req@openssh.com` and `x11-req`: whether they are granted, recorded either way. */
  readonly grantsAgent: (context: SshContext, channel: number) => Promise<boolean>;
  readonly grantsX11: (context: SshContext, channel: number, display: X11Info) => Promise<boolean>;
}
