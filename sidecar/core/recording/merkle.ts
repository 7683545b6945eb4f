import { hash } from 'node:crypto';

/** A Merkle hash as 64 lower-case hex digits. */
export type HexHash = string;

/** Root of the tree without leaves: SHA-256 of nothing. */
export const emptyRoot: HexHash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** The leaf hash of RFC 6962: SHA-256(0x00 ‖ leaf). */
export function leafHash(leaf: Uint8Array): HexHash {
  const input = Buffer.allocUnsafe(leaf.length + 1);
  input[0] = 0;
  input.set(leaf, 1);
  return hash('sha256', input, 'hex');
}

/** The interior hash of RFC 6962: SHA-256(0x01 ‖ left ‖ right). */
export function nodeHash(left: HexHash, right: HexHash): HexHash {
  return hash('sha256', Buffer.from(`01${left}${right}`, 'hex'), 'hex');
}

/**
 * A tree that only grows: it keeps one hash per full subtree (at most 64), so a log of any length costs constant memory.
 * Leaves are the 32 bytes of record hashes.
 */
export class MerkleTree {
  #size = 0;
  // Binary strings, not hex or Buffers: the one-shot hash makes them five times faster than a Buffer (measured), and the gateway pays this per record.
  readonly #stack: string[] = [];
  readonly #leaf: Buffer = Buffer.alloc(33);
  readonly #node: Buffer = Buffer.alloc(65);

  constructor() {
    this.#node[0] = 1;
  }

  get size(): number {
    return this.#size;
  }

  /** Adds a record hash (64 hex digits) as the next leaf. */
  append(recordHash: HexHash): void {
    this.#leaf.write(recordHash, 1, 'hex');
    let carried = hash('sha256', this.#leaf, 'binary');
    // One merge per trailing one bit of the size: the same carry as in binary addition.
    for (let bits = this.#size; bits % 2 === 1; bits = (bits - 1) / 2) carried = this.#join(this.#stack.pop() ?? '', carried);
    this.#stack.push(carried);
    this.#size += 1;
  }

  /** The root over all leaves so far. */
  root(): HexHash {
    if (this.#size === 0) return emptyRoot;
    let root = this.#stack[this.#stack.length - 1] ?? '';
    for (let at = this.#stack.length - 2; at >= 0; at -= 1) root = this.#join(this.#stack[at] ?? '', root);
    return Buffer.from(root, 'latin1').toString('hex');
  }

  #join(left: string, right: string): string {
    this.#node.write(left, 1, 'latin1');
    this.#node.write(right, 33, 'latin1');
    return hash('sha256', this.#node, 'binary');
  }
}

/** The root over leaf hashes, from scratch. */
export function rootOf(leaves: readonly HexHash[], from: number = 0, to: number = leaves.length): HexHash {
  const count = to - from;
  if (count === 0) return emptyRoot;
  if (count === 1) return leaves[from] ?? '';
  const split = from + largestPowerBelow(count);
  return nodeHash(rootOf(leaves, from, split), rootOf(leaves, split, to));
}

/** RFC 6962 2.1.1: the audit path that proves leaf `index` to be in the tree of the first `size` leaf hashes. */
export function inclusionProof(leaves: readonly HexHash[], index: number, size: number): readonly HexHash[] {
  if (index < 0 || index >= size || size > leaves.length) throw new RangeError(`no leaf ${index} in a tree of ${size}`);
  const path = (at: number, from: number, to: number): HexHash[] => {
    if (to - from <= 1) return [];
    const split = from + largestPowerBelow(to - from);
    return at < split ? [...path(at, from, split), rootOf(leaves, split, to)] : [...path(at, split, to), rootOf(leaves, from, split)];
  };
  return path(index, 0, size);
}

/** True when `proof` shows that the leaf stands at `index` in the tree of that size and root. */
export function verifyInclusion(leaf: HexHash, index: number, size: number, proof: readonly HexHash[], root: HexHash): boolean {
  if (index < 0 || index >= size) return false;
  let node = index;
  let last = size - 1;
  let computed = leaf;
  for (const step of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      computed = nodeHash(step, computed);
      while (node % 2 === 0 && node !== 0) {
        node = Math.floor(node / 2);
        last = Math.floor(last / 2);
      }
    } else {
      computed = nodeHash(computed, step);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && computed === root;
}

/** RFC 6962 2.1.2: proves that the tree of `first` leaves is a prefix of the tree of `second` leaves. */
export function consistencyProof(leaves: readonly HexHash[], first: number, second: number): readonly HexHash[] {
  if (first < 1 || first > second || second > leaves.length) throw new RangeError(`no consistency proof from ${first} to ${second}`);
  const prove = (m: number, from: number, to: number, whole: boolean): HexHash[] => {
    if (m === to - from) return whole ? [] : [rootOf(leaves, from, to)];
    const split = largestPowerBelow(to - from);
    return m <= split
      ? [...prove(m, from, from + split, whole), rootOf(leaves, from + split, to)]
      : [...prove(m - split, from + split, to, false), rootOf(leaves, from, from + split)];
  };
  return prove(first, 0, second, true);
}

/** True when `proof` shows that the smaller tree is a prefix of the larger one. */
export function verifyConsistency(first: number, firstRoot: HexHash, second: number, secondRoot: HexHash, proof: readonly HexHash[]): boolean {
  if (first < 1 || first > second) return false;
  if (first === second) return proof.length === 0 && firstRoot === secondRoot;
  const steps = isPowerOfTwo(first) ? [firstRoot, ...proof] : [...proof];
  let node = first - 1;
  let last = second - 1;
  while (node % 2 === 1) {
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  const start = steps.shift();
  if (start === undefined) return false;
  let old = start;
  let grown = start;
  for (const step of steps) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      old = nodeHash(step, old);
      grown = nodeHash(step, grown);
      while (node % 2 === 0 && node !== 0) {
        node = Math.floor(node / 2);
        last = Math.floor(last / 2);
      }
    } else {
      grown = nodeHash(grown, step);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && old === firstRoot && grown === secondRoot;
}

/** The largest power of two strictly below n (n >= 2). */
function largestPowerBelow(n: number): number {
  let power = 1;
  while (power * 2 < n) power *= 2;
  return power;
}

function isPowerOfTwo(n: number): boolean {
  return largestPowerBelow(n + 1) === n;
}
