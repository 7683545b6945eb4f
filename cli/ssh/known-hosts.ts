import { createHmac } from 'node:crypto';

/** A host key as `known_hosts` writes it. */
export interface KnownKey {
  readonly type: string;
  readonly blob: Uint8Array;
}

/**
 * The keys that a `known_hosts` text gives a host, as sshd(8) describes the file: names and patterns, `[host]:port`, hashed names.
 *
 * A line that bears `@revoked` takes its key away wherever else it stands; `@cert-authority` lines are left out: the gateway shows plain keys.
 */
export function knownKeys(text: string, host: string, port: number): readonly KnownKey[] {
  const name = port === 22 ? host.toLowerCase() : `[${host.toLowerCase()}]:${port}`;
  const lines = text.split('\n').map(readLine).filter((line) => line !== null && isMeant(line.names, name)) as readonly Line[];
  const revoked = lines.filter((line) => line.marker === '@revoked');
  return lines.filter((line) => line.marker === null && !revoked.some((other) => Buffer.compare(other.key.blob, line.key.blob) === 0)).map((line) => line.key);
}

interface Line {
  readonly marker: string | null;
  readonly names: string;
  readonly key: KnownKey;
}

function readLine(line: string): Line | null {
  const match = /^\s*(?:(@[a-z-]+)\s+)?([^\s#@]\S*)\s+([a-z0-9@.-]+)\s+([A-Za-z0-9+/]+={0,2})(?:\s.*)?$/.exec(line);
  return match?.[2] === undefined || match[3] === undefined || match[4] === undefined ? null : { marker: match[1] ?? null, names: match[2], key: { type: match[3], blob: Buffer.from(match[4], 'base64') } };
}

function isMeant(names: string, name: string): boolean {
  const hashed = /^\|1\|([A-Za-z0-9+/]+={0,2})\|([A-Za-z0-9+/]+={0,2})$/.exec(names);
  if (hashed) return createHmac('sha1', Buffer.from(hashed[1] ?? '', 'base64')).update(name).digest('base64') === hashed[2];
  const patterns = names.toLowerCase().split(',');
  return !patterns.some((pattern) => pattern.startsWith('!') && fits(pattern.slice(1), name)) && patterns.some((pattern) => !pattern.startsWith('!') && fits(pattern, name));
}

function fits(pattern: string, name: string): boolean {
  const source = pattern.replaceAll(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*').replaceAll('?', '.');
  return new RegExp(`^${source}$`).test(name);
}
