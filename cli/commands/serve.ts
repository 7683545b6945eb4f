import type { CommandIo } from '../gateway-client.ts';
import { serveDirectory } from '../serve/serve-directory.ts';
import { readServeOptions } from '../serve/serve-options.ts';

export const summary: string = 'run the gateway on a directory of YAML, without a cluster';

const usage = `Usage: sallyport serve --config DIR --data DIR [OPTIONS]

Serves every Target of DIR on a port of its own and reloads when a file changes.
DIR holds the YAML that kubectl apply would take: Target, AccessPolicy, IdentityProvider, Secret.

  --config DIR              the YAML
  --data DIR                what the gateway keeps: audit log, recordings, requests, keys; one process per directory
  --tls-cert FILE           certificate of the listeners (PEM), read again when it changes
  --tls-key FILE            its key
  --allow-plaintext-loopback  accept tokens without TLS from this machine (development only)
  --bind ADDRESS            where the listeners bind (default 127.0.0.1)
  --http ADDRESS:PORT       local HTTP API, /healthz, /readyz, /metrics (default 127.0.0.1:8087; port 0: any)
  --namespace NAME          which namespace of DIR (default: the only one there)
  --drain-seconds N         how long running statements get at shutdown (default 25)
  --max-sessions N          sessions at a time (default 500)
  --log-level LEVEL         error, info or debug (default info)
  --reserve-mib N           MiB of the data directory kept to close everything when its disk is full (default 64)
  --min-free-mib N          MiB that must be free there for a new session; 5 % of the disk in any case (default 512)
  --no-audit-stdout         keep the audit events in the data directory only

Logs go to stderr, audit events (OCSF, one JSON object a line) to stdout and to the data directory.
A Target's port is its annotation sallyport.dev/listen-port, else 15432, 15433, … in the order of names.
`;

/** `sallyport serve`: directory mode (D9). Runs until SIGTERM or SIGINT, then drains. */
export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  if (argv.includes('--help')) {
    io.stdout.write(usage);
    return 0;
  }
  return serveDirectory(readServeOptions(argv), io);
}
