import type { SshContext } from '../context.ts';
import { forwardsOf } from './forward-state.ts';

/** What ssh2 asks the target for, beside a command. */
export interface ForwardingOptions {
  readonly agentForward?: true;
  readonly x11?: { readonly single: boolean; readonly protocol: string; readonly cookie: string; readonly screen: number };
}

/** The forwards that were granted to a channel: an agent serves all commands of its connection, as it does on the target; a display those of its channel. Empty for most. */
export function forwardingOptions(context: SshContext, channel: number): ForwardingOptions {
  const { agentOperation, displays } = forwardsOf(context);
  const x11 = displays.get(channel);
  return { ...(agentOperation === null ? {} : { agentForward: true }), ...(x11 === undefined ? {} : { x11 }) };
}
