import { type CommandIo, reportFailure } from '../gateway-client.ts';
import { readOptions } from '../options.ts';
import { fetchCredential } from '../ssh/fetch-credential.ts';
import { configDirectory, writeLogin } from '../ssh/login-files.ts';
import { newKey } from '../ssh/new-key.ts';
import { resolveHost } from '../ssh/resolve-host.ts';
import { tokenHelp, userToken } from '../ssh/user-token.ts';

export const summary: string = 'get a certificate for ssh, scp, sftp, rsync, git and ansible from your OIDC login';

const usage = `Usage: sallyport login [OPTIONS] HOST[:PORT]

Logs in to a gateway at the listener of any of its SSH Targets, makes a new Ed25519 key, gets a certificate for
15 minutes (never longer than your token) and writes both, with a configuration for ssh, into your own directory.
The certificate serves every SSH Target of the namespace. It does not renew itself: log in again.

${tokenHelp}
  --hosts LIST           hosts and patterns that the certificate is for, e.g. 'web-1.payments,*.payments';
                         default: HOST
  --known-hosts FILE     where the host key of the gateway is; default: as ssh is configured
  --ssh-config FILE      as ssh -F

Exit status: 0 logged in, 1 refused or unreachable, 4 wrong usage.
`;

/** `sallyport login`. */
export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  const { values, flags, rest } = readOptions(argv, {
    'token-file': 'text', 'token-command': 'text', issuer: 'text', 'client-id': 'text', 'ca-file': 'text', hosts: 'text', 'known-hosts': 'text', 'ssh-config': 'text', help: 'flag',
  }, { min: argv.includes('--help') ? 0 : 1, max: 1 });
  if (flags.has('help')) {
    io.stdout.write(usage);
    return 0;
  }
  try {
    const to = await resolveHost({ place: rest[0] ?? '', knownHosts: values['known-hosts'], configFile: values['ssh-config'] });
    const token = await userToken({ tokenFile: values['token-file'], tokenCommand: values['token-command'], issuer: values.issuer, clientId: values['client-id'], caFile: values['ca-file'] }, io);
    const key = newKey();
    const given = await fetchCredential(to, token, { want: 'certificate', publicKey: key.publicKey });
    const config = await writeLogin(configDirectory(io.env), {
      ...key, certificate: given.text, expiresAt: given.expiresAt, namespace: given.namespace ?? '', hosts: values.hosts?.split(',') ?? [...new Set([to.name, to.host])],
    });
    io.stdout.write(`logged in as ${given.username ?? ''} for namespace ${given.namespace ?? ''} until ${given.expiresAt}\nssh uses it once this line is in ~/.ssh/config, before any Host: Include "${config}"\n`);
    return 0;
  } catch (error) {
    return reportFailure(io, error);
  }
}
