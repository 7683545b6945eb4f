import { join } from 'node:path';
import { printableText } from '../contract/printable-text.ts';
import { type RuntimeClock, sleep, systemClock } from '../runtime/clock.ts';
import { inClusterClient } from '../runtime/kube/in-cluster.ts';
import { createLog, type Log } from '../runtime/log.ts';
import { createMetrics } from '../runtime/metrics.ts';
import { watchShutdown } from '../runtime/shutdown.ts';
import { keyIdOf, openClusterApprovals } from './adapters/cluster/access-requests.ts';
import { openAccessSessions } from './adapters/cluster/access-sessions.ts';
import { createPeerClient, servePeers } from './adapters/cluster/peers.ts';
import { sessionObjectName } from './adapters/cluster/session-object.ts';
import { startAcks } from './adapters/cluster/ack.ts';
import { ackEntry, type FailedTarget } from './adapters/cluster/ack-entry.ts';
import { ConfigHolder, type ConfigState } from './adapters/cluster/config-holder.ts';
import { watchClusterConfig } from './adapters/cluster/config-watch.ts';
import { type NamespaceKeys, readNamespaceKeys } from './adapters/cluster/keys.ts';
import { openClusterSecrets } from './adapters/cluster/secrets.ts';
import { proxyEvents } from './adapters/cluster/proxy-events.ts';
import { snapshotFile } from './adapters/cluster/snapshot-file.ts';
import { readMountedHostKeys } from './adapters/cluster/ssh-host-keys.ts';
import { readMountedUserCa } from './adapters/cluster/ssh-user-ca.ts';
import { createDeviceLogin } from './adapters/device-login.ts';
import { createIssuerKeys } from './adapters/jwks.ts';
import { createLineEcho } from './adapters/line-echo.ts';
import { listenerCertificate } from './adapters/listener-certificate.ts';
import { openRecorder } from './adapters/session-recorder.ts';
import { createShellParser } from './adapters/shell-parser.ts';
import { createSqlParser } from './adapters/sql-parser.ts';
import type { ClusterSettings } from './cluster-settings.ts';
import { type Denial, deny } from './core/errors.ts';
import type { TicketPeers } from './core/ports.ts';
import { followPolicyChanges } from './policy-changes.ts';
import { serveProbes } from './probes.ts';
import { type SshAdapters, type StartedProxy, startProxy } from './start-proxy.ts';

/** The pod's grace period is the drain and 60 s: the process ends before the kubelet ends it. */
const forcedExitMs = 50_000;
/** Endpoints and load balancers learn late that this replica goes: so long new sessions are still served. */
const acceptMs = 5_000;
const keysEveryMs = 1_000;

/**
 * Runs the proxy of one namespace as a pod: the same proxy as in directory mode, with adapters of the API server.
 *
 * Started in the order in which the parts rest on each other, closed in the opposite one. The API server is needed for none of it once there is a config.
 * @returns the exit status: 0 after a drain.
 */
export async function serveCluster(settings: ClusterSettings): Promise<number> {
  const { namespace, pod, podUid, proxy: wanted, paths } = settings;
  const clock = systemClock();
  const log = createLog({ level: wanted.logLevel, stream: process.stderr, now: () => clock.now() });
  await using closing = new AsyncDisposableStack();
  const shutdown = watchShutdown({ source: process, clock, drainMs: wanted.drainSeconds * 1_000 + forcedExitMs, exit: (code) => process.exit(code) });
  closing.defer(() => shutdown.stop());
  const metrics = createMetrics({ process: true });
  let notReady: () => string | null = () => 'STARTING';
  const probes = closing.use(await serveProbes({ host: settings.bindHost, healthPort: settings.ports.health, metricsPort: settings.ports.metrics, notReady: () => notReady(), metrics, log }));
  const mounted = await mountedKeys(paths.keys, clock, log, shutdown.signal, (reason) => { notReady = () => reason; });
  if (mounted === null) return 0;

  metrics.gauge({ name: 'sallyport_listener_certificate_expiration_timestamp_seconds', help: 'When the certificate that the listeners show ends, Unix time.', labels: {} }, () => mounted.tls.expiresAtMs() / 1_000);
  const client = inClusterClient({ serviceAccountDirectory: paths.serviceAccount, ...settings.apiServer, userAgent: `sallyport-proxy/${pod}` });
  closing.defer(() => client.close());
  const config = new ConfigHolder({ namespace, pod, staleness: wanted.staleness, maxStaleMs: wanted.maxStalenessSeconds * 1_000, clock, log });
  metrics.gauge({ name: 'sallyport_proxy_config_stale_seconds', help: 'Time since the API server last confirmed the config in force; since the start of the process before the first time.', labels: {} }, () => (Number.isFinite(config.staleMs()) ? config.staleMs() : clock.monotonicMs()) / 1_000);
  const copy = createLineEcho(process.stdout);
  const recorder = await openRecorder({ dataDirectory: paths.state, namespace, clock, reserveBytes: settings.reserveBytes, minFreeBytes: settings.minFreeBytes, echo: copy.echo, echoDropped: copy.dropped });
  closing.defer(() => recorder.close());
  closing.use(watchClusterConfig({ client, holder: config, namespace, snapshots: snapshotFile(paths.state, namespace, mounted.keys.digest), maxStaleMs: wanted.maxStalenessSeconds * 1_000, clock, random: Math.random, log }));
  const secrets = closing.use(openClusterSecrets({ client, namespace, config, clock, random: Math.random, log }));
  const issuerKeys = closing.use(createIssuerKeys({ clock, log }));
  const parser = closing.use(await createSqlParser());
  followPolicyChanges({ current: () => config.state().inForce?.parsed ?? null, subscribe: (listener) => config.subscribe(listener) }, (facts) => recorder.event('policy.changed', facts), log);
  const events = closing.use(proxyEvents({ client, namespace, pod, clock, log }));
  let terminate: (sessionId: string, denial: Denial) => void = () => undefined;
  const sessions = closing.use(openAccessSessions(recorder, {
    client, namespace, pod, objects: wanted.sessionObjects, config: () => config.current()?.config ?? null, clock, random: Math.random, log, announce: events.session,
    terminate: (sessionId, { by, reason }) => terminate(sessionId, deny('SESSION_TERMINATED', { detail: terminatedBy(by, reason) })),
  }));
  metrics.gauge({ name: 'sallyport_session_objects_waiting', help: 'Sessions whose AccessSession is still to be written or brought up to date.', labels: {} }, () => sessions.waiting);
  metrics.gauge({ name: 'sallyport_session_objects_dropped', help: 'Sessions whose AccessSession was given up since the start; the audit log has them.', labels: {} }, () => sessions.dropped);
  const approvals = closing.use(openClusterApprovals({
    client, namespace, pod, config, aliases: wanted.identityAliases, keyId: keyIdOf(mounted.keys.digest), sessionObject: sessionObjectName, onEvent: (code, facts) => recorder.event(code, facts), announce: events.request, clock, random: Math.random, log,
  }));
  const peers = { namespace, key: mounted.keys.peers, port: settings.ports.peers, clock, log };
  const peerClient = createPeerClient(peers);
  const proxy = await startProxy({
    config, approver: approvals, keys: issuerKeys, secrets, recorders: sessions.recorders, parser, clock, log, metrics, namespace, bindHost: settings.bindHost, maxSessions: wanted.maxSessions, ssh: await openSsh(paths.keys, closing, { clock, log, ticketPeers: peerClient }), allowPlaintextLoopback: false,
    tls: mounted.tls, cancelPeers: peerClient, digestKey: mounted.keys.digest, maskingKey: mounted.keys.masking, closed: () => (config.deniesNew() ? 'CONFIG_STALE' : null),
  });
  terminate = (sessionId, denial) => proxy.registry.list().find((session) => session.id === sessionId)?.end({ reason: 'Terminated', denial });
  closing.use(await servePeers({ ...peers, host: settings.bindHost, onCancel: (pid, key) => proxy.cancelForPeer(pid, key), onTicket: ({ ticket, use }) => proxy.redeemForPeer(ticket, use) }));
  const endNow = new AbortController();
  closing.defer(() => proxy.drain({ deadlineMs: 0, acceptMs: 0, ports: 'close', hurry: endNow.signal }));

  let draining = false;
  let followed: ConfigState = { inForce: null, appliedAtMs: 0, rejected: null };
  let wasReady = false;
  notReady = () => {
    if (draining) return 'DRAINING';
    if (followed.inForce === null) return 'CONFIG_NOT_LOADED';
    const reason = recorder.unavailable() ?? (!wasReady && proxy.unopened().size > 0 ? 'PORT_NOT_OPEN' : null);
    wasReady ||= reason === null;
    return reason;
  };
  const acks = closing.use(startAcks({
    client, namespace, pod, clock, random: Math.random, log, stored: () => config.storedAck(),
    desired: () => ackEntry({ pod, podUid, state: followed, draining, failedTargets: [...unopened(proxy), ...secrets.failedTargets()] }),
  }));
  const follow = async (): Promise<void> => {
    const state = config.state();
    await proxy.settled();
    if (state !== config.state()) return;
    followed = state;
    acks.nudge();
  };
  config.subscribe(() => void follow());
  config.onStatus(() => void follow());
  secrets.subscribe(() => acks.nudge());
  const lookAtPorts = setInterval(() => acks.nudge(), 5_000);
  closing.defer(() => clearInterval(lookAtPorts));
  await follow();
  log.info('started', { health: probes.healthPort, metrics: probes.metricsPort });

  await new Promise<void>((resolve) => {
    if (shutdown.signal.aborted) resolve();
    shutdown.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  draining = true;
  acks.nudge();
  log.info('draining', { drainSeconds: wanted.drainSeconds, sessions: proxy.registry.size });
  await proxy.drain({ deadlineMs: wanted.drainSeconds * 1_000, acceptMs, ports: 'close', hurry: shutdown.hurry });
  await closing.disposeAsync();
  log.info('stopped');
  return 0;
}

function terminatedBy(by: string, reason: string): string {
  return printableText(reason === '' ? `ended by ${by}` : `ended by ${by}: ${reason}`, { oneLine: true });
}

interface Mounted {
  readonly keys: NamespaceKeys;
  readonly tls: ReturnType<typeof listenerCertificate>;
}

/** What the Secrets of SSH hold, read once: they are made before the first pod and never changed. */
async function openSsh(keys: string, closing: AsyncDisposableStack, { clock, log, ticketPeers }: { readonly clock: RuntimeClock; readonly log: Log; readonly ticketPeers: TicketPeers }): Promise<SshAdapters> {
  return { hostKeys: await readMountedHostKeys(keys), shellParser: closing.use(createShellParser()), userCa: await readMountedUserCa(keys), deviceLogin: createDeviceLogin({ clock, log }), ticketPeers };
}

/** Waits for the files that the kubelet mounts: optional ones come when their Secret is made. Null when the process has to end before. */
async function mountedKeys(directory: string, clock: RuntimeClock, log: Log, signal: AbortSignal, waitFor: (reason: string) => void): Promise<Mounted | null> {
  for (let attempt = 0; ; attempt++) {
    const keys = await readNamespaceKeys(directory);
    const tls = openCertificate(directory, log);
    if (keys !== null && tls !== null) return { keys, tls };
    const reason = keys === null ? 'KEYS_MISSING' : 'CERTIFICATE_MISSING';
    waitFor(reason);
    if (attempt === 0) log.error('keys or certificate of the listeners are not mounted, waiting for them', { reason });
    try {
      await sleep(clock, keysEveryMs, signal);
    } catch {
      return null;
    }
  }
}

function openCertificate(directory: string, log: Log): ReturnType<typeof listenerCertificate> | null {
  try {
    return listenerCertificate(join(directory, 'tls.crt'), join(directory, 'tls.key'), (error) => log.error('listener certificate cannot be read, the last good one stays', { error: error.message }));
  } catch {
    return null;
  }
}

function unopened(proxy: StartedProxy): readonly FailedTarget[] {
  return [...proxy.unopened(), ...proxy.shut()].map((name) => ({ name, reason: 'PORT_NOT_OPEN' }));
}
