import ssh2 from 'ssh2';
import type { LiveProgram, Ran } from '../../hosts/clients.ts';
import { testImages } from '../images/test-images.ts';
import type { Cluster } from './cluster.ts';

/** One team's namespace with an SSH host: a pod with sshd (account deploy), its Secrets, a Target `web-1`, policies, and a pod with ssh. */
export interface SshNamespace extends AsyncDisposable {
  readonly namespace: string;
  /** What users connect to: `web-1.NAMESPACE`. */
  readonly host: string;
  /** `ssh ACCOUNT@web-1.NAMESPACE COMMAND` in the client's pod, as whoever's token is given; the gateway's host key is verified. */
  ssh(token: string, command: string, options?: SshOptions): Promise<Ran>;
  /** The same with its input open. */
  live(token: string, command: string, options?: SshOptions): LiveProgram;
  /** Takes the host keys that the operator publishes as the ones that the client knows. */
  learnHostKeys(): Promise<string>;
}

/** How ssh is started. */
export interface SshOptions {
  /** Default deploy. */
  readonly account?: string;
  /** More ssh arguments. */
  readonly args?: readonly string[];
}

/** Makes the namespace and waits until ssh can log in; dispose deletes it. `policies` is YAML of AccessPolicies without a namespace. */
export async function startSshNamespace(cluster: Cluster, { namespace, policies, level = 'Exec' }: { readonly namespace: string; readonly policies: string; readonly level?: string }): Promise<SshNamespace> {
  const [hostKey, gatewayKey] = [ssh2.utils.generateKeyPairSync('ed25519'), ssh2.utils.generateKeyPairSync('ed25519')];
  await cluster.apply(`apiVersion: v1\nkind: Namespace\nmetadata: {name: ${namespace}, labels: {pod-security.kubernetes.io/enforce: restricted}}\n`);
  await cluster.apply(hostYaml(namespace, { host_ed25519: hostKey.private, authorized_keys: `${gatewayKey.public}\n` }, gatewayKey.private));
  await cluster.waitFor('condition=Ready', ['pod/web-0', 'pod/client'], namespace);
  await cluster.apply(`apiVersion: sallyport.dev/v1alpha1
kind: Target
metadata: {name: web-1, namespace: ${namespace}, labels: {env: prod}}
spec:
  ssh:
    host: web-1-host.${namespace}.svc
    port: 2222
    hostKeys: ["${hostKey.public.trim()}"]
    credentials: {secretRef: {name: web-1-gateway}}
    accounts: [deploy, ops]
    loginShell: {type: Posix}
    level: ${level}
`);
  await cluster.must(['apply', '-n', namespace, '-f', '-'], { input: policies });
  await cluster.must(['create', 'rolebinding', 'approver-dba', '--clusterrole=sallyport-approver', '--group=dba', '-n', namespace]);
  await cluster.waitFor('condition=Ready', ['target/web-1'], namespace, 120);
  await cluster.must(['rollout', 'status', 'deployment/sallyport-proxy', '-n', namespace, '--timeout=90s']);
  await cluster.waitFor('condition=Ready', ['accesspolicy', '--all'], namespace, 30);
  const host = `web-1.${namespace}`;
  const inPod = (words: readonly string[], input: string): Promise<Ran> => cluster.kubectl(['exec', '-i', '-n', namespace, 'client', '--', ...words], { input });
  const world: SshNamespace = {
    namespace, host,
    ssh: (token, command, options = {}) => inPod(sshWords(host, command, options), `${token}\n`),
    live: (token, command, options = {}) => {
      const program = cluster.live(['exec', '-i', '-n', namespace, 'client', '--', ...sshWords(host, command, options)]);
      program.say(token);
      return program;
    },
    learnHostKeys: async () => {
      const known = await cluster.must(['get', 'configmap', 'sallyport-ssh-known-hosts', '-n', namespace, '-o', 'jsonpath={.data.known_hosts}']);
      const written = await inPod(['sh', '-c', 'cat > /tmp/known_hosts'], known);
      if (written.code !== 0) throw new Error(written.err);
      return known;
    },
    [Symbol.asyncDispose]: async () => {
      await cluster.kubectl(['delete', 'namespace', namespace, '--wait=false']);
      await cluster.kubectl(['delete', 'pods', '--all', '-n', namespace, '--force', '--grace-period=0']);
    },
  };
  await world.learnHostKeys();
  // Tokens of this issuer are short enough for the 1023 bytes of stock ssh.
  await inPod(['sh', '-c', 'cat > /tmp/askpass && chmod 700 /tmp/askpass'], '#!/bin/sh\necho "$TOKEN"\n');
  return world;
}

/** The token is the first line of the input, so that it stands in no list of processes. */
function sshWords(host: string, command: string, { account = 'deploy', args = [] }: SshOptions): readonly string[] {
  const options = ['StrictHostKeyChecking=yes', 'UserKnownHostsFile=/tmp/known_hosts', 'GlobalKnownHostsFile=/dev/null', 'PreferredAuthentications=password', 'NumberOfPasswordPrompts=1', 'ConnectTimeout=15'];
  return ['sh', '-c', 'IFS= read -r TOKEN; export TOKEN SSH_ASKPASS=/tmp/askpass SSH_ASKPASS_REQUIRE=force; exec ssh "$@"', 'ssh', ...options.flatMap((option) => ['-o', option]), ...args, `${account}@${host}`, command];
}

function hostYaml(namespace: string, keys: Readonly<Record<string, string>>, gatewayKey: string): string {
  const restricted = 'allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, runAsNonRoot: true, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}';
  const secrets = [
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'web-keys', namespace }, stringData: keys },
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'web-1-gateway', namespace }, stringData: { privateKey: gatewayKey } },
  ].map((object) => JSON.stringify(object));
  return `${secrets.join('\n---\n')}
---
apiVersion: v1
kind: Service
metadata: {name: web-1-host, namespace: ${namespace}}
spec: {selector: {app: web}, ports: [{port: 2222}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: ${namespace}, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  securityContext: {runAsUser: 1001, runAsGroup: 1001, fsGroup: 1001}
  containers:
  - name: sshd
    image: ${testImages.sshd}
    imagePullPolicy: IfNotPresent
    readinessProbe: {tcpSocket: {port: 2222}, periodSeconds: 1, failureThreshold: 60}
    securityContext: {${restricted}}
    volumeMounts: [{name: tmp, mountPath: /tmp}, {name: keys, mountPath: /keys, readOnly: true}]
  volumes: [{name: tmp, emptyDir: {}}, {name: keys, secret: {secretName: web-keys, defaultMode: 288}}]
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: ${namespace}}
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  containers:
  - name: client
    image: ${testImages.client}
    imagePullPolicy: IfNotPresent
    securityContext: {${restricted}, runAsUser: 1000}
    volumeMounts: [{name: tmp, mountPath: /tmp}]
  volumes: [{name: tmp, emptyDir: {}}]
`;
}
