import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { deny } from '../../sidecar/core/errors.ts';
import { findAsset } from '../../tools/e2e-assets.ts';
import type { ShortRule } from '../../tools/testkit/policies.ts';
import { type OpenSsh, sshOptions, startOpenSsh } from '../hosts/openssh.ts';
import { type ShellDoor, startShellDoor } from '../hosts/ssh-shells.ts';
import { startTerminal, type TerminalSession } from '../hosts/terminal.ts';

const approval = { groups: ['sre-leads'] };
const rules: readonly ShortRule[] = [
  { name: 'prompt', action: 'Allow', ssh: { level: 'CommandMode' } },
  { name: 'look', action: 'Allow', ssh: { commands: ['ls **', 'cd *', 'pwd', 'echo **', 'sleep *', 'cat **'] } },
  { name: 'on-a-terminal', action: 'Allow', ssh: { commands: ['tty', 'stty **', 'top **', 'vi *', 'head **'], pty: true } },
  { name: 'touching', action: 'RequireApproval', ssh: { commands: ['touch **'] }, approval },
  { name: 'opaque', action: 'RequireApproval', ssh: { unknown: true }, approval },
];

(['sshd', 'ssh', 'ssh-native'].some((name) => findAsset(name as 'ssh') === null) ? describe.skip : describe)('holds, pastes and programs with a terminal in a shell at CommandMode', () => {
  let sshd: OpenSsh;
  let door: ShellDoor;
  let folder: string;
  beforeAll(async () => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'sallyport-holds-')));
    sshd = await startOpenSsh();
  });
  afterAll(async () => {
    await sshd[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  async function open(): Promise<TerminalSession> {
    door = await startShellDoor({ sshd, policy: { rules } });
    const terminal = startTerminal(['ssh', ...sshOptions(door.port), '-tt', `${sshd.account}@127.0.0.1`]);
    await terminal.expect('~$ ');
    return terminal;
  }
  const codes = (): readonly string[] => door.events.map(({ code }) => code);

  test('a held line says rule, groups, request and deadline, runs once it is approved, and is denied with a reason', async () => {
    await using terminal = await open();
    await using _ = door;
    terminal.type(`touch ${folder}/approved\r`);
    const notice = await terminal.expect('hint: sallyport approve areq-1');
    expect(notice).toContain('sallyport: held: rule "touching" needs 1 of sre-leads; areq-1; decide within 15m; Ctrl-C cancels');
    expect(existsSync(`${folder}/approved`)).toBe(false);
    door.asks[0]?.settle('approved');
    await terminal.expect('approved: areq-1');
    await terminal.expect('~$ ');
    expect(existsSync(`${folder}/approved`)).toBe(true);
    terminal.type(`touch ${folder}/denied\r`);
    await terminal.expect('areq-2');
    door.asks[1]?.settle('denied');
    expect(await terminal.expect('[126] ')).toContain('was denied by sam: not today');
    expect(existsSync(`${folder}/denied`)).toBe(false);
    expect(door.asks[0]?.ask.statement).toMatchObject({ text: `touch ${folder}/approved`, kind: 'Exec' });
    expect(door.asks[0]?.ask.statement?.parameters).toContain(`account=${sshd.account}`);
  });

  test('the directory of the prompt is shown to the approver and bound', async () => {
    await using terminal = await open();
    await using _ = door;
    terminal.type(`cd ${folder}\r`);
    await terminal.expect(`${folder}$ `);
    terminal.type('touch here\r');
    await terminal.expect('areq-1');
    expect(door.asks[0]?.ask.statement?.parameters).toContain(`cwd=${folder}`);
    door.asks[0]?.settle('approved');
    await terminal.expect(`${folder}$ `);
    expect(existsSync(`${folder}/here`)).toBe(true);
  });

  test('Ctrl-C takes a held line back within a second: status 130, the request is withdrawn, nothing runs', async () => {
    await using terminal = await open();
    await using _ = door;
    terminal.type(`touch ${folder}/cancelled\r`);
    await terminal.expect('areq-1');
    const start = Date.now();
    terminal.type('\x03');
    await terminal.expect('[130] ');
    expect(Date.now() - start).toBeLessThan(1000);
    expect(door.asks[0]?.withdrawn()).toBe('HOLD_CANCELLED');
    terminal.type('echo still here\r');
    await terminal.expect('2004lstill here');
    expect(existsSync(`${folder}/cancelled`)).toBe(false);
    expect(codes().filter((code) => code === 'exec.cancelled').length).toBe(1);
  });

  test('a client that goes away takes its held line back', async () => {
    {
      await using terminal = await open();
      terminal.type(`touch ${folder}/gone\r`);
      await terminal.expect('areq-1');
    }
    await until(() => door.asks[0]?.withdrawn() !== null);
    expect(existsSync(`${folder}/gone`)).toBe(false);
    await door[Symbol.asyncDispose]();
  });

  test('a paste runs line by line and stops at a denial: what is behind it is dropped, also what comes later', async () => {
    await using terminal = await open();
    await using _ = door;
    terminal.type('\x1b[200~echo first\recho second\rrm -rf /nowhere\recho third\r');
    await terminal.expect('[126] ');
    terminal.type('echo fourth\r\x1b[201~echo typed\r');
    await terminal.expect('2004ltyped\r\n');
    const ran = door.events.filter(({ code }) => code === 'exec.intent').map(({ facts }) => facts['text']);
    expect(ran).toEqual(['echo first', 'echo second', 'echo typed']);
    terminal.type('echo one\rwhoami\recho two\r');
    await terminal.expect('[126] ');
    terminal.type('echo end\r');
    await terminal.expect('2004lend\r\n');
    expect(door.events.filter(({ code }) => code === 'exec.intent').map(({ facts }) => facts['text'])).not.toContain('echo two');
  });

  test('a paste of a heredoc is one input', async () => {
    await using terminal = await open();
    await using _ = door;
    terminal.type('\x1b[200~cat <<X\rrm -rf /nowhere\rX\r\x1b[201~');
    await terminal.expect('2004lrm -rf /nowhere\r\n');
  });

  test('a program whose rule has pty gets the terminal: its own size, resizes, raw keys', async () => {
    await using terminal = await open();
    await using _ = door;
    terminal.type('tty; stty size\r');
    await terminal.expect(/\/dev\/pts\/\d+\r\n30 100\r\n/u);
    await terminal.expect('~$ ');
    terminal.type('top\r');
    await terminal.expect('load average');
    terminal.resize(70, 20);
    await until(() => door.casts[0]?.events.some(([code]) => code === 'r') === true);
    // top forgets keys that come while it takes over a new size.
    for (let pressed = 0; pressed < 20 && !codes().slice(-1).includes('exec.result'); pressed++) {
      terminal.type('q');
      await terminal.expect('~$ ', 500).catch(() => undefined);
    }
    terminal.type('stty size\r');
    await terminal.expect('20 70\r\n');
    expect(door.casts[0]?.events.filter(([code]) => code === 'r')).toContainEqual(['r', '70x20']);
    expect(door.casts[0]?.events.filter(([code]) => code === 'm').map(([, label]) => label)).toEqual(['tty; stty size', 'top', 'stty size']);
  });

  test('an editor is held, and edits a file once it is approved', async () => {
    writeFileSync(`${folder}/file.txt`, 'before\n');
    await using terminal = await open();
    await using _ = door;
    // What is typed while an approver looks is not for the program.
    terminal.type(`vi ${folder}/file.txt\rdd:q!\r`);
    await terminal.expect('areq-1');
    expect(door.asks[0]?.ask.statement?.parameters).toContain('pty=yes');
    door.asks[0]?.settle('approved');
    await terminal.expect('before');
    terminal.type('oafter 日本\x1b:wq\r');
    await terminal.expect('~$ ', 10_000);
    expect(readFileSync(`${folder}/file.txt`, 'utf8')).toBe('before\nafter 日本\n');
    expect(door.recorded()).not.toContain('"i"');
  });

  test('a session that ends is cut within a second, with its reason on the screen and status 255', async () => {
    for (const busy of ['', 'sleep 30\r', 'top\r', `touch ${folder}/never\r`]) {
      await using terminal = await open();
      await using _ = door;
      terminal.type(busy);
      if (busy.startsWith('sleep')) await until(() => codes().includes('exec.intent'));
      if (busy.startsWith('top')) await terminal.expect('load average');
      if (busy.startsWith('touch')) await terminal.expect('areq-1');
      const start = Date.now();
      door.end(deny('SESSION_TERMINATED', { message: 'an operator ended this session' }));
      await terminal.expect('sallyport: an operator ended this session [SESSION_TERMINATED]');
      expect(await terminal.exit).toBe(255);
      expect(Date.now() - start).toBeLessThan(1000);
      await until(() => codes().includes('shell.end'));
      expect(door.events.find(({ code }) => code === 'shell.end')).toMatchObject({ reason: 'SESSION_TERMINATED' });
    }
    expect(existsSync(`${folder}/never`)).toBe(false);
  });
});

async function until(condition: () => boolean, limitMs = 5000): Promise<void> {
  for (const end = Date.now() + limitMs; !condition();) {
    if (Date.now() > end) throw new Error('it did not come to pass');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
