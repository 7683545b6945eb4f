/**
 * JSON of a text that takes at most `maxBytes` UTF-8 bytes, quotes included, and whether the text was cut for it.
 * The usual short text costs one JSON.stringify and no measuring.
 */
export function boundedText(text: string, maxBytes: number): { readonly json: string; readonly cut: boolean } {
  // One UTF-16 unit is at most six bytes of JSON: \u0000.
  if (text.length * 6 + 2 <= maxBytes) return { json: JSON.stringify(text), cut: false };
  let length = Math.min(text.length, maxBytes);
  for (;;) {
    const json = JSON.stringify(text.slice(0, length));
    const bytes = Buffer.byteLength(json);
    if (bytes <= maxBytes) return { json, cut: length < text.length };
    // Shrinks by the overshoot, never by less than one unit, so it ends within a few turns.
    length -= Math.max(1, Math.ceil((bytes - maxBytes) / 6));
  }
}

/** JSON array of texts that takes at most `maxBytes`; what does not fit is left out, and `cut` says so. */
export function boundedTexts(texts: readonly string[], maxBytes: number): { readonly json: string; readonly cut: boolean } {
  const parts: string[] = [];
  let bytes = 2;
  for (const text of texts) {
    const part = boundedText(text, 1024);
    bytes += Buffer.byteLength(part.json) + 1;
    if (bytes > maxBytes) return { json: `[${parts.join(',')}]`, cut: true };
    parts.push(part.json);
  }
  return { json: `[${parts.join(',')}]`, cut: false };
}

/** RFC 3339 UTC with milliseconds. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

/** `isoTime` that formats the second once: the log asks thousands of times within one. Keep one per log. */
export function createIsoClock(): (ms: number) => string {
  let second = -1;
  let prefix = '';
  return (ms) => {
    const whole = Math.floor(ms / 1000);
    if (whole !== second) {
      second = whole;
      prefix = isoTime(whole * 1000).slice(0, 20);
    }
    const rest = Math.floor(ms - whole * 1000);
    return `${prefix}${rest < 10 ? '00' : rest < 100 ? '0' : ''}${rest}Z`;
  };
}
