import type { RuntimeClock } from './clock.ts';

/** What `watchShutdown` needs of `process`. */
export interface SignalSource {
  on(event: NodeJS.Signals, listener: () => void): unknown;
  off(event: NodeJS.Signals, listener: () => void): unknown;
}

/** The request to end, and its clean-up. */
export interface Shutdown {
  /** Aborted by the first SIGTERM or SIGINT. */
  readonly signal: AbortSignal;
  /** Aborted by the second one: the drain has its deadline now. */
  readonly hurry: AbortSignal;
  /** Removes the handlers and the deadline; call when everything is closed. */
  stop(): void;
}

/**
 * Turns SIGTERM and SIGINT into AbortSignals. The first one starts the drain, a second one makes its deadline now; a third one, or a drain that outlasts its deadline, ends the process at once.
 *
 * @param exit e.g. `process.exit`: 1 after the deadline, 128 + signal number after a third signal.
 */
export function watchShutdown(options: { readonly source: SignalSource; readonly clock: RuntimeClock; readonly drainMs: number; readonly exit: (code: number) => void }): Shutdown {
  const controller = new AbortController();
  const hurrying = new AbortController();
  let cancelDeadline = (): void => {};
  const onSignal = (name: 'SIGTERM' | 'SIGINT') => (): void => {
    if (hurrying.signal.aborted) return options.exit(128 + number[name]);
    if (controller.signal.aborted) return hurrying.abort(new Error(`received ${name} again`));
    cancelDeadline = options.clock.after(options.drainMs, () => options.exit(1));
    controller.abort(new Error(`received ${name}`));
  };
  const handlers = { SIGTERM: onSignal('SIGTERM'), SIGINT: onSignal('SIGINT') };
  options.source.on('SIGTERM', handlers.SIGTERM);
  options.source.on('SIGINT', handlers.SIGINT);
  return {
    signal: controller.signal,
    hurry: hurrying.signal,
    stop() {
      options.source.off('SIGTERM', handlers.SIGTERM);
      options.source.off('SIGINT', handlers.SIGINT);
      cancelDeadline();
    },
  };
}

const number = { SIGINT: 2, SIGTERM: 15 } as const;
