import { type ContentDigest, createContentDigest } from './content-digest.ts';

/** Most handles of one channel, those of pending opens included. */
export const maxSftpHandles: number = 1024;
/** Most requests of one channel that have no answer yet. */
export const maxSftpRequests: number = 4096;

/** An open file or directory of a channel. */
export interface OpenFile {
  readonly operation: number;
  /** Resolved. */
  readonly path: string;
  readonly kind: 'file' | 'directory';
  /** Flags of its OPEN. */
  readonly flags: number;
  readonly mayRead: boolean;
  readonly mayWrite: boolean;
  /** Most bytes that may be read, and written; null: any. */
  readonly maxBytes: number | null;
  readonly read: ContentDigest;
  readonly written: ContentDigest;
  /** Bytes that the server copied itself (`copy-data`). */
  copied: number;
  /** Refused for its size, at least once. */
  limited: boolean;
  /** The target refused a write. */
  failed: boolean;
  /** Of the permit under which it was judged last. */
  permitVersion: number;
  /** Policy denies it by now: only closing it is left. */
  revoked: boolean;
}

/** What an OPEN or OPENDIR was permitted as. */
export type OpenFileTerms = Pick<OpenFile, 'operation' | 'path' | 'kind' | 'flags' | 'mayRead' | 'mayWrite' | 'maxBytes'>;

/** The state of a file that was just opened. */
export function openFile(terms: OpenFileTerms, digestKey: Uint8Array, permitVersion: number): OpenFile {
  return { ...terms, read: createContentDigest(digestKey), written: createContentDigest(digestKey), copied: 0, limited: false, failed: false, permitVersion, revoked: false };
}

/** True when `length` bytes at `offset` would pass the limit of the file, counted as bytes moved and as size. */
export function passesLimit(file: OpenFile, moved: number, offset: number, length: number): boolean {
  return file.maxBytes !== null && (moved + length > file.maxBytes || offset + length > file.maxBytes);
}
