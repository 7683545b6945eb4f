import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findAsset } from '../../tools/e2e-assets.ts';
import { runClient } from '../hosts/clients.ts';
import { type SshWorld, startSshWorld } from '../hosts/ssh-world.ts';

const isPossible = (['ssh-native', 'sshd', 'ssh'] as const).every((name) => findAsset(name) !== null);
const scenario = isPossible ? describe : describe.skip;
const program = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));

/** Harmless where they run: echo, printf, true, false, id, seq, cat and test alone do. */
const texts: readonly string[] = [
  'true', 'false', 'id -un', 'id', 'echo a b', 'echo rm -rf /', "printf '%s' x", '# nothing', 'true; false', 'true && echo x || echo y', 'echo a | cat', 'echo "$(id -un)"', 'echo $(true)', 'for i in 1 2; do echo $i; done', '(true)', '{ true; }',
  'f() { echo f; }; f', 'if true; then echo x; fi', 'nice true', 'env true', 'env A=1 id -un', 'timeout 5 true', 'sh -c "echo x"', "sh -c 'rm -rf /nonexistent'", 'sh -c "echo $x"', '/bin/echo x', './echo x', '/tmp/echo x', 'echo x >/dev/null', 'echo x >&2',
  'echo x > /srv/drop/a', 'echo x > /tmp/sallyport-policy-test', 'echo x > "$HOME/x"', 'PATH=/tmp echo x', 'LD_PRELOAD=x echo y', 'A=1 echo x', '$X', 'ec""ho x', 'e$x', "echo 'unfinished", 'echo x &', 'true\nfalse', 'cat <<E\nx\nE', 'cat <<E\nx',
  'rm -rf /nonexistent', 'rm -fr /nonexistent', 'rm --rec --force /nonexistent', 'rm -r $x', 'command rm -rf /nonexistent', 'xargs rm -rf </dev/null', 'find /nonexistent -exec rm -rf {} +', 'eval "rm -rf /nonexistent"', 'true; shutdown now', 'shutdown',
  'echo $((1+1))', "echo $((a[\$(id)]))", 'test -v x', 'read x', 'python3 -c 1', 'vim x', 'eval "$x"', '. /tmp/x', 'alias a=b', 'seq 3', 'seq 1 3', 'seq $n', 'uname', 'uname -a',
  'sudo true', 'sudo -u nobody id', 'sudo rm -rf /nonexistent', 'sudo -e x', 'echo x; sudo true', 'git-upload-pack /srv/other', 'rsync --server --sender -logDtpre.iLsfxCIvu . /home', '\u202eecho x', 'echo \u200b', 'еcho x',
];

let world: SshWorld;

beforeAll(async () => {
  if (!isPossible) return;
  world = await startSshWorld({
    rules: [
      { name: 'look', action: 'Allow', ssh: { commands: ['true', 'false', 'id **', 'echo **', 'printf **', 'cat', 'seq *', 'sh **', 'test **', 'read **', 'uname', 'eval **', 'find **', 'xargs **', 'rm -r *'] } },
      { name: 'no-root', action: 'Deny', ssh: { commands: ['rm -rf', 'shutdown'] } },
      { name: 'privileged', action: 'RequireApproval', ssh: { commands: ['sudo'] }, approval: { groups: ['leads'], required: 1 } },
      { name: 'drop', action: 'Allow', ssh: { files: { operations: ['Read', 'Write'], paths: ['/srv/drop/**'] } } },
    ],
  });
}, 60_000);
afterAll(async () => world?.[Symbol.asyncDispose]());

/** What the gateway did: ran it, held it (then it is cancelled), or refused it with a code. */
async function lived(text: string): Promise<string> {
  const run = await world.open([text], { options: ['-n'] });
  const said = /\[([A-Z_]+)\]\n/;
  const held = run.says(/held: rule "([^"]+)"/).then(([, rule = '']) => `RequireApproval oncall/${rule}`, () => null);
  const ended = run.ended.then(() => {
    const code = /^sallyport: .*/m.test(run.stderr()) ? said.exec(run.stderr())?.[1] : undefined;
    return code === undefined ? 'Allow' : `Deny ${code}`;
  });
  const first = await Promise.race([ended, held.then((rule) => rule ?? ended)]);
  run.child.kill('SIGTERM');
  await run.ended;
  return first;
}

scenario('sallyport policy test', () => {
  test('says of every text what the gateway does with it', async () => {
    const file = join(world.root, 'cases.yaml');
    const listed = texts.map((command) => ({ name: command, command }));
    writeFileSync(file, JSON.stringify({ defaults: { as: { user: 'eng@bank.example', groups: ['sre'] }, target: 'web', account: world.sshd.account }, cases: listed }));
    const asked = await runClient(process.execPath, ['--disable-warning=ExperimentalWarning', program, 'policy', 'test', '--json', world.configDirectory, file], { PATH: process.env['PATH'] ?? '' }, '');
    expect(asked.err).toContain(`${texts.length} cases, 0 not as expected`);
    const foretold = asked.out.trimEnd().split('\n').map((line) => JSON.parse(line) as { readonly name: string; readonly verdict: string; readonly code: string | null; readonly rule: string | null });
    const worded = foretold.map(({ name, verdict, code, rule }) => [name, verdict === 'Deny' ? `Deny ${code ?? ''}` : verdict === 'RequireApproval' ? `RequireApproval ${rule ?? ''}` : 'Allow']);
    // Every verdict is among them, or the test would show little.
    expect(new Set(worded.map(([, verdict]) => verdict))).toEqual(new Set(['Allow', 'Deny COMMAND_DENIED', 'Deny COMMAND_NOT_ALLOWED', 'Deny COMMAND_UNKNOWN', 'Deny FILE_DENIED', 'RequireApproval oncall/privileged']));
    const real: (readonly [string, string])[] = [];
    for (let at = 0; at < texts.length; at += 4) real.push(...await Promise.all(texts.slice(at, at + 4).map(async (text) => [text, await lived(text)] as const)));
    expect(real).toEqual(worded);
  }, 180_000);
});
