import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { encodeError, encodeNotice, type ErrorFields, readErrorFields, sqlstateOf } from './error-response.ts';

const fields = (change: Partial<ErrorFields> = {}): ErrorFields => ({ severity: 'ERROR', sqlstate: '42501', message: 'no', detail: null, hint: null, ...change });

describe('an error of ours', () => {
  test('carries its fields', () => {
    const bytes = encodeError(fields({ detail: 'd', hint: 'h', position: 12 }));
    expect([String.fromCharCode(bytes[0] ?? 0), bytes.readUInt32BE(1)]).toEqual(['E', bytes.length - 1]);
    expect(readErrorFields(bytes.subarray(5))).toEqual(new Map([['S', 'ERROR'], ['V', 'ERROR'], ['C', '42501'], ['M', 'no'], ['D', 'd'], ['H', 'h'], ['P', '12']]));
  });

  test('stays below 8 KiB and is valid UTF-8, whatever the texts are', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'é', '漢', '\u{1f600}', '\0', '\ud800'), maxLength: 6_000 });
    fc.assert(fc.property(text, text, text, (message, detail, hint) => {
      const bytes = encodeNotice(fields({ message, detail, hint }));
      expect(bytes.length).toBeLessThan(8_192);
      expect(() => new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(5))).not.toThrow();
      expect([...(readErrorFields(bytes.subarray(5))?.keys() ?? [])].join('')).toBe('SVCMDH');
    }), { numRuns: 30 });
  });
});

describe('an error of a server', () => {
  test.each([
    ['unterminated text', 'SERROR\0C42501'],
    ['no terminator', 'SERROR\0'],
    ['nothing', ''],
    ['bytes behind the terminator', 'SERROR\0\0x'],
  ])('with %s is not read', (_, body) => {
    expect(readErrorFields(Buffer.from(body, 'latin1'))).toBeNull();
  });

  test.each([['SERROR\0C42501\0\0', '42501'], ['SERROR\0\0', 'XXXXX'], ['C\x1b[31m\0\0', 'XXXXX'], ['C42501', 'XXXXX']])('%j has the SQLSTATE %s', (body, sqlstate) => {
    expect(sqlstateOf(Buffer.from(body, 'latin1'))).toBe(sqlstate);
  });
});
