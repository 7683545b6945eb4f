import { randomBytes } from 'node:crypto';
import { fieldManagers, listenerTlsSecret, managedByLabel, managedByValue, sshHostKeySecret, sshUserCaSecret } from '../../../contract/names.ts';
import { KubeError, pathOf } from '../../../runtime/kube/kube-client.ts';
import type { KubeClient } from '../../../runtime/kube/kube-client.ts';
import { partialObject } from '../../../runtime/kube/verbs.ts';
import { kinds } from '../../kube/kinds.ts';
import { serviceNameOf } from './facts.ts';
import type { NamespaceFacts } from './facts.ts';
import { makeListenerCertificate } from './listener-certificate.ts';
import { caAnnotation, hostKeysAnnotation } from './plan-objects.ts';
import { makeSshHostKey, makeSshUserCa } from './ssh-keys.ts';

/**
 * Creates one of the namespace's own Secrets. One that exists already is left as it is: ours are made once and never changed, and somebody may bring his own.
 *
 * It has no owner, so that keys and CA outlive an uninstallation. The answer is asked for without the value.
 */
export async function createOwnSecret(client: KubeClient, facts: NamespaceFacts, name: string, signal: AbortSignal): Promise<void> {
  const content = await contentOf(name, facts);
  const metadata = { name, namespace: facts.namespace, labels: { [managedByLabel]: managedByValue }, ...(content.annotations === undefined ? {} : { annotations: content.annotations }) };
  try {
    await client.request({
      method: 'POST', path: pathOf(kinds.secret, facts.namespace), accept: partialObject, query: { fieldManager: fieldManagers.operator }, signal,
      body: { apiVersion: 'v1', kind: 'Secret', metadata, type: content.type, data: Object.fromEntries(Object.entries(content.data).map(([key, value]) => [key, value.toString('base64')])) },
    });
  } catch (error) {
    if (!(error instanceof KubeError && error.reason === 'AlreadyExists')) throw error;
  }
}

interface SecretContent {
  readonly type: string;
  readonly data: Readonly<Record<string, Buffer>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

async function contentOf(name: string, facts: NamespaceFacts): Promise<SecretContent> {
  switch (name) {
    case listenerTlsSecret: return tlsContent(facts);
    case sshHostKeySecret: return hostKeyContent();
    case sshUserCaSecret: return { type: 'Opaque', data: { ca_ed25519: Buffer.from(makeSshUserCa()) } };
    default: return keysContent();
  }
}

function hostKeyContent(): SecretContent {
  const { privateKey, publicKey } = makeSshHostKey();
  return { type: 'Opaque', data: { host_ed25519: Buffer.from(privateKey) }, annotations: { [hostKeysAnnotation]: publicKey } };
}

async function tlsContent(facts: NamespaceFacts): Promise<SecretContent> {
  const { certificate, key, ca } = await makeListenerCertificate(facts.namespace, facts.targets.map(serviceNameOf), facts.nowMs);
  return { type: 'kubernetes.io/tls', data: { 'tls.crt': Buffer.from(certificate), 'tls.key': Buffer.from(key), 'ca.crt': Buffer.from(ca) }, annotations: { [caAnnotation]: ca } };
}

function keysContent(): SecretContent {
  return { type: 'Opaque', data: { digest: randomBytes(32), masking: randomBytes(32), peers: randomBytes(32) } };
}
