import { type CommandIo, GatewayError, reportFailure } from '../gateway-client.ts';
import { readOptions } from '../options.ts';
import { hostKeyLines } from '../ssh/host-key-lines.ts';
import { clusterOf, knownHostsOfCluster, listenerHelp, listListeners } from '../ssh/list-listeners.ts';

export const summary: string = 'print the host keys of a gateway, for ~/.ssh/known_hosts';

const usage = `Usage: sallyport ssh known-hosts [OPTIONS]

Prints lines of a known_hosts file for the SSH listeners of a gateway: of a data directory (with its config directory),
or of a namespace. Nothing is asked over the network that the key itself would have to vouch for.

  --data DIR             directory mode: the gateway's data directory
${listenerHelp}
`;

/** `sallyport ssh known-hosts`. Exit 0, 1 when it cannot be read, 4 on wrong usage. */
export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  const { values, flags } = readOptions(argv.map((argument) => (argument === '-n' ? '--namespace' : argument)), { data: 'text', config: 'text', address: 'text', namespace: 'text', context: 'text', kubeconfig: 'text', help: 'flag' }, { min: 0, max: 0 });
  if (flags.has('help')) {
    io.stdout.write(usage);
    return 0;
  }
  const place = { config: values.config, address: values.address, namespace: values.namespace, context: values.context, kubeconfig: values.kubeconfig };
  try {
    if (values.data === undefined && values.config === undefined) {
      io.stdout.write(await knownHostsOfCluster(await clusterOf(place, io)));
      return 0;
    }
    if (values.data === undefined || values.config === undefined) throw new GatewayError('USAGE', 'in directory mode both directories are needed', 'give --data DIR and --config DIR, as sallyport serve has them');
    const [keys, listeners] = await Promise.all([hostKeyLines(values.data), listListeners(place, io)]);
    io.stdout.write(listeners.flatMap(({ host, port }) => keys.map((key) => `${port === 22 ? host : `[${host}]:${port}`} ${key}\n`)).join(''));
    return 0;
  } catch (error) {
    return reportFailure(io, error);
  }
}
