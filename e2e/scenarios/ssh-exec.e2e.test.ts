import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findAsset } from '../../tools/e2e-assets.ts';
import { sshEvents } from '../hosts/ssh-events.ts';
import { type SshWorld, startSshWorld, usualRule } from '../hosts/ssh-world.ts';

const isPossible = (['ssh-native', 'sshd', 'ssh'] as const).every((name) => findAsset(name) !== null);
const scenario = isPossible ? describe : describe.skip;

let world: SshWorld;

beforeAll(async () => {
  if (!isPossible) return;
  world = await startSshWorld({
    rules: [
      { ...usualRule, ssh: { commands: [...usualRule.ssh.commands, 'cat **', 'kill **', 'wc **', 'tty', 'wait'] } },
      { name: 'screen', action: 'Allow', ssh: { commands: ['stty size'], pty: true } },
      { name: 'no-root', action: 'Deny', ssh: { commands: ['rm -rf'] } },
    ],
  });
}, 60_000);
afterAll(async () => world?.[Symbol.asyncDispose]());

const text = (bytes: Buffer): string => bytes.toString('utf8');

scenario('a command', () => {
  test('runs under the account that was asked for; output, errors and exit status are its own', async () => {
    const runs = await Promise.all([world.ssh(['id -un']), world.ssh(['echo out; echo err >&2; false']), world.ssh(['true'])]);
    expect(runs.map(({ status, stdout, stderr }) => [status, text(stdout), text(stderr)])).toEqual([[0, `${world.sshd.account}\n`, ''], [1, 'out\n', 'err\n'], [0, '', '']]);
  });

  test('that ends by a signal says so', async () => {
    const { status, stderr } = await world.ssh(['kill -KILL $$'], { logLevel: 'INFO' });
    expect([status, text(stderr)]).toEqual([255, expect.not.stringContaining('sallyport')]);
  });

  test('whose client has nothing to say, or says it at once and ends, gets an end of input', async () => {
    const runs = await Promise.all([world.ssh(['cat'], { options: ['-n'] }), world.ssh(['cat'], { input: 'x\n' }), world.ssh(['wc -c'], { input: Buffer.alloc(5_000_000, 97) })]);
    expect(runs.map(({ status, stdout }) => [status, text(stdout)])).toEqual([[0, ''], [0, 'x\n'], [0, '5000000\n']]);
  });

  test('is refused with policy, rule, code, what to do, and 126', async () => {
    const { status, stdout, stderr } = await world.ssh(['rm -rf /tmp/x']);
    expect([status, text(stdout)]).toEqual([126, '']);
    expect(text(stderr)).toBe('sallyport: command denied by policy "oncall", rule "no-root" [COMMAND_DENIED]\nhint: ask the owners of the policy, or run a command that a rule allows\n');
  });

  test.each([
    ['that no rule allows', 'shutdown now', 'COMMAND_NOT_ALLOWED'], ['that cannot be known', 'cat x; $X', 'COMMAND_UNKNOWN'], ['with a parse error', 'echo "unfinished', 'COMMAND_UNKNOWN'],
    ['with a control character', 'echo a\u0007b', 'COMMAND_INVALID'],
  ])('%s does not reach the target', async (_name, command, code) => {
    const before = world.sshd.log().length;
    const { status, stdout, stderr } = await world.ssh([command]);
    expect([status, text(stdout), text(stderr)]).toEqual([126, '', expect.stringContaining(`[${code}]`)]);
    expect(world.sshd.log().slice(before)).not.toContain('Starting session');
  });

  test('leaves intent and result in the log, the intent first', async () => {
    await world.ssh(['echo recorded; false']);
    const all = await sshEvents(world);
    const intent = all.find(({ text: command }) => command === 'echo recorded; false');
    const events = all.filter(({ session, code }) => session === intent?.session && code.startsWith('exec.'));
    expect(events.map(({ code }) => code)).toEqual(['exec.intent', 'exec.result']);
    expect(events[1]?.facts).toMatchObject({ exit_status: 1, bytes_out: 9, stop_requested: false });
  });
});

scenario('bytes', () => {
  test('20 MB on standard output, then 20 MB on standard error, arrive as they are with the exit status, ten times', async () => {
    const [out, err] = [randomBytes(20_000_000), randomBytes(20_000_000)];
    const [outFile, errFile] = [join(world.root, 'out.bin'), join(world.root, 'err.bin')];
    writeFileSync(outFile, out);
    writeFileSync(errFile, err);
    for (let round = 0; round < 10; round += 1) {
      const run = await world.ssh([`cat ${outFile}; cat ${errFile} >&2; false`]);
      expect([run.status, run.stdout.equals(out), run.stderr.equals(err)]).toEqual([1, true, true]);
    }
  }, 300_000);

  test('70 MB on both at once arrive as they are', async () => {
    const bytes = randomBytes(35_000_000);
    const file = join(world.root, 'both.bin');
    writeFileSync(file, bytes);
    const run = await world.ssh([`cat ${file} >&2 & cat ${file}; wait`]);
    expect([run.status, run.stdout.equals(bytes), run.stderr.equals(bytes)]).toEqual([0, true, true]);
  }, 180_000);

  test('of 30 MB through cat and back are the same', async () => {
    const bytes = randomBytes(30_000_000);
    const run = await world.ssh(['cat'], { input: bytes });
    expect([run.status, run.stdout.equals(bytes)]).toEqual([0, true]);
  }, 180_000);
});

scenario('the environment', () => {
  test('passes LANG, LC_* and TERM; what could change a program is dropped, and named in the record', async () => {
    const { stdout } = await world.ssh(['printenv LANG LC_TIME PATH LD_PRELOAD BASH_ENV'], { options: ['-o', 'SetEnv LANG=C.UTF-8 LC_TIME=C BASH_ENV=/tmp/x LD_PRELOAD=/tmp/y.so PATH=/tmp GIT_SSH=z'] });
    const lines = text(stdout).split('\n');
    expect([lines.slice(0, 2), text(stdout).includes('/tmp/x'), text(stdout).includes('/tmp/y'), lines.some((line) => line === '/tmp')]).toEqual([['C.UTF-8', 'C'], false, false, false]);
    const [intent] = (await sshEvents(world)).filter(({ text: command }) => command?.startsWith('printenv LANG') === true);
    expect(intent?.facts).toMatchObject({ environment: ['LANG', 'LC_TIME'], dropped_environment: ['BASH_ENV', 'LD_PRELOAD', 'PATH', 'GIT_SSH'] });
  });
});

scenario('a terminal', () => {
  test('is given only to commands of a rule with pty; others get CRLF and no input', async () => {
    const [without, withPty] = await Promise.all([world.ssh(['tty; echo a'], { options: ['-tt'] }), world.ssh(['stty size'], { options: ['-tt'] })]);
    expect([text(without.stdout), without.status]).toEqual(['not a tty\r\na\r\n', 0]);
    expect([withPty.status, text(withPty.stdout)]).toEqual([0, expect.stringMatching(/^\d+ \d+\r\n$/)]);
  });
});
