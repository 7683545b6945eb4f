import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createHash, createHmac } from 'node:crypto';
import { agentFailure, isSignature, readAgentRequest } from './agent-packets.ts';
import { createContentDigest } from './content-digest.ts';
import { destinationOf, socketOf } from './destination.ts';
import { writePacket } from './packet-fields.ts';
import { besidePath, isAtOrAbove, joinPath, normalPath, splitPath } from './paths.ts';
import { type PathAnswer, resolvePath } from './resolve-path.ts';
import { demandOf, describeRequest, type SftpDemand } from './sftp-demand.ts';
import { openFile, passesLimit } from './sftp-handles.ts';
import type { SftpRequest } from './sftp-request.ts';

const key = Buffer.from('key');
const none = { size: null, owner: null, mode: null, times: null };

describe('the digest of content', () => {
  test('content from 256 bytes on has its SHA-256, shorter content a keyed one', () => {
    const digest = createContentDigest(key);
    digest.append(new Uint8Array(0));
    digest.append(Buffer.alloc(200, 1));
    expect(digest.value()).toBe(`hmac-sha256:${createHmac('sha256', key).update(Buffer.alloc(200, 1)).digest('hex')}`);
    digest.append(Buffer.alloc(200, 1));
    expect([digest.value(), digest.bytes()]).toEqual([`sha256:${createHash('sha256').update(Buffer.alloc(400, 1)).digest('hex')}`, 400]);
  });

  test('what is not read in order is partial, and counted all the same', () => {
    const digest = createContentDigest(key);
    digest.add(0, Buffer.from('ab'));
    digest.add(4, Buffer.from('ef'));
    digest.add(2, Buffer.from('cd'));
    digest.append(Buffer.from('x'));
    expect([digest.value(), digest.bytes()]).toEqual(['partial', 7]);
  });
});

describe('paths', () => {
  test.each([['/a/b', { directory: '/a', name: 'b' }], ['/a', { directory: '/', name: 'a' }], ['a', { directory: '.', name: 'a' }], ['/', null], ['a/', null], ['..', null], ['/a/.', null]])('%s is taken apart', (path, split) => expect(splitPath(path)).toEqual(split));

  test('a relative path beside another lies in its directory', () => {
    expect([besidePath('x', '/a/b'), besidePath('/x', '/a/b'), besidePath('x', '/'), joinPath('/', 'x')]).toEqual(['/a/x', '/x', '/x', '/x']);
  });

  test('an absolute path is normal without dots and doubled slashes', () => {
    expect([normalPath('//a/./b/../c/'), normalPath('/..'), normalPath('a')]).toEqual(['/a/c', '/', null]);
  });

  test('a directory is at or above what it holds', () => {
    expect([isAtOrAbove('/a', '/a'), isAtOrAbove('/a', '/a/b'), isAtOrAbove('/', '/a'), isAtOrAbove('/a', '/ab')]).toEqual([true, true, true, false]);
  });
});

describe('where a path leads', () => {
  const real: Readonly<Record<string, PathAnswer | undefined>> = { '/d': { path: '/real' }, '/d/file': { path: '/real/file' }, '.': { path: '/home/u' }, '/odd': { path: 'relative' }, '/d/dots': { path: '/a/../b' } };
  const ask = { realpath: (path: string) => Promise.resolve(real[path] ?? { status: 2 }), exists: (path: string) => Promise.resolve(path === '/d/dangling') };
  test.each<readonly [string, boolean, unknown]>([
    ['/d/file', true, { outcome: 'resolved', path: '/real/file' }],
    ['/d/file', false, { outcome: 'resolved', path: '/real/file' }],
    ['/d/new', true, { outcome: 'resolved', path: '/real/new' }],
    ['/d/dangling', true, { outcome: 'unresolved', path: '/d/dangling', status: 2 }],
    ['/none/x', true, { outcome: 'unresolved', path: '/none/x', status: 2 }],
    ['/none/x', false, { outcome: 'unresolved', path: '/none/x', status: 2 }],
    ['/none/', true, { outcome: 'unresolved', path: '/none', status: 2 }],
    ['/d/new//', true, { outcome: 'resolved', path: '/real/new' }],
    ['/d/dangling/', true, { outcome: 'unresolved', path: '/d/dangling', status: 2 }],
    ['new', true, { outcome: 'resolved', path: '/home/u/new' }],
    ['', true, { outcome: 'resolved', path: '/home/u' }],
    ['/odd', true, { outcome: 'unresolved', path: '/odd', status: 4 }],
    ['/d/dots', true, { outcome: 'unresolved', path: '/d/dots', status: 4 }],
    ['gone/x', true, { outcome: 'unresolved', path: 'gone/x', status: 2 }],
  ])('%s, followed: %s', async (path, follow, resolved) => expect(await resolvePath(path, follow, ask)).toEqual(resolved));
});

describe('what a request asks for', () => {
  const open = (flags: number): SftpRequest => ({ kind: 'OPEN', id: 1, paths: ['/a'], flags, attributes: none });
  const operations = (demand: SftpDemand): unknown => (demand.kind === 'paths' ? demand.paths.map(({ path, operations: wanted, follow, besidePath: beside }) => [path, wanted.join('+'), follow ? 'through' : 'entry', ...(beside === undefined ? [] : [beside])].join(' ')) : demand.kind);
  const one = ['/a'] as const;
  const two = ['/a', '/b'] as const;
  test.each<readonly [string, SftpRequest, unknown]>([
    ['reading', open(1), ['/a Read through']], ['no flag reads', open(0), ['/a Read through']], ['writing', open(2), ['/a Write through']], ['both', open(3), ['/a Read+Write through']],
    ['creating', open(8), ['/a Write through']], ['truncating while reading', open(17), ['/a Read+Write through']], ['appending', open(4), ['/a Write through']], ['an unknown flag', open(64), 'unsupported'],
    ['the home', { kind: 'REALPATH', id: 1, paths: ['.'] }, 'none'], ['another path', { kind: 'REALPATH', id: 1, paths: one }, ['/a List through']],
    ['the tilde', { kind: 'EXPAND_PATH', id: 1, paths: ['~'] }, 'none'], ['below the tilde', { kind: 'EXPAND_PATH', id: 1, paths: ['~/a'] }, ['~/a List through']],
    ['stat', { kind: 'STAT', id: 1, paths: one }, ['/a List through']], ['statvfs', { kind: 'STATVFS', id: 1, paths: one }, ['/a List through']], ['opendir', { kind: 'OPENDIR', id: 1, paths: one }, ['/a List through']],
    ['lstat', { kind: 'LSTAT', id: 1, paths: one }, ['/a List entry']], ['readlink', { kind: 'READLINK', id: 1, paths: one }, ['/a List entry']],
    ['setstat', { kind: 'SETSTAT', id: 1, paths: one, attributes: none }, ['/a Write through']], ['lsetstat', { kind: 'LSETSTAT', id: 1, paths: one, attributes: none }, ['/a Write entry']],
    ['remove', { kind: 'REMOVE', id: 1, paths: one }, ['/a Write entry']], ['rmdir', { kind: 'RMDIR', id: 1, paths: one }, ['/a Write entry']], ['mkdir', { kind: 'MKDIR', id: 1, paths: one, attributes: none }, ['/a Write entry']],
    ['rename', { kind: 'RENAME', id: 1, paths: two }, ['/a Write entry', '/b Write entry']], ['posix-rename', { kind: 'POSIX_RENAME', id: 1, paths: two }, ['/a Write entry', '/b Write entry']],
    ['hardlink', { kind: 'HARDLINK', id: 1, paths: two }, ['/a Write through', '/a Write entry', '/b Write entry']],
    ['limits', { kind: 'LIMITS', id: 1 }, 'none'], ['init', { kind: 'INIT', version: 3 }, 'none'], ['an extension', { kind: 'EXTENDED', id: 1, name: 'x' }, 'unsupported'],
    ['close', { kind: 'CLOSE', id: 1, handle: 'h' }, 'handle'],
  ])('%s', (_name, request, expected) => expect(operations(demandOf(request, true))).toEqual(expected));

  test('SYMLINK is read in the order of the target, and in both where that is not known', () => {
    const request: SftpRequest = { kind: 'SYMLINK', id: 1, paths: ['to', '/d/link'] };
    expect(operations(demandOf(request, true))).toEqual(['/d/link Write entry', 'to Write through /d/link']);
    expect(operations(demandOf(request, false))).toEqual(['/d/link Write entry', 'to Write through /d/link', 'to Write entry', '/d/link Write through to']);
  });

  test.each<readonly [SftpRequest, unknown]>([
    [{ kind: 'READ', id: 1, handle: 'h', offset: 0, length: 1 }, [{ handle: 'h', use: 'read' }]],
    [{ kind: 'WRITE', id: 1, handle: 'h', offset: 0, content: new Uint8Array(1) }, [{ handle: 'h', use: 'write' }]],
    [{ kind: 'READDIR', id: 1, handle: 'h' }, [{ handle: 'h', use: 'list' }]],
    [{ kind: 'FSYNC', id: 1, handle: 'h' }, [{ handle: 'h', use: 'any' }]],
    [{ kind: 'FSTAT', id: 1, handle: 'h' }, [{ handle: 'h', use: 'any' }]],
    [{ kind: 'COPY_DATA', id: 1, from: 'h', fromOffset: 0, length: 1, to: 'k', toOffset: 0 }, [{ handle: 'h', use: 'read' }, { handle: 'k', use: 'write' }]],
    [{ kind: 'FSETSTAT', id: 1, handle: 'h', attributes: none }, [{ handle: 'h', use: 'any' }]],
  ])('a handle must be open for what is done with it', (request, handles) => expect(demandOf(request, true)).toMatchObject({ kind: 'handle', handles, writes: request.kind === 'FSETSTAT' }));

  test('the line that an approval binds names operation, paths, flags and every attribute', () => {
    expect(describeRequest({ ...open(26), attributes: { size: 5, owner: { uid: 1, gid: 2 }, mode: 0o104755, times: { access: 1, modification: 2 } } } as SftpRequest, ['/real/a'])).toBe('sftp open "/real/a" asked="/a" flags=write,create,truncate size=5 owner=1:2 mode=4755 mtime=2');
    expect([describeRequest(open(0), ['/a']), describeRequest({ kind: 'POSIX_RENAME', id: 1, paths: two }, two), describeRequest({ kind: 'CLOSE', id: 1, handle: 'h' }, [])]).toEqual(['sftp open "/a" flags=none', 'sftp posix-rename "/a" "/b"', 'sftp close']);
  });
});

test('a size limit counts what was moved and where it would end', () => {
  const limited = openFile({ operation: 1, path: '/a', kind: 'file', flags: 2, mayRead: false, mayWrite: true, maxBytes: 10 }, key, 1);
  expect([passesLimit(limited, 0, 0, 10), passesLimit(limited, 5, 0, 6), passesLimit(limited, 0, 9, 2), passesLimit({ ...limited, maxBytes: null }, 99, 99, 99)]).toEqual([false, true, true, false]);
});

describe('destinations', () => {
  test.each<readonly [string, number, string | null]>([
    ['db', 5432, 'db:5432'], ['127.0.0.1', 0, '127.0.0.1:0'], ['::1', 22, '[::1]:22'], ['', 1, null], ['a b', 1, null], ['*', 1, null], ['[::1]', 1, null], ['a/b', 1, null], ['ann@db', 1, null], ['db', 65_536, null], ['db', 1.5, null], ['x'.repeat(254), 1, null],
  ])('%s port %s', (host, port, text) => expect(destinationOf(host, port)).toBe(text));

  test.each<readonly [string, string | null]>([['/run/app.sock', '/run/app.sock'], ['run/app.sock', null], ['/run/../app', null], ['/run//app', null], ['/run/*', null], [`/${'x'.repeat(107)}`, null], ['/a b', null]])('the socket %s', (path, text) => expect(socketOf(path)).toBe(text));

  test('one text never stands for two destinations', () => {
    const host = fc.string({ minLength: 1, maxLength: 12, unit: fc.constantFrom('a', ':', '.', '1', '[', ']') });
    fc.assert(fc.property(host, fc.nat(70_000), host, fc.nat(70_000), (a, p, b, q) => {
      const [left, right] = [destinationOf(a, p), destinationOf(b, q)];
      if (left !== null && left === right) expect([a, p]).toEqual([b, q]);
    }));
  });
});

describe('requests to an agent', () => {
  const login = writePacket(0, []).subarray(0, 0);
  const signed = Buffer.concat([login, writePacket(50, [{ string: 'deploy' }, { string: 'ssh-connection' }]).subarray(4)]);
  const data = Buffer.concat([Buffer.from([0, 0, 0, 2, 1, 2]), signed]);

  test('a signature names the key, the data and the login that is signed', () => {
    expect(readAgentRequest(writePacket(13, [{ string: 'key' }, { string: data }, { uint32: 0 }]))).toEqual({
      kind: 'sign', key: `SHA256:${createHash('sha256').update('key').digest('base64').replace('=', '')}`, data: createHash('sha256').update(data).digest('hex'), user: 'deploy', service: 'ssh-connection',
    });
  });

  test('data that is no login is a signature of something', () => {
    for (const other of ['x', Buffer.from([0, 0, 0, 0, 1])]) expect(readAgentRequest(writePacket(13, [{ string: 'key' }, { string: other }, { uint32: 0 }]))).toMatchObject({ kind: 'sign', user: null, service: null });
  });

  test('only the list of keys and signatures are known', () => {
    expect([readAgentRequest(writePacket(11, [])), readAgentRequest(writePacket(11, [{ byte: 1 }])), readAgentRequest(writePacket(17, [])), readAgentRequest(writePacket(13, [{ string: 'key' }])), readAgentRequest(Uint8Array.of(0, 0, 0, 0))]).toEqual([
      { kind: 'list' }, { kind: 'malformed' }, { kind: 'other', type: 17 }, { kind: 'malformed' }, { kind: 'other', type: 0 },
    ]);
    expect([isSignature(Uint8Array.of(0, 0, 0, 1, 14)), isSignature(agentFailure)]).toEqual([true, false]);
  });
});
