import { passesLuhn } from './payment-card.ts';
import { beginsWord, type Detector, type Emit, endsWord, isDigit, type ScanText } from './scan-text.ts';

/** IPv4 and IPv6 addresses, private ones included; loopback and the unspecified address name no one. */
export const ipAddress: Detector = {
  name: 'ip-address', needs: { digits: 1, character: null }, minLength: 4,
  scan: (source, emit) => {
    scanIpv4(source, emit);
    for (const { start, end } of colonTokens(source.text)) if (isIpv6(source.text.slice(start, end))) emit(start, end);
  },
};

/** Device ids: MAC addresses by shape, IMEIs (15 digits, Luhn) in context. */
export const deviceId: Detector = {
  name: 'device-id', needs: { digits: 1, character: null }, minLength: 12,
  scan: (source, emit) => {
    const { text } = source;
    for (const { start, end } of colonTokens(text)) if (/^[0-9a-f]{2}(?::[0-9a-f]{2}){5}(?:(?::[0-9a-f]{2}){2})?$/i.test(text.slice(start, end))) emit(start, end);
    const dashed = /(?<![0-9A-Za-z-])[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}(?![0-9A-Za-z-])/g;
    for (let match = dashed.exec(text); match !== null; match = dashed.exec(text)) emit(match.index, match.index + 17);
    const runs = source.runs();
    for (let run = 0; run < runs.length; run += 2) {
      const [start, end] = [runs[run] as number, runs[run + 1] as number];
      if (end - start !== 15 || !passesLuhn(text.slice(start, end)) || !beginsWord(text, start) || !endsWord(text, end)) continue;
      if (source.hasContext('device-id', start, end)) emit(start, end);
    }
  },
};

function scanIpv4({ text, runs }: ScanText, emit: Emit): void {
  const all = runs();
  for (let run = 0; run + 7 < all.length; run += 2) {
    const [start, end] = [all[run] as number, all[run + 7] as number];
    // Four parts of at most three digits and three dots: no more than 15 characters. A fifth part makes it something else.
    if (text.charCodeAt(all[run + 1] as number) !== dot || end - start > 15 || text.charCodeAt(start - 1) === dot || !isDotted(text, all, run)) continue;
    if ((text.charCodeAt(end) === dot && isDigit(text.charCodeAt(end + 1))) || !beginsWord(text, start) || !endsWord(text, end)) continue;
    if (!isReserved(text.slice(start, end))) emit(start, end);
  }
}

const dot = 0x2e;

function isDotted(text: string, runs: Int32Array, run: number): boolean {
  for (let part = 0; part < 4; part += 1) {
    const [start, end] = [runs[run + part * 2] as number, runs[run + part * 2 + 1] as number];
    if (end - start > 3 || (end - start === 3 && text.slice(start, end) > '255')) return false;
    if (part > 0 && (start !== (runs[run + part * 2 - 1] as number) + 1 || text.charCodeAt(start - 1) !== dot)) return false;
  }
  return true;
}

function isReserved(address: string): boolean {
  return address === '0.0.0.0' || address === '255.255.255.255' || address.startsWith('127.');
}

/** Maximal tokens of hex digits, colons and dots, at most 45 characters long, with two colons or more. */
function* colonTokens(text: string): Generator<{ readonly start: number; readonly end: number }> {
  const pattern = /[0-9A-Fa-f:.]+/g;
  if (!text.includes(':')) return;
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    const token = match[0].replace(/[.:]+$/, (tail) => (tail === '::' ? tail : ''));
    const [start, end] = [match.index, match.index + token.length];
    if (token.length > 45 || token.indexOf(':') === token.lastIndexOf(':')) continue;
    if (beginsWord(text, start) && endsWord(text, end)) yield { start, end };
  }
}

/** RFC 4291 text forms; needs a digit and two groups, so that casts like `a::bad` in SQL text stay. */
function isIpv6(token: string): boolean {
  const dotted = token.includes('.') ? /^(.*:)(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(token) : null;
  if (token.includes('.') && (dotted === null || dotted.slice(2).some((part) => Number(part) > 255))) return false;
  const halves = (dotted === null ? token : `${dotted[1] ?? ''}0:0`).split('::');
  if (halves.length > 2) return false;
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')));
  if (groups.some((group) => !/^[0-9A-Fa-f]{1,4}$/.test(group))) return false;
  return (halves.length === 2 ? groups.length < 8 : groups.length === 8) && groups.length >= 2 && /\d/.test(token);
}
