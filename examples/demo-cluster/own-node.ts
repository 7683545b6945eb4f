import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { clusterOf } from '../../e2e/cluster/hosts/cluster.ts';
import { identityProviderYaml } from '../../e2e/cluster/hosts/install.ts';
import { endNodeOnSignals, startNode } from '../../e2e/cluster/hosts/node.ts';
import { testImages } from '../../e2e/cluster/images/test-images.ts';
import { startClient } from '../../e2e/hosts/clients.ts';
import { people, type Place } from './place.ts';

/** Starts a one-node Kubernetes on this machine, whose API server trusts the same OIDC issuer as the proxies: people approve with the token that they log in to the database with. */
export async function ownNode(say: (text: string) => void): Promise<Place> {
  endNodeOnSignals();
  const host = await startNode({ say: (text) => say(`  ${text}`) });
  const { facts } = host;
  const cluster = clusterOf(facts);
  const environment: NodeJS.ProcessEnv = { PATH: `${facts.bin}:${process.env['PATH'] ?? ''}`, HOME: '/nonexistent', KUBECONFIG: join(facts.state, 'admin.kubeconfig') };
  const tokenOf: Place['tokenOf'] = (person) => cluster.tokenOf(person, people[person]);
  return {
    name: 'a Kubernetes node of our own', isLasting: false, image: facts.image,
    database: { image: testImages.postgres, client: testImages.client, uid: 70, data: '/data', args: [] }, sshImage: testImages.sshd,
    run: cluster.inside, tokenOf,
    live: (program, args) => startClient('nsenter', ['-t', String(facts.initPid), '-m', '-n', '-u', '-p', '--', program, ...args], environment),
    kubeconfigOf: async (person) => {
      const path = join(facts.state, `${person}.kubeconfig`);
      writeFileSync(path, readFileSync(join(facts.state, 'user.kubeconfig'), 'utf8').replace('user: {}', `user: {token: "${await tokenOf(person)}"}`));
      return path;
    },
    identityProvider: async () => identityProviderYaml(cluster),
    [Symbol.asyncDispose]: () => host[Symbol.asyncDispose](),
  };
}
