import { createHash, createHmac } from 'node:crypto';

/** What is known of the content that went through a handle or a channel. */
export interface ContentDigest {
  /** Bytes at `offset`, in any order. Only what continues the last ones counts as sequential. */
  add(offset: number, content: Uint8Array): void;
  /** Bytes that follow the last ones, wherever these were. */
  append(content: Uint8Array): void;
  readonly bytes: () => number;
  /** `sha256:` and 64 hex digits; `hmac-sha256:` for content under 256 bytes, since a plain hash of a short secret can be guessed; `partial` when access was not sequential from the start. */
  readonly value: () => string;
}

/** Content shorter than this gets a keyed digest. */
const keyedUnderBytes = 256;

/** Starts the digest of one file's content. */
export function createContentDigest(key: Uint8Array): ContentDigest {
  const hash = createHash('sha256');
  const head: Uint8Array[] = [];
  let bytes = 0;
  let next = 0;
  let isSequential = true;
  const take = (content: Uint8Array): void => {
    if (content.length === 0) return;
    if (next < keyedUnderBytes) head.push(Uint8Array.prototype.slice.call(content, 0, keyedUnderBytes - next));
    hash.update(content);
    next += content.length;
  };
  return {
    add(offset, content) {
      bytes += content.length;
      isSequential &&= offset === next;
      if (isSequential) take(content);
    },
    append(content) {
      bytes += content.length;
      if (isSequential) take(content);
    },
    bytes: () => bytes,
    value() {
      if (!isSequential) return 'partial';
      if (next >= keyedUnderBytes) return `sha256:${hash.copy().digest('hex')}`;
      return `hmac-sha256:${createHmac('sha256', key).update(Buffer.concat(head)).digest('hex')}`;
    },
  };
}
