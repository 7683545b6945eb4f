import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';
import { open, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson } from '../../../contract/canonical-json.ts';
import { type AcceptedConfig, judgeConfig, type OfferedConfig } from './judge-config.ts';

/** The last config in force and when the API server last confirmed it, as kept on the state volume. */
export interface Snapshot {
  readonly accepted: AcceptedConfig;
  /** Unix ms. */
  readonly lastContactMs: number;
}

/** Why a snapshot does not serve. */
export type SnapshotProblem = 'missing' | 'altered' | 'too old' | 'from the future' | 'invalid';

/** The snapshot file of a proxy. */
export interface SnapshotFile {
  /** Replaces the file whole: tmp, sync, rename; mode 0600. @throws the file system's error. */
  write(offered: OfferedConfig, lastContactMs: number): Promise<void>;
  /** @returns the snapshot when it is ours, unaltered and confirmed within `maxAgeMs`. */
  read(nowMs: number, maxAgeMs: number): Promise<{ readonly outcome: 'usable'; readonly snapshot: Snapshot } | { readonly outcome: 'unusable'; readonly problem: SnapshotProblem }>;
}

/** A wall clock that was set back a little is no reason to stay away. */
const toleranceMs = 60_000;

/**
 * Keeps the config in force on the state volume, for a container that starts again while the API server is away.
 *
 * The file is signed with a key derived from the namespace's digest key: whoever can write the volume but has no key can neither change it nor make it younger.
 */
export function snapshotFile(directory: string, namespace: string, digestKey: Uint8Array): SnapshotFile {
  const path = join(directory, 'config-snapshot.json');
  const key = createHmac('sha256', digestKey).update('sallyport config snapshot').digest();
  const sign = (body: unknown): Buffer => createHmac('sha256', key).update(canonicalJson(body)).digest();
  return {
    write: async ({ uid, revision, hash, config }, lastContactMs) => {
      const body = { schema: 1, namespace, uid, revision, hash, config, lastContactMs: Math.floor(lastContactMs) };
      await replaceFile(path, `${JSON.stringify({ ...body, signature: sign(body).toString('hex') })}\n`);
    },
    read: async (nowMs, maxAgeMs) => {
      const stored = await readStored(path);
      if (stored === null) return { outcome: 'unusable', problem: 'missing' };
      const { signature, ...body } = stored;
      const given = Buffer.from(typeof signature === 'string' ? signature : '', 'hex');
      const wanted = sign(body);
      if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return { outcome: 'unusable', problem: 'altered' };
      const { uid, revision, hash, config, lastContactMs } = body as { uid: string; revision: number; hash: string; config: string; lastContactMs: number };
      if (lastContactMs > nowMs + toleranceMs) return { outcome: 'unusable', problem: 'from the future' };
      if (nowMs - lastContactMs > maxAgeMs) return { outcome: 'unusable', problem: 'too old' };
      const verdict = judgeConfig(null, { uid, revision, hash, config }, namespace, false);
      return verdict.verdict === 'accepted' ? { outcome: 'usable', snapshot: { accepted: verdict.accepted, lastContactMs } } : { outcome: 'unusable', problem: 'invalid' };
    },
  };
}

/** Null when there is no file or it is no JSON object; both mean that nothing can be learned from it. */
async function readStored(path: string): Promise<Readonly<Record<string, unknown>> | null> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    return typeof value === 'object' && value !== null ? value as Readonly<Record<string, unknown>> : null;
  } catch {
    return null;
  }
}

async function replaceFile(path: string, content: string): Promise<void> {
  const draft = `${path}.${randomUUID()}.tmp`;
  const file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(content, 'utf8');
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path).catch(async (error: unknown) => {
    await unlink(draft).catch(() => undefined);
    throw error;
  });
}
