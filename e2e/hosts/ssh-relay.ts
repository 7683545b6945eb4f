import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import type { ClientChannel, ServerChannel, Session } from 'ssh2';

import type { SshTarget } from '../../contract/proxy-config.ts';
import type { Permit } from '../../sidecar/core/policy/permit.ts';
import type { SecretSource } from '../../sidecar/core/ports.ts';
import { guarded, type RekeyLimits } from '../../sidecar/ssh/leg.ts';
import { createSshServer, type ServedConnection } from '../../sidecar/ssh/server.ts';
import { connectSshTarget, type SshUpstream } from '../../sidecar/ssh/upstream.ts';
import type { OpenSsh } from './openssh.ts';

/** The two legs without the gateway between them: whoever connects is let in, and each exec runs on the target. For what the legs themselves promise. */
export interface SshRelay extends AsyncDisposable {
  readonly port: number;
  /** Connections served so far, newest last. */
  readonly served: readonly ServedConnection[];
  readonly upstreams: readonly SshUpstream[];
  readonly failures: readonly unknown[];
}

export interface RelayOptions {
  readonly hostKey: string;
  readonly target: () => Promise<SshUpstream>;
  readonly rekey?: RekeyLimits;
  readonly handshakeMs?: number;
  /** Called for each connection, before its login. */
  readonly connected?: (served: ServedConnection) => void;
}

export async function startSshRelay(options: RelayOptions): Promise<SshRelay> {
  const server = createSshServer({
    hostKeys: [readFileSync(options.hostKey)], ...(options.rekey === undefined ? {} : { rekey: options.rekey }), ...(options.handshakeMs === undefined ? {} : { handshakeMs: options.handshakeMs }),
  });
  const served: ServedConnection[] = [];
  const upstreams: SshUpstream[] = [];
  const failures: unknown[] = [];
  const sockets = new Set<Socket>();
  const listener = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
    void server.serve(socket, {
      failed: (error) => void failures.push(error),
      connected: (connection) => {
        served.push(connection);
        options.connected?.(connection);
        connection.connection.on('authentication', (context) => context.accept());
        let upstream: Promise<SshUpstream> | null = null;
        const target = (): Promise<SshUpstream> => {
          upstream ??= options.target().then((opened) => {
            upstreams.push(opened);
            connection.closed.addEventListener('abort', () => void opened[Symbol.asyncDispose]());
            return opened;
          });
          return upstream;
        };
        connection.connection.on('session', (accept) => serveSession(accept(), target, connection.fail));
      },
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  return {
    port: (listener.address() as { readonly port: number }).port, served, upstreams, failures,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}

function serveSession(session: Session, target: () => Promise<SshUpstream>, fail: (error: unknown) => void): void {
  session.on('exec', (accept, _reject, { command }) => {
    // At once: after the client's EOF it would answer nothing.
    const channel = accept();
    target().then(({ client }) => client.exec(command, guarded(fail, (error: Error | undefined, stream: ClientChannel) => {
      if (error) throw error;
      pipe(channel, stream);
    }))).catch(fail);
  });
}

/** Done after `close` and the end of both streams: `close` alone does not wait for stderr. */
function pipe(channel: ServerChannel, stream: ClientChannel): void {
  let status: number | null = null;
  stream.on('exit', (code: number | null) => void (status = code));
  channel.pipe(stream);
  stream.pipe(channel, { end: false });
  stream.stderr.pipe(channel.stderr, { end: false });
  const ended = Promise.all([once(stream, 'close'), once(stream, 'end'), once(stream.stderr, 'end')]);
  void ended.then(() => {
    channel.exit(status ?? 255);
    channel.stderr.end(() => channel.end());
  });
}

function once(emitter: { once(event: string, listener: () => void): unknown }, event: string): Promise<void> {
  return new Promise((resolve) => void emitter.once(event, resolve));
}

/** A permit for an SSH target, as the proxy's route would have made it. */
export function aTargetPermit(ssh: Partial<SshTarget['ssh']> & { readonly port: number }): Permit {
  const target: SshTarget = {
    name: 'web-1', uid: 'uid-web-1', labels: {},
    ssh: { host: '127.0.0.1', hostKeys: [], hostCertificateAuthorities: [], accounts: ['root'], credentialsSecret: 'web-1-gateway', accountCredentials: {}, loginShell: { type: 'Bash', wrap: false }, level: 'Exec', ...ssh },
  } as unknown as SshTarget;
  return { target } as unknown as Permit;
}

/** Secrets that are what `values` says when they are read. */
export function secretsOf(values: () => Readonly<Record<string, string | Buffer>>): SecretSource {
  const find = async (_secret: string, key: string): Promise<Uint8Array | null> => {
    const value = values()[key];
    return value === undefined ? null : Buffer.from(value as string);
  };
  return { readOptional: find, read: async (secret, key) => (await find(secret, key)) ?? Buffer.alloc(0) };
}

/** A dial of `host` with its own user key, its host key pinned. */
export function dialOpenSsh(host: OpenSsh, more: { readonly rekey?: RekeyLimits } = {}): Promise<SshUpstream> {
  const permit = aTargetPermit({ port: host.port, accounts: [host.account], hostKeys: host.hostKeys.map((key) => key.publicLine) });
  return connectSshTarget(permit, { account: host.account, sessionId: 'ses-test' }, {
    secrets: secretsOf(() => ({ privateKey: readFileSync(host.userKey.path) })), clock: { now: () => Date.now(), monotonicMs: () => performance.now() }, signal: new AbortController().signal, deadlineMs: 10_000, ...more,
  });
}
