import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { deny } from '../../sidecar/core/errors.ts';
import { findAsset } from '../../tools/e2e-assets.ts';
import type { ShortPolicy, ShortRule } from '../../tools/testkit/policies.ts';
import { type OpenSsh, runSsh, sshOptions, startOpenSsh } from '../hosts/openssh.ts';
import { type ShellDoor, type ShellDoorOptions, startShellDoor } from '../hosts/ssh-shells.ts';
import { startTerminal, type TerminalSession } from '../hosts/terminal.ts';

const prompt: ShortRule = { name: 'prompt', action: 'Allow', ssh: { level: 'CommandMode' } };
const raw: ShortRule = { name: 'raw', action: 'Allow', ssh: { level: 'RawShell' } };
const heldRaw: ShortRule = { name: 'raw', action: 'RequireApproval', ssh: { level: 'RawShell' }, approval: { groups: ['sre-leads'] } };
const masking: NonNullable<ShortPolicy['masking']> = [{ detectors: ['payment-card'], columns: null, style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny' }];
const card = '4539578763621486';

(['sshd', 'ssh', 'ssh-native'].some((name) => findAsset(name as 'ssh') === null) ? describe.skip : describe)('the raw shell, with OpenSSH on a terminal', () => {
  let sshd: OpenSsh;
  let folder: string;
  beforeAll(async () => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'sallyport-raw-')));
    sshd = await startOpenSsh();
  });
  afterAll(async () => {
    await sshd[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  const doorWith = (policy: ShortPolicy, over: Partial<ShellDoorOptions> = {}): Promise<ShellDoor> => startShellDoor({ sshd, policy, ...over });
  function open(door: ShellDoor, options: readonly string[] = ['-o', 'SetEnv=SALLYPORT_LEVEL=RawShell']): TerminalSession {
    return startTerminal(['ssh', ...options, ...sshOptions(door.port), '-tt', `${sshd.account}@127.0.0.1`]);
  }
  /** A shell whose prompt is known, whatever the account's start files do. */
  async function ready(terminal: TerminalSession): Promise<void> {
    await terminal.expect('raw shell: recorded');
    terminal.type("exec bash --norc --noprofile --noediting\r");
    await terminal.expect(/bash-[\d.]+[$#] /u);
    terminal.type("PS1='raw> '\r");
    await terminal.expect(/\nraw> /u);
  }

  test('needs a grant of its own: without one it is refused with 126, at the prompt by :raw too, and above the ceiling of the target', async () => {
    await using door = await doorWith({ rules: [prompt] });
    await using direct = open(door);
    await direct.expect('[SHELL_NOT_GRANTED]');
    expect(await direct.exit).toBe(126);
    await using terminal = open(door, []);
    await terminal.expect('~$ ');
    terminal.type(':raw\r');
    await terminal.expect('[SHELL_NOT_GRANTED]');
    await terminal.expect('[126] ');
    await using low = await doorWith({ rules: [prompt, raw] }, { level: 'CommandMode' });
    await using beyond = open(low);
    await beyond.expect('[SHELL_NOT_GRANTED]');
    expect(await beyond.exit).toBe(126);
    expect(sshd.log()).not.toContain('Starting session: shell');
  });

  test('a target with level Exec has no shell at all: text says how to run one command, status 126', async () => {
    await using door = await doorWith({ rules: [prompt, raw] }, { level: 'Exec' });
    const run = await runSsh(door.port, ['-tt', `${sshd.account}@127.0.0.1`]);
    expect(run.status).toBe(126);
    expect(run.stdout.toString() + run.stderr.toString()).toContain('run one command: ssh ACCOUNT@HOST COMMAND');
  });

  test('is held like a command; Ctrl-C takes it back; approved it opens', async () => {
    await using door = await doorWith({ rules: [heldRaw] });
    await using first = open(door);
    expect(await first.expect('areq-1')).toContain('rule "raw" needs 1 of sre-leads');
    const start = Date.now();
    first.type('\x03');
    expect(await first.exit).toBe(130);
    expect(Date.now() - start).toBeLessThan(1000);
    expect(door.asks[0]?.withdrawn()).toBe('HOLD_CANCELLED');
    await using second = open(door);
    await second.expect('areq-2');
    door.asks[1]?.settle('approved');
    await ready(second);
    expect(door.events.map(({ code }) => code)).toContain('shell.start');
  });

  test('relays the terminal both ways: size, resizes, keys, exit status; records it; commands are read off the screen', async () => {
    await using door = await doorWith({ rules: [raw] });
    await using terminal = open(door);
    await ready(terminal);
    terminal.type('stty size\r');
    await terminal.expect('\n30 100\r\n');
    terminal.resize(70, 20);
    await until(() => door.casts[0]?.events.some(([code]) => code === 'r') === true);
    terminal.type('stty size\r');
    await terminal.expect('\n20 70\r\n');
    terminal.type('sleep 30\r');
    await until(() => door.events.some(({ code, facts }) => code === 'command.observed' && facts['text'] === 'sleep 30'));
    terminal.type('\x03');
    await terminal.expect('^C\r\nraw> ');
    terminal.type('vi\r');
    await terminal.expect('\x1b[?1049h');
    terminal.type(':q!\r');
    await terminal.expect('raw> ');
    terminal.type('exit 9\r');
    expect(await terminal.exit).toBe(9);
    const observed = door.events.filter(({ code }) => code === 'command.observed').map(({ facts }) => facts);
    expect(observed.map(({ text }) => text)).toEqual(expect.arrayContaining(['stty size', 'sleep 30', 'vi', 'exit 9']));
    expect(observed.every(({ basis }) => basis === 'reconstructed, not enforced')).toBe(true);
    expect(observed.map(({ text }) => text)).not.toContain(':q!');
    expect(door.casts[0]?.events).toContainEqual(['r', '70x20']);
    expect(door.casts[0]?.events.at(-1)).toEqual(['x', '9']);
    expect(new Set(door.casts[0]?.events.map(([code]) => code))).toEqual(new Set(['o', 'r', 'x']));
  });

  test('a password typed at a prompt without echo is in no stored byte', async () => {
    const fakeSudo = join(folder, 'fake-sudo');
    writeFileSync(fakeSudo, '#!/bin/bash\nread -rsp "[sudo] password for $USER: " p; echo; echo "length ${#p}"\n', { mode: 0o755 });
    await using door = await doorWith({ rules: [prompt, raw, { name: 'sudo', action: 'Allow', ssh: { commands: [`${fakeSudo}`], pty: true } }] });
    await using terminal = open(door);
    await ready(terminal);
    terminal.type(`${fakeSudo}\r`);
    await terminal.expect('password for');
    terminal.type('hunter2-secret\r');
    await terminal.expect('length 14');
    terminal.type('exit\r');
    await terminal.exit;
    // A program with a terminal at the command prompt is a relay of the same kind.
    await using second = open(door, []);
    await second.expect('~$ ');
    second.type(`${fakeSudo}\r`);
    await second.expect('password for');
    second.type('hunter2-secret\r');
    await second.expect('length 14');
    await second.expect('~$ ');
    expect(door.recorded()).not.toContain('hunter2');
    expect(door.recorded()).toContain('length 14');
  });

  test(':raw at the prompt opens it in the same recording, and its end leads back to the prompt', async () => {
    await using door = await doorWith({ rules: [prompt, raw] });
    await using terminal = open(door, []);
    await terminal.expect('~$ ');
    terminal.type(':raw\r');
    await ready(terminal);
    terminal.type('exit 3\r');
    await terminal.expect('[3] ');
    expect(door.casts.length).toBe(1);
    expect(door.casts[0]?.events).toContainEqual(['m', 'raw shell']);
    expect(door.events.filter(({ code }) => code === 'shell.end')).toHaveLength(1);
  });

  test('is cut within a second when its session ends, with the reason on the screen', async () => {
    await using door = await doorWith({ rules: [raw] });
    await using terminal = open(door);
    await ready(terminal);
    terminal.type('while :; do echo busy; done\r');
    await terminal.expect('busy\r\nbusy');
    const start = Date.now();
    door.end(deny('SESSION_REVOKED'));
    await terminal.expect('[SESSION_REVOKED]');
    expect(await terminal.exit).toBe(255);
    expect(Date.now() - start).toBeLessThan(1000);
    await until(() => door.events.some(({ code }) => code === 'shell.end'));
  });

  test('masks what comes as text, best effort: what is known to escape is measured here', async () => {
    await using door = await doorWith({ rules: [raw], masking });
    await using terminal = open(door);
    await ready(terminal);
    const print = async (program: string): Promise<string> => {
      terminal.type(`python3 -c '${program}'; echo do''ne\r`);
      return await terminal.expect('done');
    };
    const [left, right] = [card.slice(0, 8), card.slice(8)];
    const values = `a,b="${left}","${right}"`;
    const shown = {
      whole: await print(`${values}; print(a+b)`),
      coloured: await print(`${values}; print(a+chr(27)+"[31m"+b+chr(27)+"[0m")`),
      flushedAtOnce: await print(`import sys; ${values}; sys.stdout.write(a); sys.stdout.flush(); sys.stdout.write(b); print()`),
      pausedFor200ms: await print(`import sys,time; ${values}; sys.stdout.write(a); sys.stdout.flush(); time.sleep(0.2); sys.stdout.write(b); print()`),
      cursorAddressed: await print(`${values}; print(chr(27)+"[9C"+b+chr(13)+a,end=chr(10))`),
      base64: await print(`import base64; ${values}; print(base64.b64encode((a+b).encode()).decode())`),
    };
    const printed = Object.entries(shown).map(([name, text]) => [name, text.slice(text.lastIndexOf("do''ne"))] as const);
    const escapes = printed.map(([name, text]) => [name, [left, right, Buffer.from(card).toString('base64')].filter((part) => text.includes(part))] as const).filter(([, parts]) => parts.length > 0);
    // The limits that docs/command-mode.md names.
    expect(Object.fromEntries(escapes)).toEqual({ pausedFor200ms: [left], cursorAddressed: [left, right], base64: [Buffer.from(card).toString('base64')] });
  });

  test('without a terminal the shell reads a pipe, and what it prints is masked as text', async () => {
    await using door = await doorWith({ rules: [raw], masking });
    const run = await runSsh(door.port, ['-T', '-o', 'SetEnv=SALLYPORT_LEVEL=RawShell', `${sshd.account}@127.0.0.1`], { input: `x=${card}\necho "<$x>"\nexit 4\n` });
    expect([run.stdout.toString(), run.status]).toEqual(['<****************>\n', 4]);
    expect(door.recorded()).not.toContain(card);
  });
});

async function until(condition: () => boolean, limitMs = 5000): Promise<void> {
  for (const end = Date.now() + limitMs; !condition();) {
    if (Date.now() > end) throw new Error('it did not come to pass');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
