import type { Socket } from 'node:net';
import type { ProxyConfig } from '../contract/proxy-config.ts';
import type { ConfigSource, Logger } from './core/ports.ts';
import type { SessionRegistry } from './core/session/registry.ts';
import { type Admission, type Listener, type ListenerMetrics, startListener, UnauthenticatedLimit } from './postgres/listener.ts';

/** What running the proxy takes; adapters of the cluster or of directory mode made it. */
export interface ProxyParts {
  readonly config: ConfigSource;
  readonly registry: SessionRegistry;
  readonly bindHost: string;
  readonly log: Logger;
  readonly metrics: ListenerMetrics;
  readonly serve: (socket: Socket, admission: Admission, targetName: string) => Promise<void>;
}

export interface RunningProxy {
  /** Target name to port. */
  ports(): ReadonlyMap<string, number>;
  /** Targets whose port cannot be opened; tried again every two seconds. */
  unopened(): ReadonlySet<string>;
  /** Resolves when the listeners follow the config of now. */
  settled(): Promise<void>;
  /** New sessions are refused, idle ones end, busy ones get until the deadline. */
  drain(deadlineMs: number): Promise<void>;
}

/** Sessions outlive their right by this at most (D5: one second). */
const tickMs = 200;
const retryPortMs = 2_000;

/**
 * Runs one listener per Target and keeps them in step with the config: a new Target opens a port, a removed one closes its port and ends its sessions.
 */
export async function runProxy(parts: ProxyParts): Promise<RunningProxy> {
  const listeners = new Map<string, { readonly wantedPort: number; readonly listener: Listener }>();
  const limit = new UnauthenticatedLimit();
  const unopened = new Set<string>();
  let following: Promise<void> = Promise.resolve();
  const follow = (): void => {
    following = following.then(() => followConfig(parts, { listeners, unopened, limit }, parts.config.current()?.config ?? null));
  };
  const unsubscribe = parts.config.subscribe(follow);
  const tick = setInterval(() => parts.registry.tick(), tickMs);
  const retry = setInterval(() => { if (unopened.size > 0) follow(); }, retryPortMs);
  follow();
  await following;
  return {
    ports: () => new Map([...listeners].map(([name, entry]) => [name, entry.listener.port])),
    unopened: () => unopened,
    settled: () => following,
    drain: async (deadlineMs) => {
      unsubscribe();
      clearInterval(retry);
      await following;
      // The ports stay open: whoever comes now is told to come back (57P03), not that nobody is here.
      for (const { listener } of listeners.values()) listener.endLogins();
      parts.registry.drain();
      await waitUntilEmpty(parts.registry, deadlineMs);
      parts.registry.endAll();
      await waitUntilEmpty(parts.registry, 2_000);
      await Promise.all([...listeners.values()].map(({ listener }) => listener.close()));
      clearInterval(tick);
    },
  };
}

interface Ports {
  readonly listeners: Map<string, { readonly wantedPort: number; readonly listener: Listener }>;
  readonly unopened: Set<string>;
  readonly limit: UnauthenticatedLimit;
}

async function followConfig(parts: ProxyParts, { listeners, unopened, limit }: Ports, config: ProxyConfig | null): Promise<void> {
  const wanted = new Map((config?.targets ?? []).map((target) => [target.name, target.listenPort]));
  for (const [name, entry] of listeners) {
    if (wanted.get(name) === entry.wantedPort) continue;
    listeners.delete(name);
    await entry.listener.close();
    parts.log.info('listener closed', { target: name });
  }
  for (const name of unopened) if (!wanted.has(name)) unopened.delete(name);
  for (const [name, port] of wanted) {
    if (listeners.has(name)) continue;
    try {
      const listener = await startListener({ host: parts.bindHost, port, limit, log: parts.log, metrics: parts.metrics, onConnection: (socket, admission) => parts.serve(socket, admission, name) });
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

async function waitUntilEmpty(registry: SessionRegistry, limitMs: number): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (registry.size > 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 25));
}
