import type { Socket } from 'node:net';
import type { ProxyConfig, Target } from '../contract/proxy-config.ts';
import type { ConfigSource, Logger } from './core/ports.ts';
import type { SessionRegistry } from './core/session/registry.ts';
import type { Admission } from './core/session/admission.ts';
import { type Listener, type ListenerMetrics, type ListenerOptions, startListener, UnauthenticatedLimit } from './listener.ts';

/** What running the proxy takes; adapters of the cluster or of directory mode made it. */
export interface ProxyParts {
  readonly config: ConfigSource;
  readonly registry: SessionRegistry;
  readonly bindHost: string;
  readonly log: Logger;
  readonly metrics: ListenerMetrics;
  readonly serve: (socket: Socket, admission: Admission, targetName: string) => Promise<void>;
  /** Why the port of a Target stays shut, for the log; null = it is opened. */
  readonly shut?: (target: Target) => string | null;
  /** Times of a Target's logins, where they are not the listener's own. */
  readonly times?: (target: Target) => Pick<ListenerOptions, 'loginMs' | 'waitMs'>;
}

export interface RunningProxy {
  /** Target name to port. */
  ports(): ReadonlyMap<string, number>;
  /** Targets whose port cannot be opened; tried again every two seconds. */
  unopened(): ReadonlySet<string>;
  /** Targets whose port stays shut because this process cannot serve their protocol. Others are served, so they are no reason not to be ready. */
  shut(): ReadonlySet<string>;
  /** Resolves when the listeners follow the config of now. */
  settled(): Promise<void>;
  /** Ends the proxy in order; resolves when nothing is left. */
  drain(plan: DrainPlan): Promise<void>;
}

/** How a proxy ends. */
export interface DrainPlan {
  /** From now until every session is ended. */
  readonly deadlineMs: number;
  /** New sessions are still admitted for so long: load balancers learn late that this replica goes. */
  readonly acceptMs: number;
  /** Afterwards: `close` the ports, so that whoever comes is sent to another replica, or `refuse` with 57P03 where there is none. */
  readonly ports: 'close' | 'refuse';
  /** Its abort is the deadline. */
  readonly hurry: AbortSignal;
}

/** Sessions outlive their right by this at most (D5: one second). */
const tickMs = 200;
const retryPortMs = 2_000;
/** A held statement that is approved later than this before the deadline is not forwarded: it would be cut while it runs. */
const lastHoldMs = 30_000;

/**
 * Runs one listener per Target and keeps them in step with the config: a new Target opens a port, a removed one closes its port and ends its sessions.
 */
export async function runProxy(parts: ProxyParts): Promise<RunningProxy> {
  const listeners = new Map<string, { readonly wantedPort: number; readonly listener: Listener }>();
  const limit = new UnauthenticatedLimit();
  const unopened = new Set<string>();
  const shut = new Set<string>();
  let following: Promise<void> = Promise.resolve();
  const follow = (): void => {
    following = following.then(() => followConfig(parts, { listeners, unopened, shut, limit }, parts.config.current()?.config ?? null));
  };
  const unsubscribe = parts.config.subscribe(follow);
  const tick = setInterval(() => parts.registry.tick(), tickMs);
  const retry = setInterval(() => { if (unopened.size > 0) follow(); }, retryPortMs);
  follow();
  await following;
  return {
    ports: () => new Map([...listeners].map(([name, entry]) => [name, entry.listener.port])),
    unopened: () => unopened,
    shut: () => shut,
    settled: () => following,
    drain: async ({ deadlineMs, acceptMs, ports, hurry }) => {
      const startedMs = performance.now();
      const leftMs = (): number => startedMs + deadlineMs - performance.now();
      await pause(Math.min(acceptMs, deadlineMs), hurry);
      unsubscribe();
      clearInterval(retry);
      await following;
      if (ports === 'close') await closeAll(listeners);
      else for (const { listener } of listeners.values()) listener.endLogins();
      parts.registry.drain(leftMs() - lastHoldMs);
      await waitUntilEmpty(parts.registry, leftMs(), hurry);
      parts.registry.endAll();
      await waitUntilEmpty(parts.registry, 2_000, new AbortController().signal);
      await closeAll(listeners);
      clearInterval(tick);
    },
  };
}

interface Ports {
  readonly listeners: Map<string, { readonly wantedPort: number; readonly listener: Listener }>;
  readonly unopened: Set<string>;
  /** Targets that this process cannot serve: said once. */
  readonly shut: Set<string>;
  readonly limit: UnauthenticatedLimit;
}

async function followConfig(parts: ProxyParts, { listeners, unopened, shut, limit }: Ports, config: ProxyConfig | null): Promise<void> {
  const targets = new Map((config?.targets ?? []).map((target) => [target.name, target]));
  const wanted = new Map([...targets].flatMap(([name, target]) => (isShut(parts, shut, target) ? [] : [[name, target.listenPort] as const])));
  for (const [name, entry] of listeners) {
    if (wanted.get(name) === entry.wantedPort) continue;
    listeners.delete(name);
    await entry.listener.close();
    parts.log.info('listener closed', { target: name });
  }
  for (const name of unopened) if (!wanted.has(name)) unopened.delete(name);
  for (const [name, port] of wanted) {
    const target = targets.get(name);
    if (listeners.has(name) || target === undefined) continue;
    try {
      const listener = await startListener({ host: parts.bindHost, port, limit, log: parts.log, metrics: parts.metrics, ...parts.times?.(target), onConnection: (socket, admission) => parts.serve(socket, admission, name) });
      listeners.set(name, { wantedPort: port, listener });
      unopened.delete(name);
      parts.log.info('listening', { target: name, port: listener.port });
    } catch (error) {
      // One port that is taken must not stop the other targets; readiness tells.
      if (!unopened.has(name)) parts.log.error('port cannot be opened', { target: name, port, error: error instanceof Error ? error.message : String(error) });
      unopened.add(name);
    }
  }
}

/** A Target that cannot be served must not make the others unready: the log tells, once. */
function isShut(parts: ProxyParts, shut: Set<string>, target: Target): boolean {
  const reason = parts.shut?.(target) ?? null;
  if (reason === null) {
    shut.delete(target.name);
    return false;
  }
  if (!shut.has(target.name)) parts.log.error('port stays shut', { target: target.name, reason });
  shut.add(target.name);
  return true;
}

async function closeAll(listeners: Ports['listeners']): Promise<void> {
  await Promise.all([...listeners.values()].map(({ listener }) => listener.close()));
  listeners.clear();
}

async function waitUntilEmpty(registry: SessionRegistry, limitMs: number, hurry: AbortSignal): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (registry.size > 0 && performance.now() < deadline && !hurry.aborted) await pause(25, hurry);
}

/** Ends early, never rejects. */
function pause(ms: number, hurry: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const end = (): void => resolve();
  hurry.addEventListener('abort', end, { once: true });
  if (hurry.aborted) resolve();
  return promise.finally(() => {
    clearTimeout(timer);
    hurry.removeEventListener('abort', end);
  });
}
