import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Approver, Clock, ConfigSource, DeviceLogin, Logger, RedeemedTicket, SecretSource, ShellParser, SqlParser, TicketPeers, TicketUse } from './core/ports.ts';
import type { SshTicket } from './core/identity/ssh-ticket.ts';
import type { SshUserCa } from './core/identity/ssh-user-ca.ts';
import type { Target } from '../contract/proxy-config.ts';
import type { RecorderFactory } from '../contract/audit.ts';
import type { Metrics } from '../runtime/metrics.ts';
import type { IssuerKeys } from './adapters/jwks.ts';
import { deny, type ErrorCode } from './core/errors.ts';
import { createMaskKey } from './core/masking/mask-key.ts';
import { ulid } from './core/recording/ulid.ts';
import { EqualityBudget } from './core/session/equality-budget.ts';
import { SessionRegistry } from './core/session/registry.ts';
import { createTally } from './core/session/tally.ts';
import { createInspectionCache } from './core/sql/inspection-cache.ts';
import { CancelKeys, type CancelPeers } from './postgres/cancel-keys.ts';
import { Catalogs } from './postgres/catalogs.ts';
import { type PostgresDeps, serveConnection } from './postgres/connection.ts';
import type { Admission } from './core/session/admission.ts';
import { openSessionInspector } from './postgres/session-inspector.ts';
import { declareMetrics } from './proxy-metrics.ts';
import { type RunningProxy, runProxy } from './run-proxy.ts';
import { TicketDesk } from './ssh/authentication/tickets.ts';
import { channelServers } from './ssh/channel-server-table.ts';
import { serveSshConnection, type SshDeps } from './ssh/connection.ts';
import { nativeProblem } from './ssh/native.ts';
import { createSshServer, type SshServer } from './ssh/server.ts';

/** The adapters that a cluster or a directory brings, and the settings of the installation. */
export interface ProxyAdapters {
  readonly config: ConfigSource;
  readonly approver: Approver;
  readonly keys: IssuerKeys;
  readonly secrets: SecretSource;
  readonly recorders: RecorderFactory;
  readonly parser: SqlParser;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly tls: PostgresDeps['tls'];
  readonly allowPlaintextLoopback: boolean;
  readonly bindHost: string;
  /** 32 bytes each. */
  readonly digestKey: Uint8Array;
  readonly maskingKey: Uint8Array;
  readonly namespace: string;
  readonly maxSessions: number;
  /** Null: this installation serves no SSH, and `sshProblem` says why. */
  readonly ssh: SshAdapters | null;
  /** Other replicas, asked about cancel keys that this one does not know. */
  readonly cancelPeers?: CancelPeers;
  /** Why nobody may be admitted now, although there is a config; null = go on. */
  readonly closed?: () => ErrorCode | null;
}

/** What SSH Targets need besides. */
export interface SshAdapters {
  /** Private host keys, OpenSSH's format, one per type, best first; none: the listeners stay shut. */
  readonly hostKeys: readonly Uint8Array[];
  readonly shellParser: ShellParser;
  /** Null: no certificate counts and none is issued. */
  readonly userCa: SshUserCa | null;
  readonly deviceLogin: DeviceLogin | null;
  /** Null where there is one replica only. */
  readonly ticketPeers: TicketPeers | null;
}

export interface StartedProxy extends RunningProxy {
  readonly registry: SessionRegistry;
  /** A cancel key that another replica was shown. */
  cancelForPeer(pid: number, key: Buffer): 'cancelled' | 'unknown';
  /** A ticket that another replica was shown; null: it is none of ours. */
  redeemForPeer(ticket: SshTicket, use: TicketUse): RedeemedTicket | null;
}

/** Wires the core to its adapters and starts the listeners. The one place where a session's parts are put together, for both modes. */
export async function startProxy(adapters: ProxyAdapters): Promise<StartedProxy> {
  const { config, approver, keys, secrets, recorders, parser, clock, log } = adapters;
  const registry = new SessionRegistry({ config, approver, clock, log, maxSessions: adapters.maxSessions, ...(adapters.closed === undefined ? {} : { closed: adapters.closed }) });
  const catalogs = new Catalogs({ secrets, clock });
  const cache = createInspectionCache();
  const maskKey = createMaskKey(adapters.maskingKey, { namespace: adapters.namespace, epoch: 1 });
  const tally = createTally();
  const metrics = declareMetrics(adapters.metrics, registry, tally);
  recorders.onFailure((code) => {
    tally.recorderFailures[code]++;
    for (const session of registry.list()) session.end({ reason: 'RecorderFailed', denial: deny(code) });
  });
  const cancelKeys = new CancelKeys(clock);
  const deps: PostgresDeps = {
    config, keys, registry, approver, clock, log, secrets, recorders, newSessionId: () => ulid(clock.now(), randomBytes(10)), digestKey: adapters.digestKey, tls: adapters.tls, allowPlaintextLoopback: adapters.allowPlaintextLoopback,
    cancelKeys, cancelPeers: adapters.cancelPeers ?? null, equalities: new EqualityBudget(), count: (outcome) => metrics.connection({ protocol: 'postgres', outcome }), tally,
    openInspector: (session) => openSessionInspector({ session, parser, cache, catalog: catalogs.open(session.permit), maskKey, digestKey: adapters.digestKey }),
  };
  const prepareKeys = (): void => void keys.prepare(config.current()?.config.identityProviders ?? []);
  config.subscribe(prepareKeys);
  prepareKeys();
  const ssh = startSsh(adapters, deps, (outcome) => metrics.connection({ protocol: 'ssh', outcome }));
  const targetOf = (name: string): Target | undefined => config.current()?.config.targets.find((target) => target.name === name);
  const running = await runProxy({
    config, registry, bindHost: adapters.bindHost, log, shut: (target) => ('ssh' in target ? ssh.problem : null), times: (target) => ('ssh' in target ? sshTimes : {}),
    metrics: { connection: (outcome) => metrics.accepted({ outcome }) },
    serve: (socket: Socket, admission: Admission, name: string) => {
      const target = targetOf(name);
      // A Target that became another's protocol or is gone has no listener in a moment.
      if (target !== undefined && 'ssh' in target) return ssh.serve(socket, admission, name);
      return serveConnection(socket, admission, name, deps);
    },
  });
  return { ...running, registry, cancelForPeer: (pid, key) => cancelKeys.cancelForPeer(pid, key), redeemForPeer: ssh.redeemForPeer };
}

/** Longer than the grace of a login with a device, which the SSH part ends itself. Its clients wait two minutes for a login: many at once may take their turns. */
const sshTimes = { loginMs: 200_000, waitMs: 60_000 } as const;

interface SshPart {
  readonly problem: string | null;
  readonly serve: (socket: Socket, admission: Admission, target: string) => Promise<void>;
  readonly redeemForPeer: StartedProxy['redeemForPeer'];
}

/** The SSH part, or why there is none: then the ports of SSH Targets stay shut. */
function startSsh(adapters: ProxyAdapters, shared: PostgresDeps, count: SshDeps['count']): SshPart {
  const { ssh } = adapters;
  const opened = openServer(ssh);
  if (ssh === null || typeof opened === 'string') {
    return {
      problem: typeof opened === 'string' ? opened : 'this installation serves no SSH',
      serve: (socket) => {
        socket.destroy();
        return Promise.resolve();
      },
      redeemForPeer: () => null,
    };
  }
  const { config, keys, registry, approver, clock, log, secrets, recorders, newSessionId, digestKey, tally } = shared;
  const tickets = new TicketDesk(clock, ssh.ticketPeers);
  const deps: SshDeps = {
    config, keys, registry, approver, clock, log, secrets, recorders, newSessionId, digestKey, tally, count, tickets, userCa: ssh.userCa, deviceLogin: ssh.deviceLogin, parser: ssh.shellParser,
    server: opened, servers: channelServers,
  };
  return {
    problem: null, serve: (socket, admission, target) => serveSshConnection(socket, admission, target, deps),
    redeemForPeer: (ticket, use) => (ticket.replica === tickets.replica ? tickets.redeemOwn(ticket, use) : null),
  };
}

/** The server of all SSH listeners, or a sentence why there is none. */
function openServer(ssh: SshAdapters | null): SshServer | string {
  const problem = nativeProblem();
  if (problem !== null) return problem;
  if (ssh === null) return 'this installation serves no SSH';
  if (ssh.hostKeys.length === 0) return 'there is no SSH host key';
  try {
    return createSshServer({ hostKeys: ssh.hostKeys });
  } catch (error) {
    // PostgreSQL Targets are served all the same.
    return error instanceof Error ? error.message : 'the SSH host key cannot be read';
  }
}
