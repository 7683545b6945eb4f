import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { MaskingRule } from '../../../contract/proxy-config.ts';
import { SallyportError } from '../errors.ts';
import { createMaskKey, hmacToken } from './mask-key.ts';
import type { ColumnMask } from './masker.ts';
import { lastDigits, readBinaryNumeric, writeBinaryNumeric } from './number-style.ts';
import { strictestStyle } from './strictest-style.ts';
import { compileColumnMask } from './styles.ts';

const key = createMaskKey(Buffer.alloc(32, 7), { namespace: 'payments', epoch: 1 });
const ruleOf = (style: MaskingRule['style'], keepFirst = 0, keepLast = 0): MaskingRule =>
  ({ columns: [{ schema: 'public', table: 'people', column: 'ssn' }], detectors: null, style, keepFirst, keepLast, predicates: 'Deny' });

interface Options {
  readonly format?: 0 | 1;
  readonly typeModifier?: number;
  readonly keepFirst?: number;
  readonly keepLast?: number;
  readonly bare?: boolean;
  readonly typeBase?: ReadonlyMap<number, number>;
  readonly arrayTypes?: ReadonlySet<number>;
}

const compile = (typeOid: number, style: MaskingRule['style'], options: Options = {}): ColumnMask =>
  compileColumnMask(
    { name: 'c', tableOid: 0, attnum: 0, typeOid, typeModifier: options.typeModifier ?? -1, format: options.format ?? 0 },
    { rule: ruleOf(style, options.keepFirst, options.keepLast), ruleIndex: 0, bare: options.bare ?? true }, key, options.typeBase ?? new Map(), options.arrayTypes ?? null,
  );
const text = (typeOid: number, style: MaskingRule['style'], value: string, options: Options = {}): string | null => {
  const masked = compile(typeOid, style, options).mask(Buffer.from(value));
  return masked === null ? null : Buffer.from(masked).toString();
};
const hex = (typeOid: number, style: MaskingRule['style'], value: string, options: Options = {}): string | null => {
  const masked = compile(typeOid, style, { ...options, format: 1 }).mask(Buffer.from(value, 'hex'));
  return masked === null ? null : Buffer.from(masked).toString('hex');
};
const ascii = (value: string): string => Buffer.from(value).toString('hex');

// Type, OID, a value in text and in binary (hex), and what Redact gives in both.
const redactions: readonly (readonly [string, number, string, string, string | null, string | null])[] = [
  ['text', 25, 'secret', ascii('secret'), '********', ascii('********')],
  ['varchar', 1043, 'secret', ascii('secret'), '********', ascii('********')],
  ['bpchar', 1042, 'secret', ascii('secret'), '********', ascii('********')],
  ['name', 19, 'secret', ascii('secret'), '********', ascii('********')],
  ['"char"', 18, 's', ascii('s'), '*', ascii('*')],
  ['int2', 21, '1234', '04d2', '0', '0000'],
  ['int4', 23, '85123', '00014c83', '0', '00000000'],
  ['int8', 20, '4539628173056482', '001020c48caad9e2', '0', '0000000000000000'],
  ['numeric', 1700, '1234.56', '0002000000000002' + '04d215e0', '0', '0000000000000000'],
  ['money', 790, '$1,234.56', '000000000001e240', '$0.00', '0000000000000000'],
  ['float4', 700, '1.5', '3fc00000', '0', '00000000'],
  ['float8', 701, '1.5', '3ff8000000000000', '0', '0000000000000000'],
  ['bool', 16, 't', '01', 'f', '00'],
  ['date', 1082, '1980-02-03', 'ffffe398', '1970-01-01', 'ffffd533'],
  ['timestamp', 1114, '2024-01-01 00:00:00', '0002b1c1e6f68000', '1970-01-01 00:00:00', 'fffca2fec4c82000'],
  ['timestamptz', 1184, '2024-01-01 00:00:00+00', '0002b1c1e6f68000', '1970-01-01 00:00:00+00', 'fffca2fec4c82000'],
  ['time', 1083, '12:34:56', '0000000a8b9f4400', '00:00:00', '0000000000000000'],
  ['timetz', 1266, '12:34:56+02', '0000000a8b9f4400ffffe3e0', '00:00:00+00', '000000000000000000000000'],
  ['interval', 1186, '1 day', '00000000000000000000000100000000', '00:00:00', '00000000000000000000000000000000'],
  ['uuid', 2950, '6fa459ea-ee8a-3ca4-894e-db77e160355e', '6fa459eaee8a3ca4894edb77e160355e', '00000000-0000-0000-0000-000000000000', '0'.repeat(32)],
  ['bytea', 17, '\\x736563726574', ascii('secret'), '\\x', ''],
  ['inet', 869, '10.1.2.3', '022000040a010203', '0.0.0.0', '0220000400000000'],
  ['cidr', 650, '10.1.0.0/16', '021001040a010000', '0.0.0.0/0', '0200010400000000'],
  ['macaddr', 829, '08:00:2b:01:02:03', '08002b010203', '00:00:00:00:00:00', '000000000000'],
  ['macaddr8', 774, '08:00:2b:01:02:03:04:05', '08002b0102030405', '00:00:00:00:00:00:00:00', '0000000000000000'],
  ['json', 114, '{"a":1}', ascii('{"a":1}'), '"********"', ascii('"********"')],
  ['jsonb', 3802, '{"a":1}', '01' + ascii('{"a":1}'), '"********"', '01' + ascii('"********"')],
  ['text[]', 1009, '{a,b}', '00000001000000000000001900000002000000010000000161000000' + '0162', '{}', '000000000000000000000019'],
  ['int4[]', 1007, '{1,2}', '000000010000000000000017000000020000000100000004000000010000000400000002', '{}', '000000000000000000000017'],
  ['int4range', 3904, '[1,5)', '0200000004000000010000000400000005', 'empty', '01'],
  ['int4multirange', 4451, '{[1,5)}', '00000001000000110200000004000000010000000400000005', '{}', '00000000'],
  ['enum or other unknown OID', 99_999, 'secret', ascii('secret'), null, null],
  ['xml', 142, '<a>secret</a>', ascii('<a>secret</a>'), null, null],
  ['point', 600, '(1,2)', '3ff00000000000004000000000000000', null, null],
  ['record', 2249, '(secret,1)', '00000000', null, null],
  ['tsvector', 3614, "'secret':1", '00000000', null, null],
];

describe('Redact', () => {
  test.each(redactions)('of %s says nothing of the value and decodes as its type', (_, oid, value, binary, redactedText, redactedBinary) => {
    expect(text(oid, 'Redact', value)).toBe(redactedText);
    expect(hex(oid, 'Redact', binary)).toBe(redactedBinary);
  });

  test.each(redactions)('of %s is the fallback of Partial with keepFirst where no part of the value may stay', (name, oid, value, binary, redactedText, redactedBinary) => {
    if (/text|char|name/.test(name)) return;
    expect(text(oid, 'Partial', value, { keepFirst: 1, keepLast: 2 })).toBe(redactedText);
    expect(hex(oid, 'Partial', binary, { keepFirst: 1, keepLast: 2 })).toBe(redactedBinary);
  });

  test.each(redactions)('is given up for NULL in %s by style Null', (_, oid, value, binary) => {
    expect([text(oid, 'Null', value), hex(oid, 'Null', binary)]).toEqual([null, null]);
  });

  test.each([['Hash'], ['Partial']] as const)('replaces %s where the value passed through an expression', (style) => {
    const mask = compile(25, style, { keepLast: 4, bare: false });
    expect([mask.style, Buffer.from(mask.mask(Buffer.from('536-22-7841')) ?? []).toString()]).toEqual(['Redact', '********']);
  });

  test('keeps within the type modifier of varchar(n) and char(n)', () => {
    expect([text(1043, 'Redact', 'abc', { typeModifier: 4 + 3 }), text(1042, 'Redact', 'ab', { typeModifier: 4 + 2 })]).toEqual(['***', '**']);
  });

  test('does not touch style Null, which is stricter, on an expression', () => {
    expect(compile(25, 'Null', { bare: false }).style).toBe('Null');
  });
});

describe('Partial', () => {
  test.each([
    ['536-22-7841', 0, 4, '***-**-7841'],
    ['4539 6281 7305 6482', 6, 4, '4539 **** **** 6482'],
    ['4539628173056482', 6, 4, '4539********6482'],
    ['ab', 0, 4, '*b'],
    ['a', 1, 1, '*'],
    ['', 0, 4, ''],
    ['alice@example.com', 0, 4, '************e*com'],
    ['Zoë Müller', 1, 2, 'Z** ****er'],
    ['日本語テキスト', 0, 2, '*****スト'],
    ['a😀b😀c😀d', 0, 1, '******d'],
    ['(555) 123', 0, 2, '***** *23'],
  ])('of the text %j keeping %i first and %i last is %j', (value, keepFirst, keepLast, expected) => {
    expect(text(25, 'Partial', value, { keepFirst, keepLast })).toBe(expected);
    expect(hex(25, 'Partial', ascii(value), { keepFirst, keepLast })).toBe(ascii(expected));
  });

  test.each([
    [23, '85123', '00014c83', '23', '00000017'],
    [23, '-85123', 'fffeb37d', '23', '00000017'],
    [23, '-2147483648', '80000000', '3648', '00000e40'],
    [21, '1234', '04d2', '34', '0022'],
    [20, '4539628173056482', '001020c48caad9e2', '6482', '0000000000001952'],
    [20, '7', '0000000000000007', '0', '0000000000000000'],
    [1700, '123456.78', '00030001000000020' + '00c0d801e78', '56.78', '00020000000000020' + '0381e78'],
    [1700, 'NaN', '00000000c0000000', '0', '0000000000000000'],
    [790, '$1,234.56', '000000000001e240', '$4.56', '00000000000001c8'],
  ])('of a number (type %i) keeps its last digits without the sign: %s', (oid, value, binary, expectedText, expectedBinary) => {
    expect(text(oid, 'Partial', value, { keepLast: 4 })).toBe(expectedText);
    expect(hex(oid, 'Partial', binary, { keepLast: 4 })).toBe(expectedBinary);
  });

  test('never keeps more than half of the letters and digits, and never changes their number', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 40 }), fc.nat(32), fc.nat(32), (value, keepFirst, keepLast) => {
      const before = [...Buffer.from(value).toString()];
      const after = [...(text(25, 'Partial', value, { keepFirst, keepLast }) ?? '')];
      const letters = before.filter((character) => /[\p{L}\p{N}]/u.test(character)).length;
      expect(after.length).toBe(before.length);
      expect(after.filter((character) => /[\p{L}\p{N}]/u.test(character)).length).toBeLessThanOrEqual(letters / 2);
    }));
  });

  test('overwrites in place what `mask` would return, and leaves other bytes alone', () => {
    const mask = compile(25, 'Partial', { keepLast: 4 });
    const bytes = Buffer.from('<<536-22-7841>>');
    expect([mask.overwrite?.(bytes, 2, 13), bytes.toString()]).toEqual([true, '<<***-**-7841>>']);
  });

  test('leaves text that is not ASCII to `mask`', () => {
    const bytes = Buffer.from('Zoë');
    expect([compile(25, 'Partial').overwrite?.(bytes, 0, bytes.length), bytes.toString()]).toEqual([false, 'Zoë']);
  });
});

describe('Hash', () => {
  test.each([
    ['text', 25, '536-22-7841', ascii('536-22-7841'), /^tok_[a-z2-7]{16}$/],
    ['int8', 20, '4539628173056482', '001020c48caad9e2', /^\d{1,19}$/],
    ['uuid', 2950, '6FA459EA-ee8a-3ca4-894e-db77e160355e', '6fa459eaee8a3ca4894edb77e160355e', /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/],
    ['bytea', 17, '\\x736563726574', ascii('secret'), /^\\x[0-9a-f]{32}$/],
  ])('of %s agrees between text and binary', (name, oid, value, binary, form) => {
    const asText = text(oid, 'Hash', value) ?? '';
    const asBinary = Buffer.from(hex(oid, 'Hash', binary) ?? '', 'hex');
    const decoded = name === 'int8' ? asBinary.readBigInt64BE().toString() : name === 'uuid' ? asBinary.toString('hex') : name === 'bytea' ? `\\x${asBinary.toString('hex')}` : asBinary.toString();
    expect(asText).toMatch(form);
    expect(decoded).toBe(name === 'uuid' ? asText.replaceAll('-', '') : asText);
  });

  test('of bytea agrees between hex and escape output', () => {
    expect(text(17, 'Hash', 'sec\\\\ret\\000')).toBe(text(17, 'Hash', '\\x7365635c72657400'));
  });

  test('joins the columns of one rule, text with padded char(n) too, and separates rules', () => {
    expect(text(1042, 'Hash', 'abc       ')).toBe(text(25, 'Hash', 'abc'));
    const other = compileColumnMask(
      { name: 'c', tableOid: 0, attnum: 0, typeOid: 25, typeModifier: -1, format: 0 },
      { rule: { ...ruleOf('Hash'), columns: [{ schema: 'public', table: 'cards', column: 'pan' }] }, ruleIndex: 0, bare: true }, key, new Map(),
    ).mask(Buffer.from('abc'));
    expect(Buffer.from(other ?? []).toString()).not.toBe(text(25, 'Hash', 'abc'));
  });

  test('depends on the key: another namespace or epoch gives other tokens', () => {
    const tokens = [['payments', 1], ['payments', 2], ['orders', 1]].map(([namespace, epoch]) =>
      hmacToken(createMaskKey(Buffer.alloc(32, 7), { namespace: String(namespace), epoch: Number(epoch) }), 'us-ssn', '536227841').slice(-26));
    expect(new Set(tokens).size).toBe(3);
  });

  test('fits narrow columns, and is Redact where a token would be too short to tell values apart', () => {
    expect(text(1043, 'Hash', 'abc', { typeModifier: 4 + 11 })).toMatch(/^[a-z2-7]{11}$/);
    expect(text(1043, 'Hash', 'abc', { typeModifier: 4 + 7 })).toBe('*******');
  });

  test.each([[21], [23], [1700], [790], [701], [1082], [869], [114]])('is Redact for type %i', (oid) => {
    expect(compile(oid, 'Hash').style).toBe('Redact');
  });
});

describe('arrays of text', () => {
  test.each([
    ['{a1b2,NULL,"x y"}', '{"**b2",NULL,"* y"}'],
    ['{}', '{}'],
    ['{{ab,cd},{ef,gh}}', '{{"*b","*d"},{"*f","*h"}}'],
    ['[0:1]={ab,cd}', '[0:1]={"*b","*d"}'],
    ['{"q\\"\\\\z9",null}', '{"****9",null}'],
    ['{"NULL"}', '{"**LL"}'],
    ['not an array', '{}'],
    ['{a', '{}'],
    ['{a}}', '{}'],
    ['{"never closed', '{}'],
    ['{"ends in a backslash\\', '{}'],
  ])('are masked element by element in text: %s', (value, expected) => {
    expect(text(1009, 'Partial', value, { keepLast: 2 })).toBe(expected);
  });

  const binary = (elements: readonly (string | null)[]): string => {
    const head = Buffer.alloc(20);
    head.writeInt32BE(1, 0);
    head.writeInt32BE(elements.includes(null) ? 1 : 0, 4);
    head.writeInt32BE(25, 8);
    head.writeInt32BE(elements.length, 12);
    head.writeInt32BE(1, 16);
    return Buffer.concat([head, ...elements.flatMap((element) => {
      const length = Buffer.alloc(4);
      length.writeInt32BE(element === null ? -1 : Buffer.byteLength(element));
      return [length, Buffer.from(element ?? '')];
    })]).toString('hex');
  };

  test('have right lengths in binary when elements change their length, NULL elements included', () => {
    const tokens = ['a', 'bc'].map((value) => text(25, 'Hash', value));
    expect(hex(1009, 'Hash', binary(['a', null, 'bc']))).toBe(binary([tokens[0] ?? null, null, tokens[1] ?? null]));
  });

  test.each([['00'], ['000000010000000000000019'], ['0000000700000000000000190000000100000001'], [`${binary(['abc'])}00`], [binary(['abc']).slice(0, -2)]])(
    'become empty when the bytes are broken: %s', (value) => {
      expect(hex(1009, 'Partial', value, { keepLast: 1 })).toBe('000000000000000000000019');
    });

  test('of an extension type are masked by the type that its elements rest on', () => {
    const typeBase = new Map([[70_001, 70_000], [70_000, 25]]);
    expect(text(70_001, 'Partial', '{abcd}', { keepLast: 2, typeBase, arrayTypes: new Set([70_001]) })).toBe('{"**cd"}');
  });

  test('are told from domains when the catalog says which is which', () => {
    const typeBase = new Map([[70_002, 25], [70_003, 1009]]);
    expect(text(70_002, 'Redact', 'secret', { typeBase, arrayTypes: new Set() })).toBe('********');
    expect(text(70_003, 'Redact', '{secret}', { typeBase })).toBe('{}');
  });

  test('of enums are emptied with their own element type', () => {
    expect(hex(70_005, 'Redact', '00', { typeBase: new Map([[70_005, 70_004]]) })).toBe('000000000000000000011174');
  });
});

describe('strictestStyle', () => {
  test('prefers Null, then Redact, then Hash, then Partial', () => {
    const order = ['Null', 'Redact', 'Hash', 'Partial'] as const;
    for (const [i, a] of order.entries()) for (const [j, b] of order.entries()) expect(strictestStyle(a, b)).toBe(order[Math.min(i, j)]);
  });
});

describe('createMaskKey', () => {
  test('refuses a secret shorter than 32 bytes', () => {
    expect(() => createMaskKey(Buffer.alloc(31), { namespace: 'n', epoch: 1 })).toThrow(SallyportError);
  });

  test('gives tokens of the documented form', () => {
    expect(hmacToken(key, 'public.people.ssn', '536-22-7841')).toMatch(/^hmac:[a-z2-7]{8}:[a-z2-7]{26}$/);
  });
});

describe('numbers', () => {
  test('binary numeric survives reading and writing', () => {
    const decimal = fc.tuple(fc.bigInt({ min: 0n, max: 10n ** 30n }), fc.integer({ min: 0, max: 12 }), fc.boolean()).map(([digits, scale, negative]) => {
      const padded = digits.toString().padStart(scale + 1, '0');
      const plain = scale === 0 ? padded : `${padded.slice(0, -scale)}.${padded.slice(-scale)}`;
      return negative && digits > 0n ? `-${plain}` : plain;
    });
    fc.assert(fc.property(decimal, (value) => expect(readBinaryNumeric(writeBinaryNumeric(value))).toBe(value)));
  });

  test('last digits are at most half of them', () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 10n ** 20n }), fc.nat(32), (value, keepLast) =>
      expect(lastDigits(value.toString(), { keepFirst: 0, keepLast }).length).toBeLessThanOrEqual(Math.max(1, value.toString().length / 2))));
  });
});

describe('masked output', () => {
  test('never holds the secret, for any type, style and bytes', () => {
    const oids = redactions.map(([, oid]) => oid);
    const secret = 'K7QX93ZP';
    fc.assert(fc.property(
      fc.constantFrom(...oids), fc.constantFrom('Null', 'Redact', 'Hash', 'Partial' as const), fc.constantFrom<0 | 1>(0, 1), fc.nat(32), fc.nat(32),
      fc.uint8Array({ maxLength: 30 }), fc.uint8Array({ maxLength: 30 }),
      (oid, style, format, keepFirst, keepLast, before, after) => {
        const cell = Buffer.concat([before, Buffer.from(secret), after]);
        const masked = compile(oid, style as MaskingRule['style'], { format, keepFirst: style === 'Partial' ? keepFirst % 3 : 0, keepLast: keepLast % 3 }).mask(cell);
        expect(masked === null ? '' : Buffer.from(masked).toString('latin1')).not.toContain(secret);
      },
    ), { numRuns: 2000 });
  });
});
