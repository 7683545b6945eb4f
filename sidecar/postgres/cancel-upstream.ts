import { SallyportError } from '../core/errors.ts';
import type { SecretSource } from '../core/ports.ts';
import { asTargetFailure, dialTarget } from './dial.ts';
import type { Upstream } from './upstream.ts';
import { cancelRequest } from './wire/frame-writer.ts';

const defaultLimitMs = 10_000;

/**
 * Asks the target to cancel what an upstream connection runs, on a connection of its own to the same address, over TLS when the target asks for it.
 *
 * Resolves when the server has closed that connection: only then is the cancel delivered, and only then may the caller forward the next statement.
 *
 * @throws SallyportError `TARGET_UNREACHABLE` (also after 10 s), `TARGET_TLS_FAILED`, `SECRET_UNAVAILABLE`: then it is not known whether the cancel arrived.
 */
export async function cancelUpstream(upstream: Pick<Upstream, 'address' | 'target' | 'cancelKey'>, deps: { readonly secrets: SecretSource; readonly limitMs?: number }): Promise<void> {
  const signal = AbortSignal.timeout(deps.limitMs ?? defaultLimitMs);
  const { socket, reader } = await dialTarget(upstream.target, { secrets: deps.secrets, signal }, upstream.address);
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
