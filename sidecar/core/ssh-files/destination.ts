/**
 * The text that rules name a forward's end by: `host:port` as the client wrote it, since the target resolves names and only text can be compared honestly; IPv6 addresses stand in
 * brackets. Null for a name that could be read in two ways, or is longer than a name can be.
 */
export function destinationOf(host: string, port: number): string | null {
  if (host.length === 0 || host.length > 253 || !/^[\x21-\x7e]+$/.test(host) || /[*[\]/\\@%]/.test(host.replace(/%[A-Za-z0-9._-]+$/, ''))) return null;
  if (!Number.isInteger(port) || port < 0 || port > 65_535) return null;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The text of a Unix socket: its path, absolute and without `.`, `..` and doubled slashes; null for any other. */
export function socketOf(path: string): string | null {
  return /^(?:\/[^\x00-\x20\x7f/*]+)+$/.test(path) && path.length <= 107 && !path.split('/').some((part) => part === '.' || part === '..') ? path : null;
}
