/** What one replica asks another: whether it holds the session of a cancel key. */
export interface PeerCancel {
  /** 1 to 2^31 - 1. */
  readonly pid: number;
  /** 4 bytes for protocol 3.0, 32 for 3.2. */
  readonly key: Buffer;
}

/** The answer to a cancel, one byte. */
export type PeerAnswer = 'unknown' | 'cancelled' | 'limited';

const version = 1;
const cancel = 1;
const headBytes = 7;

/** Longest request, bytes; whoever sends more is not one of us. */
export const maxPeerMessage: number = headBytes + 32;

/** Version, kind, pid (big endian), length of the key, key. */
export function encodePeerCancel({ pid, key }: PeerCancel): Buffer {
  const head = Buffer.alloc(headBytes);
  head.writeUInt8(version, 0);
  head.writeUInt8(cancel, 1);
  head.writeUInt32BE(pid, 2);
  head.writeUInt8(key.length, 6);
  return Buffer.concat([head, key]);
}

/** @returns null while bytes are missing, 'invalid' for anything that `encodePeerCancel` does not make. */
export function readPeerCancel(bytes: Buffer): PeerCancel | null | 'invalid' {
  if (bytes.length > maxPeerMessage || (bytes.length > 0 && bytes[0] !== version) || (bytes.length > 1 && bytes[1] !== cancel)) return 'invalid';
  if (bytes.length < headBytes) return null;
  const keyBytes = bytes.readUInt8(6);
  if (keyBytes !== 4 && keyBytes !== 32) return 'invalid';
  if (bytes.length < headBytes + keyBytes) return null;
  return bytes.length > headBytes + keyBytes ? 'invalid' : { pid: bytes.readUInt32BE(2), key: Buffer.from(bytes.subarray(headBytes)) };
}

const answers: readonly PeerAnswer[] = ['unknown', 'cancelled', 'limited'];

/** One byte. */
export function encodePeerAnswer(answer: PeerAnswer): Buffer {
  return Buffer.from([answers.indexOf(answer)]);
}

/** What is no answer counts as none: the peer does not know the key. */
export function readPeerAnswer(bytes: Buffer): PeerAnswer {
  return bytes.length === 1 ? answers[bytes[0] ?? 0] ?? 'unknown' : 'unknown';
}
