import type { MaskingRule } from '../../../contract/proxy-config.ts';
import { byteString, compileDetectors, type DetectorSet } from './detectors.ts';

/** What stands for a hidden part of a command text. */
const hiddenPart = '********';

/**
 * A command text as records, approvers and messages may see it: every match of a detector that the rules name, and always what a secret looks like
 * (`--password X`, `TOKEN=X`, `https://user:X@`, keys and tokens by their form), becomes `********`, however it is quoted. Everything else stays.
 * It is shown only: what is inspected, bound and sent is the text itself.
 */
export function redactCommandText(text: string, rules: readonly MaskingRule[]): string {
  const detectors = detectorsOf(rules);
  const raw = byteString(Buffer.from(text, 'utf8'));
  const spans = [...spansIn(raw, detectors), ...optionSecrets(raw)];
  // As the shell reads it: 4539'6281'… is one word.
  const read = unquoted(raw);
  if (read !== null) for (const [start, end] of [...spansIn(read.text, detectors), ...optionSecrets(read.text)]) spans.push([read.at[start] ?? 0, (read.at[end - 1] ?? raw.length - 1) + 1]);
  if (spans.length === 0) return text;
  return Buffer.from(replaced(raw, spans), 'latin1').toString('utf8');
}

type Span = readonly [start: number, end: number];

/** Rules live as long as their policies: a set is compiled once for each. */
const compiled = new WeakMap<readonly MaskingRule[], DetectorSet>();
const secretRule: MaskingRule = { name: 'secrets', detectors: ['secret'], columns: null, style: 'Redact', keepFirst: 0, keepLast: 0 } as unknown as MaskingRule;

function detectorsOf(rules: readonly MaskingRule[]): DetectorSet {
  const known = compiled.get(rules);
  if (known !== undefined) return known;
  const made = compileDetectors([...rules, secretRule]) as DetectorSet;
  compiled.set(rules, made);
  return made;
}

function spansIn(text: string, detectors: DetectorSet): Span[] {
  return detectors.each(text).map(({ start, end }) => [start, end] as const);
}

/** Values of options such as `--password X` and `--api-key X`; `--token=X` is the detector's. */
function optionSecrets(text: string): Span[] {
  const option = /(?<![A-Za-z0-9_-])--?[A-Za-z0-9-]{0,32}(?:password|passwd|passphrase|pwd|secret|token|api-?key|access-?key)[ \t]{1,8}(?!-)([^\s;&|]{1,512})/gi;
  return [...text.matchAll(option)].map((match) => [match.index + match[0].length - (match[1] as string).length, match.index + match[0].length] as const);
}

/** The text without quotes, backslashes and line continuations, and where each of its bytes stands; null when there are none. */
function unquoted(text: string): { readonly text: string; readonly at: readonly number[] } | null {
  if (!/["'\\]/.test(text)) return null;
  const at: number[] = [];
  let read = '';
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index] as string;
    if (character === '"' || character === '\'' || character === '\\' || (character === '\n' && text[index - 1] === '\\')) continue;
    read += character;
    at.push(index);
  }
  return { text: read, at };
}

function replaced(text: string, spans: readonly Span[]): string {
  let shown = '';
  let at = 0;
  for (const [start, end] of [...spans].sort((a, b) => a[0] - b[0] || b[1] - a[1])) {
    if (end <= at) continue;
    // Spans that touch or overlap are one.
    shown += start >= at ? text.slice(at, start) + hiddenPart : '';
    at = end;
  }
  return shown + text.slice(at);
}
