import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { clientLimits } from './client-messages.ts';
import { serverLimits } from './server-messages.ts';
import { type FrameLimit, FrameReader } from './wire/frame-reader.ts';

// PostgreSQL 18, "Message Formats": every message with a type byte. `p` is one letter for PasswordMessage, SASLInitialResponse, SASLResponse and GSSResponse.
const protocol = {
  client: ['B', 'C', 'D', 'E', 'F', 'H', 'P', 'Q', 'S', 'X', 'c', 'd', 'f', 'p'],
  target: ['1', '2', '3', 'A', 'C', 'D', 'E', 'G', 'H', 'I', 'K', 'N', 'R', 'S', 'T', 'V', 'W', 'Z', 'c', 'd', 'n', 's', 't', 'v'],
};
const read: Readonly<Record<'client' | 'target', Readonly<Record<string, FrameLimit>>>> = { client: clientLimits({ statementBytes: 1_000, bindBytes: 1_000 }), target: serverLimits };
const documented = tablesOf(readFileSync(new URL('../../docs/postgres.md', import.meta.url), 'utf8'));

describe.each(['client', 'target'] as const)('messages of the %s', (side) => {
  test('docs/postgres.md names every one of the protocol, once', () => {
    expect(documented[side].map(({ type }) => type).toSorted()).toEqual(protocol[side]);
  });

  test('what is documented to end the session is not read, everything else is', () => {
    const refused = documented[side].filter(({ becomes }) => /later it ends the session/.test(becomes)).map(({ type }) => type);
    expect(protocol[side].filter((type) => !(type in read[side])).toSorted()).toEqual(refused.toSorted());
    expect(Object.keys(read[side]).filter((type) => !protocol[side].includes(type))).toEqual([]);
  });

  test('any other type byte is refused before its length is looked at', () => {
    for (let code = 0; code < 256; code++) {
      if (String.fromCharCode(code) in read[side]) continue;
      const reader = new FrameReader(read[side]);
      reader.feed(Buffer.from([code, 0xff, 0xff, 0xff, 0xff]));
      expect(() => reader.next()).toThrow('PROTOCOL_VIOLATION');
    }
  });
});

function tablesOf(text: string): Readonly<Record<'client' | 'target', readonly { readonly type: string; readonly becomes: string }[]>> {
  const table = (heading: string): readonly { readonly type: string; readonly becomes: string }[] => {
    const section = text.split(`## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
    return [...section.matchAll(/^\| `(.)` \| [^|]+ \| ([^|]+) \|$/gm)].map(([, type = '', becomes = '']) => ({ type, becomes }));
  };
  return { client: table('Messages of the client'), target: table('Messages of the target') };
}
