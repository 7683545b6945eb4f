import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { createAuthority } from '../../e2e/hosts/certificates.ts';
import { eventually, runClient, startClient } from '../../e2e/hosts/clients.ts';
import { newSigningKey, signToken } from '../../e2e/hosts/issuer.ts';
import { people, type Person, type Place } from './place.ts';

const issuerNamespace = 'sallyport-demo-issuer';
const issuer = `https://issuer.${issuerNamespace}.svc:8443`;
const audience = 'sallyport';

/** The current kubeconfig's context; null when there is none, or no kubectl. */
export function currentContext(): string | null {
  const ran = spawnSync('kubectl', ['config', 'current-context'], { encoding: 'utf8' });
  return ran.status === 0 && ran.stdout.trim() !== '' ? ran.stdout.trim() : null;
}

/**
 * The user's own cluster. Its API server trusts no issuer of a demo, so people approve with client certificates that the cluster itself signs (CertificateSigningRequest), under the same names
 * as in the tokens: one person, one name.
 *
 * @param image Sallyport's image where the cluster's nodes can pull it, with its tag.
 */
export async function currentCluster(context: string, image: string): Promise<Place> {
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-demo-'));
  const key = await newSigningKey();
  const [repository = image, tag = 'latest'] = image.split(/:(?=[^/]*$)/);
  const run: Place['run'] = (program, args, input = '') => runClient(program, args, process.env, input);
  const must = async (args: readonly string[], input?: string): Promise<string> => {
    const ran = await run('kubectl', args, input);
    if (ran.code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${ran.err}`);
    return ran.out;
  };
  const official = process.env['PG_IMAGE'] ?? 'postgres:18';
  return {
    name: `the cluster of your context ${context}`, isLasting: true, image: { repository, tag }, run,
    // What Docker's official image wants; an image with another user or folder: PG_UID, PG_DATA.
    database: { image: official, client: process.env['CLIENT_IMAGE'] ?? official, uid: Number(process.env['PG_UID'] ?? 999), data: process.env['PG_DATA'] ?? '/var/lib/postgresql', args: ['-c', 'ssl=on', '-c', 'ssl_cert_file=/tls/tls.crt', '-c', 'ssl_key_file=/tls/tls.key'] },
    // No public image fits: `SSH_IMAGE` and a `CLIENT_IMAGE` with ssh, both built from e2e/cluster/images.
    sshImage: process.env['SSH_IMAGE'] ?? null,
    live: (program, args) => startClient(program, args, process.env),
    tokenOf: (person) => signToken({ key, issuer, audience }, { sub: person, email: `${person}@bank.example`, groups: people[person] }),
    kubeconfigOf: (person) => certificateOf(person, directory, must),
    identityProvider: async () => {
      const authority = await createAuthority('Authority of the demo issuer');
      const tls = await authority.issue({ commonName: 'issuer', dnsNames: [`issuer.${issuerNamespace}.svc`] });
      const { d: _private, ...publicKey } = key;
      await must(['apply', '-f', '-'], issuerYaml({ image, certificate: tls.certificate, key: tls.key, jwks: JSON.stringify({ keys: [publicKey] }) }));
      await must(['rollout', 'status', 'deployment/issuer', '-n', issuerNamespace, '--timeout=120s']);
      const caBundle = authority.ca.trimEnd().replace(/^/gm, '    ');
      return `apiVersion: sallyport.dev/v1alpha1\nkind: IdentityProvider\nmetadata: {name: company}\nspec:\n  issuer: ${issuer}\n  audiences: [${audience}]\n  claims: {username: email, usernamePrefix: "oidc:", groups: groups}\n  caBundle: |\n${caBundle}\n`;
    },
    [Symbol.asyncDispose]: async () => {
      await run('kubectl', ['delete', 'namespace', issuerNamespace, '--ignore-not-found', '--wait=false']);
      await run('kubectl', ['delete', 'csr', ...Object.keys(people).map((person) => `sallyport-demo-${person}`), '--ignore-not-found']);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function certificateOf(person: Person, directory: string, must: (args: readonly string[], input?: string) => Promise<string>): Promise<string> {
  x509.cryptoProvider.set(webcrypto as unknown as Crypto);
  const keys = (await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])) as CryptoKeyPair;
  const subject = [{ CN: [`oidc:${person}@bank.example`] }, ...people[person].map((group) => ({ O: [group] }))];
  const request = await x509.Pkcs10CertificateRequestGenerator.create({ name: subject, keys, signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' } });
  const name = `sallyport-demo-${person}`;
  await must(['delete', 'csr', name, '--ignore-not-found']);
  await must(['create', '-f', '-'], JSON.stringify({
    apiVersion: 'certificates.k8s.io/v1', kind: 'CertificateSigningRequest', metadata: { name },
    spec: { request: Buffer.from(request.toString('pem')).toString('base64'), signerName: 'kubernetes.io/kube-apiserver-client', usages: ['client auth'], expirationSeconds: 3600 },
  }));
  await must(['certificate', 'approve', name]);
  const certificate = await eventually('the cluster signs client certificates (its signer kubernetes.io/kube-apiserver-client; some managed clusters have none)', async () => {
    const text = await must(['get', 'csr', name, '-o', 'jsonpath={.status.certificate}']);
    return text === '' ? null : text;
  }, 30_000);
  const view = JSON.parse(await must(['config', 'view', '--raw', '--minify', '--flatten', '-o', 'json'])) as { readonly clusters: readonly object[]; readonly contexts: readonly { readonly name: string; readonly context: { readonly cluster: string } }[] };
  const cluster = view.contexts[0]?.context.cluster;
  const pem = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  const path = join(directory, `${person}.kubeconfig`);
  writeFileSync(path, JSON.stringify({
    apiVersion: 'v1', kind: 'Config', clusters: view.clusters, 'current-context': person, contexts: [{ name: person, context: { cluster, user: person, namespace: 'payments' } }],
    users: [{ name: person, user: { 'client-certificate-data': certificate, 'client-key-data': Buffer.from(`-----BEGIN PRIVATE KEY-----\n${pem.replace(/(.{64})/g, '$1\n')}\n-----END PRIVATE KEY-----\n`).toString('base64') } }],
  }), { mode: 0o600 });
  return path;
}

/** An issuer for a demo: a discovery document and a public key, served by Node in a pod of Sallyport's own image. The private key stays with the demo. */
function issuerYaml(input: { readonly image: string; readonly certificate: string; readonly key: string; readonly jwks: string }): string {
  const discovery = JSON.stringify({ issuer, jwks_uri: `${issuer}/jwks`, response_types_supported: ['id_token'], subject_types_supported: ['public'], id_token_signing_alg_values_supported: ['ES256'] });
  const program = `import { createServer } from 'node:https';
import { readFileSync } from 'node:fs';
const read = (name) => readFileSync('/issuer/' + name, 'utf8');
const pages = { '/.well-known/openid-configuration': read('discovery'), '/jwks': read('jwks') };
createServer({ cert: read('tls.crt'), key: read('tls.key') }, (request, response) => {
  const page = pages[request.url];
  response.writeHead(page ? 200 : 404, { 'content-type': 'application/json' }).end(page ?? '{}');
}).listen(8443);
`;
  const labels = { app: 'issuer' };
  const restricted = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, runAsNonRoot: true, capabilities: { drop: ['ALL'] }, seccompProfile: { type: 'RuntimeDefault' } };
  const container = { name: 'issuer', image: input.image, imagePullPolicy: 'IfNotPresent', command: ['node', '/issuer/program.mjs'], securityContext: restricted, readinessProbe: { tcpSocket: { port: 8443 }, periodSeconds: 1 }, volumeMounts: [{ name: 'issuer', mountPath: '/issuer', readOnly: true }] };
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: issuerNamespace } },
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'issuer', namespace: issuerNamespace }, stringData: { 'program.mjs': program, discovery, jwks: input.jwks, 'tls.crt': input.certificate, 'tls.key': input.key } },
    { apiVersion: 'v1', kind: 'Service', metadata: { name: 'issuer', namespace: issuerNamespace }, spec: { selector: labels, ports: [{ port: 8443 }] } },
    { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'issuer', namespace: issuerNamespace }, spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { automountServiceAccountToken: false, containers: [container], volumes: [{ name: 'issuer', secret: { secretName: 'issuer' } }] } } } },
  ].map((object) => JSON.stringify(object)).join('\n---\n');
}
