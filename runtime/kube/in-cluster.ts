import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ClientLimits, createKubeClient, type RequestFacts } from './http-client.ts';
import type { KubeClient } from './kube-client.ts';

/** Where a pod finds its service account and the API server. */
export interface InClusterOptions {
  /** Holds `token` and `ca.crt`, e.g. `/var/run/secrets/kubernetes.io/serviceaccount`. */
  readonly serviceAccountDirectory: string;
  /** KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT. */
  readonly host: string;
  readonly port: number;
  readonly userAgent?: string;
  readonly onRequest?: (facts: RequestFacts) => void;
  readonly limits?: Partial<ClientLimits>;
  /** Monotonic ms, for tests. */
  readonly now?: () => number;
}

/** A client with the service account of this pod. Token and CA are read anew each 60 s and after a 401: the kubelet replaces both. */
export function inClusterClient(options: InClusterOptions): KubeClient {
  const now = options.now ?? ((): number => performance.now());
  const token = cachedFile(join(options.serviceAccountDirectory, 'token'), now);
  const ca = cachedFile(join(options.serviceAccountDirectory, 'ca.crt'), now);
  return createKubeClient({
    server: `https://${options.host.includes(':') ? `[${options.host}]` : options.host}:${options.port}`,
    ca: () => ca.read(),
    headers: async () => ['authorization', `Bearer ${(await token.read()).toString('utf8').trim()}`],
    onUnauthorized() {
      token.forget();
      ca.forget();
    },
    ...(options.userAgent === undefined ? {} : { userAgent: options.userAgent }), ...(options.onRequest === undefined ? {} : { onRequest: options.onRequest }),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
}

const rereadMs = 60_000;

interface CachedFile {
  read(): Promise<Buffer>;
  forget(): void;
}

function cachedFile(path: string, now: () => number): CachedFile {
  let cached: { readonly bytes: Buffer; readonly readMs: number } | null = null;
  return {
    async read() {
      if (cached !== null && now() - cached.readMs < rereadMs) return cached.bytes;
      const bytes = await readFile(path);
      cached = { bytes, readMs: now() };
      return bytes;
    },
    forget() {
      cached = null;
    },
  };
}
