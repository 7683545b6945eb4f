import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { detectorNames } from '../../../contract/detectors.ts';
import type { MaskingRule } from '../../../contract/proxy-config.ts';
import { createTextMask, masksText, type TextMask } from './text-stream.ts';

const all = rule([...detectorNames]);

function rule(detectors: readonly string[], changes: Partial<MaskingRule> = {}): MaskingRule {
  return { name: 'r', columns: [], detectors: detectors as MaskingRule['detectors'], style: 'Redact', keepFirst: 0, keepLast: 0, ...changes } as unknown as MaskingRule;
}

function run(mask: TextMask, chunks: readonly Uint8Array[]): string {
  return Buffer.concat([...chunks.map((chunk) => mask.push(chunk)), mask.end()]).toString('utf8');
}

function masked(text: string, rules: readonly MaskingRule[] = [all], mode: 'exec' | 'pty' = 'exec'): string {
  return run(createTextMask(rules, mode), [Buffer.from(text)]);
}

/** Cuts bytes at the given places. */
function cut(bytes: Buffer, places: readonly number[]): readonly Buffer[] {
  const sorted = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return sorted.slice(1).map((end, n) => bytes.subarray(sorted[n], end));
}

const card = '4539628173056482';
const key = `-----BEGIN RSA PRIVATE KEY-----\n${'MIIEpAIBAAKCAQEA1234567890abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN\n'.repeat(4)}-----END RSA PRIVATE KEY-----`;

describe('a match', () => {
  test.each([
    ['a card number', `card ${card}.\n`, `card ${'*'.repeat(16)}.\n`],
    ['a grouped one', 'card 4539 6281 7305 6482\n', `card ${'*'.repeat(19)}\n`],
    ['a social security number', 'x 536-22-7841 y\n', 'x *********** y\n'],
    ['bare digits with their word behind them', '536227841 ssn\n', '********* ssn\n'],
    ['bare digits under a heading', 'ssn\n536227841\n', 'ssn\n*********\n'],
    ['an e-mail address', 'to asmith@bank.example now', 'to ******************* now'],
    ['a password', 'password=hunter2hunter2 x\n', 'password=************** x\n'],
    ['the password of a URL', 'postgres://app:s3cretpw@db/x\n', 'postgres://app:********@db/x\n'],
  ])('%s becomes stars of the same width', (_name, text, expected) => {
    expect(masked(text)).toBe(expected);
  });

  test('keeps wide characters in their columns and combining ones in none', () => {
    expect(masked('password=密密密密密密 x\n')).toBe(`password=${'*'.repeat(12)} x\n`);
    expect(masked('password=e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301 x\n')).toBe('password=****** x\n');
  });

  test('is found through colours, which stay', () => {
    expect(masked('\x1b[31m4539\x1b[1m6281\x1b]0;t\x077305\x1b(B6482\x1b[0m\n')).toBe('\x1b[31m****\x1b[1m****\x1b]0;t\x07****\x1b(B****\x1b[0m\n');
  });

  test('keeps the last characters under Partial, and no more than a card may show', () => {
    expect(masked(`${card}\n`, [rule(['payment-card'], { style: 'Partial', keepFirst: 9, keepLast: 9 })])).toBe(`4539****${'*'.repeat(4)}6482\n`);
    expect(masked(`${card}\n`, [rule(['payment-card'], { style: 'Hash' })])).toBe(`${'*'.repeat(16)}\n`);
    expect(masked(`${card}\n`, [rule(['payment-card'], { style: 'Null' })])).toBe(`${'*'.repeat(16)}\n`);
  });

  test('of a private key runs from BEGIN to END over its lines, and to the end of the stream without END', () => {
    const lines = masked(`a\n${key}\nb\n`).split('\n');
    expect(lines[0]).toBe('a');
    expect(lines.slice(1, -2).join('')).toMatch(/^\*+$/);
    expect(lines.slice(-2)).toEqual(['b', '']);
    expect(masked(`${key.slice(0, 200)}\nmore ${card}`)).not.toMatch(/[A-Za-z0-9]/);
  });

  test('of a key in one long line is hidden whole, and what stands behind it is judged as ever', () => {
    const long = `x="${`-----BEGIN PRIVATE KEY-----${'\\nMIIEpAIBAAKCAQEA'.repeat(300)}-----END PRIVATE KEY-----`}" ${card} end\n`;
    expect(masked(long)).toMatch(/^x="\*+" \*{16} end\n$/);
  });

  test('of a token longer than a window is hidden to its end', () => {
    const token = `eyJ${'aB3'.repeat(2000)}.eyJ${'xY9'.repeat(2000)}.${'zZ1'.repeat(50)}`;
    expect(masked(`t ${token} end\n`)).toMatch(/^t \*+ end\n$/);
    expect(masked(`${'word '.repeat(500)}password=${'Zq9!'.repeat(1500)} end\n`)).toMatch(/password=\*+ end\n$/);
  });

  test('is counted once', () => {
    const mask = createTextMask([all], 'exec');
    run(mask, [Buffer.from(`${card} and 536-22-7841\nplain\na@b.example\n`)]);
    expect(mask.hits).toBe(3);
  });
});

describe('a stream', () => {
  const sample = Buffer.from(`total 4\n\x1b[1mcard\x1b[0m ${card.slice(0, 8)}\x1b[31m${card.slice(8)}\r\nmail asmith@bank.example é€😀\n${key}\n12 January 1990 born; GB29 NWBK 6016 1331 9268 19 %B4539628173056482^SMITH/J ^2512101000000000? tail`);

  test('gives the same bytes split at every byte', () => {
    const whole = run(createTextMask([all], 'exec'), [sample]);
    for (let at = 0; at <= sample.length; at += 1) expect(run(createTextMask([all], 'exec'), [sample.subarray(0, at), sample.subarray(at)])).toBe(whole);
    expect(run(createTextMask([all], 'exec'), [...sample].map((byte) => Uint8Array.of(byte)))).toBe(whole);
    expect(whole).not.toContain('6482');
    expect(whole).not.toContain('asmith');
    expect(whole).not.toContain('6016');
  });

  const word = fc.oneof(
    fc.constantFrom(card, '4539 6281', '7305 6482', '536-22-7841', '536227841', 'ssn', 'password=', 'token: ', 'aB3dE5gH7jK9mN1pQ3sT5vW7xY9z', 'asmith@bank.example', '@', '.example', 'GB29 NWBK 6016 1331 9268 19',
      '-----BEGIN PRIVATE KEY-----', '-----END PRIVATE KEY-----', '-----BEG', 'eyJhbGciOiJIUzI1NiJ9.', 'eyJzdWIiOiIxMjM0NTY3ODkwIn0.', 'postgres://app:', 's3cret@db', '+1 415 555 2671', '(415) 555-', '12 Jan', 'uary 1990', 'dob', 'account',
      '%B4539628173056482^SM', 'ITH^25121010000', ';4539628173056482=2512', '10.1.2.3', 'fe80::1', 'pin 1234', '00:1b:44:11:3a:b7', '\n', '\r\n', '\r', '\t', ' ', '  ', '-', '.', ',', '"', '\x1b[31m', '\x1b]0;x\x07', '\x08', 'é', '密', '\u00a0', '\u009b1m', 'AKIAIOSFODNN7EXAMPLE'),
    fc.stringMatching(/^[ -~]{0,12}$/), fc.stringMatching(/^[0-9 -]{0,24}$/),
    fc.tuple(fc.constantFrom('a', '1', '.', '-', 'aB3', ' 1', '1,', 'x@', '\x1b[1m'), fc.integer({ min: 1, max: 900 })).map(([piece, times]) => piece.repeat(times)),
  );
  const text = fc.array(word, { maxLength: 40 }).map((words) => Buffer.from(words.join('')));

  test('is masked the same however it is cut', () => {
    fc.assert(fc.property(text, fc.array(fc.nat(), { maxLength: 12 }), fc.constantFrom('exec', 'pty'), (bytes, places, mode) => {
      const whole = createTextMask([all], mode);
      const pieces = createTextMask([all], mode);
      expect(run(pieces, cut(bytes, places))).toBe(run(whole, [bytes]));
      expect(pieces.hits).toBe(whole.hits);
    }), { numRuns: 1500 });
  });

  test('comes byte by byte as it comes whole', () => {
    fc.assert(fc.property(text, (bytes) => {
      const short = bytes.subarray(0, 1200);
      expect(run(createTextMask([all], 'exec'), [...short].map((byte) => Uint8Array.of(byte)))).toBe(run(createTextMask([all], 'exec'), [short]));
    }), { numRuns: 60 });
  });
});
