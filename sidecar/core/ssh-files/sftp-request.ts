import { FieldError, type FieldReader, readFields } from './packet-fields.ts';

/** File attributes as a request carries them; null: not named. */
export interface SftpAttributes {
  readonly size: number | null;
  readonly owner: { readonly uid: number; readonly gid: number } | null;
  readonly mode: number | null;
  readonly times: { readonly access: number; readonly modification: number } | null;
}

/**
 * One request of SFTP version 3. A path is null when its bytes are not UTF-8. A handle is its bytes as latin1 text, so that it can be a key.
 * `paths` stand in the order of the packet.
 */
export type SftpRequest =
  | { readonly kind: 'INIT'; readonly version: number }
  | { readonly kind: 'OPEN'; readonly id: number; readonly paths: readonly [string | null]; readonly flags: number; readonly attributes: SftpAttributes }
  | { readonly kind: 'SETSTAT' | 'LSETSTAT'; readonly id: number; readonly paths: readonly [string | null]; readonly attributes: SftpAttributes }
  | { readonly kind: 'MKDIR'; readonly id: number; readonly paths: readonly [string | null]; readonly attributes: SftpAttributes }
  | { readonly kind: 'FSETSTAT'; readonly id: number; readonly handle: string; readonly attributes: SftpAttributes }
  | { readonly kind: 'CLOSE' | 'FSTAT' | 'READDIR' | 'FSTATVFS' | 'FSYNC'; readonly id: number; readonly handle: string }
  | { readonly kind: 'READ'; readonly id: number; readonly handle: string; readonly offset: number; readonly length: number }
  | { readonly kind: 'WRITE'; readonly id: number; readonly handle: string; readonly offset: number; readonly content: Uint8Array }
  | { readonly kind: 'LSTAT' | 'STAT' | 'OPENDIR' | 'REALPATH' | 'READLINK' | 'REMOVE' | 'RMDIR' | 'STATVFS' | 'EXPAND_PATH'; readonly id: number; readonly paths: readonly [string | null] }
  | { readonly kind: 'RENAME' | 'POSIX_RENAME' | 'SYMLINK' | 'HARDLINK'; readonly id: number; readonly paths: readonly [string | null, string | null] }
  | { readonly kind: 'COPY_DATA'; readonly id: number; readonly from: string; readonly fromOffset: number; /** 0: up to the end. */ readonly length: number; readonly to: string; readonly toOffset: number }
  | { readonly kind: 'LIMITS'; readonly id: number }
  /** An extension that does not pass; it is answered, not forwarded. */
  | { readonly kind: 'EXTENDED'; readonly id: number; readonly name: string };

/** What a packet is, or why the channel must end. */
export type RequestOutcome = { readonly outcome: 'request'; readonly request: SftpRequest } | { readonly outcome: 'malformed'; readonly problem: string };

/** Extensions that pass, under the names that servers announce. */
export const passedExtensions: ReadonlySet<string> = new Set([
  'posix-rename@openssh.com', 'hardlink@openssh.com', 'copy-data', 'statvfs@openssh.com', 'fstatvfs@openssh.com', 'fsync@openssh.com', 'lsetstat@openssh.com', 'limits@openssh.com', 'expand-path@openssh.com',
]);

/** Longest path of a request: PATH_MAX of Linux. */
const maxPathBytes = 4096;
/** OpenSSH's handles have 4 bytes; the draft allows 256. */
const maxHandleBytes = 256;
const maxAttributeExtensions = 16;

/**
 * Reads one packet of an SFTP client.
 *
 * @param packet the whole packet, its length field included.
 * @see draft-ietf-secsh-filexfer-02, and "PROTOCOL" of OpenSSH for the extensions.
 */
export function readSftpRequest(packet: Uint8Array): RequestOutcome {
  const reader = readFields(packet, 4);
  try {
    const request = readBody(reader.byte(), reader);
    if (request === null) return { outcome: 'malformed', problem: 'unknown packet type' };
    if (request.kind !== 'EXTENDED' && request.kind !== 'INIT') reader.end();
    return { outcome: 'request', request };
  } catch (error) {
    return { outcome: 'malformed', problem: (error as Error).message };
  }
}

function readBody(type: number, reader: FieldReader): SftpRequest | null {
  // INIT has no id: its first field is the version.
  const id = reader.uint32();
  switch (type) {
    case 1:
      return { kind: 'INIT', version: id };
    case 3:
      return { kind: 'OPEN', id, paths: [path(reader)], flags: reader.uint32(), attributes: readAttributes(reader) };
    case 4:
      return { kind: 'CLOSE', id, handle: handle(reader) };
    case 5:
      return { kind: 'READ', id, handle: handle(reader), offset: reader.uint64(), length: reader.uint32() };
    case 6:
      return { kind: 'WRITE', id, handle: handle(reader), offset: reader.uint64(), content: reader.bytes() };
    case 7:
      return { kind: 'LSTAT', id, paths: [path(reader)] };
    case 8:
      return { kind: 'FSTAT', id, handle: handle(reader) };
    case 9:
      return { kind: 'SETSTAT', id, paths: [path(reader)], attributes: readAttributes(reader) };
    case 10:
      return { kind: 'FSETSTAT', id, handle: handle(reader), attributes: readAttributes(reader) };
    case 11:
      return { kind: 'OPENDIR', id, paths: [path(reader)] };
    case 12:
      return { kind: 'READDIR', id, handle: handle(reader) };
    case 13:
      return { kind: 'REMOVE', id, paths: [path(reader)] };
    case 14:
      return { kind: 'MKDIR', id, paths: [path(reader)], attributes: readAttributes(reader) };
    case 15:
      return { kind: 'RMDIR', id, paths: [path(reader)] };
    case 16:
      return { kind: 'REALPATH', id, paths: [path(reader)] };
    case 17:
      return { kind: 'STAT', id, paths: [path(reader)] };
    case 18:
      return { kind: 'RENAME', id, paths: [path(reader), path(reader)] };
    case 19:
      return { kind: 'READLINK', id, paths: [path(reader)] };
    case 20:
      return { kind: 'SYMLINK', id, paths: [path(reader), path(reader)] };
    case 200:
      return extended(id, reader);
    default:
      return null;
  }
}

function extended(id: number, reader: FieldReader): SftpRequest {
  const name = reader.text();
  switch (name) {
    case 'posix-rename@openssh.com':
      return { kind: 'POSIX_RENAME', id, paths: [path(reader), path(reader)] };
    case 'hardlink@openssh.com':
      return { kind: 'HARDLINK', id, paths: [path(reader), path(reader)] };
    case 'copy-data':
      return { kind: 'COPY_DATA', id, from: handle(reader), fromOffset: reader.uint64(), length: reader.uint64(), to: handle(reader), toOffset: reader.uint64() };
    case 'statvfs@openssh.com':
      return { kind: 'STATVFS', id, paths: [path(reader)] };
    case 'fstatvfs@openssh.com':
      return { kind: 'FSTATVFS', id, handle: handle(reader) };
    case 'fsync@openssh.com':
      return { kind: 'FSYNC', id, handle: handle(reader) };
    case 'lsetstat@openssh.com':
      return { kind: 'LSETSTAT', id, paths: [path(reader)], attributes: readAttributes(reader) };
    case 'limits@openssh.com':
      return { kind: 'LIMITS', id };
    case 'expand-path@openssh.com':
      return { kind: 'EXPAND_PATH', id, paths: [path(reader)] };
    default:
      return { kind: 'EXTENDED', id, name: name === null ? '' : name.slice(0, 64) };
  }
}

function path(reader: FieldReader): string | null {
  const text = reader.text();
  if (text !== null && Buffer.byteLength(text) > maxPathBytes) throw new FieldError('path too long');
  return text;
}

function handle(reader: FieldReader): string {
  const bytes = reader.bytes();
  if (bytes.length > maxHandleBytes) throw new FieldError('handle too long');
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** Reads an ATTRS structure. Throws FieldError. Extended attributes are read over. */
export function readAttributes(reader: FieldReader): SftpAttributes {
  const flags = reader.uint32();
  if ((flags & ~0x8000_000f) !== 0) throw new FieldError('unknown attribute');
  const read: SftpAttributes = {
    size: (flags & 1) === 0 ? null : reader.uint64(),
    owner: (flags & 2) === 0 ? null : { uid: reader.uint32(), gid: reader.uint32() },
    mode: (flags & 4) === 0 ? null : reader.uint32(),
    times: (flags & 8) === 0 ? null : { access: reader.uint32(), modification: reader.uint32() },
  };
  if ((flags & 0x8000_0000) === 0) return read;
  const count = reader.uint32();
  if (count > maxAttributeExtensions) throw new FieldError('too many extended attributes');
  for (let index = 0; index < count * 2; index++) reader.bytes();
  return read;
}
