import { parseArgs } from 'node:util';
import { type CommandIo, gatewayClient, gatewayFlags, gatewayHelp, reportFailure } from '../gateway-client.ts';
import { getRequest, listClusterRequests, whoAmI } from '../cluster/requests.ts';
import { listTable, phaseOf, showClusterRequest } from '../cluster/show-request.ts';
import { clusterFlags, clusterHelp, findCluster, type Kubectl } from '../kubectl.ts';
import { listRequests, showRequest } from '../show-request.ts';

export const summary: string = 'list the requests for approval that are yours or yours to decide';

const help = `sallyport requests [NAME] [options]

Lists the pending requests that you made or may decide on; with NAME shows one of them whole.

  --all                  decided and ended ones too
  --json                 as JSON
  --withdraw             with NAME: withdraw your own request, or revoke what it was granted (also as an approver)
  --reason TEXT          with --withdraw: why
  -A, --all-namespaces   in a cluster: of all namespaces
${gatewayHelp}
${clusterHelp}
`;

/** `sallyport requests`. Exit 0, 1 when the gateway refuses or cannot be reached, 2 for wrong usage. */
export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  const args = readArgs(argv);
  if (args === null) return usage(io);
  const { values, positionals } = args;
  if (values.help === true) return print(io, help);
  const [name] = positionals;
  if (positionals.length > 1 || (values.withdraw === true && name === undefined)) return usage(io);
  try {
    const kubectl = await findCluster({ values, io });
    if (kubectl !== null) return values.withdraw === true ? usage(io, 'in a cluster an approver uses: sallyport revoke NAME; what you asked for ends with your session') : await showFromCluster(kubectl, io, name, values);
    const gateway = await gatewayClient({ gateway: values.gateway, tokenFile: values['token-file'], tokenCommand: values['token-command'], caFile: values['ca-file'] }, io.env);
    if (name !== undefined) {
      const request = values.withdraw === true ? await gateway.end(name, values.reason ?? '') : await gateway.request(name);
      return print(io, values.json === true ? `${JSON.stringify(request, null, 2)}\n` : showRequest(request, Date.now()));
    }
    const requests = (await gateway.requests()).filter((one) => values.all === true || one.phase === 'Pending');
    if (values.json === true) return print(io, `${JSON.stringify(requests, null, 2)}\n`);
    return print(io, requests.length === 0 ? `no ${values.all === true ? '' : 'pending '}requests\n` : listRequests(requests, Date.now()));
  } catch (error) {
    return reportFailure(io, error);
  }
}

function readArgs(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], allowPositionals: true, options: { ...gatewayFlags, ...clusterFlags, 'all-namespaces': { type: 'boolean', short: 'A' }, all: { type: 'boolean' }, json: { type: 'boolean' }, withdraw: { type: 'boolean' }, reason: { type: 'string' } } });
  } catch {
    return null;
  }
}

async function showFromCluster(kubectl: Kubectl, io: CommandIo, name: string | undefined, options: { readonly json?: boolean | undefined; readonly all?: boolean | undefined; readonly 'all-namespaces'?: boolean | undefined }): Promise<number> {
  if (name !== undefined) {
    const request = await getRequest(kubectl, name);
    return print(io, options.json === true ? `${JSON.stringify(request, null, 2)}\n` : showClusterRequest(request));
  }
  const user = await whoAmI(kubectl);
  const requests = (await listClusterRequests(kubectl, { allNamespaces: options['all-namespaces'] === true })).filter((one) => options.all === true || phaseOf(one) === 'Pending');
  if (options.json === true) return print(io, `${JSON.stringify(requests, null, 2)}\n`);
  return print(io, requests.length === 0 ? `no ${options.all === true ? '' : 'pending '}requests\n` : listTable(requests, user));
}

function usage(io: CommandIo, what = 'the arguments are not valid'): number {
  io.stderr.write(`error: USAGE: ${what}\nhint: sallyport requests --help\n`);
  return 2;
}

function print(io: CommandIo, text: string): number {
  io.stdout.write(text);
  return 0;
}
