/** Which objects belong to a group. */
export interface Index<T> {
  /** Takes an object's present state (null = it is gone); returns the groups that it was in or is in. */
  update(key: string, object: T | null): readonly string[];
  /** Keys of the objects of a group. */
  keys(group: string): readonly string[];
}

/** An index over a cache, kept by its `onKey`: an object that is gone no longer says where it belonged. */
export function openIndex<T>(groupOf: (object: T) => string): Index<T> {
  const members = new Map<string, Set<string>>();
  const groups = new Map<string, string>();
  return {
    update(key, object) {
      const before = groups.get(key);
      const now = object === null ? undefined : groupOf(object);
      if (before !== undefined && before !== now) {
        const set = members.get(before);
        set?.delete(key);
        if (set?.size === 0) members.delete(before);
        groups.delete(key);
      }
      if (now !== undefined) {
        groups.set(key, now);
        members.set(now, (members.get(now) ?? new Set()).add(key));
      }
      return [...new Set([before, now].filter((group) => group !== undefined))];
    },
    keys: (group) => [...members.get(group) ?? []],
  };
}
