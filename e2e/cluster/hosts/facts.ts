import type { JWK } from 'jose';
import { readFileSync } from 'node:fs';

/** What a scenario has to know about the shared node; written by the global setup, read by each test file. */
export interface NodeFacts {
  /** `cluster.sh`, to be run with NODE_STATE and NODE_BIN of `environment`. */
  readonly script: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Process that `nsenter` enters to be inside the node. */
  readonly initPid: number;
  /** Folder of kubectl, helm, helm3. */
  readonly bin: string;
  /** Of the node's own process: `admin.kubeconfig`, `user.kubeconfig` (no credentials), `log/`, `relay.sock`. */
  readonly state: string;
  readonly image: { readonly repository: string; readonly tag: string };
  readonly issuer: { readonly url: string; readonly audience: string; readonly ca: string; readonly key: JWK };
  /** Credentials of no Sallyport process: a user by token who is in `system:masters`. */
  readonly adminToken: string;
}

/** The node, or why there is none. */
export type Facts = { readonly node: NodeFacts } | { readonly node: null; readonly missing: readonly string[] };

/** Environment variable with the path of the facts' file. */
export const factsVariable = 'SALLYPORT_NODE_FACTS';

/** Reads what the global setup left. @throws when a file is run without it. */
export function readFacts(): Facts {
  const path = process.env[factsVariable];
  if (path === undefined) throw new Error(`${factsVariable} is not set: run this file by make cluster ONLY=path`);
  return JSON.parse(readFileSync(path, 'utf8')) as Facts;
}
