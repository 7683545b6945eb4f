import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { GatewayError } from '../gateway-client.ts';
import { type KnownKey, knownKeys } from './known-hosts.ts';

/** Where `ssh NAME` would go, and which host keys it would accept there. */
export interface SshHost {
  /** As it was given, without account and port. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly account: string;
  readonly keys: readonly KnownKey[];
}

/** How a host was named on the command line. */
export interface HostOptions {
  /** `[ACCOUNT@]HOST[:PORT]`; HOST may be an alias of the user's ssh configuration. */
  readonly place: string;
  /** Instead of the user's own files. */
  readonly knownHosts: string | undefined;
  /** Instead of the user's own configuration, as `ssh -F`. */
  readonly configFile: string | undefined;
}

/**
 * Asks the system's `ssh` what a name means (`ssh -G`), and looks up the host's keys.
 *
 * @throws GatewayError USAGE, SSH_MISSING, HOST_KEY_UNKNOWN: a token goes to no host whose key is not known.
 */
export async function resolveHost({ place, knownHosts, configFile }: HostOptions): Promise<SshHost> {
  const match = /^(?:([^@\s]+)@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?$/.exec(place);
  const name = match?.[2]?.replaceAll(/[[\]]/g, '');
  if (name === undefined || name.startsWith('-')) throw new GatewayError('USAGE', 'that is no host', 'name it as [ACCOUNT@]HOST[:PORT]');
  const settings = await sshSettings([...(configFile === undefined ? [] : ['-F', configFile]), ...(match?.[1] === undefined ? [] : ['-l', match[1]]), ...(match?.[3] === undefined ? [] : ['-p', match[3]]), '--', name]);
  const first = (key: string): string => settings.get(key)?.[0] ?? '';
  const [host, port] = [first('hostname'), Number(first('port'))];
  const files = knownHosts === undefined ? [first('userknownhostsfile'), first('globalknownhostsfile')].flatMap((list) => list.split(' ')).filter((file) => file !== '' && file !== 'none') : [knownHosts];
  const text = (await Promise.all(files.map((file) => readFile(expand(file), 'utf8').catch(() => '')))).join('\n');
  const alias = first('hostkeyalias');
  const keys = knownKeys(text, alias === '' ? host : alias, alias === '' ? port : 22);
  if (keys.length === 0) throw new GatewayError('HOST_KEY_UNKNOWN', `the host key of ${host} port ${port} is not known, so no token is sent there`, 'get it from those who run the gateway (sallyport ssh known-hosts), and add it to ~/.ssh/known_hosts or give --known-hosts FILE');
  return { name, host, port, account: first('user'), keys };
}

function expand(file: string): string {
  return file.startsWith('~/') ? join(homedir(), file.slice(2)) : file;
}

function sshSettings(args: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>> {
  const { promise, resolve, reject } = Promise.withResolvers<ReadonlyMap<string, readonly string[]>>();
  execFile('ssh', ['-G', ...args], { timeout: 10_000, maxBuffer: 1_048_576 }, (cause, stdout, stderr) => {
    if (cause !== null) return reject(new GatewayError('SSH_MISSING', `\`ssh -G\` failed: ${stderr.trim().slice(0, 200).replaceAll(/[^\x20-\x7e]/g, '?') || 'is ssh installed?'}`, 'install the OpenSSH client, or correct its configuration', { cause }));
    const settings = new Map<string, string[]>();
    for (const line of stdout.split('\n')) {
      const [key, value] = [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)];
      settings.set(key, [...(settings.get(key) ?? []), value]);
    }
    return resolve(settings);
  });
  return promise;
}
