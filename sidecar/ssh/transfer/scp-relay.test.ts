import { describe, expect, test } from '@jest/globals';
import { deny } from '../../core/errors.ts';
import type { FileAsk, FileJudge, Judged } from '../sftp/judge-files.ts';
import { createScpRelay, type ScpRelayOptions } from './scp-relay.ts';

interface Transfer {
  readonly asked: readonly string[];
  readonly toTarget: () => string;
  readonly toUser: () => string;
  readonly closed: readonly Readonly<Record<string, unknown>>[];
  readonly problem: () => string | null;
}

/** Runs what the sending side says, cut into pieces. Paths below `/d/secret` are refused. */
async function transfer(direction: 'Read' | 'Write', said: string, options: Partial<ScpRelayOptions> = {}, answers?: (ask: FileAsk) => Judged): Promise<Transfer> {
  const asked: string[] = [];
  const closed: Readonly<Record<string, unknown>>[] = [];
  let [toTarget, toUser] = ['', ''];
  const judge = {
    async judge(ask: FileAsk): Promise<Judged> {
      asked.push(ask.text);
      if (answers !== undefined) return answers(ask);
      if (ask.items.some(({ path }) => path.startsWith('/d/secret'))) return { outcome: 'refused', denial: deny('FILE_DENIED') };
      return { outcome: 'permitted', operation: ask.intent ? asked.length : null, wasHeld: false, maxBytes: null, operations: [] };
    },
    closed: (operation: number, facts: Readonly<Record<string, unknown>>) => void closed.push({ operation, ...facts }),
  } as unknown as FileJudge;
  const relay = createScpRelay({
    judge, digestKey: Buffer.from('key'), direction, base: '/d', isDirectory: true, resolve: (path) => Promise.resolve(path),
    toTarget: async (bytes) => { toTarget += Buffer.from(bytes).toString('latin1'); }, toUser: async (bytes) => { toUser += Buffer.from(bytes).toString('latin1'); }, ...options,
  });
  for (let at = 0; at < said.length && relay.problem() === null; at += 3) await (direction === 'Write' ? relay.fromUser : relay.fromTarget)(Buffer.from(said.slice(at, at + 3)));
  relay.end();
  return { asked, closed, toTarget: () => toTarget, toUser: () => toUser, problem: relay.problem };
}

describe('an upload', () => {
  test('goes on as it came, each file judged under the path where it will lie', async () => {
    const said = 'T1 0 1 0\nC0644 2 a\nxy\0D0755 0 sub\nC0600 0 b\n\0E\n';
    const result = await transfer('Write', said);
    expect([result.toTarget(), result.asked]).toEqual([said, ['scp write "/d/a" mode=0644 size=2', 'scp mkdir "/d/sub" mode=0755', 'scp write "/d/sub/b" mode=0600 size=0']]);
    expect(result.closed.map(({ outcome, bytes_written }) => [outcome, bytes_written])).toEqual([['Completed', 2], ['Completed', undefined], ['Completed', 0]]);
  });

  test('to a name is that name, whatever the client calls the file', async () => {
    expect((await transfer('Write', 'C0644 0 other\n\0', { isDirectory: false, base: '/d/name' })).asked).toEqual(['scp write "/d/name" mode=0644 size=0']);
  });

  test('leaves out what is refused and goes on: the target hears nothing of it', async () => {
    const result = await transfer('Write', 'C0644 2 secret\nC0644 1 a\nx\0');
    expect([result.toTarget(), result.toUser()]).toEqual(['C0644 1 a\nx\0', '\x01sallyport: secret: no rule allows this file operation [FILE_DENIED]\n']);
  });

  test('that sends content of a refused file all the same is broken off', async () => {
    const result = await transfer('Write', 'C0644 5 secret\ndata\n\0');
    expect([result.toTarget(), result.problem()]).toEqual(['', 'unknown record']);
  });

  test.each([['E\n', 'a directory ends that did not begin'], [Array.from({ length: 65 }, () => 'D0755 0 d\n').join(''), 'directories too deep'], ['C0644 1 ../x\n', 'unknown record']])('%j is broken off', async (said, problem) => {
    expect((await transfer('Write', said)).problem()).toBe(problem);
  });

  test('whose path leads elsewhere once it is approved is refused', async () => {
    let leads = '/d/a';
    const result = await transfer('Write', 'C0644 0 a\n', { resolve: () => Promise.resolve(leads) }, () => {
      leads = '/etc/x';
      return { outcome: 'permitted', operation: 7, wasHeld: true, maxBytes: null, operations: [] };
    });
    expect([result.toTarget(), result.closed]).toEqual(['', [{ operation: 7, outcome: 'NotForwarded', code: 'APPROVAL_SUPERSEDED' }]]);
  });
});

describe('a download', () => {
  test('hears of files that are refused only by a warning, and the target is told to go on', async () => {
    const result = await transfer('Read', 'D0755 0 d\nC0644 4 secret\nC0644 1 a\nx\0E\n', { isDirectory: true });
    expect([result.toUser(), result.toTarget()]).toEqual(['D0755 0 d\n\x01sallyport: secret: no rule allows this file operation [FILE_DENIED]\nC0644 1 a\nx\0E\n', '\x01sallyport: secret: no rule allows this file operation [FILE_DENIED]\n']);
    expect(result.asked).toEqual(['scp list "/d"', 'scp read "/d/secret" size=4', 'scp read "/d/a" size=1']);
  });

  test('that ends in the middle of a file is on record as that', async () => {
    const result = await transfer('Read', 'C0644 4 a\nxy', { isDirectory: false, base: '/d/a' });
    expect(result.closed).toEqual([expect.objectContaining({ outcome: 'Unknown', bytes_read: 2 })]);
  });

  test('a path that leads nowhere known is refused', async () => {
    expect((await transfer('Read', 'C0644 4 a\n', { resolve: () => Promise.resolve(null) })).toUser()).toContain('[FILE_DENIED]');
  });
});
