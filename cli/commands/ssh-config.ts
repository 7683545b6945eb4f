import { type CommandIo, reportFailure } from '../gateway-client.ts';
import { readOptions } from '../options.ts';
import { listenerHelp, listListeners, type SshListener } from '../ssh/list-listeners.ts';

export const summary: string = 'print Host blocks for the SSH Targets of a gateway, for ~/.ssh/config';

const usage = `Usage: sallyport ssh config [OPTIONS]

Prints a Host block for each SSH Target of a gateway, so that ssh TARGET finds its listener.

${listenerHelp}
`;

/** `sallyport ssh config`. Exit 0, 1 when it cannot be read, 4 on wrong usage. */
export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  const { values, flags } = readOptions(expandShort(argv), { config: 'text', address: 'text', namespace: 'text', context: 'text', kubeconfig: 'text', help: 'flag' }, { min: 0, max: 0 });
  if (flags.has('help')) {
    io.stdout.write(usage);
    return 0;
  }
  try {
    const listeners = await listListeners({ config: values.config, address: values.address, namespace: values.namespace, context: values.context, kubeconfig: values.kubeconfig }, io);
    io.stdout.write(listeners.length === 0 ? '# no SSH Targets\n' : listeners.map(hostBlock).join('\n'));
    return 0;
  } catch (error) {
    return reportFailure(io, error);
  }
}

function hostBlock({ name, host, port, accounts }: SshListener): string {
  return `Host ${name}\n  HostName ${host}\n  Port ${port}\n  # accounts: ${accounts.join(', ')}\n`;
}

/** As kubectl has it. */
function expandShort(argv: readonly string[]): readonly string[] {
  return argv.map((argument) => (argument === '-n' ? '--namespace' : argument));
}
