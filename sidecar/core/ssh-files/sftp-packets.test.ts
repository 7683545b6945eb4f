import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readFields, textOf, writePacket, type Field } from './packet-fields.ts';
import { readSftpReply, writeInit, writePathQuestion, writeStatus, writeVersion } from './sftp-reply.ts';
import { readSftpRequest } from './sftp-request.ts';

const u32 = (uint32: number): Field => ({ uint32 });
const str = (string: string | Uint8Array): Field => ({ string });
const u64 = (value: number): readonly Field[] => [u32(Math.floor(value / 2 ** 32)), u32(value % 2 ** 32)];
const noAttributes = u32(0);
const none = { size: null, owner: null, mode: null, times: null };

describe('requests', () => {
  const cases: readonly (readonly [string, Uint8Array, unknown])[] = [
    ['INIT', writePacket(1, [u32(6), str('ext'), str('1')]), { kind: 'INIT', version: 6 }],
    ['OPEN', writePacket(3, [u32(1), str('/a'), u32(26), noAttributes]), { kind: 'OPEN', id: 1, paths: ['/a'], flags: 26, attributes: none }],
    ['CLOSE', writePacket(4, [u32(1), str(Uint8Array.of(0, 255))]), { kind: 'CLOSE', id: 1, handle: '\u0000\u00ff' }],
    ['READ', writePacket(5, [u32(1), str('h'), ...u64(2 ** 33), u32(9)]), { kind: 'READ', id: 1, handle: 'h', offset: 2 ** 33, length: 9 }],
    ['WRITE', writePacket(6, [u32(1), str('h'), ...u64(3), str('xyz')]), { kind: 'WRITE', id: 1, handle: 'h', offset: 3, content: Buffer.from('xyz') }],
    ['LSTAT', writePacket(7, [u32(1), str('/a')]), { kind: 'LSTAT', id: 1, paths: ['/a'] }],
    ['FSTAT', writePacket(8, [u32(1), str('h')]), { kind: 'FSTAT', id: 1, handle: 'h' }],
    ['SETSTAT', writePacket(9, [u32(1), str('/a'), u32(15), ...u64(7), u32(1), u32(2), u32(0o644), u32(3), u32(4)]), {
      kind: 'SETSTAT', id: 1, paths: ['/a'], attributes: { size: 7, owner: { uid: 1, gid: 2 }, mode: 0o644, times: { access: 3, modification: 4 } },
    }],
    ['FSETSTAT', writePacket(10, [u32(1), str('h'), u32(0x8000_0000), u32(1), str('name'), str('value')]), { kind: 'FSETSTAT', id: 1, handle: 'h', attributes: none }],
    ['OPENDIR', writePacket(11, [u32(1), str('/a')]), { kind: 'OPENDIR', id: 1, paths: ['/a'] }],
    ['READDIR', writePacket(12, [u32(1), str('h')]), { kind: 'READDIR', id: 1, handle: 'h' }],
    ['REMOVE', writePacket(13, [u32(1), str('/a')]), { kind: 'REMOVE', id: 1, paths: ['/a'] }],
    ['MKDIR', writePacket(14, [u32(1), str('/a'), noAttributes]), { kind: 'MKDIR', id: 1, paths: ['/a'], attributes: none }],
    ['RMDIR', writePacket(15, [u32(1), str('/a')]), { kind: 'RMDIR', id: 1, paths: ['/a'] }],
    ['REALPATH', writePacket(16, [u32(1), str('.')]), { kind: 'REALPATH', id: 1, paths: ['.'] }],
    ['STAT', writePacket(17, [u32(1), str('/a')]), { kind: 'STAT', id: 1, paths: ['/a'] }],
    ['RENAME', writePacket(18, [u32(1), str('/a'), str('/b')]), { kind: 'RENAME', id: 1, paths: ['/a', '/b'] }],
    ['READLINK', writePacket(19, [u32(1), str('/a')]), { kind: 'READLINK', id: 1, paths: ['/a'] }],
    ['SYMLINK', writePacket(20, [u32(1), str('/a'), str('/b')]), { kind: 'SYMLINK', id: 1, paths: ['/a', '/b'] }],
    ['posix-rename', writePacket(200, [u32(1), str('posix-rename@openssh.com'), str('/a'), str('/b')]), { kind: 'POSIX_RENAME', id: 1, paths: ['/a', '/b'] }],
    ['hardlink', writePacket(200, [u32(1), str('hardlink@openssh.com'), str('/a'), str('/b')]), { kind: 'HARDLINK', id: 1, paths: ['/a', '/b'] }],
    ['copy-data', writePacket(200, [u32(1), str('copy-data'), str('h'), ...u64(1), ...u64(2), str('k'), ...u64(3)]), { kind: 'COPY_DATA', id: 1, from: 'h', fromOffset: 1, length: 2, to: 'k', toOffset: 3 }],
    ['statvfs', writePacket(200, [u32(1), str('statvfs@openssh.com'), str('/a')]), { kind: 'STATVFS', id: 1, paths: ['/a'] }],
    ['fstatvfs', writePacket(200, [u32(1), str('fstatvfs@openssh.com'), str('h')]), { kind: 'FSTATVFS', id: 1, handle: 'h' }],
    ['fsync', writePacket(200, [u32(1), str('fsync@openssh.com'), str('h')]), { kind: 'FSYNC', id: 1, handle: 'h' }],
    ['lsetstat', writePacket(200, [u32(1), str('lsetstat@openssh.com'), str('/a'), noAttributes]), { kind: 'LSETSTAT', id: 1, paths: ['/a'], attributes: none }],
    ['limits', writePacket(200, [u32(1), str('limits@openssh.com')]), { kind: 'LIMITS', id: 1 }],
    ['expand-path', writePacket(200, [u32(1), str('expand-path@openssh.com'), str('~/a')]), { kind: 'EXPAND_PATH', id: 1, paths: ['~/a'] }],
    ['another extension', writePacket(200, [u32(1), str('home-directory'), str('ann')]), { kind: 'EXTENDED', id: 1, name: 'home-directory' }],
    ['an extension without a name', writePacket(200, [u32(1), str(Uint8Array.of(255))]), { kind: 'EXTENDED', id: 1, name: '' }],
    ['a path that is not UTF-8', writePacket(17, [u32(1), str(Uint8Array.of(47, 255))]), { kind: 'STAT', id: 1, paths: [null] }],
    ['a path with NUL', writePacket(17, [u32(1), str('/a\0b')]), { kind: 'STAT', id: 1, paths: [null] }],
  ];

  test.each(cases)('%s is read', (_name, bytes, request) => {
    const read = readSftpRequest(bytes);
    expect(read).toEqual({ outcome: 'request', request: (request as { content?: unknown }).content === undefined ? request : expect.objectContaining({ kind: 'WRITE', offset: 3 }) });
  });

  test('each request that is cut short, or longer than its fields, is malformed', () => {
    for (const [name, bytes] of cases) {
      if (name === 'INIT' || name.includes('extension')) continue;
      for (let end = 5; end < bytes.length; end++) expect([name, end, readSftpRequest(bytes.subarray(0, end)).outcome]).toEqual([name, end, name.includes('-') || ['hardlink', 'statvfs', 'fstatvfs', 'fsync', 'lsetstat', 'limits'].includes(name) ? expect.stringMatching(/malformed|request/) : 'malformed']);
      expect([name, readSftpRequest(Buffer.concat([bytes, Uint8Array.of(0)])).outcome]).toEqual([name, 'malformed']);
    }
  });

  test.each<readonly [string, Uint8Array]>([
    ['an unknown type', writePacket(99, [u32(1)])],
    ['a path over 4 KiB', writePacket(17, [u32(1), str('/'.repeat(4097))])],
    ['a handle over 256 bytes', writePacket(4, [u32(1), str('h'.repeat(257))])],
    ['an unknown attribute', writePacket(14, [u32(1), str('/a'), u32(16)])],
    ['too many extended attributes', writePacket(14, [u32(1), str('/a'), u32(0x8000_0000), u32(17)])],
  ])('%s is malformed', (_name, bytes) => expect(readSftpRequest(bytes).outcome).toBe('malformed'));

  test('arbitrary bytes are read or malformed, never a throw', () => {
    fc.assert(fc.property(fc.uint8Array({ minLength: 5, maxLength: 200 }), (bytes) => {
      expect(['request', 'malformed']).toContain(readSftpRequest(bytes).outcome);
      expect(['reply', 'malformed']).toContain(readSftpReply(bytes).outcome);
    }), { numRuns: 2_000 });
  });

  test('a byte changed anywhere in a request never throws', () => {
    fc.assert(fc.property(fc.constantFrom(...cases.map(([, bytes]) => bytes)), fc.nat(), fc.nat(255), (bytes, at, value) => {
      const changed = Uint8Array.from(bytes);
      changed[4 + (at % (bytes.length - 4))] = value;
      expect(['request', 'malformed']).toContain(readSftpRequest(changed).outcome);
    }), { numRuns: 1_000 });
  });
});

describe('replies', () => {
  test.each<readonly [string, Uint8Array, unknown]>([
    ['VERSION', writePacket(2, [u32(3), str('a@b'), str('1')]), { kind: 'VERSION', version: 3, extensions: [{ name: 'a@b', value: expect.anything() }] }],
    ['STATUS', writeStatus(4, 3, 'no'), { kind: 'STATUS', id: 4, code: 3 }],
    ['STATUS without a text', writePacket(101, [u32(4), u32(0)]), { kind: 'STATUS', id: 4, code: 0 }],
    ['HANDLE', writePacket(102, [u32(4), str('h')]), { kind: 'HANDLE', id: 4, handle: 'h' }],
    ['DATA', writePacket(103, [u32(4), str('abc')]), { kind: 'DATA', id: 4, content: expect.anything() }],
    ['NAME', writePacket(104, [u32(4), u32(1), str('/a'), str('-'), noAttributes]), { kind: 'NAME', id: 4, count: 1, first: '/a' }],
    ['an empty NAME', writePacket(104, [u32(4), u32(0)]), { kind: 'NAME', id: 4, count: 0, first: null }],
    ['ATTRS of a directory', writePacket(105, [u32(4), u32(4), u32(0o040755)]), { kind: 'ATTRS', id: 4, isDirectory: true }],
    ['ATTRS without a mode', writePacket(105, [u32(4), noAttributes]), { kind: 'ATTRS', id: 4, isDirectory: false }],
    ['EXTENDED_REPLY', writePacket(201, [u32(4), u32(9)]), { kind: 'EXTENDED_REPLY', id: 4 }],
  ])('%s is read', (_name, bytes, reply) => expect(readSftpReply(bytes)).toEqual({ outcome: 'reply', reply }));

  test.each<readonly [string, Uint8Array]>([
    ['an unknown type', writePacket(3, [u32(4)])],
    ['an empty handle', writePacket(102, [u32(4), str('')])],
    ['a long handle', writePacket(102, [u32(4), str('h'.repeat(257))])],
    ['bytes after the content', writePacket(103, [u32(4), str('a'), u32(0)])],
    ['more extensions than any server has', writePacket(2, [u32(3), ...Array.from({ length: 130 }, () => str('x'))])],
    ['a cut STATUS', writePacket(101, [u32(4)])],
  ])('%s is malformed', (_name, bytes) => expect(readSftpReply(bytes).outcome).toBe('malformed'));

  test('the client sees only extensions that pass', () => {
    const bytes = writeVersion([{ name: 'posix-rename@openssh.com', value: Buffer.from('1') }, { name: 'users-groups-by-id@openssh.com', value: Buffer.from('1') }]);
    expect(readSftpReply(bytes)).toEqual({ outcome: 'reply', reply: { kind: 'VERSION', version: 3, extensions: [{ name: 'posix-rename@openssh.com', value: expect.anything() }] } });
  });

  test('questions and the greeting are requests of version 3', () => {
    expect(readSftpRequest(writeInit())).toEqual({ outcome: 'request', request: { kind: 'INIT', version: 3 } });
    for (const kind of ['REALPATH', 'LSTAT', 'STAT'] as const) expect(readSftpRequest(writePathQuestion(kind, 7, '/ü'))).toEqual({ outcome: 'request', request: { kind, id: 7, paths: ['/ü'] } });
  });
});

describe('fields', () => {
  test('bytes, numbers and texts are read back as they were written', () => {
    const reader = readFields(writePacket(9, [{ byte: 5 }, u32(6), str('text')]), 4);
    expect([reader.byte(), reader.byte(), reader.uint32(), reader.text(), reader.left()]).toEqual([9, 5, 6, 'text', 0]);
    expect(() => reader.byte()).toThrow('malformed packet: byte');
  });

  test('a text is UTF-8 without NUL', () => {
    expect([textOf(Buffer.from('ü')), textOf(Uint8Array.of(0xc3)), textOf(Uint8Array.of(97, 0))]).toEqual(['ü', null, null]);
  });
});
