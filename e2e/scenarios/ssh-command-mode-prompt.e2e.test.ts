import { chmodSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findAsset } from '../../tools/e2e-assets.ts';
import type { ShortRule } from '../../tools/testkit/policies.ts';
import { type OpenSsh, runSsh, sshOptions, startOpenSsh } from '../hosts/openssh.ts';
import { type ShellDoor, startShellDoor } from '../hosts/ssh-shells.ts';
import { startTerminal, type TerminalSession } from '../hosts/terminal.ts';

const rules: readonly ShortRule[] = [
  { name: 'prompt', action: 'Allow', ssh: { level: 'CommandMode' } },
  { name: 'look', action: 'Allow', ssh: { commands: ['ls **', 'cd *', 'pwd', 'echo **', 'sleep *', 'cat **', 'false', 'printf **', 'seq *', 'date **'] } },
];

/** Whoever runs the tests unless it is root; for root an account of the machine that has a shell, since sshd sends no signals to commands of root. */
const ordinaryAccount = process.getuid?.() === 0 ? accountWithShell() : userInfo().username;

function accountWithShell(): string | null {
  return readFileSync('/etc/passwd', 'utf8').split('\n').map((line) => line.split(':')).find(([, , uid, , , , shell]) => Number(uid) > 0 && shell === '/bin/bash')?.[0] ?? null;
}

(['sshd', 'ssh', 'ssh-native'].some((name) => findAsset(name as 'ssh') === null) ? describe.skip : describe)('the prompt of a shell at CommandMode, with OpenSSH on a terminal', () => {
  let sshd: OpenSsh;
  let door: ShellDoor;
  let folder: string;
  beforeAll(async () => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'sallyport-prompt-')));
    mkdirSync(join(folder, 'a dir/inner'), { recursive: true });
    for (const name of ['alpha.txt', 'alpine.txt', 'beta file', '.hidden']) writeFileSync(join(folder, name), '');
    sshd = await startOpenSsh();
    door = await startShellDoor({ sshd, policy: { rules } });
  });
  afterAll(async () => {
    await door[Symbol.asyncDispose]();
    await sshd[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  async function open(size: { readonly columns?: number; readonly rows?: number } = {}): Promise<TerminalSession> {
    const terminal = startTerminal(['ssh', ...sshOptions(door.port), `${sshd.account}@127.0.0.1`], size);
    await terminal.expect('~$ ');
    return terminal;
  }
  const texts = (): readonly unknown[] => door.events.filter(({ code }) => code === 'exec.intent').map(({ facts }) => facts['text']);

  test('says who one is and where, runs a line, keeps a literal cd, and shows an exit status that is not 0', async () => {
    await using terminal = await open();
    expect(terminal.output()).toContain(`you are ann, as ${sshd.account} on web-1`);
    expect(terminal.output()).toContain('variables, functions and jobs end with their line');
    terminal.type(`cd '${folder}/a dir'\r`);
    await terminal.expect(`${sshd.account}@web-1:${folder}/a dir$ `);
    terminal.type('pwd; cd inner\r');
    expect(await terminal.expect('a dir$ ')).toContain(`${folder}/a dir\r\n`);
    terminal.type('cd inner\r');
    await terminal.expect('a dir/inner$ ');
    terminal.type('cd -\r');
    await terminal.expect('a dir$ ');
    terminal.type('cd\r');
    await terminal.expect(`${sshd.account}@web-1:~$ `);
    terminal.type('cd -\r');
    await terminal.expect('a dir$ ');
    terminal.type('cd nowhere\r');
    expect(await terminal.expect(/\[1\] .*a dir\$ $/u)).toContain('nowhere');
    terminal.type('false\r');
    await terminal.expect(/\[1\] .*\$ $/u);
    terminal.type('x=1; echo "<$x>"\r');
    await terminal.expect('<1>');
    terminal.type('echo "<$x>"\r');
    await terminal.expect('<>');
    terminal.type('exit 7\r');
    expect(await terminal.exit).toBe(7);
  });

  test('the target gets exactly the directory and the line', async () => {
    await using terminal = await open();
    terminal.type(`cd ${folder}\r`);
    await terminal.expect(`${folder}$ `);
    terminal.type('pwd | cat\r');
    await terminal.expect(`${folder}$ `);
    const intent = door.events.filter(({ code }) => code === 'exec.intent').at(-1);
    expect(intent?.facts).toMatchObject({ text: 'pwd | cat', cwd: folder, level: 'CommandMode', pty: false, stdin: false });
  });

  test('a directory that is gone leads back home', async () => {
    mkdirSync(join(folder, 'gone'));
    await using terminal = await open();
    terminal.type(`cd ${folder}/gone\r`);
    await terminal.expect('gone$ ');
    rmSync(join(folder, 'gone'), { recursive: true });
    terminal.type('pwd\r');
    expect(await terminal.expect('[125] ')).toContain('back to the home directory');
    await terminal.expect(`${sshd.account}@web-1:~$ `);
  });

  test('unfinished input goes on at "> ": an open quote, a heredoc, a backslash, an open block; an error drops the line', async () => {
    await using terminal = await open();
    terminal.type('cat <<X\r');
    await terminal.expect('> ');
    terminal.type('one two\r');
    await terminal.expect('> ');
    terminal.type('X\r');
    expect(await terminal.expect('$ ')).toContain('one two\r\n');
    terminal.type('echo "a\r');
    await terminal.expect('> ');
    terminal.type('b"\r');
    expect(await terminal.expect('$ ')).toContain('a\r\nb\r\n');
    terminal.type('echo c\\\rd\r');
    await terminal.expect('cd\r\n');
    terminal.type('for i in 1 2; do\recho n$i\rdone\r');
    await terminal.expect('n1\r\nn2\r\n');
    terminal.type('echo )\r');
    expect(await terminal.expect('[2] ')).toContain("syntax error: unexpected token ')'");
  });

  test('keys edit as in bash, history comes back with arrows and Ctrl-R, wide characters keep the cursor', async () => {
    await using terminal = await open({ columns: 60 });
    terminal.type('ehco one\x01\x1b[C\x1b[C\x14\r');
    await terminal.expect('2004lone\r\n');
    terminal.type('echo two\r');
    await terminal.expect('2004ltwo\r\n');
    await terminal.expect('$ ');
    terminal.type('\x1b[A\x1b[A\r');
    await terminal.expect('2004lone\r\n');
    terminal.type('\x12tw');
    await terminal.expect("reverse-i-search)`tw'");
    terminal.type('\r');
    await terminal.expect('2004ltwo\r\n');
    terminal.type('echo 日本語\x1b[D\x1b[DX\x05!\r');
    await terminal.expect('2004l日X本語!\r\n');
    await terminal.expect('$ ');
    terminal.type(`echo ${'w'.repeat(80)}\x01\x1b[C\x1b[C\x1b[C\x1b[C\x1b[C<\x05>`);
    await terminal.expect('>');
    terminal.resize(40, 30);
    terminal.type('\x01\x05\x7f');
    await terminal.expect('<');
    await new Promise((resolve) => setTimeout(resolve, 200));
    const screen = (await terminal.screen()).replaceAll('\n', '');
    expect(screen.endsWith(`:~$ echo <${'w'.repeat(80)}`)).toBe(true);
    terminal.type('\x03');
    await terminal.expect('^C');
    await terminal.expect('[130] ');
    terminal.type('\x0c');
    await terminal.expect('\x1b[2J');
    terminal.type('\x04');
    await terminal.expect('logout');
    expect(await terminal.exit).toBe(130);
  });

  test('Ctrl-C interrupts a command, a second one stops what ignores it, and the prompt comes back', async () => {
    await using terminal = await open();
    terminal.type('sleep 30\r');
    await terminal.expect('sleep 30\r\n');
    // The account of the tests is root, where sshd sends no signals: the first press asks, the second one stops.
    await until(() => texts().at(-1) === 'sleep 30');
    terminal.type('\x03');
    await terminal.expect('^C');
    const start = Date.now();
    terminal.type('\x03');
    await terminal.expect(/\[\d+\] .*\$ $/u);
    expect(Date.now() - start).toBeLessThan(6000);
    terminal.type('echo alive\r');
    await terminal.expect('2004lalive\r\n');
  });

  (ordinaryAccount === null ? test.skip : test)('one Ctrl-C interrupts a command of an ordinary account', async () => {
    // An account without a password is locked for sshd itself, and not for PAM; it reads the keys as the account.
    await using server = await startOpenSsh(process.getuid?.() === 0 ? { config: ['UsePAM yes'] } : {});
    chmodSync(server.folder, 0o755);
    await using ordinary = await startShellDoor({ sshd: { ...server, account: ordinaryAccount ?? '' }, policy: { rules } });
    await using terminal = startTerminal(['ssh', ...sshOptions(ordinary.port), `${ordinaryAccount}@127.0.0.1`]);
    await terminal.expect('~$ ');
    terminal.type('echo begun; sleep 30\r');
    await terminal.expect('2004lbegun\r\n');
    const start = Date.now();
    terminal.type('\x03');
    await terminal.expect('[130] ');
    expect(Date.now() - start).toBeLessThan(1500);
    expect(ordinary.events.at(-1)?.facts).toMatchObject({ exit_signal: 'INT', exit_seen: true, stop_requested: false });
  });

  test('Tab completes files where the policy lets ls be run, programs that rules name, and says what fits', async () => {
    await using terminal = await open();
    terminal.type(`cd ${folder}\r`);
    await terminal.expect(`${folder}$ `);
    terminal.type('cat be\t');
    await terminal.expect('ta\\ file ');
    terminal.type('\x15cat al\t');
    await terminal.expect('cat alp');
    terminal.type('\t');
    await terminal.expect(/alpha\.txt +alpine\.txt\r\n/u);
    terminal.type('h\t');
    await terminal.expect('alpha.txt ');
    terminal.type('\x15ls "a d\t');
    await terminal.expect('ir/');
    terminal.type('in\t"\r');
    await terminal.expect(`${folder}$ `);
    terminal.type('sl\t1\r');
    await terminal.expect('sleep 1');
    await until(() => texts().at(-1) === 'sleep 1');
    expect(door.events.filter(({ facts }) => facts['completion'] === true && facts['text'] === 'ls -1Ap').length).toBeGreaterThan(0);
    expect(texts()).toContain('ls "a dir/inner/"');
  });

  test('an output without a line end is not overwritten by the prompt', async () => {
    await using terminal = await open();
    terminal.type('printf abc\r');
    await terminal.expect('abc\r\n');
    await terminal.expect('$ ');
    expect(await terminal.screen()).toMatch(/\nabc\n.*\$$/u);
  });

  test('without a terminal lines come from standard input one by one, without prompt or echo; the last status is the exit status', async () => {
    const run = await runSsh(door.port, ['-T', `${sshd.account}@127.0.0.1`], { input: `cd ${folder}\npwd\nfor i in 1 2\ndo echo n$i\ndone\ncat <<X\nhere\nX\nfalse` });
    expect([run.stdout.toString(), run.stderr.toString(), run.status]).toEqual([`${folder}\nn1\nn2\nhere\n`, '', 1]);
  });

  test('without a terminal a refusal ends the shell: nothing behind it runs', async () => {
    const run = await runSsh(door.port, [`${sshd.account}@127.0.0.1`], { input: 'echo one\nrm -rf /nowhere\necho two\n' });
    expect([run.stdout.toString(), run.status]).toEqual(['one\n', 126]);
    expect(run.stderr.toString()).toContain('[COMMAND_NOT_ALLOWED]');
  });

  test('output passes whole, with LF on a pipe and CRLF on a terminal', async () => {
    const lines = Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join('');
    const run = await runSsh(door.port, ['-T', `${sshd.account}@127.0.0.1`], { input: 'seq 200000\n' });
    expect(run.stdout.toString() === lines).toBe(true);
    await using terminal = await open();
    terminal.type('seq 2\r');
    await terminal.expect('1\r\n2\r\n');
  });
});

async function until(condition: () => boolean, limitMs = 5000): Promise<void> {
  for (const end = Date.now() + limitMs; !condition();) {
    if (Date.now() > end) throw new Error('it did not come to pass');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
