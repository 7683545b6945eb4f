import { canonicalJson } from '../../contract/canonical-json.ts';
import type { OperatorSettings, ProxyEnvironment } from '../../contract/operator-settings.ts';
import { keysSecret, listenerTlsSecret, managedByLabel, managedByValue, mountPaths, proxyName, proxyPorts, sshHostKeySecret, sshUserCaSecret } from '../../contract/names.ts';
import { generatedMetadata, proxyPodLabels } from './generated-object.ts';
import type { GeneratedObject, RenderPlace } from './generated-object.ts';

/** Beyond the drain's deadline, for flushing the spool. */
const flushSeconds = 60;
/** 0440: the files belong to root, and the pod's group may read them. */
const readableByGroup = 0o440;

/**
 * The proxies of one namespace. The template depends on the operator's settings alone, never on Targets or policies: adding one restarts no pod.
 *
 * Fits the pod security standard `restricted`.
 */
export function renderDeployment(place: RenderPlace, settings: OperatorSettings): GeneratedObject {
  const { proxy } = settings;
  return {
    apiVersion: 'apps/v1', kind: 'Deployment', metadata: generatedMetadata(place, proxyName, proxyPodLabels),
    spec: {
      replicas: proxy.replicas,
      revisionHistoryLimit: 3,
      // A claim cannot be written by two pods at once.
      strategy: proxy.stateClaim === null ? { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } : { type: 'Recreate' },
      selector: { matchLabels: proxyPodLabels },
      template: { metadata: { labels: { ...proxyPodLabels, [managedByLabel]: managedByValue } }, spec: podSpec(settings) },
    },
  };
}

/** What a pod reads from its environment variable `SALLYPORT_PROXY`. */
export function proxyEnvironment({ proxy, identityAliases }: OperatorSettings): ProxyEnvironment {
  return {
    drainSeconds: proxy.drainSeconds, staleness: proxy.staleness, maxStalenessSeconds: proxy.maxStalenessSeconds, maxSessions: proxy.maxSessions,
    sessionObjects: proxy.sessionObjects, logLevel: proxy.logLevel, identityAliases, persistentState: proxy.stateClaim !== null,
  };
}

function podSpec(settings: OperatorSettings): unknown {
  const { proxy } = settings;
  return {
    serviceAccountName: proxyName,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: proxy.drainSeconds + flushSeconds,
    securityContext: { runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: { type: 'RuntimeDefault' } },
    topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway', labelSelector: { matchLabels: proxyPodLabels } }],
    ...(proxy.imagePullSecrets.length === 0 ? {} : { imagePullSecrets: proxy.imagePullSecrets.map((name) => ({ name })) }),
    ...(Object.keys(proxy.nodeSelector).length === 0 ? {} : { nodeSelector: proxy.nodeSelector }),
    ...(proxy.tolerations.length === 0 ? {} : { tolerations: proxy.tolerations }),
    containers: [container(settings)],
    volumes: volumes(proxy.stateClaim),
  };
}

function container(settings: OperatorSettings): unknown {
  const { proxy } = settings;
  const field = (name: string, fieldPath: string): unknown => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  return {
    name: 'proxy',
    image: proxy.image,
    imagePullPolicy: proxy.imagePullPolicy,
    command: ['node', '/app/dist/sidecar/main.js'],
    env: [
      field('POD_NAME', 'metadata.name'), field('POD_UID', 'metadata.uid'), field('POD_NAMESPACE', 'metadata.namespace'), field('POD_IP', 'status.podIP'),
      { name: 'SALLYPORT_PROXY', value: canonicalJson(proxyEnvironment(settings)) },
    ],
    ports: [{ name: 'health', containerPort: proxyPorts.health, protocol: 'TCP' }, { name: 'metrics', containerPort: proxyPorts.metrics, protocol: 'TCP' }],
    startupProbe: { httpGet: { path: '/readyz', port: 'health' }, periodSeconds: 2, failureThreshold: 60 },
    readinessProbe: { httpGet: { path: '/readyz', port: 'health' }, periodSeconds: 5 },
    livenessProbe: { httpGet: { path: '/healthz', port: 'health' }, periodSeconds: 10, failureThreshold: 6 },
    resources: resources(proxy.resources),
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, runAsNonRoot: true, capabilities: { drop: ['ALL'] } },
    volumeMounts: [
      { name: 'token', mountPath: mountPaths.serviceAccount, readOnly: true }, { name: 'state', mountPath: mountPaths.state },
      { name: 'tmp', mountPath: '/tmp' }, { name: 'keys', mountPath: mountPaths.keys, readOnly: true },
    ],
  };
}

function resources({ requests, limits }: OperatorSettings['proxy']['resources']): unknown {
  return { ...(Object.keys(requests).length === 0 ? {} : { requests }), ...(Object.keys(limits).length === 0 ? {} : { limits }) };
}

function volumes(stateClaim: string | null): unknown {
  return [
    {
      name: 'token',
      projected: {
        defaultMode: readableByGroup,
        sources: [
          { serviceAccountToken: { path: 'token', expirationSeconds: 3_600 } },
          { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
          { downwardAPI: { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] } },
        ],
      },
    },
    // No sizeLimit: eviction would delete records that are not delivered yet; the proxy watches the free space itself.
    stateClaim === null ? { name: 'state', emptyDir: {} } : { name: 'state', persistentVolumeClaim: { claimName: stateClaim } },
    // Optional: without a certificate the listeners stay closed, and the pod says so in its readiness.
    { name: 'keys', projected: { defaultMode: readableByGroup, sources: [listenerTlsSecret, keysSecret, sshHostKeySecret, sshUserCaSecret].map((name) => ({ secret: { name, optional: true } })) } },
    { name: 'tmp', emptyDir: { medium: 'Memory', sizeLimit: '64Mi' } },
  ];
}
