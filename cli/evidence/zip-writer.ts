import fs from 'node:fs';
import { Zip, ZipDeflate, ZipPassThrough } from 'fflate';

/** A zip without Zip64 ends here. */
const maxZipBytes = 4_294_967_295;

/**
 * Writes a zip: files in the given order, all dated 1980-01-01, so that the same content is the same bytes. What is gzip already is stored.
 *
 * @throws RangeError when the zip passes 4 GiB or 65,535 files.
 */
export async function writeZip(fd: number, files: readonly { readonly path: string; readonly content: AsyncIterable<Uint8Array> }[]): Promise<number> {
  if (files.length >= 65_535) throw new RangeError('more than 65,534 files: ask for a shorter period');
  let written = 0;
  let failure: unknown = null;
  const zip = new Zip((error, chunk) => {
    if (error !== null) failure = error;
    for (let done = 0; done < chunk.length;) done += fs.writeSync(fd, chunk, done);
    written += chunk.length;
  });
  for (const { path, content } of files) {
    const entry = path.endsWith('.gz') ? new ZipPassThrough(path) : new ZipDeflate(path, { level: 6 });
    // Made from local fields, for that is how zip stores them: the same in every time zone.
    entry.mtime = new Date(1980, 0, 1);
    zip.add(entry);
    for await (const chunk of content) {
      // fflate keeps the array it is given.
      entry.push(Uint8Array.from(chunk));
      if (failure !== null) throw failure;
      if (written > maxZipBytes - 16_777_216) throw new RangeError('the pack would be larger than 4 GiB: ask for a shorter period');
    }
    entry.push(new Uint8Array(0), true);
  }
  zip.end();
  if (failure !== null) throw failure;
  return written;
}
