/** Writes bytes as the server does with `bytea_output = hex`. */
export function byteaText(bytes: Uint8Array): string {
  return `\\x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')}`;
}

/** Reads the text form of `bytea`, hex or escape. What is neither is taken byte for byte: it is input of a mask or a search, never output. */
export function byteaBytes(cell: Uint8Array): Uint8Array {
  if (cell[0] === backslash && cell[1] === 0x78) return Buffer.from(Buffer.from(cell.buffer, cell.byteOffset + 2, cell.length - 2).toString('latin1'), 'hex');
  const bytes = new Uint8Array(cell.length);
  let length = 0;
  for (let at = 0; at < cell.length; at += 1) {
    const byte = cell[at] as number;
    const octal = byte === backslash ? octalValue(cell, at + 1) : null;
    if (octal !== null) at += 3;
    else if (byte === backslash && cell[at + 1] === backslash) at += 1;
    bytes[length] = octal ?? byte;
    length += 1;
  }
  return bytes.subarray(0, length);
}

const backslash = 0x5c;

function octalValue(cell: Uint8Array, at: number): number | null {
  const digits = [cell[at], cell[at + 1], cell[at + 2]].map((byte) => (byte === undefined ? -1 : byte - 0x30));
  if (digits.some((digit) => digit < 0 || digit > 7)) return null;
  return ((digits[0] as number) << 6) | ((digits[1] as number) << 3) | (digits[2] as number);
}
