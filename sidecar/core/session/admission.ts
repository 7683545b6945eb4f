/** A connection's stay before its login is complete. */
export interface Admission {
  /** Aborted when the login deadline has passed (`STARTUP_TIMEOUT`) or the listener closes (`DRAINING`); never after `admitted`. */
  readonly signal: AbortSignal;
  /** The deadline stands still, while an approval is pending; the returned function lets it run on. */
  pause(): () => void;
  /** The session is counted by its own limits from now on: the place among the unauthenticated is free, the deadline runs on until `admitted`. */
  counted?(): void;
  /** The login is complete: no deadline any more, and the place among the unauthenticated is free. */
  admitted(): void;
}
