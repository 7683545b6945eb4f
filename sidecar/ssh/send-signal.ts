import type { ClientChannel } from 'ssh2';

/** The signals of RFC 4254, 6.10: ssh2 throws for others. */
const signals: ReadonlySet<string> = new Set(['ABRT', 'ALRM', 'FPE', 'HUP', 'ILL', 'INT', 'KILL', 'PIPE', 'QUIT', 'SEGV', 'TERM', 'USR1', 'USR2']);

/** What ssh2 keeps of a channel of its client, as far as it is needed here. */
interface Internals {
  readonly outgoing?: { readonly id: number; readonly state: string };
  readonly _client?: { readonly _protocol?: { signal(channel: number, name: string): void } };
}

/**
 * Sends a signal to a command on the target; a name that is none of the protocol's is dropped.
 *
 * ssh2 sends none once the input of the channel has ended (measured: nothing reaches sshd), and that is so from the start for a command without input: there the request is written past it.
 */
export function sendSignal(channel: ClientChannel, name: string): void {
  if (!signals.has(name)) return;
  const { outgoing, _client } = channel as unknown as Internals;
  if (outgoing?.state === 'eof') _client?._protocol?.signal(outgoing.id, name);
  else channel.signal(name);
}
