import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { RecordingSeal } from '../core/recording/ocsf-parts.ts';
import { readLines } from './line-reader.ts';

/** Raw bytes of one gzip member. */
const memberBytes = 1_048_576;
const compress = promisify(gzip);

/** Where the recording of a session is while it is written. */
export function openRecordingPath(recordings: string, sessionId: string): string {
  return join(recordings, `${sessionId}.sqlrec`);
}

/** `sealRecordingFile` for the one recording of a session of statements. */
export function sealRecording(recordings: string, sessionId: string, options: { readonly sync: boolean; readonly closing?: string }): Promise<RecordingSeal | null> {
  return sealRecordingFile(recordings, `${sessionId}.sqlrec`, options);
}

/**
 * Turns a plain recording into gzip members of at most 1 MiB raw, no line across members, off the event loop, and removes the plain file.
 * A torn last line is dropped: it was never acknowledged. Where the sealed file cannot be written, the plain one stays and is what the seal names.
 *
 * @param name of the plain file.
 * @param options.closing a line to add, when the process that wrote the recording could not.
 * @returns null when there is no such recording.
 */
export async function sealRecordingFile(recordings: string, name: string, options: { readonly sync: boolean; readonly closing?: string }): Promise<RecordingSeal | null> {
  const plain = join(recordings, name);
  const sealed = `${plain}.gz`;
  // Both exist when a crash came between rename and removal; the sealed one is complete then.
  if (fs.existsSync(sealed)) {
    await fs.promises.rm(plain, { force: true });
    return sealOf(recordings, `${name}.gz`);
  }
  if (!fs.existsSync(plain)) return null;
  const partial = `${sealed}.tmp`;
  try {
    const digest = createHash('sha256');
    let bytes = 0;
    const target = await fs.promises.open(partial, 'w', 0o600);
    try {
      for await (const member of members(plain, options.closing ?? null)) {
        const packed = await compress(member);
        await target.appendFile(packed);
        digest.update(packed);
        bytes += packed.length;
      }
      if (options.sync) await target.datasync();
    } finally {
      await target.close();
    }
    await fs.promises.rename(partial, sealed);
    await fs.promises.rm(plain);
    return { uri: `recordings/${name}.gz`, sha256: `sha256:${digest.digest('hex')}`, bytes };
  } catch {
    // No space for a second copy, for example. The recording itself is whole.
    await fs.promises.rm(partial, { force: true });
    return sealOf(recordings, name);
  }
}

async function* members(path: string, closing: string | null): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let bytes = 0;
  for await (const batch of readLines(fs.createReadStream(path, { highWaterMark: 262_144 }))) {
    for (const line of batch.lines) {
      if (bytes > 0 && bytes + line.length + 1 > memberBytes) {
        yield Buffer.concat(parts);
        parts = [];
        bytes = 0;
      }
      parts.push(line, newline);
      bytes += line.length + 1;
    }
  }
  if (closing !== null) parts.push(Buffer.from(closing), newline);
  if (parts.length > 0) yield Buffer.concat(parts);
}

const newline = Buffer.from('\n');

async function sealOf(recordings: string, name: string): Promise<RecordingSeal> {
  const digest = createHash('sha256');
  let bytes = 0;
  for await (const chunk of fs.createReadStream(join(recordings, name))) {
    const part = chunk as Buffer;
    digest.update(part);
    bytes += part.length;
  }
  return { uri: `recordings/${name}`, sha256: `sha256:${digest.digest('hex')}`, bytes };
}
