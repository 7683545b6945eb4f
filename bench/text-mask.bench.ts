import { type DetectorName, detectorNames } from '../contract/detectors.ts';
import type { MaskingRule } from '../contract/proxy-config.ts';
import { createTextMask } from '../sidecar/core/masking/text-stream.ts';

const log = Array.from({ length: 20_000 }, (_, n) => `2026-11-24T17:58:57.${n % 1000}Z INFO worker-${n % 7} handled request id=${n} path=/api/v1/items/${n * 7919} status=200 duration=${n % 97}ms\n`).join('');

/** Usual output, then what a hostile target would send to make masking slow. */
const streams: Readonly<Record<string, string>> = {
  prose: 'The quick brown fox jumps over the lazy dog, and then it rests a while.\n'.repeat(20_000),
  log,
  'coloured log': log.replaceAll('INFO', '\x1b[32mINFO\x1b[0m'),
  'one line in ten with values': Array.from({ length: 20_000 }, (_, n) => (n % 10 === 0 ? `row ${n} 536-22-7841 4539628173056482\n` : `row ${n} name surname city\n`)).join(''),
  'one line of digits': '7'.repeat(1_048_576),
  'one line of groups of digits': '4539 6281 '.repeat(104_858),
  'one line of base64': 'aB3dE5gH7jK9mN1pQ3sT5vW7xY9z'.repeat(37_449),
  'one line of @': 'a@'.repeat(524_288),
  'one line of token=': 'token='.repeat(174_763),
  'unfinished escapes': '\x1b['.repeat(524_288),
  'an OSC that never ends': `\x1b]${'x'.repeat(1_048_576)}`,
};

/** Prints what masking a text stream costs: MB/s, and the longest that one chunk took. Figures, no assertions. */
function measure(label: string, detectors: readonly DetectorName[], chunkBytes: number): void {
  const rules: readonly MaskingRule[] = [{ columns: null, detectors, style: 'Redact', keepFirst: 0, keepLast: 0 } as unknown as MaskingRule];
  for (const [name, text] of Object.entries(streams)) {
    const bytes = Buffer.from(text);
    const mask = createTextMask(rules, 'exec');
    let worstMs = 0;
    const started = performance.now();
    for (let at = 0; at < bytes.length; at += chunkBytes) {
      const from = performance.now();
      mask.push(bytes.subarray(at, at + chunkBytes));
      worstMs = Math.max(worstMs, performance.now() - from);
    }
    mask.end();
    const seconds = (performance.now() - started) / 1000;
    console.log(`${label.padEnd(14)} ${String(chunkBytes).padStart(6)} B  ${name.padEnd(30)} ${(bytes.length / 1_048_576 / seconds).toFixed(1).padStart(7)} MB/s  worst chunk ${worstMs.toFixed(1)} ms`);
  }
}

measure('all detectors', detectorNames, 32_768);
measure('all detectors', detectorNames, 1_000);
measure('card, ssn', ['payment-card', 'us-ssn'], 32_768);
