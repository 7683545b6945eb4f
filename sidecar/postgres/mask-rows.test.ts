import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { MaskingRule } from '../../contract/proxy-config.ts';
import { SallyportError } from '../core/errors.ts';
import { compileDetectors } from '../core/masking/detectors.ts';
import { createMaskKey } from '../core/masking/mask-key.ts';
import type { ColumnMask, FieldDescription } from '../core/masking/masker.ts';
import { compileColumnMask } from '../core/masking/styles.ts';
import { createFrameSink } from './frame-sink.ts';
import { compileRowMask, type RowMask } from './mask-rows.ts';

const key = createMaskKey(Buffer.alloc(32, 7), { namespace: 'payments', epoch: 1 });
const field = (typeOid: number, format: 0 | 1 = 0, name = 'c'): FieldDescription => ({ name, tableOid: 0, attnum: 0, typeOid, typeModifier: -1, format });
const rule = (style: MaskingRule['style'], keepLast = 0): MaskingRule => ({ columns: [], detectors: null, style, keepFirst: 0, keepLast, predicates: 'Deny' });
const column = (described: FieldDescription, style: MaskingRule['style'], keepLast = 0): ColumnMask => compileColumnMask(described, { rule: rule(style, keepLast), ruleIndex: 0, bare: true }, key, new Map());
const detectors = compileDetectors([{ ...rule('Redact'), columns: null, detectors: ['us-ssn', 'payment-card', 'email'] }], key);

type Cell = string | Buffer | null;

function frame(cells: readonly Cell[]): Buffer {
  const values = cells.flatMap((cell) => {
    const value = cell === null ? Buffer.alloc(0) : Buffer.from(cell);
    const length = Buffer.alloc(4);
    length.writeInt32BE(cell === null ? -1 : value.length);
    return [length, value];
  });
  const body = Buffer.concat([Buffer.alloc(7), ...values]);
  body[0] = 0x44;
  body.writeInt32BE(body.length - 1, 1);
  body.writeUInt16BE(cells.length, 5);
  return body;
}

function cellsOf(bytes: Buffer): (string | null)[] {
  expect([bytes[0], bytes.readInt32BE(1)]).toEqual([0x44, bytes.length - 1]);
  const cells: (string | null)[] = [];
  let at = 7;
  for (let index = 0; index < bytes.readUInt16BE(5); index += 1) {
    const length = bytes.readInt32BE(at);
    cells.push(length === -1 ? null : bytes.toString('latin1', at + 4, at + 4 + length));
    at += 4 + Math.max(length, 0);
  }
  expect(at).toBe(bytes.length);
  return cells;
}

/** The frame as it leaves, whichever way the mask took, with other bytes around it. */
function masked(mask: RowMask, row: Buffer): Buffer {
  const chunk = Buffer.concat([Buffer.from('before'), row, Buffer.from('after')]);
  const out = createFrameSink(1_000_000);
  const rewritten = mask.maskFrame(chunk, 6, 6 + row.length, out);
  expect([chunk.toString('latin1', 0, 6), chunk.toString('latin1', 6 + row.length)]).toEqual(['before', 'after']);
  return rewritten ? out.take() : chunk.subarray(6, 6 + row.length);
}

describe('compileRowMask', () => {
  const text = field(25);
  test('where NULL would be an answer it becomes what every value becomes; an answer that is yes or no becomes NULL', () => {
    const hidden = (described: FieldDescription): ColumnMask => compileColumnMask(described, { rule: rule('Partial', 4), ruleIndex: 0, bare: false, hidesNull: true }, key, new Map());
    const fields = [text, text, field(23), field(16), field(3802, 1), text];
    const mask = compileRowMask([null, hidden(text), hidden(field(23)), hidden(field(16)), hidden(field(3802, 1)), null], null, fields);
    expect(cellsOf(masked(mask, frame([null, null, null, null, null, 'x'])))).toEqual([null, '********', '0', null, '\u0001"********"', 'x']);
    expect(cellsOf(masked(mask, frame(['a', 'secret', '7', 't', Buffer.from('\u00011'), null])))).toEqual(['a', '********', '0', null, '\u0001"********"', null]);
    expect(mask.maskedCells).toEqual([0, 2, 2, 1, 2, 0]);
  });

  test('overwrites values of equal length in the chunk and appends nothing', () => {
    const mask = compileRowMask([null, column(text, 'Partial', 4)], null, [text, text]);
    const row = frame(['Alice', '536-22-7841']);
    const out = createFrameSink(1000);
    expect([mask.maskFrame(row, 0, row.length, out), out.length, cellsOf(row)]).toEqual([false, 0, ['Alice', '***-**-7841']]);
  });

  test('rewrites the frame with right lengths when a value changes its length', () => {
    const mask = compileRowMask([column(text, 'Redact'), null, column(text, 'Null'), column(text, 'Hash')], null, [text, text, text, text]);
    expect(cellsOf(masked(mask, frame(['536-22-7841', 'x', 'gone', 'abc'])))).toEqual(['********', 'x', null, expect.stringMatching(/^tok_[a-z2-7]{16}$/)]);
  });

  test('leaves NULL as it is and counts masked cells per column', () => {
    const mask = compileRowMask([column(text, 'Redact'), column(text, 'Redact')], null, [text, text]);
    masked(mask, frame(['a', null]));
    masked(mask, frame(['a', 'b']));
    expect(mask.maskedCells).toEqual([2, 1]);
  });

  test('a row without a match under detectors stays the same bytes', () => {
    const mask = compileRowMask([null, null], detectors, [text, field(20, 1)]);
    const row = frame(['nothing 123', Buffer.from('0000000000000007', 'hex')]);
    expect(masked(mask, Buffer.from(row))).toEqual(row);
  });

  test('detectors search the columns without a plan, in text and in binary, and count apart', () => {
    const fields = [text, field(20, 1), text];
    const mask = compileRowMask([null, null, column(text, 'Redact')], detectors, fields);
    expect(cellsOf(masked(mask, frame(['mail alice@example.com', Buffer.from('001020c48caad9e2', 'hex'), 'x'])))).toEqual(['mail ********', '\0\0\0\0\0\0\0\0', '********']);
    expect([mask.detectorHits, mask.maskedCells]).toEqual([[1, 1, 0], [0, 0, 1]]);
  });

  test('is not active when no column can change', () => {
    expect([compileRowMask([null], null, [text]).isActive, compileRowMask([null], detectors, [field(16)]).isActive, compileRowMask([null], detectors, [text]).isActive]).toEqual([false, false, true]);
  });

  test('every frame that leaves is well formed and holds no secret', () => {
    const secret = 'K7QX93ZP';
    const fields = [text, field(1009), field(23, 1), text, field(3802, 1)];
    const styles = fc.constantFrom<MaskingRule['style']>('Null', 'Redact', 'Hash', 'Partial');
    const cell = fc.option(fc.tuple(fc.string(), fc.string()).map(([before, after]) => `${before}${secret}${after}`), { nil: null });
    fc.assert(fc.property(fc.array(styles, { minLength: 5, maxLength: 5 }), fc.array(cell, { minLength: 5, maxLength: 5 }), (chosen, cells) => {
      const mask = compileRowMask(chosen.map((style, index) => column(fields[index] as FieldDescription, style, 2)), detectors, fields);
      const leaving = masked(mask, frame(cells));
      expect(cellsOf(leaving).map((value) => value === null)).toEqual(expect.any(Array));
      expect(leaving.toString('latin1')).not.toContain(secret);
    }));
  });

  const good = frame(['abc', 'de']);
  const broken = (change: (row: Buffer) => void): Buffer => {
    const row = Buffer.from(good);
    change(row);
    return row;
  };
  test.each([
    ['another type', broken((row) => { row[0] = 0x43; })],
    ['a frame length that is too small', broken((row) => { row.writeInt32BE(10, 1); })],
    ['another column count', broken((row) => { row.writeUInt16BE(3, 5); })],
    ['a field length of -2', broken((row) => { row.writeInt32BE(-2, 7); })],
    ['a field that passes the end', broken((row) => { row.writeInt32BE(1000, 7); })],
    ['a field length of 2^31-1', broken((row) => { row.writeInt32BE(0x7fffffff, 7); })],
    ['bytes after the last field', broken((row) => { row.writeInt32BE(1, 14); })],
    ['no room for the second length', broken((row) => { row.writeInt32BE(8, 7); })],
    ['too few bytes for a DataRow', Buffer.from('440000', 'hex')],
  ])('ends the session on %s, and leaves no half frame in the output', (_, row) => {
    const mask = compileRowMask([column(text, 'Redact'), column(text, 'Redact')], null, [text, text]);
    const out = createFrameSink(1000);
    expect(() => mask.maskFrame(row, 0, row.length, out)).toThrow(expect.objectContaining({ code: 'TARGET_PROTOCOL_VIOLATION' }));
    expect(out.length).toBe(0);
  });

  test('refuses a row that would be rewritten above the limit', () => {
    const mask = compileRowMask([column(text, 'Redact'), null], null, [text, text]);
    const row = frame(['a', 'x'.repeat(200)]);
    const out = createFrameSink(100);
    expect(() => mask.maskFrame(row, 0, row.length, out)).toThrow(expect.objectContaining({ code: 'MASKED_ROW_TOO_LONG' }));
    expect(out.length).toBe(0);
  });

  test('refuses a plan with another column count than the description', () => {
    expect(() => compileRowMask([null], null, [])).toThrow(SallyportError);
  });
});
