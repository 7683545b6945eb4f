import type { IdentityProvider } from '../../contract/proxy-config.ts';
import { SallyportError } from '../core/errors.ts';
import type { Clock, DeviceGrant, DeviceLogin, Logger } from '../core/ports.ts';
import { type FetchOptions, fetchJson, postForm } from './fetch-json.ts';

export interface DeviceLoginOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** For development and tests: an issuer at http://127.0.0.1 or http://localhost. Off by default. */
  readonly allowLoopbackHttp?: boolean;
  /** Other transports, for tests without sockets. */
  readonly fetch?: typeof fetchJson;
  readonly post?: typeof postForm;
}

/** Bounds of RFC 8628 as we speak it; intervals and lives in seconds, as the issuer says them. */
export const deviceLoginLimits = { timeoutMs: 10_000, maxBytes: 65_536, startsPerSecond: 10, interval: { default: 5, min: 1, max: 60 }, life: { default: 300, max: 1_800 } } as const;

const grantType = 'urn:ietf:params:oauth:grant-type:device_code';

/**
 * The device grant (RFC 8628) at an IdentityProvider, as a public client: the codes are shown to whoever logs in, the ID token is what comes back.
 *
 * Endpoints come from the issuer's own discovery document, over verified TLS only. What is to be shown is printable ASCII or the start fails: it goes to a terminal.
 */
export function createDeviceLogin(options: DeviceLoginOptions): DeviceLogin {
  const mayStart = perSecond(options.clock, deviceLoginLimits.startsPerSecond);
  return {
    start: async (provider, signal) => {
      if (provider.deviceLogin === undefined || !mayStart()) throw new SallyportError('ISSUER_UNREACHABLE', { provider: provider.name });
      try {
        return await start(provider, provider.deviceLogin, options, signal);
      } catch (error) {
        signal.throwIfAborted();
        options.log.error('device login not started', { provider: provider.name, problem: error instanceof Error ? error.message : 'unknown' });
        throw new SallyportError('ISSUER_UNREACHABLE', { provider: provider.name }, { cause: error });
      }
    },
  };
}

async function start(provider: IdentityProvider, client: NonNullable<IdentityProvider['deviceLogin']>, options: DeviceLoginOptions, signal: AbortSignal): Promise<DeviceGrant> {
  const fetchOptions = (inner: AbortSignal): FetchOptions => ({ ca: provider.caBundle, allowLoopbackHttp: options.allowLoopbackHttp ?? false, limits: { timeoutMs: deviceLoginLimits.timeoutMs, maxBytes: deviceLoginLimits.maxBytes }, signal: inner });
  const post = options.post ?? postForm;
  const document = asObject(await (options.fetch ?? fetchJson)(`${provider.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, fetchOptions(signal)));
  // A document that speaks for another issuer proves nothing about this one.
  if (document['issuer'] !== provider.issuer) throw new Error('the discovery document is of another issuer');
  const [deviceEndpoint, tokenEndpoint] = [endpoint(document, 'device_authorization_endpoint'), endpoint(document, 'token_endpoint')];
  const started = await post(deviceEndpoint, { client_id: client.clientId, scope: client.scopes.length > 0 ? client.scopes.join(' ') : 'openid' }, fetchOptions(signal));
  if (started.status !== 200) throw new Error(`the device authorization answer has status ${started.status}`);
  const answer = asObject(started.json);
  const deviceCode = text(answer, 'device_code', 2_048);
  const complete = answer['verification_uri_complete'];
  return {
    userCode: text(answer, 'user_code', 64), verificationUri: address(text(answer, 'verification_uri', 512)),
    verificationUriComplete: complete === undefined ? null : address(text(answer, 'verification_uri_complete', 512)),
    expiresInMs: seconds(answer['expires_in'], deviceLoginLimits.life.default, 1, deviceLoginLimits.life.max) * 1000,
    intervalMs: seconds(answer['interval'], deviceLoginLimits.interval.default, deviceLoginLimits.interval.min, deviceLoginLimits.interval.max) * 1000,
    poll: async (inner) => {
      try {
        const polled = await post(tokenEndpoint, { grant_type: grantType, device_code: deviceCode, client_id: client.clientId }, fetchOptions(inner));
        return readPoll(polled.status, asObject(polled.json));
      } catch {
        inner.throwIfAborted();
        // RFC 8628, 3.5: a connection that timed out is a reason to ask less often.
        return { outcome: 'slower' };
      }
    },
  };
}

function readPoll(status: number, answer: Readonly<Record<string, unknown>>): Awaited<ReturnType<DeviceGrant['poll']>> {
  const token = answer['id_token'];
  if (status === 200) return typeof token === 'string' ? { outcome: 'token', token } : { outcome: 'refused' };
  if (answer['error'] === 'authorization_pending') return { outcome: 'pending' };
  if (answer['error'] === 'slow_down' || status >= 500 || status === 429) return { outcome: 'slower' };
  return { outcome: answer['error'] === 'expired_token' ? 'expired' : 'refused' };
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('the answer is not an object');
  return value as Readonly<Record<string, unknown>>;
}

function endpoint(document: Readonly<Record<string, unknown>>, name: string): string {
  const value = document[name];
  if (typeof value !== 'string') throw new Error(`the discovery document names no ${name}`);
  return value;
}

function text(answer: Readonly<Record<string, unknown>>, name: string, maxLength: number): string {
  const value = answer[name];
  if (typeof value !== 'string' || value.length > maxLength || !/^[\x21-\x7e]+(?: [\x21-\x7e]+)*$/.test(value)) throw new Error(`${name} is missing or not printable`);
  return value;
}

/** What a person is asked to open. */
function address(value: string): string {
  if (!/^https?:$/.test(URL.parse(value)?.protocol ?? '')) throw new Error('the address to open is not a web address');
  return value;
}

function seconds(value: unknown, otherwise: number, min: number, max: number): number {
  return typeof value === 'number' && Number.isFinite(value) ? Math.min(max, Math.max(min, value)) : otherwise;
}

/** At most so many in one second: logins that nobody finishes must not become a flood at the issuer. */
function perSecond(clock: Clock, limit: number): () => boolean {
  let second = -1;
  let count = 0;
  return () => {
    const now = Math.floor(clock.monotonicMs() / 1_000);
    if (now !== second) count = 0;
    second = now;
    count += 1;
    return count <= limit;
  };
}
