import { proxyEnvironmentSchema, type ProxyEnvironment } from '../contract/operator-settings.ts';
import { mountPaths, proxyPorts } from '../contract/names.ts';
import { type EnvVariable, integer, readEnv, text } from '../runtime/env.ts';

/** Who this pod is, where its things are, and what the operator wants of it. */
export interface ClusterSettings {
  readonly pod: string;
  readonly podUid: string;
  readonly namespace: string;
  readonly proxy: ProxyEnvironment;
  readonly apiServer: { readonly host: string; readonly port: number };
  readonly paths: { readonly serviceAccount: string; readonly state: string; readonly keys: string };
  /** Of the probes, the metrics, the peers and the listeners. */
  readonly bindHost: string;
  readonly ports: { readonly health: number; readonly metrics: number; readonly peers: number };
  /** Space kept on the state volume, bytes: below the first no session is opened, the second is held in reserve for the lines that close everything. */
  readonly minFreeBytes: number;
  readonly reserveBytes: number;
}

const mebibyte = 1_048_576;

/** Reads the environment of a proxy pod. Paths and ports stand in it for tests only; the operator sets none of them. @returns the settings, or all problems. */
export function readClusterSettings(env: Readonly<Record<string, string | undefined>>): { readonly outcome: 'read'; readonly settings: ClusterSettings } | { readonly outcome: 'rejected'; readonly problems: readonly string[] } {
  const port = (name: string, fallback: number): EnvVariable<number> => integer(name, { min: 0, max: 65_535, default: fallback });
  const read = readEnv({
    pod: text('POD_NAME', { max: 253 }), podUid: text('POD_UID', { max: 36 }), namespace: text('POD_NAMESPACE', { max: 63 }), proxy: proxySettings('SALLYPORT_PROXY'),
    host: text('KUBERNETES_SERVICE_HOST'), port: integer('KUBERNETES_SERVICE_PORT', { min: 1, max: 65_535 }),
    serviceAccount: text('SALLYPORT_SERVICE_ACCOUNT_DIR', { default: mountPaths.serviceAccount }), state: text('SALLYPORT_STATE_DIR', { default: mountPaths.state }), keys: text('SALLYPORT_KEYS_DIR', { default: mountPaths.keys }),
    bindHost: text('SALLYPORT_BIND', { default: '0.0.0.0' }), health: port('SALLYPORT_HEALTH_PORT', proxyPorts.health), metrics: port('SALLYPORT_METRICS_PORT', proxyPorts.metrics), peers: port('SALLYPORT_PEERS_PORT', proxyPorts.peers),
    minFreeMib: integer('SALLYPORT_MIN_FREE_MIB', { min: 0, max: mebibyte, default: 512 }), reserveMib: integer('SALLYPORT_RESERVE_MIB', { min: 1, max: 65_536, default: 64 }),
  }, env, 'SALLYPORT_');
  if (read.outcome === 'rejected') return read;
  const { values } = read;
  const known = (value: string | null): string => value ?? '';
  return {
    outcome: 'read',
    settings: {
      pod: known(values.pod), podUid: known(values.podUid), namespace: known(values.namespace), proxy: values.proxy, apiServer: { host: known(values.host), port: values.port },
      paths: { serviceAccount: known(values.serviceAccount), state: known(values.state), keys: known(values.keys) }, bindHost: known(values.bindHost),
      ports: { health: values.health, metrics: values.metrics, peers: values.peers }, minFreeBytes: values.minFreeMib * mebibyte, reserveBytes: values.reserveMib * mebibyte,
    },
  };
}

function proxySettings(name: string): EnvVariable<ProxyEnvironment> {
  return {
    name,
    parse: (raw) => {
      let value: unknown;
      try {
        value = JSON.parse(raw);
      } catch {
        return { problem: 'not JSON' };
      }
      const parsed = proxyEnvironmentSchema.safeParse(value);
      return parsed.success ? { value: parsed.data } : { problem: parsed.error.issues.map((issue) => `${issue.path.join('.') || '(root)'}: ${issue.message}`).join('; ') };
    },
  };
}
