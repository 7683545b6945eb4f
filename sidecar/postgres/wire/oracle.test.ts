import { EventEmitter } from 'node:events';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parse, serialize } from 'pg-protocol';
import { readBind } from './bind.ts';
import { encodeError } from './error-response.ts';
import * as write from './frame-writer.ts';
import { readExecute, readNamed } from './named.ts';
import { readParse } from './parse.ts';

// pg-protocol is somebody else's reading of the same protocol. What one side writes, the other has to read.

/** What pg-protocol reads, all chunks arriving one after the other. */
function readByOracle(chunks: readonly Buffer[]): readonly Readonly<Record<string, unknown>>[] {
  const stream = new EventEmitter();
  const messages: Readonly<Record<string, unknown>>[] = [];
  void parse(stream as unknown as NodeJS.ReadableStream, (message) => void messages.push({ ...(message as object) }));
  for (const chunk of chunks) stream.emit('data', chunk);
  return messages;
}

const text = fc.string({ maxLength: 60, unit: 'grapheme' }).filter((value) => !value.includes('\0') && value.isWellFormed());

describe('messages to the client, as pg-protocol reads them', () => {
  test('name their type and carry their fields', () => {
    const key = Buffer.from([0, 0, 1, 2]);
    const sent = [write.authenticationOk(), write.authenticationCleartextPassword(), write.parameterStatus('TimeZone', 'UTC'), write.backendKeyData(7, key), write.commandComplete('SELECT 3'), write.readyForQuery('T')];
    expect(readByOracle(sent)).toMatchObject([
      { name: 'authenticationOk' }, { name: 'authenticationCleartextPassword' }, { name: 'parameterStatus', parameterName: 'TimeZone', parameterValue: 'UTC' },
      { name: 'backendKeyData', processID: 7, secretKey: 258 }, { name: 'commandComplete', text: 'SELECT 3' }, { name: 'readyForQuery', status: 'T' },
    ]);
  });

  test('stand in sync however they are split', () => {
    fc.assert(fc.property(fc.array(text, { minLength: 1, maxLength: 6 }), fc.nat(), (tags, cut) => {
      const bytes = Buffer.concat(tags.map((tag) => write.commandComplete(tag)));
      const at = cut % (bytes.length + 1);
      expect(readByOracle([bytes.subarray(0, at), bytes.subarray(at)].filter((part) => part.length > 0)).map((message) => message['text'])).toEqual(tags);
    }));
  });

  test('are errors with code, detail and hint', () => {
    const bytes = encodeError({ severity: 'ERROR', sqlstate: '42501', message: 'statement denied [STATEMENT_DENIED]', detail: 'policy "p"', hint: 'ask' });
    expect(readByOracle([bytes])).toMatchObject([{ name: 'error', severity: 'ERROR', code: '42501', detail: 'policy "p"', hint: 'ask' }]);
  });
});

describe('messages of clients, as pg-protocol writes them', () => {
  test('Parse is read with name, text and types', () => {
    fc.assert(fc.property(text, text, fc.array(fc.integer({ min: 0, max: 0x7fffffff }), { maxLength: 5 }), (name, sql, types) => {
      const bytes = Buffer.from(serialize.parse({ name, text: sql, types }));
      expect(readParse(bytes, 0, bytes.length)).toEqual({ name, text: Buffer.from(sql), parameterTypes: types });
    }));
  });

  test('Bind is read with portal, statement, NULLs and binary values', () => {
    const value = fc.oneof(fc.constant(null), text, fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)));
    fc.assert(fc.property(text, text, fc.array(value, { maxLength: 5 }), fc.boolean(), (portal, statement, values, binary) => {
      const bytes = Buffer.from(serialize.bind({ portal, statement, values, binary }));
      expect(readBind(bytes, 0, bytes.length)).toEqual({
        portal, statement, resultFormats: [binary ? 1 : 0],
        parameters: values.map((one) => ({ format: Buffer.isBuffer(one) ? 1 : 0, value: one === null ? null : Buffer.from(one) })),
      });
    }));
  });

  test('Describe, Close and Execute are read with their names', () => {
    fc.assert(fc.property(text, fc.constantFrom('S' as const, 'P' as const), fc.nat({ max: 0x7fffffff }), (name, kind, rows) => {
      for (const bytes of [serialize.describe({ type: kind, name }), serialize.close({ type: kind, name })].map((one) => Buffer.from(one))) expect(readNamed(bytes, 0, bytes.length)).toEqual({ kind: kind === 'S' ? 'statement' : 'portal', name });
      const execute = Buffer.from(serialize.execute({ portal: name, rows }));
      expect(readExecute(execute, 0, execute.length)).toEqual({ portal: name, maxRows: rows });
    }));
  });

  test('are what we write too', () => {
    expect(write.query('select 1').equals(serialize.query('select 1'))).toBe(true);
    expect(write.parse('a', 'select $1', [23]).equals(serialize.parse({ name: 'a', text: 'select $1', types: [23] }))).toBe(true);
    expect(write.sync().equals(serialize.sync())).toBe(true);
    expect(write.flush().equals(serialize.flush())).toBe(true);
    expect(write.terminate().equals(serialize.end())).toBe(true);
    expect(write.execute('', 5).equals(serialize.execute({ portal: '', rows: 5 }))).toBe(true);
  });
});
