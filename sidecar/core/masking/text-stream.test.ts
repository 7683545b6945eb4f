import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { detectorNames } from '../../../contract/detectors.ts';
import type { MaskingRule } from '../../../contract/proxy-config.ts';
import { createTextMask, masksText, type TextMask } from './text-stream.ts';

const values = JSON.parse(readFileSync(new URL('testdata/stream-values.json', import.meta.url), 'utf8')) as readonly string[];
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

test('many short lines at once, more than are judged together, pass as they are, and one long line among them is judged by itself', () => {
  const short = Array.from({ length: 400 }, (_, line) => `line ${line} of a log\n`).join('');
  const long = `${'x '.repeat(1_500)}\n`;
  expect(masked(short)).toBe(short);
  expect(masked(`${short}${long}${short}`)).toBe(`${short}${long}${short}`);
  expect(masked(`${short}${'x '.repeat(1_500)}${card} ${'y '.repeat(1_500)}\n`)).toBe(`${short}${'x '.repeat(1_500)}${'*'.repeat(16)} ${'y '.repeat(1_500)}\n`);
});

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

  test('in the title of the window or in a link is hidden as well', () => {
    expect(masked(`\x1b]0;card ${card} x\x07ok\n`)).toBe(`\x1b]0;card ${'*'.repeat(16)} x\x07ok\n`);
    expect(masked('\x1b]8;;https://bank.example/?m=asmith@bank.example\x1b\\link\x1b]8;;\x1b\\\n')).toBe(`\x1b]8;;https://bank.example/?m=${'*'.repeat(19)}\x1b\\link\x1b]8;;\x1b\\\n`);
    expect(masked('\x1b]0;password=hunter2hunter2\x1b\\x\n')).toMatch(/^\x1b\]0;password=\*{14}\x1b\\x\n$/);
    expect(masked(`\x1b]0;${card}\x07ok\n`)).toBe(`\x1b]0;${'*'.repeat(16)}\x07ok\n`);
    expect(masked(`\x1b]0;${card}\nok\n`)).toBe(`\x1b]0;${'*'.repeat(16)}\nok\n`);
    expect(masked(`\u009d0;${card}\u009cx`)).toBe(`\u009d0;${'*'.repeat(16)}\u009cx`);
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

  test.each(['-', '/', '=', '+', '_'])('hides a token that begins with %j the same byte by byte as whole', (mark) => {
    const bytes = Buffer.from(`${mark}abC3dE5gH7jK9mN1pQ3sT5vW7xY9z-----END PRIVATE KEY-----`);
    expect(run(createTextMask([all], 'exec'), [...bytes].map((byte) => Uint8Array.of(byte)))).toBe(run(createTextMask([all], 'exec'), [bytes]));
  });

  test('comes byte by byte as it comes whole', () => {
    fc.assert(fc.property(text, (bytes) => {
      const short = bytes.subarray(0, 1200);
      expect(run(createTextMask([all], 'exec'), [...short].map((byte) => Uint8Array.of(byte)))).toBe(run(createTextMask([all], 'exec'), [short]));
    }), { numRuns: 60 });
  });
});

describe.each(values)('the value %s', (value) => {
  test.each(['', 'x ', 'see: ', '12 ', '"', '\n', 'a,', '\x1b[1m'])('behind %j is hidden the same byte by byte as whole', (before) => {
    for (const after of ['', '\n', ' and words', '"', ', 7 more', '\x1b[0m!', 'z']) {
      const bytes = Buffer.from(`${before}${value}${after}`);
      const whole = run(createTextMask([all], 'exec'), [bytes]);
      expect(run(createTextMask([all], 'exec'), [...bytes].map((byte) => Uint8Array.of(byte)))).toBe(whole);
      const few = rule(['payment-card', 'iban', 'email', 'ip-address']);
      expect(run(createTextMask([few], 'exec'), [...bytes].map((byte) => Uint8Array.of(byte)))).toBe(run(createTextMask([few], 'exec'), [bytes]));
      if (after === ' and words' && before === 'x ') expect(whole).toContain('*****'.slice(0, value.includes('12') ? 3 : 4));
    }
  });
});

describe('what is no text', () => {
  test.each([
    ['NUL', [0x61, 0x00, 0x62], 'a'], ['a byte that begins no character', [0x61, 0xff, 0x62], 'a'], ['a lone continuation', [0x61, 0x80], 'a'], ['an overlong form', [0xc0, 0xaf], ''], ['a surrogate', [0x61, 0xed, 0xa0, 0x80], 'a'],
    ['a character that is too high', [0x61, 0xf4, 0x90, 0x80, 0x80], 'a'], ['a character cut by another', [0xe2, 0x82, 0x61], ''], ['a character cut by the end', [0x61, 0xe2, 0x82], 'a'], ['NUL in an escape', [0x61, 0x1b, 0x5b, 0x00], 'a\x1b['],
  ])('%s cuts the stream before it, however it comes', (_name, bytes, before) => {
    for (const chunks of [[Uint8Array.from(bytes)], bytes.map((byte) => Uint8Array.of(byte))]) {
      const mask = createTextMask([all], 'exec');
      expect(run(mask, chunks)).toBe(before);
      expect(mask.problem).toBe('OUTPUT_NOT_TEXT');
      expect(mask.push(Buffer.from('more')).length).toBe(0);
      expect(mask.idle().length + mask.end().length).toBe(0);
    }
  });

  test('is not a character of four bytes at the end of a chunk', () => {
    expect(masked('x😀')).toBe('x😀');
    expect(masked('password=😀😀😀😀😀😀😀')).toBe(`password=${'*'.repeat(14)}`);
  });

  test('does not let a value pass that stands before it', () => {
    expect(run(createTextMask([all], 'exec'), [Buffer.from(`${card}\0`)])).toBe('*'.repeat(16));
  });
});

describe('what waits', () => {
  const shown = (mask: TextMask, text: string): string => Buffer.from(mask.push(Buffer.from(text))).toString();
  const idle = (mask: TextMask): string => Buffer.from(mask.idle()).toString();

  test('is only what can become a value', () => {
    const mask = createTextMask([all], 'exec');
    expect(shown(mask, 'Password: ')).toBe('Password: ');
    expect(shown(mask, '#####')).toBe('');
    expect(shown(createTextMask([all], 'exec'), '##########')).toBe('##########');
    expect(shown(createTextMask([all], 'exec'), '..........')).toBe('..........');
    expect(shown(createTextMask([all], 'exec'), 'done (')).toBe('done ');
    expect(shown(createTextMask([rule(['payment-card'])], 'exec'), 'number 12, then words ')).toBe('number 12, then words ');
  });

  test('comes on a terminal after a pause, as it looks then; a value that its other half completes is hidden from there on', () => {
    const mask = createTextMask([all], 'pty');
    expect(shown(mask, '4539 6281')).toBe('');
    expect(mask.waiting).toBe(true);
    expect(idle(mask)).toBe('4539 6281');
    expect(mask.waiting).toBe(false);
    expect(idle(mask)).toBe('');
    expect(shown(mask, ' 7305 6482')).toBe('');
    expect(idle(mask)).toBe('*'.repeat(10));
    expect(shown(mask, '\r\n')).toBe('\r\n');
  });

  test('does not come without a terminal', () => {
    const mask = createTextMask([all], 'exec');
    shown(mask, '4539');
    expect(idle(mask)).toBe('');
    expect(Buffer.from(mask.end()).toString()).toBe('4539');
  });

  test('is bounded: by the line\'s segments, and by the control sequences of one line', () => {
    const mask = createTextMask([all], 'exec');
    let out = 0;
    for (let n = 0; n < 100; n += 1) out += mask.push(Buffer.from('1 2 3 4 5 6 7 '.repeat(100))).length;
    expect(140_000 - out).toBeLessThanOrEqual(2048 + 256);
    const colours = createTextMask([all], 'exec');
    let seen = colours.push(Buffer.from('4539')).length;
    for (let n = 0; n < 20_000; n += 1) seen += colours.push(Buffer.from('\x1b[31m')).length;
    expect(100_004 - seen).toBeLessThanOrEqual(65_536 + 16);
  });
});

describe('a stream without a match', () => {
  test('comes out as it went in', () => {
    const plain = fc.array(fc.oneof(fc.constantFrom('\x1b[31m', '\x1b]0;t\x07', '\n', '\r\n', 'é', '密', '\u009b1m', '\x1bP1\x1b\\', '\x1b', '\t', '\x08', '\x1b(B', '\x18', '\u0090x\u009c'), fc.stringMatching(/^[ -/:-~]{0,10}$/)), { maxLength: 60 });
    fc.assert(fc.property(plain, fc.array(fc.nat(), { maxLength: 6 }), (words, places) => {
      const bytes = Buffer.from(words.join(''));
      expect(run(createTextMask([rule(['payment-card', 'us-ssn', 'iban', 'ip-address', 'phone'])], 'exec'), cut(bytes, places))).toBe(bytes.toString());
    }), { numRuns: 500 });
  });

  test('or with rules for columns alone passes untouched', () => {
    const mask = createTextMask([rule([])], 'exec');
    expect(run(mask, [Buffer.from(`${card}\0`)])).toBe(`${card}\0`);
    expect([mask.hits, mask.problem, mask.waiting, mask.idle().length]).toEqual([0, null, false, 0]);
    expect(masksText([rule([])])).toBe(false);
    expect(masksText([rule([]), rule(['secret'])])).toBe(true);
  });

  test('loses a control sequence over 4 KiB', () => {
    expect(masked(`a\x1b]0;${'x'.repeat(5000)}\x07b\n`)).toBe('ab\n');
  });
});

test('a canary value is in no output, wherever it stands and however it is cut', () => {
  const canaries = [card, '536-22-7841', 'asmith@bank.example', 'GB29NWBK60161331926819', 'AKIAIOSFODNN7EXAMPLZ'];
  const noise = fc.oneof(fc.constantFrom(' ', '\n', '\t', '"', ',', ' = ', '\x1b[1;31m', 'é ', ' 12 ', ': '), fc.stringMatching(/^ [ -~]{0,40} $/));
  fc.assert(fc.property(fc.array(noise, { maxLength: 30 }), fc.constantFrom(...canaries), fc.array(noise, { maxLength: 30 }), fc.array(fc.nat(), { maxLength: 10 }), (before, canary, after, places) => {
    const bytes = Buffer.from(`${before.join('')} ${canary} ${after.join('')}`);
    expect(run(createTextMask([all], 'exec'), cut(bytes, places))).not.toContain(canary);
  }), { numRuns: 1000 });
});

test('time does not grow faster than the stream', () => {
  for (const piece of ['7', '4539 6281 ', 'a@', 'token=', '-----BEGIN ', 'eyJ', '\x1b[', 'aB3dE5gH7jK9mN1pQ3sT5vW7xY9z', '1.']) {
    const time = (bytes: Buffer): number => {
      const mask = createTextMask([all], 'exec');
      const started = performance.now();
      for (let at = 0; at < bytes.length; at += 32_768) mask.push(bytes.subarray(at, at + 32_768));
      mask.end();
      return performance.now() - started;
    };
    const bytes = Buffer.from(piece.repeat(Math.ceil(1_048_576 / piece.length)));
    time(bytes.subarray(0, 65_536));
    const small = Math.min(time(bytes.subarray(0, 262_144)), time(bytes.subarray(0, 262_144)));
    expect(time(bytes)).toBeLessThan(small * 4 * 3 + 200);
  }
});
