import fs from 'node:fs';
import { createInflateRaw } from 'node:zlib';
import { type EvidenceSource, readWhole } from './evidence-source.ts';

interface Entry {
  readonly method: number;
  readonly packedBytes: number;
  readonly bytes: number;
  readonly offset: number;
}

/**
 * Opens a pack (a zip without Zip64) for reading, file by file, without unpacking it anywhere. What the directory at its end says is used;
 * a file never yields more bytes than it declares, so a crafted pack cannot fill memory or disk.
 *
 * @throws Error when the file is no zip, or is one that evidence export does not write.
 */
export function openPack(path: string): EvidenceSource {
  const fd = fs.openSync(path, 'r');
  try {
    const entries = readDirectory(fd, fs.fstatSync(fd).size);
    const stream = (name: string): AsyncIterable<Uint8Array> => {
      const entry = entries.get(name);
      if (entry === undefined) throw new Error(`${name} is not in the pack`);
      return unpack(fd, entry, name);
    };
    return { kind: 'pack', paths: [...entries.keys()].sort(), stream, read: (name, maxBytes) => readWhole(entries.get(name)?.bytes, stream, name, maxBytes), close: () => fs.closeSync(fd) };
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

const maxDirectoryBytes = 67_108_864;

function readDirectory(fd: number, size: number): ReadonlyMap<string, Entry> {
  const tail = readAt(fd, Math.max(0, size - 65_557), Math.min(size, 65_557));
  const end = tail.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  if (end < 0 || tail.length < end + 22) throw new Error('not a zip file, or cut off');
  const count = tail.readUInt16LE(end + 10);
  const length = tail.readUInt32LE(end + 12);
  const start = tail.readUInt32LE(end + 16);
  if (length > maxDirectoryBytes || start + length > size) throw new Error('the directory of the zip is damaged');
  const directory = readAt(fd, start, length);
  const entries = new Map<string, Entry>();
  let at = 0;
  for (let n = 0; n < count; n += 1) {
    if (at + 46 > directory.length || directory.readUInt32LE(at) !== 0x02014b50) throw new Error('the directory of the zip is damaged');
    const nameLength = directory.readUInt16LE(at + 28);
    const name = directory.toString('utf8', at + 46, at + 46 + nameLength);
    if (entries.has(name)) throw new Error(`the zip holds ${name} twice`);
    entries.set(name, { method: directory.readUInt16LE(at + 10), packedBytes: directory.readUInt32LE(at + 20), bytes: directory.readUInt32LE(at + 24), offset: directory.readUInt32LE(at + 42) });
    at += 46 + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  }
  return entries;
}

async function* unpack(fd: number, entry: Entry, name: string): AsyncGenerator<Uint8Array> {
  const header = readAt(fd, entry.offset, 30);
  if (header.length < 30 || header.readUInt32LE(0) !== 0x04034b50) throw new Error(`${name}: damaged header`);
  const start = entry.offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
  if (entry.method !== 0 && entry.method !== 8) throw new Error(`${name}: unknown compression`);
  if (entry.packedBytes === 0) return;
  const packed = fs.createReadStream('', { fd, autoClose: false, start, end: start + entry.packedBytes - 1, highWaterMark: 262_144 });
  let left = entry.bytes;
  for await (const chunk of entry.method === 0 ? packed : packed.pipe(createInflateRaw())) {
    const part = chunk as Buffer;
    left -= part.length;
    if (left < 0) throw new Error(`${name}: more bytes than declared`);
    yield part;
  }
  if (left > 0) throw new Error(`${name}: fewer bytes than declared`);
}

function readAt(fd: number, position: number, length: number): Buffer {
  const buffer = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const read = fs.readSync(fd, buffer, done, length - done, position + done);
    if (read === 0) break;
    done += read;
  }
  return buffer.subarray(0, done);
}
