import type { Connection } from 'ssh2';

/** A request or channel type that ssh2 refuses by itself, without an event. */
export interface Unlisted {
  readonly what: 'channel' | 'request' | 'global request';
  readonly type: string;
}

const channels: ReadonlySet<string> = new Set(['session', 'direct-tcpip', 'direct-streamlocal@openssh.com']);
const requests: ReadonlySet<string> = new Set(['exec', 'shell', 'subsystem', 'pty-req', 'env', 'window-change', 'signal', 'x11-req', 'auth-agent-req@openssh.com', 'eow@openssh.com']);
const globals: ReadonlySet<string> = new Set([
  'tcpip-forward', 'cancel-tcpip-forward', 'streamlocal-forward@openssh.com', 'cancel-streamlocal-forward@openssh.com', 'no-more-sessions@openssh.com', 'keepalive@openssh.com',
]);

/** What ssh2 keeps to itself: its handlers of messages. */
interface Internals {
  readonly noMoreSessions: boolean;
  readonly _protocol: { readonly _handlers: Record<string, ((...args: readonly unknown[]) => void) | undefined> };
}

/**
 * Tells of every channel type and request that is not in the closed table of ssh.md 6: ssh2 refuses these without an event, and a refusal belongs on record. Called before ssh2 answers.
 * Decides nothing: what is in the table is still refused where it has no listener.
 *
 * @throws when ssh2 is not built as expected: its version is pinned.
 */
export function watchUnlisted(connection: Connection, refused: (unlisted: Unlisted) => void): void {
  const { _protocol: { _handlers: handlers } } = connection as unknown as Internals;
  const before = (name: string, look: (args: readonly unknown[]) => Unlisted | null): void => {
    const handler = handlers[name];
    if (handler === undefined) throw new TypeError(`ssh2 has no handler of ${name}`);
    handlers[name] = (...args) => {
      const unlisted = look(args);
      if (unlisted !== null) refused(unlisted);
      handler(...args);
    };
  };
  before('CHANNEL_OPEN', ([, info]) => {
    const { type } = info as { readonly type: string };
    const isLate = type === 'session' && (connection as unknown as Internals).noMoreSessions;
    return channels.has(type) && !isLate ? null : { what: 'channel', type };
  });
  before('CHANNEL_REQUEST', ([, , type]) => (requests.has(type as string) ? null : { what: 'request', type: type as string }));
  before('GLOBAL_REQUEST', ([, name]) => (globals.has(name as string) ? null : { what: 'global request', type: name as string }));
}
