import type { ClientChannel } from 'ssh2';
import type { SshContext } from './context.ts';
import { stopCommand } from './stop-command.ts';

/** A channel on the target, or that it refused one. */
export type TargetChannel =
  | { readonly outcome: 'opened'; readonly channel: ClientChannel; /** Null while none came. */ readonly exitStatus: () => number | null }
  | { readonly outcome: 'failed' };

/** Opens a channel on the target. A refusal, an ended session and a throw of the library are one answer: failed. */
export async function openOnTarget(context: SshContext, open: (done: (error: Error | undefined, channel: ClientChannel) => void) => unknown): Promise<TargetChannel> {
  const channel = await answerOrEnd<ClientChannel>(context, (resolve) => open((error, opened) => {
    if (error) return resolve(null);
    // The library has asked for the command by now, and closing alone would let it run on.
    if (context.ended.aborted) stopLate(opened);
    resolve(opened);
  }));
  if (channel === null) return { outcome: 'failed' };
  let status: number | null = null;
  channel.on('exit', (code: number | null) => { status = code; });
  // The connection's own error ends it.
  channel.on('error', () => undefined);
  return { outcome: 'opened', channel, exitStatus: () => status };
}

/** Opened after the end of the session: nobody serves it. */
function stopLate(channel: ClientChannel): void {
  const exited = new AbortController();
  channel.on('error', () => undefined);
  channel.once('close', () => exited.abort()).once('exit', () => exited.abort());
  for (const stream of [channel, channel.stderr]) stream.resume();
  stopCommand(channel, exited.signal).catch(() => channel.close());
}

/** What `ask` answers; null when the session ends before it does, or the library throws. */
export async function answerOrEnd<T>(context: SshContext, ask: (resolve: (answer: T | null) => void) => void): Promise<T | null> {
  const { promise, resolve } = Promise.withResolvers<T | null>();
  const onEnd = (): void => resolve(null);
  context.ended.addEventListener('abort', onEnd);
  if (context.ended.aborted) onEnd();
  try {
    ask(resolve);
    return await promise;
  } catch {
    return null;
  } finally {
    context.ended.removeEventListener('abort', onEnd);
  }
}
