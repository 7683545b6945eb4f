import { joinPath, normalPath, splitPath } from './paths.ts';

/** Asks the target about one path: its canonical form, and whether an entry of that name exists at all. */
export interface PathQuestions {
  realpath(path: string): Promise<PathAnswer>;
  /** Does not follow a symbolic link. */
  exists(path: string): Promise<boolean>;
}

/** What REALPATH answered: an absolute path, or a status code. */
export type PathAnswer = { readonly path: string } | { readonly status: number };

/** Where a path leads, or why that cannot be known; `status` is what the target said about it. */
export type ResolvedPath =
  | { readonly outcome: 'resolved'; readonly path: string }
  /** The directory does not exist or cannot be entered; `path` is the best that is known. Nothing may be forwarded on its ground. */
  | { readonly outcome: 'unresolved'; readonly path: string; readonly status: number };

/**
 * Where a path leads on the target, symbolic links followed: what rules are matched with. Somebody with a shell there can change it a moment later, so the target's own
 * permissions stay the real limit.
 *
 * A new file is its directory, resolved, and its name. A name that exists and has no canonical form (a symbolic link into nothing) stays unresolved: what is created
 * through it would lie elsewhere.
 */
export async function resolvePath(path: string, follow: boolean, ask: PathQuestions): Promise<ResolvedPath> {
  const split = splitPath(path);
  if (!follow && split !== null) {
    const directory = await ask.realpath(split.directory);
    return 'path' in directory ? canonical(joinPath(directory.path, split.name), path) : unresolved(path, directory.status);
  }
  const answer = await ask.realpath(path === '' ? '.' : path);
  if ('path' in answer) return canonical(answer.path, path);
  // A directory that is to be made may be written with its slash.
  if (split === null && /[^/]\/+$/.test(path)) return resolvePath(path.replace(/\/+$/, ''), follow, ask);
  if (split === null || (await ask.exists(path))) return unresolved(path, answer.status);
  const directory = await ask.realpath(split.directory);
  return 'path' in directory ? canonical(joinPath(directory.path, split.name), path) : unresolved(path, answer.status);
}

function canonical(path: string, asked: string): ResolvedPath {
  const normal = normalPath(path);
  // A target that answers with a relative path, or one with `..`, gives no ground to match rules on.
  return normal === null || normal !== path.replace(/(?<=.)\/$/, '') ? unresolved(asked, 4) : { outcome: 'resolved', path: normal };
}

function unresolved(path: string, status: number): ResolvedPath {
  return { outcome: 'unresolved', path: normalPath(path) ?? path, status };
}
