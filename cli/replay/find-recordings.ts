import fs from 'node:fs';
import { join } from 'node:path';

/** The recordings of one session: the statements of a database session, or one file for each channel of an SSH session. */
export type SessionRecordings =
  | { readonly kind: 'sqlrec'; readonly path: string }
  | { readonly kind: 'casts'; readonly channels: readonly { readonly channel: number; readonly path: string }[] };

/** The recordings of a session, named whole or by a beginning that is the only one; or why there are none. */
export function findRecordings(data: string, session: string): SessionRecordings | { readonly kind: 'problem'; readonly problem: string } {
  const directory = join(data, 'recordings');
  const files = (fs.existsSync(directory) ? fs.readdirSync(directory) : []).map(fileOf).filter((file) => file !== null);
  const exact = files.filter((file) => file.session === session);
  const found = exact.length > 0 ? exact : files.filter((file) => file.session.startsWith(session));
  const sessions = new Set(found.map((file) => file.session));
  if (sessions.size === 0) return { kind: 'problem', problem: `no recording of session ${session}; list them with: sallyport sessions --data ${data}` };
  if (sessions.size > 1) return { kind: 'problem', problem: `${sessions.size} sessions begin with ${session}; give more of the name` };
  const best = (of: typeof found): string => join(directory, (of.find((file) => file.name.endsWith('.gz')) ?? of[0])?.name ?? '');
  const channels = [...new Set(found.map((file) => file.channel))].filter((channel) => channel !== null).sort((a, b) => a - b);
  if (channels.length === 0) return { kind: 'sqlrec', path: best(found) };
  return { kind: 'casts', channels: channels.map((channel) => ({ channel, path: best(found.filter((file) => file.channel === channel)) })) };
}

function fileOf(name: string): { readonly name: string; readonly session: string; readonly channel: number | null } | null {
  const match = /^([A-Za-z0-9_-]+)\.(?:sqlrec|(\d+)\.cast)(?:\.gz)?$/.exec(name);
  return match === null ? null : { name, session: match[1] ?? '', channel: match[2] === undefined ? null : Number(match[2]) };
}
