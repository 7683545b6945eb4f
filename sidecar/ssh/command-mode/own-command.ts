/** A line that the prompt itself answers. */
export type OwnCommand =
  | { readonly kind: 'exit'; readonly status: number | null }
  | { readonly kind: 'help' }
  | { readonly kind: 'raw' };

/** Reads a line that is for the prompt and not for the target: `exit [N]`, `logout`, `:help`, `:raw`. Null for everything else, `exit; ls` included. */
export function readOwnCommand(text: string): OwnCommand | null {
  const words = text.trim().split(/[ \t]+/u);
  const [name, argument, ...rest] = words;
  if (rest.length > 0) return null;
  if (name === ':help' && argument === undefined) return { kind: 'help' };
  if (name === ':raw' && argument === undefined) return { kind: 'raw' };
  if (name !== 'exit' && name !== 'logout') return null;
  if (argument === undefined) return { kind: 'exit', status: null };
  return /^\d{1,3}$/u.test(argument) ? { kind: 'exit', status: Number(argument) & 0xff } : null;
}
