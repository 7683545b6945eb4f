import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createCrlf } from './crlf.ts';

test('every bare LF becomes CRLF, the same however the stream is cut', () => {
  fc.assert(fc.property(fc.array(fc.constantFrom('a', '\n', '\r'), { maxLength: 40 }), fc.array(fc.nat(40), { maxLength: 5 }), (letters, cuts) => {
    const text = letters.join('');
    const crlf = createCrlf();
    let out = '';
    let at = 0;
    for (const cut of [...cuts.filter((place) => place < text.length).sort((a, b) => a - b), text.length]) {
      out += Buffer.from(crlf(Buffer.from(text.slice(at, cut)))).toString();
      at = cut;
    }
    expect(out).toBe(text.replaceAll(/(?<!\r)\n/g, '\r\n'));
  }));
});
