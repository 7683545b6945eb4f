/** A seeded source of choices: the same seed gives the same run, so that a finding can be repeated. */
export interface Random {
  /** 0 to below `limit`. */
  int(limit: number): number;
  /** One of the values. */
  pick<T>(values: readonly T[]): T;
  /** One of the values by weight. */
  weighted<T>(values: readonly (readonly [number, T])[]): T;
  /** True in `share` of all cases. */
  chance(share: number): boolean;
  bytes(length: number): Buffer;
}

/** Mulberry32: 32 bits of state, enough to spread test cases, nothing to do with secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const int = (limit: number): number => Math.floor(next() * limit);
  return {
    int,
    pick: <T>(values: readonly T[]): T => values[int(values.length)] as T,
    weighted: <T>(values: readonly (readonly [number, T])[]): T => {
      let left = next() * values.reduce((sum, [weight]) => sum + weight, 0);
      for (const [weight, value] of values) {
        left -= weight;
        if (left < 0) return value;
      }
      return (values.at(-1) as readonly [number, T])[1];
    },
    chance: (share) => next() < share,
    bytes: (length) => Buffer.from(Array.from({ length }, () => int(256))),
  };
}
