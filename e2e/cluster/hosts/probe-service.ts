import type { Cluster } from './cluster.ts';
import type { NamespaceWorld } from './namespace-world.ts';

/** What logins of a user's pod met, one after the other. */
export interface ProbeResult {
  readonly opened: number;
  /** What psql said of those that did not open. */
  readonly failed: readonly string[];
}

/** Logs in again and again with psql for so long, from a pod with an address of its own: the clients of the relay share one, and with it ten places for logins. */
export async function probeService(cluster: Cluster, world: Pick<NamespaceWorld, 'namespace' | 'host'>, clusterIP: string, token: string, seconds: number): Promise<ProbeResult> {
  // The address is given: DNS of a busy node may take seconds, and is not what is asked.
  const conninfo = `host=${world.host} hostaddr=${clusterIP} user=me dbname=orders sslmode=verify-full sslrootcert=/tmp/ca.crt connect_timeout=15`;
  const script = 'IFS= read -r PGPASSWORD; export PGPASSWORD; while read -r go; do psql "$0" -Atc "select 1" </dev/null 2>&1; echo; done';
  const program = cluster.live(['exec', '-i', '-n', world.namespace, 'client', '--', 'sh', '-c', script, conninfo]);
  program.say(token);
  const until = performance.now() + seconds * 1_000;
  for (let from = 0; performance.now() < until;) {
    program.say('go');
    await program.until(/\n\n/, from);
    from = program.text().length;
    await new Promise((resolve) => void setTimeout(resolve, 50));
  }
  const answers = (await program.end()).out.split('\n\n').map((text) => text.trim()).filter((text) => text !== '');
  return { opened: answers.filter((text) => text === '1').length, failed: answers.filter((text) => text !== '1') };
}
