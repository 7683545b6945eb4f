import { type DetectorName, detectorNames } from '../../../contract/detectors.ts';
import type { MaskingRule } from '../../../contract/proxy-config.ts';
import { SallyportError } from '../errors.ts';
import { usBankAccount, usBankRouting, iban } from './detectors/bank.ts';
import { cardSecurity } from './detectors/card-security.ts';
import { dateOfBirth, email, phone } from './detectors/contact.ts';
import { contextOfName } from './detectors/context-words.ts';
import { passport, usDriverLicense, usEin, usItin, usSsn } from './detectors/government-ids.ts';
import { deviceId, ipAddress } from './detectors/network.ts';
import { paymentCard } from './detectors/payment-card.ts';
import { type Detector, noContext, scanText } from './detectors/scan-text.ts';
import { secret } from './detectors/secret.ts';
import { base32, hmacToken } from './mask-key.ts';
import type { MaskKey } from './masker.ts';
import { strictestStyle } from './strictest-style.ts';
import { partialText } from './text-style.ts';

/** Where a text stands: the name of its column or JSON key can make bare digits a match. */
export interface DetectorContext {
  readonly columnName?: string;
}

/** One match in a text, `[start, end)` in bytes of its UTF-8 form; overlapping matches are one with the strictest style. */
export interface DetectorHit {
  readonly start: number;
  readonly end: number;
  readonly name: DetectorName;
  readonly style: MaskingRule['style'];
}

/** The detectors of a session, compiled. Everything here takes time linear in the text. */
export interface DetectorSet {
  readonly names: readonly DetectorName[];
  /** Looks at the bytes only: false means that no detector can match in `bytes[start, end)`, whatever the column is called. */
  mayHit(bytes: Uint8Array, start: number, end: number): boolean;
  /** Masks every match in a UTF-8 text cell: the same object without a match, null when a match has style Null. */
  mask(cell: Uint8Array, context?: DetectorContext): Uint8Array | null;
  /** Like `mask` for strings; a match of style Null is cut out. */
  maskText(text: string, context?: DetectorContext): string;
  /** Whether any detector matches. */
  hits(text: string, context?: DetectorContext): boolean;
  /**
   * For cells of other forms (JSON, numbers, bytes): matches in a byte string (one character per byte), in order, not overlapping.
   *
   * @param context from `contextOf`.
   */
  find(byteString: string, context: ReadonlySet<DetectorName>): readonly DetectorHit[];
  /** Every match of every detector, unmerged and in no order: what one finds does not depend on the others. */
  each(byteString: string): readonly DetectorHit[];
  contextOf(name: string): ReadonlySet<DetectorName>;
  /** What replaces a match, as a byte string; empty for style Null. */
  replacement(hit: DetectorHit, byteString: string): string;
}

/**
 * Compiles the detectors that the session's masking rules name. Two rules that name one detector: the stricter style, the fewer kept characters.
 *
 * @param key for style Hash; without it Hash becomes Redact.
 * @returns null when no rule names a detector.
 * @throws SallyportError `CONFIG_INVALID` for a name that is no detector.
 */
export function compileDetectors(rules: readonly MaskingRule[], key: MaskKey | null = null): DetectorSet | null {
  const styles = stylesByDetector(rules);
  if (styles.size === 0) return null;
  const active = all.filter((detector) => styles.has(detector.name));
  const canHit = byteCheck(active);
  const contexts = new Map<string, ReadonlySet<DetectorName>>();
  const contextOf = (name: string): ReadonlySet<DetectorName> => {
    const known = contexts.get(name);
    if (known !== undefined) return known;
    if (contexts.size >= 1000) contexts.clear();
    const made = contextOfName(name);
    contexts.set(name, made);
    return made;
  };
  const find = (byteString: string, context: ReadonlySet<DetectorName>): readonly DetectorHit[] => findAll(byteString, active, styles, context);
  const each = (byteString: string): readonly DetectorHit[] => scanAll(byteString, active, styles, noContext);
  const replacement = (hit: DetectorHit, byteString: string): string => replaced(hit, byteString.slice(hit.start, hit.end), styles, key);
  const mask = (cell: Uint8Array, context?: DetectorContext): Uint8Array | null => {
    if (!canHit(cell, 0, cell.length)) return cell;
    const text = byteString(cell);
    const hits = find(text, context?.columnName === undefined ? noContext : contextOf(context.columnName));
    if (hits.length === 0) return cell;
    return hits.some((hit) => hit.style === 'Null') ? null : fromByteString(replaceHits(text, hits, replacement));
  };
  const hitsOf = (text: string, context?: DetectorContext): readonly DetectorHit[] => {
    const bytes = Buffer.from(text, 'utf8');
    return canHit(bytes, 0, bytes.length) ? find(byteString(bytes), context?.columnName === undefined ? noContext : contextOf(context.columnName)) : [];
  };
  const maskText = (text: string, context?: DetectorContext): string => {
    const hits = hitsOf(text, context);
    if (hits.length === 0) return text;
    return Buffer.from(replaceHits(byteString(Buffer.from(text, 'utf8')), hits, replacement), 'latin1').toString('utf8');
  };
  return { names: active.map((detector) => detector.name), mayHit: canHit, mask, maskText, hits: (text, context) => hitsOf(text, context).length > 0, find, each, contextOf, replacement };
}

/**
 * A literal as records may show it: every match replaced by its style, with the keyed token behind it when there is a key, so that records join.
 *
 * @param detectors null: no detector is configured, and the text stays.
 */
export function redactLiteral(text: string, detectors: DetectorSet | null, key: MaskKey | null = null): string {
  if (detectors === null) return text;
  const bytes = Buffer.from(text, 'utf8');
  if (!detectors.mayHit(bytes, 0, bytes.length)) return text;
  const source = byteString(bytes);
  const hits = detectors.find(source, noContext);
  if (hits.length === 0) return text;
  const shown = (hit: DetectorHit): string => {
    const style = detectors.replacement(hit, source);
    return key === null ? style : `${style} ${hmacToken(key, hit.name, normalised(source.slice(hit.start, hit.end)))}`.trimStart();
  };
  return Buffer.from(replaceHits(source, hits, shown), 'latin1').toString('utf8');
}

/** Bytes as a string with one character per byte. */
export function byteString(bytes: Uint8Array): string {
  return (Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)).toString('latin1');
}

/** The bytes of a byte string. */
export function fromByteString(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}

/** Replaces each hit in a byte string. */
export function replaceHits(text: string, hits: readonly DetectorHit[], replacement: (hit: DetectorHit, text: string) => string): string {
  let at = 0;
  const parts: string[] = [];
  for (const hit of hits) {
    parts.push(text.slice(at, hit.start), replacement(hit, text));
    at = hit.end;
  }
  parts.push(text.slice(at));
  return parts.join('');
}

const all: readonly Detector[] = [
  usSsn, usItin, usEin, paymentCard, cardSecurity, usBankRouting, usBankAccount, iban, email, phone, dateOfBirth, usDriverLicense, passport, ipAddress, deviceId, secret,
];

type Style = Pick<MaskingRule, 'style' | 'keepFirst' | 'keepLast'>;

function stylesByDetector(rules: readonly MaskingRule[]): ReadonlyMap<DetectorName, Style> {
  const styles = new Map<DetectorName, Style>();
  for (const rule of rules) {
    for (const name of rule.detectors ?? []) {
      if (!isDetectorName(name)) throw new SallyportError('CONFIG_INVALID', { detector: name });
      const before = styles.get(name) ?? rule;
      const style = strictestStyle(before.style, rule.style);
      styles.set(name, { style, keepFirst: Math.min(before.keepFirst, rule.keepFirst), keepLast: Math.min(before.keepLast, rule.keepLast) });
    }
  }
  return styles;
}

function isDetectorName(name: string): name is DetectorName {
  return (detectorNames as readonly string[]).includes(name);
}

/** One pass over the bytes that tells whether any of the detectors could match. */
function byteCheck(active: readonly Detector[]): DetectorSet['mayHit'] {
  const minLength = Math.min(...active.map((detector) => detector.minLength));
  const anyText = active.some((detector) => detector.needs.digits === 0 && detector.needs.character === null);
  const needsAt = active.some((detector) => detector.needs.character === '@');
  const minDigits = Math.min(...active.filter((detector) => detector.needs.character === null).map((detector) => detector.needs.digits));
  return (bytes, start, end) => {
    if (end - start < minLength) return false;
    if (anyText) return true;
    let digits = 0;
    for (let at = start; at < end; at += 1) {
      const byte = bytes[at] as number;
      if (byte >= 0x30 && byte <= 0x39) {
        digits += 1;
        if (digits >= minDigits) return true;
      } else if (byte === 0x40 && needsAt) return true;
    }
    return false;
  };
}

function scanAll(text: string, active: readonly Detector[], styles: ReadonlyMap<DetectorName, Style>, context: ReadonlySet<DetectorName>): DetectorHit[] {
  const found: DetectorHit[] = [];
  const source = scanText(text, context);
  for (const { name, minLength, scan } of active) {
    if (text.length >= minLength) scan(source, (start, end) => found.push({ start, end, name, style: styles.get(name)?.style ?? 'Redact' }));
  }
  return found;
}

function findAll(text: string, active: readonly Detector[], styles: ReadonlyMap<DetectorName, Style>, context: ReadonlySet<DetectorName>): readonly DetectorHit[] {
  const found = scanAll(text, active, styles, context);
  if (found.length < 2) return found;
  found.sort((a, b) => a.start - b.start || b.end - a.end);
  return found.reduce<DetectorHit[]>((merged, hit) => {
    const last = merged.at(-1);
    if (last === undefined || hit.start >= last.end) merged.push(hit);
    else {
      const style = strictestStyle(last.style, hit.style);
      merged[merged.length - 1] = { start: last.start, end: Math.max(last.end, hit.end), name: style === last.style ? last.name : hit.name, style };
    }
    return merged;
  }, []);
}

function replaced(hit: DetectorHit, match: string, styles: ReadonlyMap<DetectorName, Style>, key: MaskKey | null): string {
  if (hit.style === 'Hash' && key !== null) return `tok_${base32(key.hmac(`detector:${hit.name}`, normalised(match)).subarray(0, 10))}`;
  const style = styles.get(hit.name);
  if (hit.style === 'Null') return '';
  if (hit.style !== 'Partial' || style === undefined) return '********';
  // PCI DSS 3.4.1: never more than the BIN and the last four.
  const kept = hit.name === 'payment-card' ? { keepFirst: Math.min(style.keepFirst, 6), keepLast: Math.min(style.keepLast, 4) } : style;
  return byteString(partialText(fromByteString(match), kept));
}

/** One spelling of a value: lower case, no separators, so that `4539 6281…` and `45396281…` have one token. E-mail keeps its marks. */
function normalised(match: string): string {
  return match.includes('@') ? match.toLowerCase() : match.toLowerCase().replace(/[^a-z0-9]/g, '');
}
