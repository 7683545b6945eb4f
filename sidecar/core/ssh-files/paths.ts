/** A path taken apart where its last name begins. */
export interface SplitPath {
  /** `.` for a bare name, `/` for one in the root. */
  readonly directory: string;
  /** Never empty, `.` or `..`. */
  readonly name: string;
}

/**
 * Directory and last name of a path, or null where the last part is no name (`/`, `.`, `..`, or a `/` at its end): such a path always means what it leads to,
 * a symbolic link included.
 */
export function splitPath(path: string): SplitPath | null {
  const at = path.lastIndexOf('/');
  const name = path.slice(at + 1);
  if (name === '' || name === '.' || name === '..') return null;
  return { directory: at < 0 ? '.' : at === 0 ? '/' : path.slice(0, at), name };
}

/** `directory/name`. */
export function joinPath(directory: string, name: string): string {
  return directory.endsWith('/') ? `${directory}${name}` : `${directory}/${name}`;
}

/** A path relative to the directory of another one. */
export function besidePath(path: string, other: string): string {
  if (path.startsWith('/')) return path;
  const split = splitPath(other);
  return joinPath(split?.directory ?? other, path);
}

/** An absolute path without `.`, `..` and doubled slashes; null for a relative one. Symbolic links are not looked at. */
export function normalPath(path: string): string | null {
  if (!path.startsWith('/')) return null;
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

/** Whether a resolved path is another one, or a directory above it. */
export function isAtOrAbove(path: string, other: string): boolean {
  return path === other || other.startsWith(path.endsWith('/') ? path : `${path}/`);
}
