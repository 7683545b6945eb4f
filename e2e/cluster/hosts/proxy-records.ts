import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AuditEvent, auditEvents } from '../../hosts/clients.ts';
import { sallyport } from '../../hosts/sallyport.ts';
import type { Cluster } from './cluster.ts';

/** The records of one proxy pod, read from its state volume without the API server's help. */
export interface PodRecords {
  readonly pod: string;
  readonly events: readonly AuditEvent[];
  /** What `sallyport audit verify` says. */
  readonly verified: { readonly exit: number | null; readonly text: string };
}

/** Reads and verifies the records of all proxy pods of a namespace. */
export async function recordsOf(cluster: Cluster, namespace: string): Promise<readonly PodRecords[]> {
  const pods = await cluster.list('pods', namespace, ['-l', 'app.kubernetes.io/name=sallyport-proxy']);
  return Promise.all(pods.map(async ({ metadata }) => {
    const folder = mkdtempSync(join(tmpdir(), 'sallyport-records-'));
    try {
      const volume = join(cluster.facts.state, 'kubelet/pods', metadata.uid, 'volumes/kubernetes.io~empty-dir/state');
      for (const part of ['log', 'recordings']) if (existsSync(join(volume, part))) cpSync(join(volume, part), join(folder, part), { recursive: true });
      return { pod: metadata.name, events: auditEvents(folder), verified: await sallyport(['audit', 'verify', '--data', folder]) };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }));
}
