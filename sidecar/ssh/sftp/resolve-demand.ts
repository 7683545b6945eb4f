import type { SshItem } from '../../core/policy/decision.ts';
import { besidePath, joinPath } from '../../core/ssh-files/paths.ts';
import { type PathQuestions, resolvePath } from '../../core/ssh-files/resolve-path.ts';
import type { SftpDemand } from '../../core/ssh-files/sftp-demand.ts';
import type { SftpRequest } from '../../core/ssh-files/sftp-request.ts';
import type { OwnQuestions } from './own-questions.ts';

export type FileItem = Omit<Extract<SshItem, { kind: 'file' }>, 'kind'>;

/** The paths of a request as the target sees them, and what policy is asked about them. */
export type ResolvedDemand =
  | { readonly outcome: 'resolved'; readonly paths: readonly string[]; readonly items: readonly FileItem[] }
  /** Some path leads nowhere: it is judged as written, and answered with `status` instead of being forwarded. */
  | { readonly outcome: 'unresolved'; readonly paths: readonly string[]; readonly items: readonly FileItem[]; readonly status: number }
  /** A path is no text. */
  | { readonly outcome: 'unreadable' };

/** Asks the target where the paths of a request lead. */
export async function resolveDemand(demand: Extract<SftpDemand, { kind: 'paths' }>, request: SftpRequest, ask: PathQuestions & Pick<OwnQuestions, 'isDirectory'>): Promise<ResolvedDemand> {
  const paths: string[] = [];
  const items: FileItem[] = [];
  let status: number | null = null;
  const size = 'attributes' in request ? request.attributes.size : null;
  const moves = request.kind === 'RENAME' || request.kind === 'POSIX_RENAME';
  for (const wanted of demand.paths) {
    if (wanted.path === null || wanted.besidePath === null || isElsewhere(wanted.path, request)) return { outcome: 'unreadable' };
    const path = wanted.besidePath === undefined ? wanted.path : besidePath(wanted.path, wanted.besidePath);
    const resolved = await resolvePath(homeless(path, request), wanted.follow, ask);
    if (resolved.outcome === 'unresolved') status ??= resolved.status;
    if (!paths.includes(resolved.path)) paths.push(resolved.path);
    items.push(...wanted.operations.map((operation) => ({ operation, path: resolved.path, bytes: operation === 'Write' ? size : null, ...(moves ? { below: 'Moved' as const } : {}) })));
  }
  // A directory brings files under names that nobody asked about: a rule must speak about what is below the new name, too.
  const [from, to] = paths;
  if (moves && status === null && from !== undefined && to !== undefined && (await ask.isDirectory(from))) items.unshift({ operation: 'Write', path: joinPath(to, 'what is below'), bytes: null });
  return status === null ? { outcome: 'resolved', paths, items } : { outcome: 'unresolved', paths, items, status };
}

/** `~` of expand-path is the directory where relative paths begin. */
function homeless(path: string, request: SftpRequest): string {
  return request.kind === 'EXPAND_PATH' && path.startsWith('~/') ? path.slice(2) : path;
}

/** The home of another account: the target alone knows where that is. */
function isElsewhere(path: string, request: SftpRequest): boolean {
  return request.kind === 'EXPAND_PATH' && path.startsWith('~') && !path.startsWith('~/');
}
