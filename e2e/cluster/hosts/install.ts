import { fileURLToPath } from 'node:url';
import type { Cluster } from './cluster.ts';

const chart = fileURLToPath(new URL('../../../helm/sallyport', import.meta.url));

/** Name of the IdentityProvider of the shared node. */
export const identityProvider = 'company';

/**
 * Installs the chart with the image under test, waits for the operator, and trusts the node's issuer.
 *
 * @param values more `--set` values, `NAME=VALUE`.
 */
export async function installSallyport(cluster: Cluster, values: readonly string[] = []): Promise<void> {
  const { image } = cluster.facts;
  const sets = [`image.repository=${image.repository}`, `image.tag=${image.tag}`, ...values].flatMap((value) => ['--set', value]);
  const ran = await cluster.inside('helm', ['install', 'sallyport', chart, '--namespace', 'sallyport-system', '--create-namespace', ...sets]);
  if (ran.code !== 0) throw new Error(`helm install: ${ran.err}${ran.out}`);
  await cluster.must(['label', 'namespace', 'sallyport-system', 'pod-security.kubernetes.io/enforce=restricted']);
  await cluster.must(['rollout', 'status', 'deployment/sallyport-operator', '-n', 'sallyport-system', '--timeout=120s']).catch(async (error: unknown) => {
    const shown = await Promise.all([cluster.kubectl(['get', 'pods,events', '-n', 'sallyport-system']), cluster.kubectl(['logs', '-n', 'sallyport-system', 'deployment/sallyport-operator', '--tail=40'])]);
    throw new Error(shown.map(({ out, err }) => out + err).join('\n'), { cause: error });
  });
  await cluster.apply(identityProviderYaml(cluster));
  await cluster.waitFor('condition=Ready', ['identityprovider', identityProvider]);
}

/** The node's issuer as the proxies are told of it: by the same names as the API server. */
export function identityProviderYaml(cluster: Cluster, name = identityProvider): string {
  const { url, audience, ca } = cluster.facts.issuer;
  return `apiVersion: sallyport.dev/v1alpha1
kind: IdentityProvider
metadata: {name: ${name}}
spec:
  issuer: ${url}
  audiences: [${audience}]
  claims: {username: email, usernamePrefix: "oidc:", groups: groups}
  caBundle: |
${ca.trimEnd().replace(/^/gm, '    ')}
`;
}
