import { type CommandIo, reportFailure } from '../gateway-client.ts';
import { readOptions } from '../options.ts';
import { fetchCredential } from '../ssh/fetch-credential.ts';
import { resolveHost } from '../ssh/resolve-host.ts';
import { runSsh } from '../ssh/run-ssh.ts';
import { tokenHelp, userToken } from '../ssh/user-token.ts';

export const summary: string = 'run ssh through the gateway with your OIDC login, by a ticket that serves once';

const usage = `Usage: sallyport ssh [OPTIONS] ACCOUNT@HOST[:PORT] [-- SSH-OPTIONS COMMAND]

Logs in to the gateway with your whole token, gets a ticket for this account on this target (one minute, one
connection), and starts the system's ssh with it. What stands behind -- is handed to ssh.

${tokenHelp}
  --known-hosts FILE     where the host key of the gateway is; default: as ssh is configured
  --ssh-config FILE      as ssh -F

See also: sallyport login (certificates), sallyport ssh config, sallyport ssh known-hosts.
Exit status: that of ssh; 1 refused or unreachable before it, 4 wrong usage.
`;

/** `sallyport ssh`. */
export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  const { values, flags, rest } = readOptions(argv, {
    'token-file': 'text', 'token-command': 'text', issuer: 'text', 'client-id': 'text', 'ca-file': 'text', 'known-hosts': 'text', 'ssh-config': 'text', help: 'flag',
  }, { min: argv.includes('--help') ? 0 : 1, max: 10_000 });
  if (flags.has('help')) {
    io.stdout.write(usage);
    return 0;
  }
  try {
    const ssh = { knownHosts: values['known-hosts'], configFile: values['ssh-config'] };
    const to = await resolveHost({ place: rest[0] ?? '', ...ssh });
    const token = await userToken({ tokenFile: values['token-file'], tokenCommand: values['token-command'], issuer: values.issuer, clientId: values['client-id'], caFile: values['ca-file'] }, io);
    const given = await fetchCredential(to, token, { want: 'ticket', account: to.account });
    return await runSsh(to, given.text, rest.slice(1), { ...ssh, env: io.env });
  } catch (error) {
    return reportFailure(io, error);
  }
}
