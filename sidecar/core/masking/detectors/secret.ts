import { type Detector, type Emit, isLetter, type ScanText } from './scan-text.ts';

/**
 * Credentials: tokens with the prefixes of well-known services, private keys in PEM, JWTs, `password=…` assignments,
 * and random-looking tokens near a word such as `token`.
 */
export const secret: Detector = {
  name: 'secret', needs: { digits: 0, character: null }, minLength: 6,
  scan: (source, emit) => {
    if (source.text.length >= 16) scanPrefixed(source.text, emit);
    scanPem(source.text, emit);
    scanAssigned(source, emit);
    scanRandom(source, emit);
  },
};

// Every pattern begins at a token's start and takes the token whole: no text is looked at more than twice.
const prefixed = new RegExp(
  '(?<![A-Za-z0-9_-])(?:(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}|glpat-[A-Za-z0-9_-]{20,255}|xox[abeoprs]-[A-Za-z0-9-]{10,255}|' +
    '[spr]k_(?:live|test)_[A-Za-z0-9]{16,255}|AIza[A-Za-z0-9_-]{35}|npm_[A-Za-z0-9]{36}|SG\\.[A-Za-z0-9_-]{16,64}\\.[A-Za-z0-9_-]{16,64}|dop_v1_[a-f0-9]{64}|' +
    'eyJ[A-Za-z0-9_-]{8,16384}\\.[A-Za-z0-9_-]{8,16384}\\.[A-Za-z0-9_-]{0,16384})',
  'g',
);

function scanPrefixed(text: string, emit: Emit): void {
  prefixed.lastIndex = 0;
  for (let match = prefixed.exec(text); match !== null; match = prefixed.exec(text)) emit(match.index, match.index + match[0].length);
}

function scanPem(text: string, emit: Emit): void {
  const begin = /-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----/g;
  if (!text.includes('-----BEGIN ')) return;
  for (let match = begin.exec(text); match !== null; match = begin.exec(text)) {
    const tail = text.indexOf('-----END ', match.index);
    // A key cut off is a key: hide the rest, and look no further.
    const dashes = tail === -1 ? -1 : text.indexOf('-----', tail + 9);
    const end = dashes === -1 ? text.length : dashes + 5;
    emit(match.index, end);
    begin.lastIndex = end;
  }
}

function scanAssigned({ text, hasContext }: ScanText, emit: Emit): void {
  // The whole value of a column or key that is named after a secret.
  if (hasContext('secret', -1000, -1000) && text.length >= 6 && text.length <= 16_384 && !/\s/.test(text)) {
    emit(0, text.length);
    return;
  }
  const assigned = /(?:password|passwd|passphrase|pwd|secret|token|api[ _-]?key|access[ _-]?key)["']{0,2}[ ]{0,3}[:=][ ]{0,3}(["']?)([^\s"',;&]{6,512})/gi;
  for (let match = assigned.exec(text); match !== null; match = assigned.exec(text)) {
    const end = match.index + match[0].length;
    emit(end - (match[2] as string).length, end);
  }
  const url = /\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s:/@]{1,128}:([^\s/@]{3,256})@/gi;
  if (!text.includes('://')) return;
  for (let match = url.exec(text); match !== null; match = url.exec(text)) {
    const end = match.index + match[0].length - 1;
    emit(end - (match[1] as string).length, end);
  }
}

function scanRandom({ text, hasContext }: ScanText, emit: Emit): void {
  const token = /[A-Za-z0-9+/_=-]{24,16384}/g;
  if (text.length < 24) return;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [start, end] = [match.index, match.index + match[0].length];
    if (looksRandom(match[0]) && hasContext('secret', start, end)) emit(start, end);
  }
}

/** Digits and letters of both cases, and more than 3.5 bits per character: words, paths and hex digests stay below or lack a class. */
function looksRandom(token: string): boolean {
  const sample = token.slice(0, 256);
  if (!/\d/.test(sample) || !/[a-z]/.test(sample) || !/[A-Z]/.test(sample)) return false;
  const counts = new Map<number, number>();
  let letters = 0;
  for (let at = 0; at < sample.length; at += 1) {
    const code = sample.charCodeAt(at);
    counts.set(code, (counts.get(code) ?? 0) + 1);
    if (isLetter(code)) letters += 1;
  }
  let bits = 0;
  for (const count of counts.values()) bits -= (count / sample.length) * Math.log2(count / sample.length);
  return bits > 3.5 && letters > 0;
}
