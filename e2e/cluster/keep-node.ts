import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { clusterOf } from './hosts/cluster.ts';
import { factsVariable } from './hosts/facts.ts';
import { installSallyport } from './hosts/install.ts';
import { missingForNode, startNode } from './hosts/node.ts';

// `make node`: the node of the scenarios, to look around in and to run single scenarios on; `--bare` installs nothing.
const say = (text: string): void => void process.stdout.write(`${text}\n`);
const missing = missingForNode();
if (missing.length > 0) {
  say(`no Kubernetes node can run here. Missing:\n${missing.map((line) => `  ${line}`).join('\n')}`);
  process.exit(1);
}
await using host = await startNode({ say });
const cluster = clusterOf(host.facts);
const facts = join(host.root, 'facts.json');
writeFileSync(facts, JSON.stringify({ node: host.facts }));
// What fails to install is what one wants to look at.
if (!process.argv.includes('--bare')) await installSallyport(cluster).then(() => say('Sallyport is installed'), (error: unknown) => say(`Sallyport is not installed: ${error instanceof Error ? error.message : String(error)}`));
const script = `NODE_STATE=${host.facts.state} e2e/cluster/node/cluster.sh`;
say(`\n  ${script} exec kubectl get pods -A\n  ${script} exec kubectl --kubeconfig ${host.facts.state}/user.kubeconfig --token TOKEN auth whoami\n  ${script} log kube-apiserver\n  ${factsVariable}=${facts} make cluster ONLY=route\n\nCtrl-C ends it.`);
await new Promise<void>((resolve) => {
  // Something to wait for: a signal alone keeps no process.
  const awake = setInterval(() => undefined, 3_600_000);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { clearInterval(awake); resolve(); });
});
