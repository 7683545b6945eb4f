import { createAuthority } from '../../e2e/hosts/certificates.ts';
import type { Place } from './place.ts';

/** What stands in the team's namespace before Sallyport comes: PostgreSQL with TLS, its account for the gateway in a Secret, and a pod in which somebody uses psql. */
export async function databaseYaml(database: Place['database'], passwords: { readonly superuser: string; readonly gateway: string }): Promise<string> {
  const namespace = 'payments';
  const authority = await createAuthority('Authority of the orders database');
  const tls = await authority.issue({ commonName: 'orders', dnsNames: ['orders-rw.payments.svc', 'orders-rw.payments'] });
  const restricted = { allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: { drop: ['ALL'] }, seccompProfile: { type: 'RuntimeDefault' } };
  const pod = (name: string, uid: number, container: object, volumes: readonly object[]): object => ({
    apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, labels: { app: name } },
    spec: { terminationGracePeriodSeconds: 1, automountServiceAccountToken: false, securityContext: { runAsUser: uid, runAsGroup: uid, fsGroup: uid }, containers: [{ name, imagePullPolicy: 'IfNotPresent', securityContext: restricted, ...container }], volumes },
  });
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } } },
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'orders-tls', namespace }, stringData: { 'tls.crt': tls.certificate, 'tls.key': tls.key } },
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'orders-ca', namespace }, stringData: { 'ca.crt': authority.ca } },
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'orders-gateway', namespace }, stringData: { username: 'sallyport', password: passwords.gateway } },
    { apiVersion: 'v1', kind: 'Service', metadata: { name: 'orders-rw', namespace }, spec: { selector: { app: 'orders' }, ports: [{ port: 5432 }] } },
    pod('orders', database.uid, {
      image: database.image, args: database.args, env: [{ name: 'POSTGRES_PASSWORD', value: passwords.superuser }], readinessProbe: { tcpSocket: { port: 5432 }, periodSeconds: 1, failureThreshold: 120 },
      volumeMounts: [{ name: 'data', mountPath: database.data }, { name: 'run', mountPath: '/var/run/postgresql' }, { name: 'tmp', mountPath: '/tmp' }, { name: 'tls', mountPath: '/tls', readOnly: true }],
    }, [{ name: 'data', emptyDir: {} }, { name: 'run', emptyDir: {} }, { name: 'tmp', emptyDir: {} }, { name: 'tls', secret: { secretName: 'orders-tls', defaultMode: 0o440 } }]),
    pod('client', 1000, { image: database.client, command: ['sleep', '1000000'], volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }] }, [{ name: 'tmp', emptyDir: {} }]),
  ].map((object) => JSON.stringify(object)).join('\n---\n');
}
