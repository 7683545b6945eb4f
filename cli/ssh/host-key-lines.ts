import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import { GatewayError } from '../gateway-client.ts';

/** The public halves of a data directory's host keys, as `TYPE BASE64`. @throws GatewayError NO_HOST_KEY, when the gateway never served SSH from there. */
export async function hostKeyLines(dataDirectory: string): Promise<readonly string[]> {
  const read = await Promise.all(['ssh_host_ed25519', 'ssh_host_rsa'].map((name) => readFile(join(dataDirectory, 'keys', name)).catch(() => null)));
  const lines = read.flatMap((text) => {
    const parsed = text === null ? null : ssh2.utils.parseKey(text);
    return parsed === null || parsed instanceof Error ? [] : [`${parsed.type} ${parsed.getPublicSSH().toString('base64')}`];
  });
  if (lines.length === 0) throw new GatewayError('NO_HOST_KEY', `there is no SSH host key in ${dataDirectory}`, 'start the gateway there once: sallyport serve --data DIR');
  return lines;
}
