import type { SftpAttributes, SftpRequest } from './sftp-request.ts';

/** What is done to a path, in the words of rules. */
export type FileOperation = 'Read' | 'Write' | 'List';

/** One path that a request acts on. */
export interface PathDemand {
  /** As the client wrote it; relative to the home directory, or to `besidePath`. */
  readonly path: string | null;
  readonly operations: readonly FileOperation[];
  /** False where the operation acts on the entry itself, a symbolic link included: then its directory is resolved and the last name stays. */
  readonly follow: boolean;
  /** The target of a link is relative to the directory of the link. */
  readonly besidePath?: string | null;
}

/** What a request needs before it may pass. */
export type SftpDemand =
  /** Nothing: the greeting, limits, the name of the home directory. */
  | { readonly kind: 'none' }
  /** An open handle, for which policy answered when it was opened. */
  | { readonly kind: 'handle'; readonly handles: readonly { readonly handle: string; readonly use: 'read' | 'write' | 'list' | 'any' }[]; /** Changes attributes: judged and recorded as a write of its path. */ readonly writes: boolean }
  /** Policy, for each of the paths. */
  | { readonly kind: 'paths'; readonly paths: readonly PathDemand[]; /** Recorded before it is forwarded. */ readonly intent: boolean }
  /** Answered with STATUS 8. */
  | { readonly kind: 'unsupported' };

/** Flags of OPEN. */
export const openFlags = { read: 1, write: 2, append: 4, create: 8, truncate: 16, exclusive: 32 } as const;

const knownFlags = 63;

/** True when an OPEN changes a file, or makes one. */
export function opensForWriting(flags: number): boolean {
  return (flags & (openFlags.write | openFlags.append | openFlags.create | openFlags.truncate)) !== 0;
}

/** True when a handle may be read: with no flag at all servers open for reading. */
export function opensForReading(flags: number): boolean {
  return (flags & openFlags.read) !== 0 || !opensForWriting(flags);
}

/**
 * What a request of version 3 asks for. Pure.
 *
 * @param opensshOrder whether the target reads SYMLINK as OpenSSH does, with the target of the link first. Otherwise the draft's order may hold just as well,
 *   so both are asked for.
 */
export function demandOf(request: SftpRequest, opensshOrder: boolean): SftpDemand {
  switch (request.kind) {
    case 'INIT':
    case 'LIMITS':
      return { kind: 'none' };
    case 'OPEN': {
      if ((request.flags & ~knownFlags) !== 0) return { kind: 'unsupported' };
      const operations = [...(opensForReading(request.flags) ? ['Read' as const] : []), ...(opensForWriting(request.flags) ? ['Write' as const] : [])];
      return { kind: 'paths', intent: true, paths: [{ path: request.paths[0], operations, follow: true }] };
    }
    case 'REALPATH':
      // Every client asks for the name of the home directory before anything else.
      return request.paths[0] === '.' || request.paths[0] === '' ? { kind: 'none' } : listing(request.paths[0], true);
    case 'EXPAND_PATH':
      return request.paths[0] === '~' ? { kind: 'none' } : listing(request.paths[0], true);
    case 'STAT':
    case 'OPENDIR':
    case 'STATVFS':
      return listing(request.paths[0], true);
    case 'LSTAT':
    case 'READLINK':
      return listing(request.paths[0], false);
    case 'SETSTAT':
      return writing([{ path: request.paths[0], follow: true }]);
    case 'MKDIR':
    case 'REMOVE':
    case 'RMDIR':
    case 'LSETSTAT':
      return writing([{ path: request.paths[0], follow: false }]);
    case 'RENAME':
    case 'POSIX_RENAME':
      return writing(request.paths.map((path) => ({ path, follow: false })));
    case 'HARDLINK':
      // Both names lead to one file from now on; link() of some systems follows a symbolic link.
      return writing([{ path: request.paths[0], follow: true }, ...request.paths.map((path) => ({ path, follow: false }))]);
    case 'SYMLINK': {
      const [first, second] = request.paths;
      const openssh = [{ path: second, follow: false }, { path: first, follow: true, besidePath: second }];
      return writing(opensshOrder ? openssh : [...openssh, { path: first, follow: false }, { path: second, follow: true, besidePath: first }]);
    }
    case 'READ':
      return onHandle([{ handle: request.handle, use: 'read' }]);
    case 'WRITE':
      return onHandle([{ handle: request.handle, use: 'write' }]);
    case 'FSYNC':
    case 'CLOSE':
    case 'FSTAT':
    case 'FSTATVFS':
      return onHandle([{ handle: request.handle, use: 'any' }]);
    case 'READDIR':
      return onHandle([{ handle: request.handle, use: 'list' }]);
    case 'COPY_DATA':
      return onHandle([{ handle: request.from, use: 'read' }, { handle: request.to, use: 'write' }]);
    case 'FSETSTAT':
      return { kind: 'handle', handles: [{ handle: request.handle, use: 'any' }], writes: true };
    case 'EXTENDED':
      return { kind: 'unsupported' };
    default:
      return request satisfies never;
  }
}

function listing(path: string | null, follow: boolean): SftpDemand {
  return { kind: 'paths', intent: false, paths: [{ path, operations: ['List'], follow }] };
}

function writing(paths: readonly Omit<PathDemand, 'operations'>[]): SftpDemand {
  return { kind: 'paths', intent: true, paths: paths.map((path) => ({ ...path, operations: ['Write'] })) };
}

function onHandle(handles: Extract<SftpDemand, { kind: 'handle' }>['handles']): SftpDemand {
  return { kind: 'handle', handles, writes: false };
}

/**
 * A request in one line, for approvers, records and the digest that binds an approval: operation, resolved paths, and everything else that it changes.
 * Two requests with one line do the same.
 */
export function describeRequest(request: SftpRequest, resolved: readonly string[]): string {
  const paths = resolved.map((path) => JSON.stringify(path));
  const asked = 'paths' in request ? request.paths.filter((path) => path !== null && !resolved.includes(path)).map((path) => `asked=${JSON.stringify(path)}`) : [];
  const flags = request.kind === 'OPEN' ? [`flags=${Object.entries(openFlags).filter(([, bit]) => (request.flags & bit) !== 0).map(([name]) => name).join(',') || 'none'}`] : [];
  return ['sftp', request.kind.toLowerCase().replace('_', '-'), ...paths, ...asked, ...flags, ...('attributes' in request ? describeAttributes(request.attributes) : [])].join(' ');
}

function describeAttributes(attributes: SftpAttributes): readonly string[] {
  const { size, owner, mode, times } = attributes;
  return [
    ...(size === null ? [] : [`size=${size}`]), ...(owner === null ? [] : [`owner=${owner.uid}:${owner.gid}`]),
    ...(mode === null ? [] : [`mode=${(mode & 0o7777).toString(8).padStart(4, '0')}`]), ...(times === null ? [] : [`mtime=${times.modification}`]),
  ];
}
