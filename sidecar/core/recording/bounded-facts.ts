import { boundedText } from './json-text.ts';

/** Their share of the 64 KiB line. */
const factsBytes = 16_384;
const shortBytes = 1_024;

/** JSON of an event's facts without the `left` ones, at most 16 KiB; texts that are too long are cut, whatever else is too long is null, and `cut` says so. */
export function factsJson(facts: Readonly<Record<string, unknown>>, left: ReadonlySet<string>): { readonly json: string; readonly cut: boolean } {
  const kept = Object.entries(facts).filter(([key, value]) => !left.has(key) && value !== undefined);
  const whole = JSON.stringify(Object.fromEntries(kept));
  // Three bytes are the most that one UTF-16 unit takes.
  if (whole.length * 3 <= factsBytes || Buffer.byteLength(whole) <= factsBytes) return { json: whole, cut: false };
  let room = factsBytes - 2;
  const parts: string[] = [];
  for (const [key, value] of kept) {
    const part = `${JSON.stringify(key)}:${shortJson(value, Math.max(shortBytes, Math.floor(room / 4)))}`;
    const bytes = Buffer.byteLength(part) + 1;
    if (bytes > room) continue;
    room -= bytes;
    parts.push(part);
  }
  return { json: `{${parts.join(',')}}`, cut: true };
}

/** A text that takes at most so many bytes of JSON, quotes not counted. */
export function bytesWithin(text: string, bytes: number): string {
  return JSON.parse(boundedText(text, bytes + 2).json) as string;
}

function shortJson(value: unknown, bytes: number): string {
  if (typeof value === 'string') return boundedText(value, bytes).json;
  const whole = JSON.stringify(value);
  if (Buffer.byteLength(whole) <= bytes) return whole;
  if (!Array.isArray(value)) return 'null';
  const parts: string[] = [];
  let room = bytes - 2;
  for (const item of value as unknown[]) {
    const part = typeof item === 'string' ? boundedText(item, shortBytes).json : JSON.stringify(item);
    room -= Buffer.byteLength(part) + 1;
    if (room < 0) break;
    parts.push(part);
  }
  return `[${parts.join(',')}]`;
}
