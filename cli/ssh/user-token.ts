import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import type { IdentityProvider } from '../../contract/proxy-config.ts';
import { systemClock } from '../../runtime/clock.ts';
import { createDeviceLogin } from '../../sidecar/adapters/device-login.ts';
import { type CommandIo, GatewayError, readToken } from '../gateway-client.ts';

/** Where the user's token comes from: their own, or a login in the browser at an issuer. */
export interface TokenOptions {
  readonly tokenFile: string | undefined;
  readonly tokenCommand: string | undefined;
  readonly issuer: string | undefined;
  readonly clientId: string | undefined;
  readonly caFile: string | undefined;
}

/** Their lines in a command's help. */
export const tokenHelp = `  --token-file FILE      read your OIDC token from FILE
  --token-command CMD    run CMD with the shell and take your token from its output; default: SALLYPORT_TOKEN
  --issuer URL           log in with the browser at this OIDC issuer instead (device grant); default SALLYPORT_ISSUER
  --client-id ID         the client of the device grant there; default SALLYPORT_CLIENT_ID
  --ca-file FILE         trust the certificate authorities in FILE (PEM) for the issuer`;

/**
 * The user's token. A token that is given wins; else the browser, where an issuer is named.
 *
 * @throws GatewayError with a code and a hint.
 */
export async function userToken(options: TokenOptions, io: CommandIo): Promise<string> {
  const [issuer, clientId] = [options.issuer ?? io.env['SALLYPORT_ISSUER'], options.clientId ?? io.env['SALLYPORT_CLIENT_ID']];
  const hasOwn = options.tokenFile !== undefined || options.tokenCommand !== undefined || (options.issuer === undefined && (io.env['SALLYPORT_TOKEN'] ?? '') !== '');
  if (hasOwn || issuer === undefined) return readToken(options, io.env);
  if (clientId === undefined) throw new GatewayError('USAGE', 'an issuer needs a client', 'give --client-id ID, the client of the device grant');
  return loginInBrowser(issuer, clientId, options.caFile === undefined ? null : await readFile(options.caFile, 'utf8'), io);
}

async function loginInBrowser(issuer: string, clientId: string, caBundle: string | null, io: CommandIo): Promise<string> {
  const clock = systemClock();
  let problem = '';
  const log = { error: (_message: string, fields?: Readonly<Record<string, unknown>>) => { problem = String(fields?.['problem'] ?? ''); }, info: () => undefined, debug: () => undefined };
  const provider = { name: 'issuer', issuer, caBundle, deviceLogin: { clientId, scopes: ['openid', 'email', 'profile', 'groups'] } } as unknown as IdentityProvider;
  const never = new AbortController().signal;
  const grant = await createDeviceLogin({ clock, log }).start(provider, never).catch((cause: unknown) => {
    throw new GatewayError('ISSUER_UNREACHABLE', `no login could be started at the issuer: ${problem}`, 'check --issuer and --client-id', { cause });
  });
  io.stderr.write(`To log in, open ${grant.verificationUriComplete ?? grant.verificationUri} and enter ${grant.userCode}\n`);
  let { intervalMs } = grant;
  for (const endMs = clock.monotonicMs() + grant.expiresInMs; clock.monotonicMs() < endMs;) {
    // The clock's own timers would let the program end here.
    await pause(intervalMs);
    const polled = await grant.poll(never);
    if (polled.outcome === 'token') return polled.token;
    if (polled.outcome === 'slower') intervalMs += 5_000;
    if (polled.outcome === 'refused') throw new GatewayError('LOGIN_REFUSED', 'the login was refused in the browser', 'start again');
    if (polled.outcome === 'expired') break;
  }
  throw new GatewayError('LOGIN_EXPIRED', 'nobody approved the login in time', 'start again');
}
