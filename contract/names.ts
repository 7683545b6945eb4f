/** API group of every Sallyport resource. */
export const apiGroup = 'sallyport.dev';
/** `apiVersion` of every resource. */
export const apiVersion = 'sallyport.dev/v1alpha1';

/** Annotation on a Target that fixes its listener port in directory mode; in a cluster the operator assigns ports. */
export const listenPortAnnotation = 'sallyport.dev/listen-port';

/** Namespace that the operator runs in unless the chart says otherwise; the admission policies name its service account. @public for the chart */
export const systemNamespace = 'sallyport-system';
/** The operator's Deployment, ServiceAccount and Lease. @public for the chart */
export const operatorName = 'sallyport-operator';
/** The proxy's Deployment, ServiceAccount, ProxyConfig, RoleBinding and PodDisruptionBudget in a namespace with Targets. */
export const proxyName = 'sallyport-proxy';
/** Role and RoleBinding that let a proxy read the Secrets that its Targets name, and no other. */
export const proxySecretsRole = 'sallyport-proxy-secrets';
/** Headless Service by which the replicas of one proxy reach each other. */
export const peersService = 'sallyport-proxy-peers';
/** Secret with `tls.crt`, `tls.key` and `ca.crt` of the listeners. */
export const listenerTlsSecret = 'sallyport-proxy-tls';
/** Secret with the namespace's keys: `digest`, `masking` and `peers`, 32 random bytes each. Mounted in the proxies only. */
export const keysSecret = 'sallyport-proxy-hmac';
/** Secret with `host_ed25519`, the private key that every SSH listener of the namespace shows; optional `host_rsa`, and `host_ed25519.next` before a change. */
export const sshHostKeySecret = 'sallyport-proxy-ssh';
/** Secret with `ca_ed25519`, the authority that signs short certificates for SSH users of the namespace. */
export const sshUserCaSecret = 'sallyport-ssh-user-ca';
/** ConfigMap in each served namespace: `known_hosts` that verifies the SSH listeners. */
export const sshKnownHostsConfigMap = 'sallyport-ssh-known-hosts';
/** ConfigMap in each served namespace: `ca.crt` that verifies the listeners. */
export const caConfigMap = 'sallyport-ca';

/** Label of everything that the operator generates. Never a label of a user's object. */
export const managedByLabel = 'app.kubernetes.io/managed-by';
/** Its value. */
export const managedByValue = 'sallyport';
/** Label of the proxy's pods. */
export const nameLabel = 'app.kubernetes.io/name';
/** Label of a Service or NetworkPolicy generated for a Target: the Target's name. */
export const targetLabel = 'sallyport.dev/target';

/** Field managers of server-side apply. */
export const fieldManagers = {
  operator: 'sallyport-operator',
  operatorStatus: 'sallyport-operator-status',
  /** Conditions ApprovalIntegrity and AdmissionIntegrity of ProxyConfigs, beside what the other status manager writes there. */
  operatorIntegrity: 'sallyport-operator-integrity',
  /** Acknowledgements and session objects of one proxy pod. */
  proxy: (pod: string): string => `sallyport-proxy/${pod}`,
} as const;

/** Ports of the proxy's pod. Listeners of Targets are not declared: a new Target must not restart a pod. */
export const proxyPorts = { health: 8081, metrics: 8080, peers: 8443, firstListener: 20_000, lastListener: 29_999 } as const;

/** Where the proxy's pod finds its things. */
export const mountPaths = { serviceAccount: '/var/run/secrets/kubernetes.io/serviceaccount', state: '/var/lib/sallyport', keys: '/etc/sallyport/keys' } as const;
