import type { ClientChannel } from 'ssh2';
import type { SshContext } from './context.ts';

/** A channel on the target, or that it refused one. */
export type TargetChannel =
  | { readonly outcome: 'opened'; readonly channel: ClientChannel; /** Null while none came. */ readonly exitStatus: () => number | null }
  | { readonly outcome: 'failed' };

/** Opens a channel on the target. A refusal, an ended connection and a throw of the library are one answer: failed. */
export async function openOnTarget(context: SshContext, open: (done: (error: Error | undefined, channel: ClientChannel) => void) => unknown): Promise<TargetChannel> {
  const { promise, resolve } = Promise.withResolvers<TargetChannel>();
  const onEnd = (): void => resolve({ outcome: 'failed' });
  context.ended.addEventListener('abort', onEnd, { once: true });
  try {
    open((error, channel) => {
      if (error !== undefined && error !== null) return resolve({ outcome: 'failed' });
      let status: number | null = null;
      channel.on('exit', (code: number | null) => { status = code; });
      // The connection's own error ends it.
      channel.on('error', () => undefined);
      if (context.ended.aborted) channel.close();
      resolve({ outcome: 'opened', channel, exitStatus: () => status });
    });
  } catch {
    resolve({ outcome: 'failed' });
  }
  try {
    return await promise;
  } finally {
    context.ended.removeEventListener('abort', onEnd);
  }
}
