/** The part of pg-copy-streams that the scenarios use; the package has no types of its own. */
declare module 'pg-copy-streams' {
  import type { Readable, Writable } from 'node:stream';
  import type { Submittable } from 'pg';

  /** COPY … TO STDOUT as a readable stream of the bytes of its rows. */
  export function to(text: string): Submittable & Readable;
  /** COPY … FROM STDIN as a writable stream. */
  export function from(text: string): Submittable & Writable;
}
