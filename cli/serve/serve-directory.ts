import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import type { ProxyConfig } from '../../contract/proxy-config.ts';
import { systemClock } from '../../runtime/clock.ts';
import { createLog, type Log } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { watchShutdown } from '../../runtime/shutdown.ts';
import { openDirectoryApprovals } from '../../sidecar/adapters/directory/access-requests.ts';
import { type DirectoryConfig, watchConfigDirectory } from '../../sidecar/adapters/directory/config-directory.ts';
import { readOrCreateKey } from '../../sidecar/adapters/directory/keys.ts';
import { listenerCertificate } from '../../sidecar/adapters/listener-certificate.ts';
import { createDirectorySecrets } from '../../sidecar/adapters/directory/secrets.ts';
import { openDirectoryHostKeys } from '../../sidecar/adapters/directory/ssh-host-keys.ts';
import { openDirectoryUserCa } from '../../sidecar/adapters/directory/ssh-user-ca.ts';
import { createDeviceLogin } from '../../sidecar/adapters/device-login.ts';
import { isLoopbackHost } from '../../sidecar/adapters/fetch-json.ts';
import { createIssuerKeys } from '../../sidecar/adapters/jwks.ts';
import { createLineEcho } from '../../sidecar/adapters/line-echo.ts';
import { openRecorder } from '../../sidecar/adapters/session-recorder.ts';
import { createShellParser } from '../../sidecar/adapters/shell-parser.ts';
import { createSqlParser } from '../../sidecar/adapters/sql-parser.ts';
import { deny } from '../../sidecar/core/errors.ts';
import { verifyToken } from '../../sidecar/core/identity/verify-token.ts';
import type { DecidedBy } from '../../sidecar/core/policy/decision.ts';
import { serveHttpApi } from '../../sidecar/http-api.ts';
import { nativeProblem } from '../../sidecar/ssh/native.ts';
import { type SshAdapters, startProxy } from '../../sidecar/start-proxy.ts';
import { createDirectoryCompiler } from '../compile-directory.ts';
import { formatFileProblem } from '../file-problem.ts';
import type { CommandIo } from '../gateway-client.ts';
import { generationFile } from '../generation-file.ts';
import { policyChanges } from '../../sidecar/policy-changes.ts';
import type { ServeOptions } from './serve-options.ts';

/** Drain ends some time before the process is forced to. */
const forcedExitMs = 10_000;
/** Nobody else serves this directory, so the ports stay open: whoever comes is told to come back. */
const drainPlan = { acceptMs: 0, ports: 'refuse' } as const;

/**
 * Directory mode: the same compile step and the same proxy as in a cluster, with adapters of files.
 *
 * Started in the order in which the parts rest on each other, closed in the opposite one, also when one of them cannot be started: nothing may keep the process then.
 * @returns the exit status: 0 after a drain, 1 when the first config cannot be put in force.
 */
export async function serveDirectory(options: ServeOptions, io: CommandIo): Promise<number> {
  const clock = systemClock();
  const log = createLog({ level: options.logLevel, stream: process.stderr, now: () => clock.now() });
  await using closing = new AsyncDisposableStack();
  const shutdown = watchShutdown({ source: process, clock, drainMs: options.drainMs + forcedExitMs, exit: (code) => process.exit(code) });
  closing.defer(() => shutdown.stop());
  const watching = new AbortController();
  closing.defer(() => watching.abort());
  await mkdir(options.data, { recursive: true, mode: 0o700 });
  const secrets = createDirectorySecrets();
  const config = await openConfig(options, secrets, log, AbortSignal.any([shutdown.signal, watching.signal]));
  const current = config.current();
  if (!current) {
    for (const problem of config.problems()) io.stderr.write(`${formatFileProblem(problem)}\n`);
    return 1;
  }
  const { namespace } = current.config;
  const copy = options.auditToStdout ? createLineEcho(process.stdout) : null;
  const recorder = await openRecorder({ dataDirectory: options.data, namespace, clock, reserveBytes: options.reserveBytes, minFreeBytes: options.minFreeBytes, ...(copy === null ? {} : { echo: copy.echo, echoDropped: copy.dropped }) });
  closing.defer(() => recorder.close());
  const approvals = await openDirectoryApprovals({ dataDirectory: options.data, clock, log, onEvent: (code, facts) => recorder.event(code, facts), isPolicyCurrent: (by) => isCurrent(config.current()?.config ?? null, by) });
  closing.defer(() => approvals.close());
  const keys = closing.use(createIssuerKeys({ clock, log }));
  const parser = closing.use(await createSqlParser());
  const metrics = createMetrics({ process: true });
  const recordChanges = policyChanges(current.config, (facts) => recorder.event('policy.changed', facts), log);
  config.subscribe(() => {
    recordChanges(config.current()?.config ?? null);
    approvals.recheckPolicies();
  });
  const proxy = await startProxy({
    config, approver: approvals, keys, secrets, recorders: recorder, parser, clock, log, metrics, namespace, bindHost: options.bind, maxSessions: options.maxSessions, allowPlaintextLoopback: options.allowPlaintextLoopback,
    tls: options.tls && listenerCertificate(options.tls.certificateFile, options.tls.keyFile, (error) => log.error('listener certificate cannot be read, the last good one stays', { error: error.message })),
    digestKey: await readOrCreateKey(options.data, 'digest'), maskingKey: await readOrCreateKey(options.data, 'masking'), ssh: await openSsh(options.data, closing, { clock, log }),
  });
  closing.defer(() => proxy.drain({ ...drainPlan, deadlineMs: 0, hurry: shutdown.hurry }));
  let draining = false;
  const http = closing.use(await serveHttpApi({
    host: options.http.host, port: options.http.port, tls: httpTls(options), desk: approvals, metrics, clock, log,
    verify: async (token) => {
      const inForce = config.current();
      return inForce ? verifyToken(token, inForce.config, keys, clock.now()) : { outcome: 'denied', denial: deny('CONFIG_NOT_LOADED') };
    },
    notReady: () => (draining ? 'DRAINING' : config.current() === null ? 'CONFIG_NOT_LOADED' : (recorder.unavailable() ?? (proxy.unopened().size > 0 ? 'PORT_NOT_OPEN' : null))),
    sessions: { list: () => proxy.registry.list().map((session) => ({
      sessionId: session.id, subject: session.subject, username: session.identity.username, target: session.permit.target.name, database: session.permit.database, startedAtMs: session.startedAtMs,
      approverGroups: session.permit.policies.flatMap((policy) => policy.rules.flatMap((rule) => rule.approval?.groups ?? [])),
    })) },
  }));
  log.info('ready', { http: `${httpTls(options) ? 'https' : 'http'}://${options.http.host}:${http.port}`, targets: Object.fromEntries(proxy.ports()) });

  await new Promise<void>((resolve) => shutdown.signal.addEventListener('abort', () => resolve(), { once: true }));
  draining = true;
  log.info('draining', { drainMs: options.drainMs, sessions: proxy.registry.size });
  await proxy.drain({ ...drainPlan, deadlineMs: options.drainMs, hurry: shutdown.hurry });
  await http.close(1_000);
  await closing.disposeAsync();
  log.info('stopped');
  return 0;
}

/** Where the native part is missing no key is made: the ports of SSH Targets stay shut, and the log says why. */
async function openSsh(data: string, closing: AsyncDisposableStack, { clock, log }: { readonly clock: ReturnType<typeof systemClock>; readonly log: Log }): Promise<SshAdapters> {
  const shellParser = closing.use(createShellParser());
  if (nativeProblem() !== null) return { hostKeys: [], shellParser, userCa: null, deviceLogin: null, ticketPeers: null };
  const { createHostKey } = await import('../../sidecar/ssh/create-host-key.ts');
  return { hostKeys: await openDirectoryHostKeys(data, createHostKey), shellParser, userCa: await openDirectoryUserCa(data), deviceLogin: createDeviceLogin({ clock, log }), ticketPeers: null };
}

function openConfig(options: ServeOptions, secrets: ReturnType<typeof createDirectorySecrets>, log: Log, signal: AbortSignal): Promise<DirectoryConfig> {
  const compiler = createDirectoryCompiler({ dir: options.config, namespace: options.namespace, generations: generationFile(options.data) });
  return watchConfigDirectory({
    dir: options.config, log, signal,
    load: async () => {
      const outcome = await compiler.load();
      // Before the config is announced: a session of a new Target must find its credential.
      if (outcome.outcome === 'config') secrets.replace(outcome.secrets);
      return outcome;
    },
  });
}

/** Off this machine a token travels over TLS only: the HTTP API then shows the listeners' certificate, read at the start. */
function httpTls(options: ServeOptions): { readonly certificate: Buffer; readonly key: Buffer } | null {
  if (isLoopbackHost(options.http.host) || !options.tls) return null;
  return { certificate: readFileSync(options.tls.certificateFile), key: readFileSync(options.tls.keyFile) };
}

/** An approval stands only while the policy, generation and rule that asked for it are in force. */
function isCurrent(config: ProxyConfig | null, by: DecidedBy): boolean {
  const policy = config?.policies.find((candidate) => candidate.uid === by.policyUid && candidate.generation === by.policyGeneration);
  return policy !== undefined && (by.rule === null || policy.rules.some((rule) => rule.name === by.rule));
}
