import { type Denial, deny } from '../../core/errors.ts';
import type { SessionChannel } from '../session-channel.ts';
import type { TypedInput } from './typed-input.ts';

/** Ctrl-C while something waits or runs: each press, and those signals of the client that mean the same. */
export interface Interrupts {
  /** Aborted by the first press; the reason is a Denial. */
  readonly signal: AbortSignal;
  readonly [Symbol.dispose]: () => void;
}

/** What a channel's client pressed to interrupt: VINTR of its terminal's modes, else Ctrl-C. */
export function interruptByte(channel: Pick<SessionChannel, 'terminal'>): number {
  const chosen = channel.terminal?.modes['VINTR'];
  return chosen === undefined || chosen === 255 || chosen === 0 ? 0x03 : chosen;
}

/** Watches for Ctrl-C: what was typed before it is forgotten, as a terminal does; what comes behind it waits for the prompt. */
export function watchInterrupts(channel: SessionChannel, input: TypedInput, press: () => void): () => void {
  const byte = interruptByte(channel);
  return input.watch((chunk) => {
    const at = channel.terminal === null ? -1 : chunk.lastIndexOf(byte);
    if (at === -1) return chunk;
    input.drop(false);
    press();
    return chunk.subarray(at + 1);
  });
}

/** Cancels what waits: by Ctrl-C, by a signal (INT, TERM, HUP, KILL), or since the client is gone. */
export function cancelOnInterrupt(channel: SessionChannel, input: TypedInput): Interrupts {
  const cancel = new AbortController();
  const press = (): void => cancel.abort(deny('HOLD_CANCELLED'));
  const stop = watchInterrupts(channel, input, press);
  channel.listen({ signal: (name) => (['INT', 'TERM', 'HUP', 'KILL'].includes(name) ? press() : undefined) });
  const gone = (): void => cancel.abort(deny('CONNECTION_LOST') satisfies Denial);
  if (channel.closed.aborted) gone();
  channel.closed.addEventListener('abort', gone, { once: true });
  return {
    signal: cancel.signal,
    [Symbol.dispose]: () => {
      stop();
      channel.closed.removeEventListener('abort', gone);
      channel.listen({});
    },
  };
}
