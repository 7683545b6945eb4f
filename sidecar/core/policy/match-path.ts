/**
 * Whether a pattern of a rule that permits covers a path. `*` and `?` stand for characters inside one part, `**` as a whole part for any parts, none included.
 *
 * A wildcard never reaches what a login shell or sshd reads, nor `/etc` and `/proc`: writing those would let every allowed name mean another program (ssh.md 12). Only a pattern
 * that names them covers them. A relative path, or one with `..`, could be any file, so it is covered by nothing.
 */
export function permitsPath(pattern: string, path: string): boolean {
  return path.startsWith('/') && pattern.startsWith('/') && !partsOf(path).includes('..') && matchesParts(partsOf(pattern), partsOf(path), isProtected);
}

/** Whether a pattern of a rule that denies or holds speaks about a path: as written, and in doubt (a relative path, or one with `..`) it does. */
export function restrictsPath(pattern: string, path: string): boolean {
  return !path.startsWith('/') || partsOf(path).includes('..') || matchesParts(partsOf(pattern), partsOf(path), () => null);
}

/** Whether a pattern of a rule that denies or holds may speak about something below a path: `/srv/drop/keys/**` does about what is below `/srv`. */
export function restrictsBelow(pattern: string, path: string): boolean {
  const parts = partsOf(path);
  let reached: ReadonlySet<number> = new Set([0]);
  // As soon as a beginning of the pattern is the path, its rest is about what is below.
  return parts.length === 0 || partsOf(pattern).some((part) => {
    reached = part === '**' ? passAny(reached, parts, () => null) : passOne(part, reached, parts, () => null);
    return reached.has(parts.length);
  });
}

/** Whether a home or the whole of a file system may be this directory, so that what no wildcard reaches lies in it: `/`, `/root`, `/home/ann`, `/var/lib/ann` and those above them. */
export function mayHoldProtected(path: string): boolean {
  const [first, second, ...more] = partsOf(path);
  if (first === undefined || first === 'root') return second === undefined;
  if (first === 'home' || first === 'Users') return more.length === 0;
  return first === 'var' && (second === undefined || ((second === 'lib' || second === 'spool') && more.length <= 1));
}

/** `/srv//drop/./x/` and `/srv/drop/x` are one file. */
function partsOf(path: string): readonly string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

/** The stem that a pattern must spell at this place of a path, or null where a wildcard will do. */
type Protection = (parts: readonly string[], index: number) => string | null;

const protectedNames: ReadonlySet<string> = new Set([
  '.ssh', '.bashrc', '.profile', '.config', '.login', '.cshrc', '.tcshrc', '.kshrc', '.mkshrc', '.shrc', '.inputrc', '.environment', '.pam_environment', '.rhosts', '.shosts', '.k5login',
]);
const protectedStems = ['.bash_', '.zsh'];

function isProtected(parts: readonly string[], index: number): string | null {
  const part = parts[index] ?? '';
  if (protectedNames.has(part)) return part;
  if (index === 0 && (part === 'etc' || part === 'proc')) return part;
  if (index === 2 && part === 'cron' && parts[0] === 'var' && parts[1] === 'spool') return part;
  return protectedStems.find((stem) => part.startsWith(stem)) ?? null;
}

/** Follows every place of the path that the pattern may have reached, so the time is the product of their lengths. */
function matchesParts(pattern: readonly string[], path: readonly string[], protection: Protection): boolean {
  let reached: ReadonlySet<number> = new Set([0]);
  for (const part of pattern) reached = part === '**' ? passAny(reached, path, protection) : passOne(part, reached, path, protection);
  return reached.has(path.length);
}

function passAny(reached: ReadonlySet<number>, path: readonly string[], protection: Protection): ReadonlySet<number> {
  const next = new Set(reached);
  for (let index = 0; index < path.length; index += 1) if (next.has(index) && protection(path, index) === null) next.add(index + 1);
  return next;
}

function passOne(part: string, reached: ReadonlySet<number>, path: readonly string[], protection: Protection): ReadonlySet<number> {
  const spelled = part.split(/[*?]/, 1)[0] ?? '';
  return new Set([...reached].filter((index) => {
    const stem = index < path.length ? protection(path, index) : null;
    return index < path.length && (stem === null || spelled.startsWith(stem)) && matchesPart(part, path[index] ?? '');
  }).map((index) => index + 1));
}

/** One part against one part: the last `*` takes more characters until the rest fits, so nothing is tried twice. */
function matchesPart(pattern: string, text: string): boolean {
  let [at, place, star, mark] = [0, 0, -1, 0];
  while (at < text.length) {
    if (pattern[place] === '*') [star, mark, place] = [place, at, place + 1];
    else if (place < pattern.length && (pattern[place] === '?' || pattern[place] === text[at])) [at, place] = [at + 1, place + 1];
    else if (star >= 0) [mark, at, place] = [mark + 1, mark + 1, star + 1];
    else return false;
  }
  return /^\**$/.test(pattern.slice(place));
}
