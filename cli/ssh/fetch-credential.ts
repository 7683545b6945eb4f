import ssh2, { type ServerHostKeyAlgorithm } from 'ssh2';
import { credentialUser } from '../../sidecar/core/identity/ssh-identity-extension.ts';
import { GatewayError } from '../gateway-client.ts';
import type { KnownKey } from './known-hosts.ts';
import type { SshHost } from './resolve-host.ts';

/** What is asked for; a ticket is for the Target that listens at the host. */
export type CredentialRequest = { readonly want: 'ticket'; readonly account: string } | { readonly want: 'certificate'; /** `TYPE BASE64`. */ readonly publicKey: string };

/** What came back; `expiresAt` is RFC 3339. */
export interface FetchedCredential {
  /** The ticket, or the certificate as in a `-cert.pub` file. */
  readonly text: string;
  readonly expiresAt: string;
  /** Of a certificate. */
  readonly username: string | null;
  readonly namespace: string | null;
}

const timeoutMs = 30_000;
const maxAnswerBytes = 65_536;

/**
 * Logs in to a gateway with a whole token and asks for a credential, over SSH itself: no second port. Only a host whose key is known gets the token.
 *
 * @throws GatewayError with the gateway's code, or GATEWAY_UNREACHABLE, LOGIN_REFUSED, HOST_KEY_CHANGED, GATEWAY_ANSWER_INVALID.
 */
export async function fetchCredential(to: Pick<SshHost, 'host' | 'port' | 'keys'>, token: string, request: CredentialRequest): Promise<FetchedCredential> {
  const client = new ssh2.Client();
  const said = { banner: '', isKeyRefused: false };
  try {
    await login(client, to, token, said);
    return readAnswer(await exchange(client, `${JSON.stringify(request)}\n`), request);
  } finally {
    client.end();
  }
}

/** ssh2 speaks of the kinds of keys as of algorithms. */
function hostKeyAlgorithms(keys: readonly KnownKey[]): ServerHostKeyAlgorithm[] {
  const types = new Set(keys.map((key) => key.type));
  return [...(types.has('ssh-ed25519') ? (['ssh-ed25519'] as const) : []), ...(types.has('ssh-rsa') ? (['rsa-sha2-512', 'rsa-sha2-256'] as const) : [])];
}

function login(client: ssh2.Client, to: Pick<SshHost, 'host' | 'port' | 'keys'>, token: string, said: { banner: string; isKeyRefused: boolean }): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const fail = (cause: unknown): void => reject(wordFailure(cause, to, said));
  client.on('banner', (text) => { said.banner = text.slice(0, 2_000); });
  client.once('ready', resolve).on('error', fail).once('close', () => fail(new Error('closed')));
  client.connect({
    host: to.host, port: to.port, username: credentialUser, password: token, authHandler: ['password'], readyTimeout: timeoutMs, algorithms: { serverHostKey: hostKeyAlgorithms(to.keys) },
    hostVerifier: (shown: Buffer) => {
      const isKnown = to.keys.some((key) => Buffer.compare(key.blob, shown) === 0);
      said.isKeyRefused = !isKnown;
      return isKnown;
    },
  });
  return promise;
}

/** The gateway says in its banner why it refused: `sallyport: MESSAGE [CODE]`, then `hint: ...`. */
function wordFailure(cause: unknown, to: Pick<SshHost, 'host' | 'port'>, said: { readonly banner: string; readonly isKeyRefused: boolean }): GatewayError {
  const where = `${to.host} port ${to.port}`;
  if (said.isKeyRefused) return new GatewayError('HOST_KEY_CHANGED', `${where} showed another host key than the known one; no token was sent`, 'ask those who run the gateway; do not remove the known key before they have said why', { cause });
  const told = /^sallyport: ([\x20-\x7e]+) \[([A-Z_]+)\]\r?\nhint: ([\x20-\x7e]+)/m.exec(said.banner);
  if (told) return new GatewayError(told[2] ?? '', told[1] ?? '', told[3] ?? '', { cause });
  const isRefused = cause instanceof Error && 'level' in cause && cause.level === 'client-authentication';
  if (isRefused) return new GatewayError('LOGIN_REFUSED', `${where} did not accept the token`, 'is this a listener of a Sallyport gateway for an SSH Target?', { cause });
  return new GatewayError('GATEWAY_UNREACHABLE', `${where} does not answer as an SSH gateway`, 'check host and port', { cause });
}

function exchange(client: ssh2.Client, request: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const fail = (cause?: unknown): void => reject(new GatewayError('GATEWAY_ANSWER_INVALID', 'the gateway gives no credentials at this place', 'check host and port, and that both programs have the same version', { cause }));
  const timer = setTimeout(fail, timeoutMs);
  client.subsys(credentialUser, (error, channel) => {
    if (error !== undefined) return fail(error);
    const chunks: Buffer[] = [];
    let length = 0;
    channel.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > maxAnswerBytes) fail();
      else chunks.push(chunk);
    });
    channel.once('close', () => resolve(Buffer.concat(chunks).toString('utf8')));
    return channel.write(request);
  });
  return promise.finally(() => clearTimeout(timer));
}

function readAnswer(text: string, request: CredentialRequest): FetchedCredential {
  const answer = asObject(parseJson(text));
  const error = asObject(answer['error']);
  const plain = (value: unknown): string | null => (typeof value === 'string' && /^[\x20-\x7e\u{a0}-\u{10ffff}]{1,40000}$/u.test(value) ? value : null);
  if (answer['error'] !== undefined) throw new GatewayError(plain(error['code']) ?? 'UNKNOWN', plain(error['message']) ?? 'the gateway refused', plain(error['hint']) ?? '');
  const [given, expiresAt] = [plain(answer[request.want]), plain(answer['expiresAt'])];
  if (given === null || expiresAt === null) throw new GatewayError('GATEWAY_ANSWER_INVALID', 'the answer is not that of a gateway', 'check host and port, and that both programs have the same version');
  return { text: given, expiresAt, username: plain(answer['username']), namespace: plain(answer['namespace']) };
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
