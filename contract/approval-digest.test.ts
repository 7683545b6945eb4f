import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type ApprovalView, boundDigest, statementHmac } from './approval-digest.ts';

interface Vectors {
  readonly keyHex: string;
  readonly statements: readonly { readonly name: string; readonly textHex: string; readonly parameters: readonly { readonly type: number; readonly format: 0 | 1; readonly valueHex: string | null }[]; readonly hmac: string }[];
  readonly requests: readonly { readonly name: string; readonly view: ApprovalView; readonly statementHmac: string | null; readonly digest: string }[];
}

const vectors = JSON.parse(readFileSync(new URL('./testdata/approval-digest.json', import.meta.url), 'utf8')) as Vectors;
const key = Buffer.from(vectors.keyHex, 'hex');

describe('the HMAC of the exact bytes', () => {
  test.each(vectors.statements.map((vector) => [vector.name, vector] as const))('%s', (_name, vector) => {
    const parameters = vector.parameters.map(({ type, format, valueHex }) => ({ type, format, value: valueHex === null ? null : Buffer.from(valueHex, 'hex') }));
    expect(statementHmac(key, { text: Buffer.from(vector.textHex, 'hex'), parameters })).toBe(vector.hmac);
  });

  test('differs for every pair of different commands, however their bytes are cut', () => {
    const parameter = fc.record({ type: fc.constantFrom(17, 25), format: fc.constantFrom<0 | 1>(0, 1), value: fc.option(fc.uint8Array({ maxLength: 3 })) });
    const statement = fc.record({ text: fc.uint8Array({ maxLength: 3 }), parameters: fc.array(parameter, { maxLength: 3 }) });
    fc.assert(fc.property(statement, statement, (one, other) => {
      const same = JSON.stringify(plain(one)) === JSON.stringify(plain(other));
      expect(statementHmac(key, one) === statementHmac(key, other)).toBe(same);
    }));
  });

  test('needs a key of 32 bytes, and depends on it', () => {
    expect(() => statementHmac(new Uint8Array(31), { text: new Uint8Array(), parameters: [] })).toThrow(RangeError);
    expect(statementHmac(new Uint8Array(32), { text: new Uint8Array(), parameters: [] })).not.toBe(statementHmac(key, { text: new Uint8Array(), parameters: [] }));
  });
});

describe('the bound digest', () => {
  test.each(vectors.requests.map((vector) => [vector.name, vector] as const))('%s', (_name, vector) => {
    expect(boundDigest(vector.view, vector.statementHmac)).toBe(vector.digest);
  });

  test('no two of the vectors, each of one change, share a digest', () => {
    expect(new Set(vectors.requests.map((vector) => vector.digest)).size).toBe(vectors.requests.length);
  });

  test('does not depend on the order of keys nor on fields that approvers do not see', () => {
    const [first] = vectors.requests;
    const shuffled = { sessionId: 's1', ...Object.fromEntries(Object.entries(first?.view ?? {}).reverse()) } as unknown as ApprovalView;
    expect(boundDigest(shuffled, first?.statementHmac ?? null)).toBe(first?.digest);
  });
});

function plain(statement: { readonly text: Uint8Array; readonly parameters: readonly { readonly type: number; readonly format: number; readonly value: Uint8Array | null }[] }): unknown {
  return [[...statement.text], statement.parameters.map(({ type, format, value }) => [type, format, value === null ? null : [...value]])];
}
