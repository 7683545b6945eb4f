import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GatewayError } from '../gateway-client.ts';
import type { SshHost } from './resolve-host.ts';

/**
 * Runs the system's `ssh` with a ticket as its password, which it gets through SSH_ASKPASS: in no argument, no variable and for one question only.
 *
 * @param args what stands behind the host: options and a command.
 * @returns the exit status of `ssh`; 255 when a signal ended it.
 */
export async function runSsh(to: SshHost, ticket: string, args: readonly string[], options: { readonly knownHosts: string | undefined; readonly configFile: string | undefined; readonly env: Readonly<Record<string, string | undefined>> }): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-'));
  try {
    const askpass = join(folder, 'askpass');
    await writeFile(join(folder, 'ticket'), `${ticket}\n`, { mode: 0o600 });
    // It is used once, so it is given once; any other question (a host key, a passphrase) is answered with no.
    await writeFile(askpass, `#!/bin/sh\ncase "$1" in *assword*) cat '${folder}/ticket' && rm -f '${folder}/ticket' ;; *) exit 1 ;; esac\n`, { mode: 0o700 });
    const child = spawn('ssh', [
      ...(options.configFile === undefined ? [] : ['-F', options.configFile]), ...(options.knownHosts === undefined ? [] : ['-o', `UserKnownHostsFile="${options.knownHosts}"`, '-o', 'GlobalKnownHostsFile=/dev/null']),
      '-o', 'PreferredAuthentications=password', '-o', 'PubkeyAuthentication=no', '-o', 'NumberOfPasswordPrompts=1', '-o', 'StrictHostKeyChecking=yes', '-l', to.account, '-p', String(to.port), to.name, ...args,
    ], { stdio: 'inherit', env: { ...options.env, SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: 'force' } });
    // Ctrl-C is for what runs over there; `ssh` says when it is over.
    const ignore = (): void => undefined;
    const endIt = (signal: NodeJS.Signals): void => void child.kill(signal);
    process.on('SIGINT', ignore).on('SIGTERM', endIt).on('SIGHUP', endIt);
    try {
      return await new Promise<number>((resolve, reject) => {
        child.once('error', (cause) => reject(new GatewayError('SSH_MISSING', '`ssh` cannot be started', 'install the OpenSSH client', { cause })));
        child.once('close', (status) => resolve(status ?? 255));
      });
    } finally {
      process.off('SIGINT', ignore).off('SIGTERM', endIt).off('SIGHUP', endIt);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
