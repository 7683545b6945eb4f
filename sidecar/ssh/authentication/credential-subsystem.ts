import type { ServerChannel, Session } from 'ssh2';
import type { ServedConnection } from '../server.ts';
import { mintCredential, type MintingDeps } from './mint-credential.ts';
import type { AuthenticationAsk, Proven } from './outcome.ts';
import { credentialUser } from '../../core/identity/ssh-identity-extension.ts';

/** Bounds of the subsystem (ssh.md 3.4). */
export const subsystemLimits = { requestBytes: 16_384, ms: 30_000, sessions: 4 } as const;

/**
 * Serves a connection that came for a credential: one session, one subsystem `credential@sallyport.dev`, one request, one answer, the end. Everything else is refused.
 *
 * No Permit is needed, since nothing of a Target is reached: what is given here proves an identity once more, and policy speaks when it is used.
 *
 * @returns once the connection is over. Never rejects.
 */
export async function serveCredentialConnection(served: ServedConnection, proven: Proven, ask: AuthenticationAsk, deps: MintingDeps): Promise<void> {
  const { connection, closed } = served;
  const over = Promise.withResolvers<void>();
  closed.addEventListener('abort', () => over.resolve(), { once: true });
  if (closed.aborted) over.resolve();
  // Neither request nor channel of a client that has what it came for, or never says what it wants.
  const timer = setTimeout(() => served.end(), subsystemLimits.ms);
  let isTaken = false;
  const serve = (session: Session): void => {
    session.on('subsystem', (accept, reject, { name }) => {
      if (name !== credentialUser || isTaken) return void reject?.();
      isTaken = true;
      // Undefined once the client has ended its input.
      const channel = accept() as ServerChannel | undefined;
      if (channel === undefined) return served.end();
      serveRequest(channel, proven, ask, deps).catch(served.fail).finally(() => served.end());
    });
  };
  let sessions = 0;
  connection.on('session', (accept, reject) => {
    sessions += 1;
    if (isTaken || sessions > subsystemLimits.sessions) return void reject();
    serve(accept());
  });
  await over.promise;
  clearTimeout(timer);
}

/** Reads one line of JSON, answers with one; exit status 0 where a credential was given. */
async function serveRequest(channel: ServerChannel, proven: Proven, ask: AuthenticationAsk, deps: MintingDeps): Promise<void> {
  const line = await readLine(channel);
  const answer = await mintCredential(line, proven, ask, deps);
  channel.exit('error' in answer ? 1 : 0);
  await new Promise<void>((resolve) => {
    channel.once('close', resolve);
    channel.end(`${JSON.stringify(answer)}\n`, () => setTimeout(resolve, lingerMs).unref());
  });
}

/** The client closes first; one that does not is not waited for. */
const lingerMs = 200;

/** Null: longer than 16 KiB, or no line came. */
function readLine(channel: ServerChannel): Promise<string | null> {
  const { promise, resolve } = Promise.withResolvers<string | null>();
  const chunks: Buffer[] = [];
  let length = 0;
  channel.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length > subsystemLimits.requestBytes) return resolve(null);
    chunks.push(chunk);
    if (chunk.includes(newline)) resolve(Buffer.concat(chunks).toString('utf8').split('\n', 1)[0] ?? null);
  });
  channel.on('error', () => resolve(null));
  channel.once('end', () => resolve(length === 0 ? null : Buffer.concat(chunks).toString('utf8')));
  channel.once('close', () => resolve(null));
  return promise;
}

const newline = 0x0a;
