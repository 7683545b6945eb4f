import { describe, expect, test } from '@jest/globals';
import { createLog, redactForLog } from './log.ts';

const token = `eyJhbGciOiJFUzI1NiJ9.${'x'.repeat(40)}.${'y'.repeat(40)}`;

describe('a log line', () => {
  test('is one JSON object with time, level and message first', () => {
    const { lines, log } = aLog();
    log.info('session opened', { sessionId: 's1', level: 'debug' });
    expect(lines).toEqual(['{"time":"2023-11-14T22:13:20.000Z","level":"info","message":"session opened","sessionId":"s1"}\n']);
  });

  test('below the level is not written', () => {
    const { lines, log } = aLog();
    log.debug('detail');
    expect(lines).toEqual([]);
  });

  test('is dropped and counted while the reader does not read, and the next one says how many', () => {
    const { lines, log, stream } = aLog();
    stream.writableLength = 101;
    for (let index = 0; index < 1_000; index++) log.info('busy');
    stream.writableLength = 0;
    log.info('back');
    log.info('calm');
    expect(lines.map((line) => (JSON.parse(line) as { droppedLines?: number }).droppedLines)).toEqual([1_000, undefined]);
    expect(log.dropped()).toBe(1_000);
  });

  test('is written even when a value throws on reading', () => {
    const { lines, log } = aLog();
    log.error('odd', { get value(): never { throw new Error('no'); } });
    expect(lines[0]).toContain('"unloggable":true');
  });
});

describe('a secret does not reach the log (M9)', () => {
  test.each([
    ['as a field', { token, password: 'canary', clientSecret: 'canary', access_token: 'canary', Authorization: 'canary', cookie: 'canary', private_key: 'canary' }],
    ['deep inside', { request: { headers: [{ authorization: 'canary' }] } }],
    ['as bytes', { body: Buffer.from('canary'), more: new TextEncoder().encode('canary') }],
    ['in the message of an error and its cause', { error: new Error(`bad ${token}`, { cause: new Error(`Bearer ${'canary'.repeat(3)}`) }) }],
    ['in a text', { note: `got ${token} from peer`, header: 'Basic Y2FuYXJ5OmNhbmFyeQ==' }],
  ])('%s', (_name, fields) => {
    const text = JSON.stringify(redactForLog(fields));
    expect(text).not.toMatch(/canary|Y2FuYXJ5|xxxxx|yyyyy|99,97,110/);
  });

  test('while names of secrets and ids of tokens do', () => {
    expect(redactForLog({ secretName: 'orders', tokenId: 'jti-1', tokens: 3 })).toEqual({ secretName: 'orders', tokenId: 'jti-1' });
  });
});

test('values are bounded: long texts, deep and wide objects, cycles', () => {
  const cycle: Record<string, unknown> = { name: 'x' };
  cycle['self'] = cycle;
  const text = JSON.stringify(redactForLog({ long: 'a'.repeat(100_000), wide: Array.from({ length: 10_000 }, () => 1), cycle, big: 12n, when: new Date(0), missing: undefined }));
  expect(text.length).toBeLessThan(3_000);
  expect(JSON.parse(text)).toMatchObject({ big: '12', when: '1970-01-01T00:00:00.000Z' });
});

function aLog() {
  const lines: string[] = [];
  const stream = { writableLength: 0, write: (text: string) => lines.push(text) };
  return { lines, stream, log: createLog({ level: 'info', stream, now: () => 1_700_000_000_000, maxWaitingBytes: 100 }) };
}
