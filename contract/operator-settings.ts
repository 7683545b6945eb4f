import { z } from 'zod';

const resourcesSchema = z.strictObject({ requests: z.record(z.string(), z.string()).default({}), limits: z.record(z.string(), z.string()).default({}) });

const proxySettingsSchema = z.strictObject({
  /** By digest in a release. */
  image: z.string().min(1),
  imagePullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).default('IfNotPresent'),
  imagePullSecrets: z.array(z.string().min(1)).default([]),
  replicas: z.int().min(1).max(32).default(2),
  /** How long a draining proxy keeps busy sessions. */
  drainSeconds: z.int().min(1).max(7_200).default(900),
  /** What a proxy does once it has not heard from the API server for `maxStalenessSeconds`. */
  staleness: z.enum(['KeepLast', 'DenyWrites', 'DenyNew']).default('KeepLast'),
  maxStalenessSeconds: z.int().min(30).max(86_400).default(900),
  maxSessions: z.int().min(1).max(100_000).default(500),
  /** Which sessions become AccessSession objects: all, those that were denied, held, approved or lasted 5 s, or none. */
  sessionObjects: z.enum(['All', 'Notable', 'None']).default('Notable'),
  /** Name of a claim for the spool, or null for the pod's own disk. Only with one replica: a claim is not shared. */
  stateClaim: z.string().min(1).nullable().default(null),
  resources: resourcesSchema.default({ requests: { cpu: '100m', memory: '256Mi' }, limits: { memory: '1Gi' } }),
  nodeSelector: z.record(z.string(), z.string()).default({}),
  tolerations: z.array(z.record(z.string(), z.union([z.string(), z.int()]))).default([]),
  /** Namespaces whose pods may read the proxies' metrics. */
  metricsNamespaces: z.array(z.string().min(1)).default(['monitoring']),
  listenPorts: z.strictObject({ first: z.int().min(1_024).max(65_535), last: z.int().min(1_024).max(65_535) }).default({ first: 20_000, last: 29_999 }),
  logLevel: z.enum(['error', 'info', 'debug']).default('info'),
});

/**
 * Settings of the operator: the file that the chart mounts at `/etc/sallyport/operator/settings.json`.
 *
 * Every object is strict: a misspelt setting stops the operator at its start instead of being ignored.
 */
export const operatorSettingsSchema = z.strictObject({
  /** The operator's own namespace. */
  namespace: z.string().min(1),
  /** Empty: all namespaces. Else these only, by Roles instead of a ClusterRole. */
  watchNamespaces: z.array(z.string().min(1)).max(64).default([]),
  leaderElection: z.boolean().default(true),
  logLevel: z.enum(['error', 'info', 'debug']).default('info'),
  /** Kubernetes usernames that mean the same person as another one: `{"alice-admin": "oidc:alice@bank.example"}`. */
  identityAliases: z.record(z.string().min(1), z.string().min(1)).default({}),
  /** Between two forgery probes without a change. */
  integrityProbeSeconds: z.int().min(5).max(900).default(300),
  retention: z.strictObject({
    sessionHours: z.int().min(1).max(720).default(24), sessionsPerNamespace: z.int().min(1).default(500), sessionsPerCluster: z.int().min(1).default(10_000),
    requestHours: z.int().min(1).max(2_160).default(168), requestsPerNamespace: z.int().min(1).default(1_000), requestsPerCluster: z.int().min(1).default(10_000),
  }).default({ sessionHours: 24, sessionsPerNamespace: 500, sessionsPerCluster: 10_000, requestHours: 168, requestsPerNamespace: 1_000, requestsPerCluster: 10_000 }),
  proxy: proxySettingsSchema,
});

/** Settings of the operator, with every default filled in. */
export type OperatorSettings = z.infer<typeof operatorSettingsSchema>;
/** What the operator hands on to the proxies it runs. */
export type ProxySettings = OperatorSettings['proxy'];

/** Settings of one proxy pod: the value of its environment variable `SALLYPORT_PROXY`, JSON, written by the operator. */
export const proxyEnvironmentSchema = z.strictObject({
  drainSeconds: z.int().min(1), staleness: z.enum(['KeepLast', 'DenyWrites', 'DenyNew']), maxStalenessSeconds: z.int().min(1), maxSessions: z.int().min(1),
  sessionObjects: z.enum(['All', 'Notable', 'None']), logLevel: z.enum(['error', 'info', 'debug']), identityAliases: z.record(z.string(), z.string()),
  /** Whether the spool outlives the pod. */
  persistentState: z.boolean(),
});

/** Settings of one proxy pod. */
export type ProxyEnvironment = z.infer<typeof proxyEnvironmentSchema>;

/** Retention of finished objects beside the numbers of the settings: requests above this size go sooner, and the operator deletes no faster than this. */
export const retentionLimits = { largeRequestBytes: 8_192, largeRequestHours: 24, deletesPerSecond: 20, orphanDecisionHours: 1 } as const;
