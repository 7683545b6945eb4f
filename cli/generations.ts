import { createHash } from 'node:crypto';
import { isRecord } from '../contract/api/validate-schema.ts';
import { specDigest } from '../contract/api/spec-digest.ts';
import type { SallyportResource } from '../contract/api/v1alpha1.gen.ts';
import { objectKey } from './load-directory.ts';

/** What directory mode remembers of each object, as the API server would: the generation of its spec. Kept in `<data>/generations.json`. */
export interface Generations {
  readonly version: 1;
  /** Every generation that an object without entry could have had is at most this. */
  readonly floor: number;
  readonly objects: Readonly<Record<string, { readonly generation: number; readonly digest: string; readonly deleted: boolean }>>;
}

export const noGenerations: Generations = { version: 1, floor: 0, objects: {} };

const maxObjects = 10_000;

/**
 * Gives each object the `uid` and `generation` that the API server would: the uid follows from kind, namespace and name; the generation grows by one with each change of the spec.
 *
 * It never goes back: an object that was removed and comes again gets a higher one, so that an approval bound to the old generation is void (D5). Pure given the previous state.
 */
export function assignGenerations(previous: Generations, resources: readonly SallyportResource[]): { readonly resources: readonly SallyportResource[]; readonly next: Generations } {
  const objects: Record<string, Generations['objects'][string]> = {};
  for (const [key, entry] of Object.entries(previous.objects)) objects[key] = { ...entry, deleted: true };
  const numbered = resources.map((resource): SallyportResource => {
    const key = objectKey(resource);
    const digest = specDigest(resource);
    const before = Object.hasOwn(previous.objects, key) ? previous.objects[key] : undefined;
    const generation = before === undefined ? previous.floor + 1 : before.digest === digest && !before.deleted ? before.generation : before.generation + 1;
    objects[key] = { generation, digest, deleted: false };
    return { ...resource, metadata: { ...resource.metadata, uid: uidOf(key), generation } } as SallyportResource;
  });
  return { resources: numbered, next: bounded({ version: 1, floor: previous.floor, objects }) };
}

/** Reads a stored state; null when it is not one, which must stop the start: beginning anew would give old generations again. */
export function parseGenerations(value: unknown): Generations | null {
  if (!isRecord(value) || value['version'] !== 1 || !isCount(value['floor']) || !isRecord(value['objects'])) return null;
  const entries = Object.values(value['objects']);
  const valid = entries.every((entry) => isRecord(entry) && isCount(entry['generation']) && typeof entry['digest'] === 'string' && typeof entry['deleted'] === 'boolean');
  return valid ? (value as unknown as Generations) : null;
}

/** Deleted objects are forgotten beyond the limit; the floor then stands above whatever they had. */
function bounded(state: Generations): Generations {
  const entries = Object.entries(state.objects);
  if (entries.length <= maxObjects) return state;
  const dropped = entries.filter(([, entry]) => entry.deleted);
  return { version: 1, floor: Math.max(state.floor, ...dropped.map(([, entry]) => entry.generation)), objects: Object.fromEntries(entries.filter(([, entry]) => !entry.deleted)) };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** A UUID of version 8 (RFC 9562) from the name. */
function uidOf(key: string): string {
  const hex = createHash('sha256').update(`sallyport.dev directory mode ${key}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${((Number.parseInt(hex[16] ?? '0', 16) & 3) | 8).toString(16)}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
