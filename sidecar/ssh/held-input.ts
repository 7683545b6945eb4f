import { deny } from '../core/errors.ts';
import type { ClientSession } from './client-session.ts';

/** What the user does while their command waits. */
export interface HeldInput {
  /** Aborted by Ctrl-C (a terminal), a signal that would end the command, or the end of the channel. */
  readonly cancelled: AbortSignal;
  /** Whether input came that nobody has seen. */
  readonly hasInput: () => boolean;
  /** Ctrl-C goes there instead. */
  onInterrupt(listener: (() => void) | null): void;
  /** Lets the input go; on a terminal, what was typed so far is dropped. */
  release(): void;
}

const ending: ReadonlySet<string> = new Set(['INT', 'TERM', 'HUP', 'KILL']);

/**
 * Watches a channel whose command does not run yet. Without a terminal nothing is read: what comes waits in the channel's window, which stalls the client when it is full. On a terminal keys are
 * read, so that Ctrl-C (VINTR of its modes) is seen at once; other keys are dropped.
 */
export function watchHeldInput(channel: ClientSession): HeldInput {
  const cancel = new AbortController();
  const { stream, terminal } = channel;
  let typed = false;
  let listener: (() => void) | null = null;
  const interrupt = (): void => {
    if (listener === null) cancel.abort(deny('HOLD_CANCELLED'));
    else listener();
  };
  const intr = terminal?.modes['VINTR'] ?? 0x03;
  const onData = (chunk: Uint8Array): void => {
    for (const byte of chunk) {
      if (byte === intr) interrupt();
      // Enter and spaces are what people press while they wait.
      else if (byte !== 0x0d && byte !== 0x0a && byte !== 0x20) typed = true;
    }
  };
  if (terminal !== null) stream.on('data', onData);
  channel.listen({ signal: (name) => { if (ending.has(name)) interrupt(); } });
  return {
    cancelled: AbortSignal.any([cancel.signal, channel.closed]),
    hasInput: () => typed || (terminal === null && stream.readableLength > 0),
    onInterrupt: (next) => { listener = next; },
    release: () => {
      channel.listen({});
      if (terminal === null) return;
      stream.pause();
      stream.off('data', onData);
    },
  };
}
