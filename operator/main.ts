#!/usr/bin/env node
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { parseArgs } from 'node:util';
import { mountPaths } from '../contract/names.ts';
import { systemClock } from '../runtime/clock.ts';
import { integer, readEnv, text } from '../runtime/env.ts';
import { serveHttp } from '../runtime/http.ts';
import type { HttpAnswer, HttpServer, Route } from '../runtime/http.ts';
import { createLog } from '../runtime/log.ts';
import { createMetrics } from '../runtime/metrics.ts';
import type { Metrics } from '../runtime/metrics.ts';
import { watchShutdown } from '../runtime/shutdown.ts';
import { operatorClient } from './kube/client.ts';
import type { Credentials } from './kube/client.ts';
import { createOperatorMetrics } from './kube/metrics.ts';
import { runOperator } from './run-operator.ts';
import type { Operator } from './run-operator.ts';
import { readSettings, settingsPath } from './settings.ts';

/** Workers may finish what they do; with what follows this fits the pod's 30 s. */
const workersMs = 20_000;
const forcedExitMs = 28_000;

process.exitCode = await main();

/** Settings, client, operator, HTTP; then waits for a signal and drains. @returns the exit status. */
async function main(): Promise<number> {
  const { values: flags } = parseArgs({ options: { kubeconfig: { type: 'string' }, settings: { type: 'string' } } });
  const env = readEnv({
    settings: text('SALLYPORT_SETTINGS', { default: settingsPath }), pod: text('POD_NAME', { default: hostname() }),
    healthPort: integer('SALLYPORT_HEALTH_PORT', { min: 0, max: 65_535, default: 8081 }), metricsPort: integer('SALLYPORT_METRICS_PORT', { min: 0, max: 65_535, default: 8080 }),
    apiHost: text('KUBERNETES_SERVICE_HOST', { default: null }), apiPort: integer('KUBERNETES_SERVICE_PORT', { min: 1, max: 65_535, default: 443 }),
  }, process.env, 'SALLYPORT_');
  if (env.outcome === 'rejected') return refuse(env.problems);
  const read = await readSettings(flags.settings ?? env.values.settings ?? settingsPath);
  if (read.outcome === 'rejected') return refuse(read.problems);
  const credentials = credentialsOf(flags.kubeconfig, env.values.apiHost, env.values.apiPort);
  if (credentials === null) return refuse(['KUBERNETES_SERVICE_HOST: required outside of a cluster, or start with --kubeconfig FILE']);

  const { settings } = read;
  const clock = systemClock();
  const log = createLog({ level: settings.logLevel, stream: process.stderr, now: () => clock.now() });
  for (const event of ['unhandledRejection', 'uncaughtException'] as const) {
    process.on(event, (error: unknown) => {
      log.error('a failure that nobody handles ends the process', { error });
      process.exit(1);
    });
  }
  const registry = createMetrics({ process: true });
  const metrics = createOperatorMetrics(registry.registry);
  const shutdown = watchShutdown({ source: process, clock, drainMs: forcedExitMs, exit: (code) => process.exit(code) });
  const client = await operatorClient(credentials, { userAgent: 'sallyport-operator', onRequest: metrics.request });
  let operator: Operator | null = null;
  // Probes are answered from the start on, whatever the API server does.
  const servers = await serve({ health: env.values.healthPort, metrics: env.values.metricsPort }, () => operator, registry, (error, route) => log.error('HTTP answer failed', { route, error }));
  log.info('listening', { healthPort: servers[0]?.port, metricsPort: servers[1]?.port });
  try {
    operator = await runOperator({
      settings, client, clock, log, registry, metrics, random: Math.random, identity: `${env.values.pod ?? ''}_${randomUUID()}`, signal: shutdown.signal,
      onLost: () => {
        log.error('leadership is lost, the process ends');
        process.exit(1);
      },
    });
    log.info('started', { namespaces: settings.watchNamespaces.length === 0 ? 'all' : settings.watchNamespaces, healthPort: servers[0]?.port, metricsPort: servers[1]?.port });
    await aborted(shutdown.signal);
  } catch (error) {
    if (!shutdown.signal.aborted) throw error;
  }
  log.info('draining');
  await operator?.drain(workersMs);
  await Promise.all(servers.map((server) => server.close(1_000)));
  await client.close();
  shutdown.stop();
  log.info('stopped');
  return 0;
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

function refuse(problems: readonly string[]): number {
  for (const problem of problems) process.stderr.write(`${problem}\n`);
  return 1;
}

function credentialsOf(kubeconfig: string | undefined, host: string | null, port: number): Credentials | null {
  if (kubeconfig !== undefined) return { from: 'kubeconfig', path: kubeconfig };
  return host === null ? null : { from: 'cluster', serviceAccountDirectory: mountPaths.serviceAccount, host, port };
}

/** Probes on one port, metrics on another: the metrics' port is the one that a NetworkPolicy guards. */
async function serve(ports: { readonly health: number; readonly metrics: number }, operator: () => Operator | null, registry: Metrics, onError: (error: unknown, route: string) => void): Promise<readonly HttpServer[]> {
  const say = (problem: string | null): HttpAnswer => ({ status: problem === null ? 200 : 503, text: `${problem ?? 'ok'}\n`, contentType: 'text/plain; charset=utf-8' });
  const get = (path: string, answer: () => Promise<HttpAnswer>): Route => ({ method: 'GET', path, answer });
  const routes = {
    health: [get('/healthz', async () => say(operator()?.stuck() ?? null)), get('/readyz', async () => say(notReady(operator())))],
    metrics: [get('/metrics', async () => ({ status: 200, text: await registry.render(), contentType: registry.contentType }))],
  };
  return [await serveAnywhere(ports.health, routes.health, onError), await serveAnywhere(ports.metrics, routes.metrics, onError)];
}

function notReady(operator: Operator | null): string | null {
  return operator === null ? 'the API server did not answer yet' : operator.notReady();
}

/** On every address, of both families where the node has both. */
async function serveAnywhere(port: number, routes: readonly Route[], onError: (error: unknown, route: string) => void): Promise<HttpServer> {
  const listen = (host: string): Promise<HttpServer> => serveHttp({ host, port, tls: null, routes, onError });
  try {
    return await listen('::');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && (error.code === 'EAFNOSUPPORT' || error.code === 'EADDRNOTAVAIL'))) throw error;
    return listen('0.0.0.0');
  }
}
