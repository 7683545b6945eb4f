import { type HttpAnswer, type HttpServer, serveHttp } from '../runtime/http.ts';
import type { Metrics } from '../runtime/metrics.ts';
import type { Logger } from './core/ports.ts';

/** What a pod answers to the kubelet and to whoever scrapes it. */
export interface ProbeOptions {
  readonly host: string;
  /** 0 = any free port, each. */
  readonly healthPort: number;
  readonly metricsPort: number;
  /** Null = ready, else why not: a code or a short constant text. */
  readonly notReady: () => string | null;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** Both servers of a pod. */
export interface Probes extends AsyncDisposable {
  readonly healthPort: number;
  readonly metricsPort: number;
}

/**
 * Serves `/healthz` and `/readyz` on one port and `/metrics` on another: a NetworkPolicy can then keep the metrics to the namespaces that may read them.
 *
 * `/healthz` says that the event loop turns, and nothing about the API server: a restart would not bring it back, and would end sessions.
 * @throws the listen error.
 */
export async function serveProbes({ host, healthPort, metricsPort, notReady, metrics, log }: ProbeOptions): Promise<Probes> {
  const onError = (error: unknown, route: string): void => log.error('http request failed', { route, error });
  const readiness = (): HttpAnswer => {
    const reason = notReady();
    return reason === null ? text(200, 'ok\n') : text(503, `not ready: ${reason}\n`);
  };
  const health = await serveHttp({ host, port: healthPort, tls: null, onError, routes: [{ method: 'GET', path: '/healthz', answer: async () => text(200, 'ok\n') }, { method: 'GET', path: '/readyz', answer: async () => readiness() }] });
  const scraped = await listenOr(() => health.close(0), () => serveHttp({
    host, port: metricsPort, tls: null, onError, routes: [{ method: 'GET', path: '/metrics', answer: async () => ({ status: 200, text: await metrics.render(), contentType: metrics.contentType }) }],
  }));
  return {
    healthPort: health.port, metricsPort: scraped.port,
    [Symbol.asyncDispose]: async () => void await Promise.all([health.close(1_000), scraped.close(1_000)]),
  };
}

async function listenOr(giveUp: () => Promise<void>, listen: () => Promise<HttpServer>): Promise<HttpServer> {
  try {
    return await listen();
  } catch (error) {
    await giveUp();
    throw error;
  }
}

function text(status: number, body: string): HttpAnswer {
  return { status, text: body, contentType: 'text/plain; charset=utf-8' };
}
