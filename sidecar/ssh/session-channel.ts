import type { ServerChannel } from 'ssh2';

/** The terminal that a client asked for; `columns` and `rows` follow its window. */
export interface Terminal {
  readonly type: string;
  columns: number;
  rows: number;
  widthPixels: number;
  heightPixels: number;
  /** Modes by name, as ssh2 reads and writes them. */
  readonly modes: Readonly<Record<string, number>>;
}

/** What a channel's owner hears of its client besides data. */
export interface ChannelListener {
  /** The name without SIG. */
  readonly signal?: (name: string) => void;
  readonly resize?: (terminal: Terminal) => void;
}

/** One session channel of the client, started: by exec, shell or a subsystem. */
export interface SessionChannel {
  /** Of the session, 1-based; also its recording's. */
  readonly number: number;
  readonly stream: ServerChannel;
  /** Null without a terminal. */
  readonly terminal: Terminal | null;
  /** Only names of the allow-list. */
  readonly environment: readonly (readonly [name: string, value: string])[];
  /** Names of variables that were dropped, for the record. */
  readonly droppedEnvironment: readonly string[];
  /** The client asked for a raw shell with SALLYPORT_LEVEL=RawShell. */
  readonly wantsRawShell: boolean;
  /** The client asked for agent or X11 forwarding, and a rule grants it: `serveForwarding` wires it to the channel on the target. */
  readonly forwards: { readonly agent: boolean; readonly x11: boolean };
  /** Aborted when the client closed the channel or is gone. */
  readonly closed: AbortSignal;
  /** Takes over signals and resizes; one listener at a time. */
  listen(listener: ChannelListener): void;
}
