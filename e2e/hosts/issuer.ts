import { createServer } from 'node:https';
import { generateKeyPair, exportJWK, importJWK, SignJWT, type JWK } from 'jose';
import Provider, { type Adapter, type AdapterFactory, type AdapterPayload, type Configuration } from 'oidc-provider';
import { type Authority, type CertificatePair, createAuthority } from './certificates.ts';
import { freePort } from './postgres.ts';

/** A person or job that can fetch a token with the client credentials grant. */
export interface IssuerClient {
  readonly id: string;
  readonly secret: string;
  /** Claims put into its access tokens: email, groups, … */
  readonly claims: Readonly<Record<string, unknown>>;
}

/** A real OIDC issuer (oidc-provider) over HTTPS on loopback. */
export interface IssuerHost {
  readonly issuer: string;
  readonly audience: string;
  /** PEM that verifies its certificate. */
  readonly ca: string;
  /** Fetches a real access token (a signed JWT) over HTTPS. */
  token(clientId: string): Promise<string>;
  /** What a person does in a browser who opens the address of a device login and enters its code; the grant itself is the issuer's. */
  approveDevice(userCode: string, person: string): Promise<void>;
  refuseDevice(userCode: string): Promise<void>;
  /** Requests to the token endpoint so far. */
  tokenRequests(): number;
  /** Signs any claims with the issuer's own key, for expired and odd tokens. */
  sign(claims: Readonly<Record<string, unknown>>, options?: { readonly expiresInSeconds?: number; readonly header?: Readonly<Record<string, unknown>> }): Promise<string>;
  stop(): Promise<void>;
}

/** How an issuer is started. */
export interface IssuerOptions {
  readonly clients: readonly IssuerClient[];
  readonly audience?: string;
  /** Life of its tokens; default 3,600. */
  readonly ttlSeconds?: number;
  readonly authority?: Authority;
  readonly port?: number;
  /** Address of the issuer's URL, in its certificate too; default 127.0.0.1. */
  readonly address?: string;
  /** Address that it listens on; default: that of the URL. */
  readonly bind?: string;
  /** Certificate for `address` made before, with the PEM that verifies it: instead of `authority`. */
  readonly tls?: CertificatePair & { readonly ca: string };
  /** Private key (ES256) that it signs with; default: a new one. */
  readonly signingKey?: JWK;
  /** Device grant (RFC 8628) for a public client of this id; its ID tokens bear the claims of `people`, by name. */
  readonly device?: { readonly clientId: string; readonly people: Readonly<Record<string, Readonly<Record<string, unknown>>>> };
}

/** Starts the issuer. */
export async function startIssuer(input: IssuerOptions): Promise<IssuerHost> {
  const audience = input.audience ?? 'sallyport';
  const port = input.port ?? (await freePort());
  const address = input.address ?? '127.0.0.1';
  const issuer = `https://${address}:${port}`;
  const tls = input.tls ?? (await certificateFor(address, input.authority));
  const signingKey = input.signingKey ?? (await newSigningKey());
  const provider = new Provider(issuer, configuration(input, audience, signingKey));
  provider.proxy = false;
  const server = createServer({ cert: tls.certificate, key: tls.key });
  const answer = provider.callback();
  let tokenRequests = 0;
  server.on('request', (request, response) => {
    if (request.url === '/token') tokenRequests += 1;
    void answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(port, input.bind ?? address, resolve));
  return {
    issuer, audience, ca: tls.ca,
    token: (clientId) => fetchToken(issuer, tls.ca, audience, clientOf(input.clients, clientId)),
    approveDevice: (userCode, person) => decideDevice(provider, userCode, person),
    refuseDevice: (userCode) => decideDevice(provider, userCode, null),
    tokenRequests: () => tokenRequests,
    sign: (claims, options) => signToken({ key: signingKey, issuer, audience }, claims, options),
    stop: () => new Promise((resolve) => { server.closeAllConnections(); server.close(() => resolve()); }),
  };
}

/** A private key that an issuer signs with. */
export async function newSigningKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  return { ...(await exportJWK(privateKey)), kid: 'issuer-1', use: 'sig', alg: 'ES256' };
}

/** Signs any claims as an issuer does, with its key: for tests that run elsewhere than the issuer, and for expired and odd tokens. */
export async function signToken(by: { readonly key: JWK; readonly issuer: string; readonly audience: string }, claims: Readonly<Record<string, unknown>>, options: { readonly expiresInSeconds?: number; readonly header?: Readonly<Record<string, unknown>> } = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ iss: by.issuer, aud: by.audience, iat: now - 1, exp: now + (options.expiresInSeconds ?? 3600), jti: `t-${now}-${Math.random()}`, ...claims })
    .setProtectedHeader({ alg: 'ES256', kid: 'issuer-1', ...options.header })
    .sign(await importJWK(by.key, 'ES256'));
}

async function certificateFor(address: string, given?: Authority): Promise<CertificatePair & { readonly ca: string }> {
  const authority = given ?? (await createAuthority('Sallyport test issuer authority'));
  return { ...(await authority.issue({ commonName: 'issuer', ips: [address], dnsNames: ['localhost'] })), ca: authority.ca };
}

/** What the pages of the issuer do in the end. */
async function decideDevice(provider: Provider, userCode: string, person: string | null): Promise<void> {
  const code = await provider.DeviceCode.findByUserCode(userCode.toUpperCase().replaceAll(/\W/g, ''));
  if (!code?.clientId) throw new Error(`no device login with code ${userCode}`);
  if (person === null) {
    Object.assign(code, { error: 'access_denied', errorDescription: 'refused by the person' });
  } else {
    const grant = new provider.Grant({ accountId: person, clientId: code.clientId });
    grant.addOIDCScope('openid');
    Object.assign(code, { accountId: person, grantId: await grant.save(), scope: 'openid', authTime: Math.floor(Date.now() / 1000), claims: {} });
  }
  await code.save();
}

function configuration(input: IssuerOptions, audience: string, jwk: JWK): Configuration {
  const { clients, device } = input;
  const ttlSeconds = input.ttlSeconds ?? 3600;
  const people = device?.people ?? {};
  const deviceClient = device === undefined ? [] : [{
    client_id: device.clientId, grant_types: ['urn:ietf:params:oauth:grant-type:device_code'], redirect_uris: [], response_types: [], token_endpoint_auth_method: 'none' as const, id_token_signed_response_alg: 'ES256' as const, application_type: 'native' as const,
  }];
  return {
    jwks: { keys: [jwk] },
    adapter: memoryAdapter(),
    claims: { openid: ['sub', 'email', 'groups'] },
    conformIdTokenClaims: false,
    findAccount: (_context, id) => ({ accountId: id, claims: () => Promise.resolve({ ...people[id], sub: id }) }),
    clients: [...deviceClient, ...clients.map((client) => ({ client_id: client.id, client_secret: client.secret, grant_types: ['client_credentials'], redirect_uris: [], response_types: [], token_endpoint_auth_method: 'client_secret_post' as const, id_token_signed_response_alg: 'ES256' as const }))],
    extraTokenClaims: (_context, token) => ({ ...clients.find((client) => client.id === token.clientId)?.claims, sub: token.clientId }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: device !== undefined },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audienceUri(audience),
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({ scope: '', audience, accessTokenTTL: ttlSeconds, accessTokenFormat: 'jwt' as const, jwt: { sign: { alg: 'ES256' as const } } }),
      },
    },
    ttl: { ClientCredentials: ttlSeconds, IdToken: ttlSeconds, AccessToken: ttlSeconds, Grant: ttlSeconds, DeviceCode: 300 },
  };
}

/** What the issuer keeps: nothing outlives the process. */
function memoryAdapter(): AdapterFactory {
  const stored = new Map<string, AdapterPayload>();
  return (name): Adapter => ({
    upsert: async (id, payload) => void stored.set(`${name} ${id}`, payload),
    find: async (id) => stored.get(`${name} ${id}`),
    findByUserCode: async (userCode) => [...stored.values()].find((payload) => payload.userCode === userCode),
    findByUid: async () => undefined,
    consume: async (id) => void Object.assign(stored.get(`${name} ${id}`) ?? {}, { consumed: Math.floor(Date.now() / 1000) }),
    destroy: async (id) => void stored.delete(`${name} ${id}`),
    revokeByGrantId: async () => undefined,
  });
}

const audienceUri = (audience: string): string => `urn:audience:${audience}`;

function clientOf(clients: readonly IssuerClient[], id: string): IssuerClient {
  const found = clients.find((client) => client.id === id);
  if (!found) throw new Error(`no client ${id}`);
  return found;
}

async function fetchToken(issuer: string, ca: string, audience: string, client: IssuerClient): Promise<string> {
  const { request } = await import('node:https');
  const body = new URLSearchParams({ grant_type: 'client_credentials', client_id: client.id, client_secret: client.secret, resource: audienceUri(audience) }).toString();
  const answer = await new Promise<string>((resolve, reject) => {
    const call = request(`${issuer}/token`, { method: 'POST', ca, headers: { 'content-type': 'application/x-www-form-urlencoded', 'content-length': Buffer.byteLength(body) } }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk; }).on('end', () => resolve(text));
    });
    call.once('error', reject).end(body);
  });
  const token: unknown = (JSON.parse(answer) as Record<string, unknown>)['access_token'];
  if (typeof token !== 'string') throw new Error(`the issuer gave no token: ${answer}`);
  return token;
}
