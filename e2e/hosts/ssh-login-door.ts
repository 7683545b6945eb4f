import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import type { ProxyConfig } from '../../contract/proxy-config.ts';
import { systemClock } from '../../runtime/clock.ts';
import { createDeviceLogin } from '../../sidecar/adapters/device-login.ts';
import { createIssuerKeys } from '../../sidecar/adapters/jwks.ts';
import type { SshUserCa } from '../../sidecar/core/identity/ssh-user-ca.ts';
import type { TicketPeers } from '../../sidecar/core/ports.ts';
import { authenticateClient, type AuthenticationOutcome } from '../../sidecar/ssh/authentication/authenticate.ts';
import { serveCredentialConnection } from '../../sidecar/ssh/authentication/credential-subsystem.ts';
import type { AuthenticationTiming } from '../../sidecar/ssh/authentication/outcome.ts';
import { TicketDesk } from '../../sidecar/ssh/authentication/tickets.ts';
import { createSshServer } from '../../sidecar/ssh/server.ts';
import type { IssuerHost } from './issuer.ts';

/** An SSH listener with the real authentication and nothing behind it: every command answers who the client is, as JSON. */
export interface LoginDoor extends AsyncDisposable {
  readonly port: number;
  readonly tickets: TicketDesk;
  readonly outcomes: readonly AuthenticationOutcome[];
  /** Audit events, in order. */
  readonly events: readonly { readonly code: string; readonly facts: Readonly<Record<string, unknown>> }[];
  /** All that was logged, one JSON object a line. */
  log(): string;
  /** Connections whose login is not decided. */
  readonly undecided: number;
}

export interface LoginDoorOptions {
  readonly issuer: IssuerHost;
  readonly hostKey: string;
  readonly userCa: SshUserCa | null;
  /** Null: the IdentityProvider names no client for it. */
  readonly deviceClient: string | null;
  readonly target?: string;
  readonly timing?: Partial<AuthenticationTiming>;
  readonly peers?: TicketPeers;
  readonly handshakeMs?: number;
}

export async function startLoginDoor(options: LoginDoorOptions): Promise<LoginDoor> {
  const clock = systemClock();
  const lines: string[] = [];
  const write = (level: string) => (message: string, fields: Readonly<Record<string, unknown>> = {}): void => void lines.push(JSON.stringify({ level, message, ...fields }));
  const log = { error: write('error'), info: write('info'), debug: write('debug') };
  const keys = createIssuerKeys({ clock, log });
  const config = configOf(options);
  const events: { readonly code: string; readonly facts: Readonly<Record<string, unknown>> }[] = [];
  const tickets = new TicketDesk(clock, options.peers ?? null);
  const deps = {
    config: { current: () => ({ config, revision: 1 }), subscribe: () => () => undefined }, keys, clock, log, tickets, userCa: options.userCa, deviceLogin: createDeviceLogin({ clock, log }),
    ...(options.timing === undefined ? {} : { timing: options.timing }), recorders: { event: async (code: string, facts: Readonly<Record<string, unknown>>) => void events.push({ code, facts }) },
  };
  const server = createSshServer({ hostKeys: [readFileSync(options.hostKey)], ...(options.handshakeMs === undefined ? {} : { handshakeMs: options.handshakeMs }) });
  const outcomes: AuthenticationOutcome[] = [];
  const sockets = new Set<Socket>();
  let undecided = 0;
  const listener = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
    const ask = { target: options.target ?? 'web-1', remote: { ip: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 } };
    void server.serve(socket, {
      connected: (served) => {
        undecided += 1;
        void authenticateClient(served, ask, deps, served.closed).then(async (outcome) => {
          undecided -= 1;
          outcomes.push(outcome);
          if (outcome.outcome === 'failed') return;
          if (outcome.wantsCredential) return serveCredentialConnection(served, outcome, ask, deps);
          served.connection.on('session', (accept) => accept().on('exec', (acceptExec) => {
            const channel = acceptExec();
            const { identity, credentialId, requestedUser } = outcome;
            channel.write(`${JSON.stringify({ username: identity.username, groups: identity.groups, method: identity.authMethod, credentialId, account: requestedUser, expiresAtMs: identity.expiresAtMs })}\n`);
            channel.exit(0);
            channel.end();
          }).on('subsystem', (_accept, reject) => reject()));
        });
      },
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  return {
    port: (listener.address() as { readonly port: number }).port, tickets, outcomes, events, log: () => lines.join('\n'),
    get undecided() { return undecided; },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      keys[Symbol.dispose]();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}

function configOf({ issuer, deviceClient }: LoginDoorOptions): ProxyConfig {
  return {
    schemaVersion: 1, namespace: 'payments', targets: [], policies: [],
    identityProviders: [{
      name: 'test-issuer', uid: 'uid-issuer', generation: 1, type: 'OIDC', issuer: issuer.issuer, audiences: [issuer.audience, ...(deviceClient === null ? [] : [deviceClient])], usernameClaim: 'email', usernamePrefix: 'oidc:', groupsClaim: 'groups',
      groupsPrefix: '', uidClaim: null, jwksUri: null, caBundle: issuer.ca, algorithms: ['ES256'], clockSkewSeconds: 30, ...(deviceClient === null ? {} : { deviceLogin: { clientId: deviceClient, scopes: ['openid'] } }),
    }],
  };
}
