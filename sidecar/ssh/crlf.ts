/** Turns LF into CRLF for a terminal that nobody else does it for; a CRLF stays one, also when it comes in two parts. State: the last byte. */
export function createCrlf(): (bytes: Uint8Array) => Uint8Array {
  let last = 0;
  return (bytes) => {
    let extra = 0;
    let before = last;
    for (const byte of bytes) {
      if (byte === 0x0a && before !== 0x0d) extra += 1;
      before = byte;
    }
    if (extra === 0) {
      last = before;
      return bytes;
    }
    const out = new Uint8Array(bytes.length + extra);
    let at = 0;
    for (const byte of bytes) {
      if (byte === 0x0a && last !== 0x0d) out[at++] = 0x0d;
      out[at++] = byte;
      last = byte;
    }
    return out;
  };
}
