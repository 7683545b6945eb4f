/** A packet whose fields do not fit into it, or that holds more than its fields. */
export class FieldError extends Error {
  constructor(what: string) {
    super(`malformed packet: ${what}`);
    this.name = 'FieldError';
  }
}

/** Reads the fields of one packet (RFC 4251, section 5); every length is checked against what is left. Each method throws FieldError. */
export interface FieldReader {
  byte(): number;
  uint32(): number;
  /** As a number: sizes over 2^53 lose their last bits, which no file reaches. */
  uint64(): number;
  /** A view of the packet. */
  bytes(): Uint8Array;
  /** Null when the bytes are not UTF-8, or hold NUL: no rule can speak about such a name. */
  text(): string | null;
  /** Throws when bytes are left over. */
  end(): void;
  readonly left: () => number;
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A reader that starts at `offset` of `packet`. */
export function readFields(packet: Uint8Array, offset: number): FieldReader {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  let at = offset;
  const take = (count: number, what: string): number => {
    if (count > packet.length - at) throw new FieldError(what);
    const start = at;
    at += count;
    return start;
  };
  const reader: FieldReader = {
    byte: () => view.getUint8(take(1, 'byte')),
    uint32: () => view.getUint32(take(4, 'uint32')),
    uint64: () => Number(view.getBigUint64(take(8, 'uint64'))),
    bytes() {
      const length = reader.uint32();
      const start = take(length, 'string');
      return packet.subarray(start, start + length);
    },
    text: () => textOf(reader.bytes()),
    end() {
      if (at !== packet.length) throw new FieldError('bytes after the last field');
    },
    left: () => packet.length - at,
  };
  return reader;
}

/** UTF-8 without NUL as text, anything else as null. */
export function textOf(bytes: Uint8Array): string | null {
  try {
    const text = decoder.decode(bytes);
    return text.includes('\u0000') ? null : text;
  } catch {
    return null;
  }
}

/** A field to be written. */
export type Field = { readonly byte: number } | { readonly uint32: number } | { readonly string: string | Uint8Array };

/** One packet with its length in front. */
export function writePacket(type: number, fields: readonly Field[]): Uint8Array {
  const parts = fields.map(encodeField);
  const length = 1 + parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([encodeUint32(length), Uint8Array.of(type), ...parts]);
}

function encodeField(field: Field): Uint8Array {
  if ('byte' in field) return Uint8Array.of(field.byte);
  if ('uint32' in field) return encodeUint32(field.uint32);
  const bytes = typeof field.string === 'string' ? Buffer.from(field.string) : field.string;
  return Buffer.concat([encodeUint32(bytes.length), bytes]);
}

function encodeUint32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}
