import type { Leaf } from './cover.ts';
import type { NestedText } from './interpret-command.ts';
import type { StandardInput } from './programs/program.ts';
import type { LoginShellType, ShellCommand, ShellUnknown, ShellWrite } from './shell-facts.ts';
import { isSensitiveVariable } from './variables.ts';

/** What one parsed text would run by itself; `nested` is still to be parsed. */
export interface Collected {
  readonly commands: ShellCommand[];
  readonly unknowns: ShellUnknown[];
  readonly nested: NestedText[];
}

/** Where the walk stands: the text that positions count in, and the redirections around. */
export interface Place {
  readonly source: string;
  readonly shell: LoginShellType;
  readonly found: Collected;
  readonly writes: readonly ShellWrite[];
  readonly input: StandardInput;
  /** What was read as a whole in the script around, for findGap. */
  readonly leaves: Leaf[];
}

/** Notes a piece that was read as a whole. */
export function leaf(place: Place, kind: Leaf['kind'], { pos, end }: { readonly pos: number; readonly end: number }): void {
  place.leaves.push({ kind, pos, end });
}

/** Notes what cannot be read for certain. */
export function unknown(place: Place, reason: string, source: string): void {
  place.found.unknowns.push({ reason, source: source.slice(0, 200) });
}

/** Notes syntax that only bash reads this way, where the account's shell is another. */
export function bashOnly(place: Place, what: string, source: string): void {
  if (place.shell === 'Posix') unknown(place, `${what} is bash syntax, and the account's shell may read it otherwise`, source);
}

/** A node as written, cut to what a message holds. */
export function slice(place: Place, node: { readonly pos: number; readonly end: number }): string {
  return place.source.slice(node.pos, node.end).slice(0, 200);
}

/** Notes a variable that is set, where that changes what runs or its name is no plain one. */
export function nameVariable(place: Place, name: string, source: string): void {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/u.test(name)) unknown(place, "a variable's name is not plain", source);
  else if (isSensitiveVariable(name)) unknown(place, `setting ${name} can change what later commands run`, source);
}
