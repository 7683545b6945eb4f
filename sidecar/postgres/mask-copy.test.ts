import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { MaskingRule } from '../../contract/proxy-config.ts';
import { compileDetectors } from '../core/masking/detectors.ts';
import { createMaskKey } from '../core/masking/mask-key.ts';
import type { ColumnMask, FieldDescription } from '../core/masking/masker.ts';
import { compileColumnMask } from '../core/masking/styles.ts';
import type { CopyOptions } from '../core/sql/statement-facts.ts';
import { createCopyMask } from './mask-copy.ts';

const key = createMaskKey(Buffer.alloc(32, 7), { namespace: 'payments', epoch: 1 });
const detectors = compileDetectors([{ columns: null, detectors: ['us-ssn', 'email'], style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny' }], key);
const field = (name: string, format: 0 | 1): FieldDescription => ({ name, tableOid: 0, attnum: 0, typeOid: 25, typeModifier: -1, format });
const column = (style: MaskingRule['style'], format: 0 | 1 = 0, keepLast = 0): ColumnMask =>
  compileColumnMask(field('c', format), { rule: { columns: [], detectors: null, style, keepFirst: 0, keepLast, predicates: 'Deny' }, ruleIndex: 0, bare: true }, key, new Map());

const text: CopyOptions = {
  direction: 'out', format: 'text', delimiter: '\t', quote: '"', escape: '"', nullString: '\\N', header: false, forceQuote: null, relation: null, columns: null, understood: true,
};
const csv: CopyOptions = { ...text, format: 'csv', delimiter: ',', nullString: '' };
const binary: CopyOptions = { ...text, format: 'binary' };

/** All bytes that leave, when the input is cut at the given lengths. */
function run(options: CopyOptions, columns: readonly (ColumnMask | null)[], input: Buffer | string, cuts: readonly number[] = [], limitBytes = 1_000_000): string {
  const mask = createCopyMask(options, columns, detectors, columns.map((_, index) => field(`c${index}`, options.format === 'binary' ? 1 : 0)), { limitBytes });
  const bytes = Buffer.from(input);
  const out: Uint8Array[] = [];
  let at = 0;
  for (const cut of [...cuts, bytes.length]) {
    const end = Math.min(bytes.length, at + cut);
    out.push(...mask.push(bytes.subarray(at, end)).map((body) => Buffer.from(body)));
    at = end;
  }
  out.push(...mask.push(bytes.subarray(at)), ...mask.end());
  return Buffer.concat(out).toString('latin1');
}

describe('COPY text', () => {
  test.each([
    ['a plain row', text, [null, column('Redact')], 'Alice\t536227841\n', 'Alice\t********\n'],
    ['NULL', text, [column('Redact'), column('Null')], '\\N\tx\n', '\\N\t\\N\n'],
    ['another NULL string', { ...text, nullString: 'nil' }, [column('Redact'), column('Null')], 'nil\tx\n', 'nil\tnil\n'],
    ['escapes, decoded before masking', text, [column('Partial', 0, 2)], 'a\\tb\\\\c\\n9\n', '****c*9\n'],
    ['an escaped NULL string, which is a value', { ...text, nullString: 'N' }, [column('Redact')], '\\N\n', '********\n'],
    ['an odd delimiter that the mask must escape', { ...text, delimiter: '*' }, [column('Redact'), null], 'a*b\n', `${'\\*'.repeat(8)}*b\n`],
    ['a header', { ...text, header: true }, [column('Redact'), null], 'ssn\talice@example.com\nx\ty\n', 'ssn\tcolumn_2\n********\ty\n'],
    ['detectors where there is no plan', text, [null], 'mail\\talice@example.com\n', 'mail\\t********\n'],
    ['octal and hex escapes', text, [column('Partial', 0, 1)], '\\141\\x62c\n', '**c\n'],
    ['no columns', text, [], '\n\n', '\n\n'],
    ['one empty value', text, [null], '\n', '\n'],
  ] as const)('masks %s', (_, options, columns, input, expected) => {
    expect(run(options, columns, input)).toBe(expected);
  });

  test.each([
    ['too many columns', [null], 'a\tb\n'], ['too few columns', [null, null], 'a\n'], ['an incomplete last row', [null], 'a'], ['a backslash at the end of a row', [null], 'a\\\n'], ['a value without columns', [], 'a\n'],
  ] as const)('ends the session on %s', (_, columns, input) => {
    expect(() => run(text, columns, input)).toThrow(expect.objectContaining({ code: 'TARGET_PROTOCOL_VIOLATION' }));
  });
});

describe('COPY CSV', () => {
  test.each([
    ['a plain row', csv, [null, column('Redact')], 'Alice,536227841\n', 'Alice,********\n'],
    ['NULL, which is unquoted, and the empty string, which is quoted', csv, [column('Redact'), column('Redact')], ',""\n', ',"********"\n'],
    ['a value that becomes NULL', csv, [column('Null'), column('Null')], '"x",y\n', ',\n'],
    ['newlines, delimiters and quotes inside a value', csv, [column('Partial', 0, 1), null], '"a\nb,""c""",z\n', '"*****c*",z\n'],
    ['a delimiter that stands in the mask', { ...csv, delimiter: '*' }, [column('Redact'), null], 'a*b\n', '"********"*b\n'],
    ['the delimiter 1', { ...csv, delimiter: '1' }, [column('Partial', 0, 1), null], 'ab1"x1y"\n', '*b1"x1y"\n'],
    ['another quote and escape', { ...csv, quote: "'", escape: '\\' }, [column('Partial', 0, 2), null], "'a\\'b\\\\c,1','\\'q'\n", "'****c*1','\\'q'\n"],
    ['a mask that equals the NULL string', { ...csv, nullString: '********' }, [column('Redact')], 'x\n', '"********"\n'],
    ['a header', { ...csv, header: true }, [column('Redact'), null], '"ssn",alice@example.com\nx,y\n', '"ssn",column_2\n********,y\n'],
    ['carriage returns', csv, [null, column('Redact')], '"a\r\nb",x\n', '"a\r\nb",********\n'],
  ] as const)('masks %s', (_, options, columns, input, expected) => {
    expect(run(options, columns, input)).toBe(expected);
  });

  test.each([
    ['a quote inside an unquoted value', 'a"b\n'], ['text after a closing quote', '"a"b\n'], ['an open quote', '"a\n'], ['too many columns', 'a,b\n'],
  ])('ends the session on %s', (_, input) => {
    expect(() => run(csv, [null], input)).toThrow(expect.objectContaining({ code: 'TARGET_PROTOCOL_VIOLATION' }));
  });
});

const header = Buffer.from('5047434f50590aff0d0a000000000000000000', 'hex');
const trailer = Buffer.from('ffff', 'hex');
const tuple = (cells: readonly (string | null)[]): Buffer => {
  const count = Buffer.alloc(2);
  count.writeInt16BE(cells.length);
  return Buffer.concat([count, ...cells.flatMap((cell) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(cell === null ? -1 : Buffer.byteLength(cell));
    return [length, Buffer.from(cell ?? '')];
  })]);
};

describe('COPY binary', () => {
  test('masks values with right lengths and keeps header and trailer', () => {
    const input = Buffer.concat([header, tuple(['a', 'secret', null]), tuple(['b', '', 'x']), trailer]);
    const expected = Buffer.concat([header, tuple(['a', '********', null]), tuple(['b', '********', null]), trailer]);
    expect(run(binary, [null, column('Redact', 1), column('Null', 1)], input)).toBe(expected.toString('latin1'));
  });

  test('sends the header with the first tuple and the trailer alone, as the server does', () => {
    const mask = createCopyMask(binary, [null], detectors);
    const bodies = mask.push(Buffer.concat([header, tuple(['a']), tuple(['b']), trailer]));
    expect(bodies.map((body) => body.length)).toEqual([header.length + 7, 7, 2]);
  });

  test.each([
    ['another signature', Buffer.concat([Buffer.alloc(19), trailer])],
    ['critical flags', Buffer.concat([header.subarray(0, 11), Buffer.from('0001000000000000', 'hex'), trailer])],
    ['another column count', Buffer.concat([header, tuple(['a', 'b']), trailer])],
    ['a field count of -2', Buffer.concat([header, Buffer.from('fffe', 'hex')])],
    ['a length of -2', Buffer.concat([header, Buffer.from('0001fffffffe', 'hex')])],
    ['no trailer', Buffer.concat([header, tuple(['a'])])],
    ['data after the trailer', Buffer.concat([header, trailer, tuple(['a'])])],
    ['a negative header extension', Buffer.concat([header.subarray(0, 15), Buffer.from('ffffffff', 'hex'), trailer])],
  ])('ends the session on %s', (_, input) => {
    expect(() => run(binary, [null], input)).toThrow(expect.objectContaining({ code: 'TARGET_PROTOCOL_VIOLATION' }));
  });

  test('a length of 2^31-1 allocates nothing and ends at the limit', () => {
    const input = Buffer.concat([header, Buffer.from('00017fffffff', 'hex'), Buffer.alloc(5000)]);
    expect(() => run(binary, [null], input, [], 1000)).toThrow(expect.objectContaining({ code: 'MASKED_ROW_TOO_LONG' }));
  });
});

describe('splits and limits', () => {
  const cuts = fc.array(fc.integer({ min: 1, max: 7 }), { maxLength: 200 });
  const cell = fc.option(fc.string({ unit: fc.constantFrom('a', '1', '"', "'", '\\', '\n', '\r', '\t', ',', '*', ' ', 'é', '536-22-7841') }), { nil: null });
  const rows = fc.array(fc.tuple(cell, cell, cell), { maxLength: 6 });
  // Writers of our own, from the manual: what the server would send.
  const escapeText = (value: string | null): string => value === null ? '\\N' : value.replace(/[\\\n\r\t]/g, (mark) => ({ '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' })[mark] ?? mark);
  const quoteCsv = (value: string | null): string => value === null ? '' : value === '' || /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  const encode = {
    text: (table: readonly (readonly (string | null)[])[]) => Buffer.from(table.map((row) => `${row.map(escapeText).join('\t')}\n`).join('')),
    csv: (table: readonly (readonly (string | null)[])[]) => Buffer.from(table.map((row) => `${row.map(quoteCsv).join(',')}\n`).join('')),
    binary: (table: readonly (readonly (string | null)[])[]) => Buffer.concat([header, ...table.map(tuple), trailer]),
  };
  const maskedCell = (value: string | null, mask: ColumnMask | null): string | null => {
    if (value === null) return null;
    const masked = mask === null ? detectors?.mask(Buffer.from(value)) : mask.mask(Buffer.from(value));
    return masked === null || masked === undefined ? null : Buffer.from(masked).toString();
  };

  test.each(['text', 'csv', 'binary'] as const)('%s gives the masked cells of a SELECT at every split', (format) => {
    const columns = [null, column('Partial', format === 'binary' ? 1 : 0, 2), column('Hash', format === 'binary' ? 1 : 0)];
    fc.assert(fc.property(rows, cuts, (table, split) => {
      const expected = encode[format](table.map((row) => row.map((value, index) => maskedCell(value, columns[index] ?? null))));
      const actual = run({ text, csv, binary }[format], columns, encode[format](table), split);
      // A quoted CSV value stays quoted where a new one need not be: compared without needless quotes.
      const plain = (bytes: string): string => (format === 'csv' ? bytes.replace(/"([^",\n\r]+)"/g, '$1') : bytes);
      expect(plain(actual)).toBe(plain(expected.toString('latin1')));
    }), { numRuns: 300 });
  });

  test.each(['text', 'csv', 'binary'] as const)('%s leaves rows without a match byte for byte', (format) => {
    fc.assert(fc.property(rows, cuts, (table, split) => {
      const input = encode[format](table.map((row) => row.map((value) => value?.replaceAll('-', '') ?? null)));
      expect(run({ text, csv, binary }[format], [null, null, null], input, split)).toBe(input.toString('latin1'));
    }));
  });

  test.each(['text', 'csv', 'binary'] as const)('arbitrary bytes as %s end in rows or in a violation, never in another error', (format) => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), cuts, fc.boolean(), (noise, split, withHeader) => {
      const input = Buffer.concat([withHeader ? header : Buffer.alloc(0), noise]);
      try {
        run({ text, csv, binary }[format], [null, column('Redact', format === 'binary' ? 1 : 0)], input, split);
      } catch (error) {
        expect(error).toMatchObject({ code: 'TARGET_PROTOCOL_VIOLATION' });
      }
    }), { numRuns: 500 });
  });

  test('a row longer than the limit is refused, whole or in pieces; rows that fit pass however many they are', () => {
    const long = `${'a'.repeat(101)}\n`;
    for (const split of [[], [50], [101]]) expect(() => run(text, [null], long, split, 100)).toThrow(expect.objectContaining({ code: 'MASKED_ROW_TOO_LONG' }));
    expect(run(text, [null], 'abc\n'.repeat(500), [3, 1000], 100)).toBe('abc\n'.repeat(500));
  });

  test('counts masked cells, detector hits and rows', () => {
    const mask = createCopyMask({ ...text, header: true }, [column('Redact'), null], detectors);
    mask.push(Buffer.from('a\tb\nx\ta@example.com\n\\N\ty\n'));
    expect([mask.cells, mask.detectorHits, mask.rows()]).toEqual([[1, 0], [0, 1], 2]);
  });

  test('throws for options without a rule', () => {
    expect(() => createCopyMask({ ...text, understood: false }, [], null)).toThrow('INTERNAL');
  });
});
