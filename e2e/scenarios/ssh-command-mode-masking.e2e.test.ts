import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findAsset } from '../../tools/e2e-assets.ts';
import { type OpenSsh, runSsh, sshOptions, startOpenSsh } from '../hosts/openssh.ts';
import { type ShellDoor, startShellDoor } from '../hosts/ssh-shells.ts';
import { startTerminal } from '../hosts/terminal.ts';

const card = '4539578763621486';
const email = 'jane.roe@bank.example';
/** Writes a file in two pieces, each in a packet of its own: what is given as the cut, and the stream. */
const drip = '#!/usr/bin/python3\nimport sys,time\nf=open(sys.argv[1],"rb").read()\nn=int(sys.argv[2])\no=sys.stderr.buffer if sys.argv[3]=="err" else sys.stdout.buffer\no.write(f[:n]); o.flush(); time.sleep(0.012); o.write(f[n:]); o.flush()\n';

(['sshd', 'ssh', 'ssh-native'].some((name) => findAsset(name as 'ssh') === null) ? describe.skip : describe)('masking in a shell at CommandMode', () => {
  let sshd: OpenSsh;
  let door: ShellDoor;
  let folder: string;
  beforeAll(async () => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'sallyport-masking-')));
    writeFileSync(join(folder, 'plain.txt'), `card ${card}, mail ${email}.\n`);
    writeFileSync(join(folder, 'coloured.txt'), `card \x1b[31m${card.slice(0, 6)}\x1b[0m${card.slice(6)}\x1b[m end\n`);
    writeFileSync(join(folder, `${card}.csv`), '');
    writeFileSync(join(folder, 'drip'), drip, { mode: 0o755 });
    sshd = await startOpenSsh();
    door = await startShellDoor({
      sshd, policy: {
        masking: [{ detectors: ['payment-card', 'email'], columns: null, style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny' }],
        rules: [
          { name: 'prompt', action: 'Allow', ssh: { level: 'CommandMode' } },
          { name: 'look', action: 'Allow', ssh: { commands: ['cat **', 'ls **', 'cd *', 'echo **', `${folder}/drip **`] } },
          { name: 'terminal', action: 'Allow', ssh: { commands: ['head **'], pty: true } },
        ],
      },
    });
  });
  afterAll(async () => {
    await door[Symbol.asyncDispose]();
    await sshd[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  test('values reach neither screen nor recording nor record: in output, in what was typed, on a terminal of a program, in completions', async () => {
    await using terminal = startTerminal(['ssh', ...sshOptions(door.port), '-tt', `${sshd.account}@127.0.0.1`]);
    await terminal.expect('~$ ');
    terminal.type(`cd ${folder}\r`);
    await terminal.expect(`${folder}$ `);
    for (const line of ['cat plain.txt', 'cat coloured.txt', 'head -n 1 plain.txt', 'ls']) {
      terminal.type(`${line}\r`);
      expect(await terminal.expect(`${folder}$ `)).toContain('**********');
    }
    terminal.type('ls 45\t');
    await terminal.expect('\x07');
    const beforeTyping = terminal.output();
    expect(beforeTyping).not.toContain(card);
    expect(beforeTyping).not.toContain(email);
    expect(beforeTyping).not.toContain(card.slice(6));
    // What the user types is theirs to see; it is stored nowhere.
    terminal.type(`\x15echo ${card}\r`);
    await terminal.expect(`${folder}$ `);
    terminal.type(`rm ${card}\r`);
    await terminal.expect('[126] ');
    terminal.type(`echo ${card}\x15echo gone\r`);
    await terminal.expect('2004lgone');
    for (const value of [card, email, card.slice(0, 12), card.slice(6)]) expect(door.recorded()).not.toContain(value);
  });

  test('split over two packets at every byte, through colours, on stdout and stderr, no value passes', async () => {
    for (const stream of ['out', 'err']) {
      const bytes = `card \x1b[31m${card.slice(0, 6)}\x1b[0m${card.slice(6)}\x1b[m end\n`.length;
      const lines = Array.from({ length: bytes + 1 }, (_, cut) => `${folder}/drip ${folder}/coloured.txt ${cut} ${stream}\n`).join('');
      const run = await runSsh(door.port, ['-T', `${sshd.account}@127.0.0.1`], { input: lines, limitMs: 55_000 });
      expect([run.status, run.stderr.toString().includes('sallyport')]).toEqual([0, false]);
      const text = (stream === 'out' ? run.stdout : run.stderr).toString();
      expect(text.split('\n').filter((line) => line.endsWith(' end')).length).toBe(bytes + 1);
      expect(text.replaceAll(/\x1b\[\d*m/gu, '')).not.toMatch(/\d{5}/u);
      expect(door.recorded().replaceAll(/\\+u001b\[\d*m/gu, '')).not.toContain(card);
    }
  }, 120_000);
});
