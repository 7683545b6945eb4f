import { randomUUID } from 'node:crypto';
import { chmod, mkdir, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { GatewayError } from '../gateway-client.ts';

/** What a login leaves for the user's `ssh`. */
export interface LoginFiles {
  /** Private key, OpenSSH's format. */
  readonly privateKey: string;
  /** As in a `.pub` file. */
  readonly publicKey: string;
  /** As in a `-cert.pub` file. */
  readonly certificate: string;
  /** RFC 3339. */
  readonly expiresAt: string;
  readonly namespace: string;
  /** Hosts, or patterns of them, for which `ssh` shall use the certificate. */
  readonly hosts: readonly string[];
}

/** Where a user's logins are: `$SALLYPORT_CONFIG_DIR`, else `$XDG_CONFIG_HOME/sallyport`, else `~/.config/sallyport`. */
export function configDirectory(env: Readonly<Record<string, string | undefined>>): string {
  return env['SALLYPORT_CONFIG_DIR'] ?? join(env['XDG_CONFIG_HOME'] ?? join(env['HOME'] ?? homedir(), '.config'), 'sallyport');
}

/**
 * Writes key, certificate and a configuration for `ssh` into `DIR/ssh/`, each whole and readable by the user alone. A login replaces the one before for the same namespace.
 *
 * @returns the file to include.
 */
export async function writeLogin(directory: string, login: LoginFiles): Promise<string> {
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(login.namespace)) throw new GatewayError('GATEWAY_ANSWER_INVALID', 'the answer names no namespace', 'check that both programs have the same version');
  const folder = join(directory, 'ssh');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  const [key, config] = [join(folder, `id_${login.namespace}`), join(folder, `${login.namespace}.conf`)];
  await replaceFile(key, login.privateKey);
  await replaceFile(`${key}.pub`, `${login.publicKey}\n`);
  await replaceFile(`${key}-cert.pub`, `${login.certificate}\n`);
  await replaceFile(config, matchBlock(key, login));
  return config;
}

/** Once the certificate has ended the block no longer applies: `ssh` then logs in as it would without it. */
function matchBlock(key: string, { hosts, expiresAt }: LoginFiles): string {
  if (!hosts.every((host) => /^[A-Za-z0-9_.:*?-]+$/.test(host))) throw new GatewayError('USAGE', 'a host or pattern has characters that cannot stand in an ssh configuration', 'give --hosts as names and patterns, separated by commas');
  return `# Written by sallyport login; ends ${expiresAt}.
Match host ${hosts.join(',')} exec "test $(date +%%s) -lt ${Math.floor(Date.parse(expiresAt) / 1000)}"
  IdentityFile "${key}"
  CertificateFile "${key}-cert.pub"
  IdentitiesOnly yes
Match all
`;
}

async function replaceFile(path: string, text: string): Promise<void> {
  const draft = `${path}.${randomUUID()}.tmp`;
  await writeFile(draft, text, { mode: 0o600, flag: 'wx' });
  await rename(draft, path);
}
