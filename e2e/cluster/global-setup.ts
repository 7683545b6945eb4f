import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { findAsset } from '../../tools/e2e-assets.ts';
import { clusterOf } from './hosts/cluster.ts';
import { type Facts, factsVariable } from './hosts/facts.ts';
import { installSallyport } from './hosts/install.ts';
import { endNodeOnSignals, missingForNode, type NodeHost, startNode } from './hosts/node.ts';

declare global {
  var sallyportNode: NodeHost | null;
}

const noNode = join(import.meta.dirname, '../../.cache/no-node.json');

/** Starts the one node of the `cluster` project and installs the chart on it; where that cannot be, scenarios are skipped, unless SALLYPORT_E2E_REQUIRE names `node`. */
// biome-ignore lint/style/noDefaultExport: Jest calls a global setup by its default export
export default async function globalSetup(): Promise<void> {
  globalThis.sallyportNode = null;
  // A node that somebody keeps running (`make node`).
  if (process.env[factsVariable] !== undefined) return;
  if (findAsset('node') === null) return skip();
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  endNodeOnSignals();
  const host = await startNode({ say });
  globalThis.sallyportNode = host;
  try {
    await installSallyport(clusterOf(host.facts));
  } catch (error) {
    await host[Symbol.asyncDispose]();
    throw error;
  }
  say('Sallyport is installed');
  leave({ node: host.facts }, join(host.root, 'facts.json'));
}

function skip(): void {
  const found = missingForNode();
  const missing = found.length > 0 ? found : ['the programs of the node, built by: e2e/cluster/node/cluster.sh build'];
  process.stderr.write(`no Kubernetes node here, its scenarios are skipped. Missing:\n${missing.map((line) => `  ${line}\n`).join('')}`);
  leave({ node: null, missing }, noNode);
}

function leave(facts: Facts, path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, JSON.stringify(facts));
  process.env[factsVariable] = path;
}
