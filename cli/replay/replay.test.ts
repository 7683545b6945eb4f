import fs from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { aBackend, aWholeSession } from '../../tools/testkit/audit.ts';
import { AuditDirectory } from '../../tools/testkit/audit-directory.ts';
import { aCastHeader, anSshSubject } from '../../tools/testkit/ssh-audit.ts';
import { run as auditPlay } from '../commands/audit-play.ts';
import { run } from '../commands/replay.ts';
import type { CommandIo } from '../gateway-client.ts';

let directory: AuditDirectory;

beforeEach(async () => {
  directory = new AuditDirectory();
  const recorder = await directory.open();
  await aWholeSession(recorder, '01SQL');
  const session = recorder.openSsh('01SSH');
  await session.start(anSshSubject('01SSH'), aBackend());
  const first = session.openCast(aCastHeader({ command: 'ls', terminal: { columns: 80, rows: 24, type: 'xterm' } }));
  first.output(Buffer.from('\x1b[31mred\x1b[0m\x1b]52;c;eA==\x07 \x1b[6n\x1b[21tfile\x07\r\n'));
  first.marker('uptime');
  first.output(Buffer.from('tail'));
  first.exit(3);
  await first.close();
  await session.openCast(aCastHeader({ channel: 2, command: null })).close();
  await session.end('ClientClosed', { bytes: 0, denied: 0 });
  await recorder.close();
});

afterEach(() => directory.remove());

async function replay(argv: readonly string[], how: { readonly isTTY?: boolean; readonly command?: typeof run } = {}): Promise<{ readonly status: number; readonly out: string; readonly err: string }> {
  const texts = { out: '', err: '' };
  const sink = (key: 'out' | 'err'): Writable => Object.assign(new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      texts[key] += chunk.toString('utf8');
      done();
    },
  }), { isTTY: how.isTTY === true });
  const io = { stdout: sink('out'), stderr: sink('err'), env: {} } as unknown as CommandIo;
  const status = await (how.command ?? run)([...argv, '--data', directory.data], io);
  return { status, ...texts };
}

describe('an SSH session', () => {
  test('is shown as plain text, channel after channel, with commands and exit status on lines of their own', async () => {
    const { status, out } = await replay(['01SSH', '--text']);
    expect(status).toBe(0);
    expect(out).toContain('session 01SSH of oidc:asmith@bank.example as deploy on web-1, channel 1, started 2026-');
    expect(out).toContain('\n$ ls\n\nred file\n-- uptime\ntail\n-- exit status 3\n');
    expect(out).toContain('channel 2, started');
    expect(out).not.toContain('\x1b');
  });

  test('plays on a screen with its colours, but nothing in it can drive or question the viewer\'s terminal', async () => {
    const { status, out } = await replay(['01SSH', '--channel', '1', '--speed', '200'], { isTTY: true });
    expect(status).toBe(0);
    expect(out).toContain('\x1b[31mred\x1b[0m file\x07\r\n');
    expect(out).not.toContain('\x1b]52');
    expect(out).not.toContain('\x1b[6n');
    expect(out).not.toContain('\x1b[21t');
    expect(out).toMatch(/\x1b\[\?25h.*\r\n$/s);
  });

  test('into a pipe is text', async () => {
    expect((await replay(['01SS'])).out).toBe((await replay(['01SSH', '--text'])).out);
  });

  test('gives its asciicast v3 as it was recorded, one channel at a time', async () => {
    const { out } = await replay(['01SSH', '--asciicast', '--channel', '1'], { command: auditPlay });
    const lines = out.trimEnd().split('\n').map((line) => JSON.parse(line) as unknown);
    expect(lines[0]).toMatchObject({ version: 3, term: { cols: 80, rows: 24, type: 'xterm' }, command: 'ls' });
    expect(lines.slice(1).map((line) => (line as [number, string, string])[1])).toEqual(['o', 'm', 'o', 'x']);
    expect(await replay(['01SSH', '--asciicast'])).toMatchObject({ status: 1, err: 'error: the session has 2 channels; name one: --channel 1 | 2\n' });
    expect(await replay(['01SSH', '--channel', '9'])).toMatchObject({ status: 1, err: 'error: no recording of channel 9; there are: 1, 2\n' });
  });

  test('that is damaged is played as far as it goes, and said to be', async () => {
    fs.writeFileSync(join(directory.data, 'recordings', '01BAD.1.cast'), '{"version":3,"term":{"cols":80,"rows":24}}\n[0,"o","fine"]\n[0,"o"]\nnot json\n["x"]\n');
    expect(await replay(['01BAD', '--text'])).toMatchObject({ status: 1, err: 'error: 3 damaged line(s) were left out\n' });
    fs.writeFileSync(join(directory.data, 'recordings', '01OLD.1.cast'), '{"version":2}\n');
    expect(await replay(['01OLD', '--text'])).toMatchObject({ status: 1, err: 'error: this is no asciicast v3 recording\n' });
  });
});

describe('a database session', () => {
  test('is played as before, and given as an asciicast', async () => {
    expect((await replay(['01SQL', '--text'])).out).toContain('1 stored');
    const { status, out } = await replay(['01SQL', '--asciicast']);
    expect(status).toBe(0);
    const lines = out.trimEnd().split('\n').map((line) => JSON.parse(line) as unknown);
    expect(lines[0]).toMatchObject({ version: 3, term: { cols: 120, rows: 40 } });
    expect(lines.slice(1).every((line) => Array.isArray(line) && line.length === 3 && line[1] === 'o')).toBe(true);
    expect(out).toContain('***-**-6789');
  });

  test('that does not exist is not found, and an unclear beginning is refused', async () => {
    expect((await replay(['zzz'])).err).toContain('no recording of session zzz');
    expect((await replay(['01S'])).err).toContain('2 sessions begin with 01S');
  });
});
