import { describe, expect, test } from '@jest/globals';
import { showParameter } from './show-parameter.ts';

const rules = { limitBytes: 4_096, hidden: false, hits: (text: string): boolean => text.includes('536-90-4399'), token: (value: string): string => `token(${value})` };
const text = (value: string): { readonly format: 0; readonly value: Buffer } => ({ format: 0, value: Buffer.from(value) });
const binary = (bytes: Buffer): { readonly format: 1; readonly value: Buffer } => ({ format: 1, value: bytes });

function bytes(length: number, write: (buffer: Buffer) => void): Buffer {
  const buffer = Buffer.alloc(length);
  write(buffer);
  return buffer;
}

describe('a parameter as records and approvers see it', () => {
  test.each<[string, number, Buffer, string]>([
    ['bool', 16, Buffer.of(1), 'true'], ['bool', 16, Buffer.of(0), 'false'], ['int8', 20, bytes(8, (b) => b.writeBigInt64BE(-9_007_199_254_740_993n)), '-9007199254740993'], ['int2', 21, bytes(2, (b) => b.writeInt16BE(-7)), '-7'],
    ['int4', 23, bytes(4, (b) => b.writeInt32BE(118)), '118'], ['oid', 26, bytes(4, (b) => b.writeInt32BE(42)), '42'], ['oid', 26, bytes(4, (b) => b.writeUInt32BE(4_000_000_000)), '4000000000'],
    ['float4', 700, bytes(4, (b) => b.writeFloatBE(1.5)), '1.5'], ['float8', 701, bytes(8, (b) => b.writeDoubleBE(2.25)), '2.25'], ['text', 25, Buffer.from('é'), 'é'], ['varchar', 1043, Buffer.from('x'), 'x'], ['json', 114, Buffer.from('{}'), '{}'],
    ['bytea', 17, Buffer.of(1, 2), 'AQI='], ['numeric', 1700, Buffer.of(0, 0), 'AAA='],
  ])('in binary: %s is %#', (type, oid, value, shown) => {
    expect(showParameter(binary(value), 1, oid, rules)).toEqual({ n: 1, type, format: 'binary', value: shown, hmac: null, redacted: false, bytes: value.length });
  });

  test.each([16, 20, 21, 23, 26, 700, 701])('in binary with a length that its type %i does not have is base64', (oid) => {
    expect(showParameter(binary(Buffer.of(1, 2, 3)), 1, oid, rules).value).toBe('AQID');
  });

  test('as text is the text; an unknown type is called so, one without a name by its number', () => {
    expect(showParameter(text('118'), 2, 0, rules)).toEqual({ n: 2, type: 'unknown', format: 'text', value: '118', hmac: null, redacted: false, bytes: 3 });
    expect(showParameter(text('x'), 1, 99_999, rules).type).toBe('99999');
  });

  test('NULL is no value', () => {
    expect(showParameter({ format: 0, value: null }, 1, 25, rules)).toMatchObject({ value: null, hmac: null, redacted: false, bytes: 0 });
  });

  test('that meets a masked column is hidden behind its token, however it was sent: text and binary agree', () => {
    expect(showParameter(text('118'), 1, 23, { ...rules, hidden: true })).toMatchObject({ value: null, hmac: 'token(118)', redacted: true, bytes: 3 });
    expect(showParameter(binary(bytes(4, (b) => b.writeInt32BE(118))), 1, 23, { ...rules, hidden: true })).toMatchObject({ value: null, hmac: 'token(118)', redacted: true });
  });

  test('in which a detector finds something is hidden, in bytes of a type left to the server too', () => {
    expect(showParameter(text('ssn 536-90-4399'), 1, 25, rules)).toMatchObject({ value: null, redacted: true });
    expect(showParameter(binary(Buffer.from('ssn 536-90-4399')), 1, 0, rules)).toMatchObject({ value: null, redacted: true });
  });

  test('over 4 KiB is cut, with its length and token', () => {
    const long = 'x'.repeat(5_000);
    expect(showParameter(text(long), 1, 25, rules)).toMatchObject({ value: `${'x'.repeat(4_096)}…`, hmac: `token(${long})`, redacted: false, bytes: 5_000 });
  });
});
