import { parseArgs } from 'node:util';
import { type CommandIo, gatewayClient, gatewayFlags, gatewayHelp, reportFailure } from '../gateway-client.ts';
import { listRequests, showRequest } from '../show-request.ts';

export const summary: string = 'list the requests for approval that are yours or yours to decide';

const help = `sallyport requests [NAME] [options]

Lists the pending requests that you made or may decide on; with NAME shows one of them whole.

  --all                  decided and ended ones too
  --json                 as JSON
  --withdraw             with NAME: withdraw your own request, or revoke what it was granted (also as an approver)
  --reason TEXT          with --withdraw: why
${gatewayHelp}
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
    return parseArgs({ args: [...argv], allowPositionals: true, options: { ...gatewayFlags, all: { type: 'boolean' }, json: { type: 'boolean' }, withdraw: { type: 'boolean' }, reason: { type: 'string' } } });
  } catch {
    return null;
  }
}

function usage(io: CommandIo): number {
  io.stderr.write(`error: USAGE: the arguments are not valid\nhint: sallyport requests --help\n`);
  return 2;
}

function print(io: CommandIo, text: string): number {
  io.stdout.write(text);
  return 0;
}
