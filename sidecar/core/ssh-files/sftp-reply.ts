import { FieldError, readFields, textOf, writePacket } from './packet-fields.ts';
import { passedExtensions, readAttributes } from './sftp-request.ts';

/** One packet of an SFTP server, as far as its content matters here. */
export type SftpReply =
  | { readonly kind: 'VERSION'; readonly version: number; readonly extensions: readonly { readonly name: string; readonly value: Uint8Array }[] }
  | { readonly kind: 'STATUS'; readonly id: number; readonly code: number }
  | { readonly kind: 'HANDLE'; readonly id: number; /** Latin1. */ readonly handle: string }
  | { readonly kind: 'DATA'; readonly id: number; readonly content: Uint8Array }
  /** `first` is null when the list is empty or its first name is not UTF-8. */
  | { readonly kind: 'NAME'; readonly id: number; readonly count: number; readonly first: string | null }
  | { readonly kind: 'ATTRS'; readonly id: number; readonly isDirectory: boolean }
  | { readonly kind: 'EXTENDED_REPLY'; readonly id: number };

/** What a packet is, or why the channel must end. */
export type ReplyOutcome = { readonly outcome: 'reply'; readonly reply: SftpReply } | { readonly outcome: 'malformed'; readonly problem: string };

/** Status codes of version 3. */
export const sftpStatus = { ok: 0, eof: 1, noSuchFile: 2, permissionDenied: 3, failure: 4, badMessage: 5, noConnection: 6, connectionLost: 7, unsupported: 8 } as const;

const maxHandleBytes = 256;
const maxExtensions = 64;

/** Reads one packet of an SFTP server: the whole packet, its length field included. */
export function readSftpReply(packet: Uint8Array): ReplyOutcome {
  const reader = readFields(packet, 4);
  try {
    const type = reader.byte();
    const id = reader.uint32();
    switch (type) {
      case 2: {
        const extensions: { readonly name: string; readonly value: Uint8Array }[] = [];
        while (reader.left() > 0) {
          if (extensions.length === maxExtensions) throw new FieldError('too many extensions');
          extensions.push({ name: reader.text() ?? '', value: reader.bytes() });
        }
        return reply({ kind: 'VERSION', version: id, extensions });
      }
      case 101:
        // The text and its language are left out by some servers.
        return reply({ kind: 'STATUS', id, code: reader.uint32() });
      case 102: {
        const handle = reader.bytes();
        reader.end();
        if (handle.length === 0 || handle.length > maxHandleBytes) throw new FieldError('handle');
        return reply({ kind: 'HANDLE', id, handle: Buffer.from(handle).toString('latin1') });
      }
      case 103: {
        const content = reader.bytes();
        reader.end();
        return reply({ kind: 'DATA', id, content });
      }
      case 104: {
        const count = reader.uint32();
        return reply({ kind: 'NAME', id, count, first: count === 0 ? null : textOf(reader.bytes()) });
      }
      case 105:
        return reply({ kind: 'ATTRS', id, isDirectory: ((readAttributes(reader).mode ?? 0) & 0o170000) === 0o040000 });
      case 201:
        return reply({ kind: 'EXTENDED_REPLY', id });
      default:
        throw new FieldError('unknown packet type');
    }
  } catch (error) {
    return { outcome: 'malformed', problem: (error as Error).message };
  }
}

function reply(value: SftpReply): ReplyOutcome {
  return { outcome: 'reply', reply: value };
}

/** A STATUS packet of our own. */
export function writeStatus(id: number, code: number, message: string): Uint8Array {
  return writePacket(101, [{ uint32: id }, { uint32: code }, { string: message }, { string: 'en' }]);
}

/** The INIT that the target gets, whatever newer version the client offered: only version 3 is read here. */
export function writeInit(): Uint8Array {
  return writePacket(1, [{ uint32: 3 }]);
}

/** Questions that are asked here before a path is judged. */
export function writePathQuestion(kind: 'REALPATH' | 'LSTAT' | 'STAT', id: number, path: string): Uint8Array {
  return writePacket({ REALPATH: 16, LSTAT: 7, STAT: 17 }[kind], [{ uint32: id }, { string: path }]);
}

/** The target's VERSION with only the extensions that pass, so that clients do not try the others. */
export function writeVersion(extensions: readonly { readonly name: string; readonly value: Uint8Array }[]): Uint8Array {
  return writePacket(2, [{ uint32: 3 }, ...extensions.filter(({ name }) => passedExtensions.has(name)).flatMap(({ name, value }) => [{ string: name }, { string: value }])]);
}
