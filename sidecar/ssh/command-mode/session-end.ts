import type { Denial } from '../../core/errors.ts';
import type { SshContext } from '../context.ts';
import { finishChannel } from '../finish-channel.ts';
import type { SessionChannel } from '../session-channel.ts';
import { denialLines } from '../words.ts';
import type { Screen } from './screen.ts';

/** Status of a shell whose session ended under it. */
export const endedStatus = 255;

/** Why the session ended; null while it lives. */
export function endOf({ ended }: Pick<SshContext, 'ended'>): Denial | null {
  return ended.aborted && typeof ended.reason === 'object' && ended.reason !== null && 'code' in ended.reason ? ended.reason as Denial : null;
}

/**
 * When the session ends, the user is told why and the channel is over at once: nothing more of a command that is still being stopped is shown.
 *
 * @returns the function that stops waiting for it.
 */
export function sayEndWhenItComes(context: SshContext, channel: SessionChannel, screen: Screen): () => void {
  const onEnd = (): void => {
    try {
      const denial = endOf(context);
      screen.freshLine();
      if (denial !== null) screen.say(['', ...denialLines(denial)]);
      finishChannel(channel.stream, { status: endedStatus, lines: [] });
    } catch (error) {
      // The recording may be what failed.
      context.fail(error);
    }
  };
  if (context.ended.aborted) onEnd();
  else context.ended.addEventListener('abort', onEnd, { once: true });
  return () => context.ended.removeEventListener('abort', onEnd);
}
