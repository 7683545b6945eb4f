import { detectorNames } from '../contract/detectors.ts';
import type { MaskingRule } from '../contract/proxy-config.ts';
import { compileDetectors } from '../sidecar/core/masking/detectors.ts';
import { createMaskKey } from '../sidecar/core/masking/mask-key.ts';
import type { FieldDescription } from '../sidecar/core/masking/masker.ts';
import { compileColumnMask } from '../sidecar/core/masking/styles.ts';
import { createFrameSink } from '../sidecar/postgres/frame-sink.ts';
import { createCopyMask } from '../sidecar/postgres/mask-copy.ts';
import { compileRowMask, type RowMask } from '../sidecar/postgres/mask-rows.ts';

// Cells per second of the masking path alone, on one core: DataRow frames of 64 KiB chunks as the server sends them. Best of five rounds.

const key = createMaskKey(Buffer.alloc(32, 7), { namespace: 'bench', epoch: 1 });
const field = (name: string, typeOid: number): FieldDescription => ({ name, tableOid: 0, attnum: 0, typeOid, typeModifier: -1, format: 0 });
const fields = [field('id', 20), field('name', 25), field('ssn', 25), field('email', 25), field('salary', 23), field('note', 25)];
const row = ['1234567', 'Alice Example', '536-22-7841', 'alice@example.com', '0', 'called about order 4711 on 2024-01-01'];
const clean = ['1234567', 'Alice Example', 'n/a', 'none', '85123', 'called about order 4711 on 2024-01-01'];
const rule = (style: MaskingRule['style'], keepLast = 0): MaskingRule => ({ columns: [], detectors: null, style, keepFirst: 0, keepLast, predicates: 'Deny' });
const masked = (style: MaskingRule['style'], indices: readonly number[], keepLast = 0): RowMask =>
  compileRowMask(fields.map((described, index) => (indices.includes(index) ? compileColumnMask(described, { rule: rule(style, keepLast), ruleIndex: 0, bare: true }, key, new Map()) : null)), null, fields);
const detecting = (names: readonly string[]): RowMask => compileRowMask(fields.map(() => null), compileDetectors([{ ...rule('Redact'), columns: null, detectors: [...names] }], key), fields);

function frame(cells: readonly string[]): Buffer {
  const body = Buffer.concat([Buffer.alloc(7), ...cells.flatMap((cell) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(Buffer.byteLength(cell));
    return [length, Buffer.from(cell)];
  })]);
  body[0] = 0x44;
  body.writeInt32BE(body.length - 1, 1);
  body.writeUInt16BE(cells.length, 5);
  return body;
}

function measure(label: string, mask: RowMask, cells: readonly string[], cellsPerRow: number): void {
  const one = frame(cells);
  const count = Math.floor(65_536 / one.length);
  const chunk = Buffer.concat(Array.from({ length: count }, () => one));
  const rounds = 400;
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round += 1) {
    const before = process.cpuUsage().user;
    for (let repeat = 0; repeat < rounds; repeat += 1) {
      const out = createFrameSink(1 << 24, 262_144);
      const work = Buffer.from(chunk);
      for (let at = 0; at < work.length; at += one.length) if (!mask.maskFrame(work, at, at + one.length, out)) out.copy(work, at, at + one.length);
      out.take();
    }
    best = Math.min(best, process.cpuUsage().user - before);
  }
  report(label, (count * rounds) / (best / 1e6), cellsPerRow);
}

function report(label: string, rowsPerSecond: number, cellsPerRow: number): void {
  process.stdout.write(`${label.padEnd(58)} ${Math.round(rowsPerSecond).toLocaleString('en').padStart(12)} rows/s ${Math.round(rowsPerSecond * cellsPerRow).toLocaleString('en').padStart(12)} cells/s\n`);
}

function measureCopy(): void {
  const line = Buffer.from(`${row.join('\t')}\n`);
  const mask = createCopyMask(
    { direction: 'out', format: 'text', delimiter: '\t', quote: '"', escape: '"', nullString: '\\N', header: false, forceQuote: null, relation: null, columns: null, understood: true },
    fields.map((described, index) => ([2, 3].includes(index) ? compileColumnMask(described, { rule: rule('Redact'), ruleIndex: 0, bare: true }, key, new Map()) : null)), null, fields);
  const before = process.cpuUsage().user;
  const rows = 500_000;
  for (let at = 0; at < rows; at += 1) mask.push(line);
  report('COPY text, Redact of two columns', rows / ((process.cpuUsage().user - before) / 1e6), 2);
}

measure('no mask, no detector (validation only)', masked('Redact', []), row, fields.length);
measure('Redact in place (one int4 column, equal length)', masked('Redact', [4]), row, 1);
measure('Redact, rewritten (ssn, email)', masked('Redact', [2, 3]), row, 2);
measure('Partial in place (ssn, email)', masked('Partial', [2, 3], 4), row, 2);
measure('Hash (ssn, email)', masked('Hash', [2, 3]), row, 2);
measure('detectors us-ssn, payment-card, email: no hit', detecting(['us-ssn', 'payment-card', 'email']), clean, fields.length);
measure('detectors us-ssn, payment-card, email: two hits', detecting(['us-ssn', 'payment-card', 'email']), row, fields.length);
measure(`all ${detectorNames.length} detectors: no hit`, detecting(detectorNames), clean, fields.length);
measureCopy();
