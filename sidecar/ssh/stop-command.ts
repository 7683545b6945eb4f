import type { ClientChannel } from 'ssh2';
import { sendSignal } from './send-signal.ts';

/** Between TERM and KILL. */
export const stopGraceMs = 2_000;

/**
 * Stops a command on the target: signal TERM, two seconds, signal KILL, close. Closing alone does not stop a command without a terminal.
 * A target ignores signals where the account is root: whether it ended is known only from an exit that was seen.
 *
 * @param exited aborted once the exit was seen or the channel is closed: then nothing more is sent.
 */
export async function stopCommand(channel: ClientChannel, exited: AbortSignal): Promise<void> {
  if (exited.aborted) return;
  sendSignal(channel, 'TERM');
  // With end of input a program that only waits for some ends by itself.
  channel.end();
  await aborted(exited, stopGraceMs);
  if (!exited.aborted) sendSignal(channel, 'KILL');
  await aborted(exited, 200);
  channel.close();
}

function aborted(signal: AbortSignal, limitMs: number): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, limitMs);
    signal.addEventListener('abort', done, { once: true });
  });
}
