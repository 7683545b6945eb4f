import { SallyportError } from '../core/errors.ts';
import { asTargetFailure } from './dial.ts';
import type { Upstream } from './upstream.ts';
import { cancelRequest } from './wire/frame-writer.ts';

const defaultLimitMs = 10_000;

/**
 * Asks the target to cancel what an upstream connection runs, on a connection of its own to the same address, over TLS when the target asks for it: with the settings that the session was dialled with, so that it works for a Target that was just deleted.
 *
 * Resolves when the server has closed that connection: only then is the cancel delivered, and only then may the caller forward the next statement.
 *
 * @throws SallyportError `TARGET_UNREACHABLE` (also after 10 s), `TARGET_TLS_FAILED`: then it is not known whether the cancel arrived.
 */
export async function cancelUpstream(upstream: Pick<Upstream, 'redial' | 'cancelKey'>, limitMs: number = defaultLimitMs): Promise<void> {
  const signal = AbortSignal.timeout(limitMs);
  const { socket, reader } = await upstream.redial(signal);
  try {
    socket.write(cancelRequest(upstream.cancelKey.pid, upstream.cancelKey.key));
    // The server answers nothing: whatever comes ends the wait as its close does.
    await reader.readExactly(1, signal).catch((error: unknown) => {
      if (error instanceof SallyportError && error.code === 'CONNECTION_LOST') return;
      throw asTargetFailure(error);
    });
  } finally {
    socket.destroy();
  }
}
