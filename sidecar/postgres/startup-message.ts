import { type Denial, deny } from '../core/errors.ts';

/** A StartupMessage as the client wrote it. */
export interface StartupMessage {
  /** The minor version in force: 2 for 3.2 and newer, else 0. */
  readonly protocolMinor: 0 | 2;
  /** Set when NegotiateProtocolVersion must be sent: `_pq_.` names that we do not know; empty when only the version is too new. */
  readonly negotiate: readonly string[] | null;
  /** Every pair but `_pq_.` ones, names as sent, in the order sent. */
  readonly pairs: ReadonlyMap<string, string>;
}

/** Newest minor version of protocol 3 that we speak. */
const newestMinor = 2;

/**
 * Parses a StartupMessage.
 *
 * @param body what follows the length field: version, then name and value pairs, then a zero byte; at most 10,000 bytes.
 * @returns the message, or the denial: another major version, no terminator, a name twice (in any case), not UTF-8.
 * @see PostgreSQL 18, ProcessStartupPacket in backend_startup.c
 */
export function parseStartupMessage(body: Buffer): { readonly outcome: 'parsed'; readonly message: StartupMessage } | { readonly outcome: 'refused'; readonly denial: Denial } {
  const version = body.readUInt32BE(0);
  if (version >>> 16 !== 3) return refuse(deny('PROTOCOL_UNSUPPORTED'));
  const texts = splitTexts(body.subarray(4));
  if (texts === null) return refuse(deny('PROTOCOL_VIOLATION', { message: 'the startup packet is not well formed' }));
  const pairs = new Map<string, string>();
  const seen = new Set<string>();
  const unknown: string[] = [];
  for (let i = 0; i < texts.length; i += 2) {
    const [name, value] = [texts[i] ?? '', texts[i + 1] ?? ''];
    // Setting names are case-insensitive in the server: `DateStyle` and `datestyle` are one name sent twice.
    if (seen.has(name.toLowerCase())) return refuse(deny('PROTOCOL_VIOLATION', { message: 'a startup parameter stands twice' }));
    seen.add(name.toLowerCase());
    if (name.startsWith('_pq_.')) unknown.push(name);
    else pairs.set(name, value);
  }
  const minor = version & 0xffff;
  const protocolMinor = minor >= newestMinor ? newestMinor : 0;
  return { outcome: 'parsed', message: { protocolMinor, negotiate: minor > newestMinor || unknown.length > 0 ? unknown : null, pairs } };
}

/** Name, value, name, value…; null when the layout is wrong or a text is not UTF-8. */
function splitTexts(bytes: Buffer): readonly string[] | null {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const texts: string[] = [];
  let offset = 0;
  for (;;) {
    const end = bytes.indexOf(0, offset);
    if (end < 0) return null;
    // The terminator is an empty name, and the last byte of the packet.
    if (end === offset && texts.length % 2 === 0) return end === bytes.length - 1 ? texts : null;
    try {
      texts.push(decoder.decode(bytes.subarray(offset, end)));
    } catch {
      return null;
    }
    offset = end + 1;
  }
}

function refuse(denial: Denial): { readonly outcome: 'refused'; readonly denial: Denial } {
  return { outcome: 'refused', denial };
}
