import ssh2 from 'ssh2';

/** What stands in the team's namespace before Sallyport comes to it: a pod with sshd and one account, and the key that the gateway logs in with in a Secret. */
export interface SshHost {
  readonly yaml: string;
  /** `ssh-ed25519 BASE64`: what the Target pins. */
  readonly hostKey: string;
}

/** Makes keys for a host in namespace payments; its image has the entry point of the test image. */
export function sshHost(image: string): SshHost {
  const namespace = 'payments';
  const [host, gateway] = [ssh2.utils.generateKeyPairSync('ed25519'), ssh2.utils.generateKeyPairSync('ed25519')];
  const restricted = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, runAsNonRoot: true, capabilities: { drop: ['ALL'] }, seccompProfile: { type: 'RuntimeDefault' } };
  const objects = [
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'web-keys', namespace }, stringData: { host_ed25519: host.private, authorized_keys: `${gateway.public}\n` } },
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'web-1-gateway', namespace }, stringData: { privateKey: gateway.private } },
    { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web-1-host', namespace }, spec: { selector: { app: 'web' }, ports: [{ port: 2222 }] } },
    {
      apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web', namespace, labels: { app: 'web' } },
      spec: {
        terminationGracePeriodSeconds: 1, automountServiceAccountToken: false, securityContext: { runAsUser: 1001, runAsGroup: 1001, fsGroup: 1001 },
        containers: [{
          name: 'sshd', image, imagePullPolicy: 'IfNotPresent', securityContext: restricted, readinessProbe: { tcpSocket: { port: 2222 }, periodSeconds: 1, failureThreshold: 60 },
          volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }, { name: 'keys', mountPath: '/keys', readOnly: true }],
        }],
        volumes: [{ name: 'tmp', emptyDir: {} }, { name: 'keys', secret: { secretName: 'web-keys', defaultMode: 0o440 } }],
      },
    },
  ];
  return { yaml: objects.map((object) => JSON.stringify(object)).join('\n---\n'), hostKey: host.public.trim() };
}
