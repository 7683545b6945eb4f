import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findAsset } from '../../tools/e2e-assets.ts';
import { eventually } from '../hosts/clients.ts';
import { readDataDirectory } from '../hosts/gateway.ts';
import { sshOptions } from '../hosts/openssh.ts';
import { sallyport } from '../hosts/sallyport.ts';
import { sshEvents, verifyEvidence } from '../hosts/ssh-events.ts';
import { type SshWorld, startSshWorld } from '../hosts/ssh-world.ts';
import { startTerminal } from '../hosts/terminal.ts';

const isPossible = (['ssh-native', 'sshd', 'ssh'] as const).every((name) => findAsset(name) !== null);
const scenario = isPossible ? describe : describe.skip;
const secret = 'typed-Canary-4711';
const digits = '4539148803436467';

let world: SshWorld;
let session: string;
let cast: string;

beforeAll(async () => {
  if (!isPossible) return;
  world = await startSshWorld({
    rules: [{ name: 'prompt', action: 'Allow', ssh: { level: 'CommandMode' } }, { name: 'raw', action: 'Allow', ssh: { level: 'RawShell' } }],
    target: { level: 'RawShell' }, policy: { masking: [{ detectors: ['payment-card'], style: 'Redact' }] },
  });
  await rawShell();
  const start = await eventually('the session is on record', async () => (await sshEvents(world)).find(({ code }) => code === 'session.end') ?? null);
  session = start.session;
  cast = (await sallyport(['replay', session, '--data', world.dataDirectory, '--asciicast'])).text;
}, 90_000);
afterAll(async () => world?.[Symbol.asyncDispose]());

/** A raw shell in which a password is typed at a prompt without echo, the window grows, and output tries to drive the terminal. */
async function rawShell(): Promise<void> {
  await using terminal = startTerminal(
    ['ssh', ...sshOptions(world.port), '-tt', '-o', 'PreferredAuthentications=password', '-o', 'NumberOfPasswordPrompts=1', '-o', 'SetEnv=SALLYPORT_LEVEL=RawShell', `${world.sshd.account}@127.0.0.1`],
    { environment: world.askpass(await world.token('engineer')) },
  );
  await terminal.expect('raw shell: recorded');
  await terminal.expect(/[$#] $/u);
  terminal.type('read -rsp "Pass""word: " p; echo "got ${#p}"\r');
  await terminal.expect('Password: ');
  terminal.type(`${secret}\r`);
  await terminal.expect(`got ${secret.length}`);
  terminal.resize(132, 50);
  await new Promise((resolve) => setTimeout(resolve, 300));
  terminal.type(`printf '\\033]52;c;eA==\\007\\033[31mred\\033[0m ${digits.slice(0, 6)}\\033[1m${digits.slice(6)}\\033[0m\\n'\r`);
  await terminal.expect('*********');
  terminal.type('exit 7\r');
  expect(await terminal.exit).toBe(7);
  expect(terminal.output()).not.toContain('\u001b]52');
}

scenario('the recording of a raw shell', () => {
  test('is an asciicast v3 with its resize and exit status, and without anything that was typed', () => {
    const [header, ...events] = cast.trimEnd().split('\n').map((line) => JSON.parse(line) as unknown);
    expect(header).toMatchObject({ version: 3, term: { cols: expect.any(Number) as unknown as number }, sallyport: { session, account: world.sshd.account, target: 'web', pty: true } });
    const codes = events.map((event) => (event as [number, string, string])[1]);
    expect(new Set(codes)).toEqual(new Set(['o', 'r', 'x']));
    expect(events).toContainEqual([expect.any(Number), 'r', '132x50']);
    expect(events.at(-1)).toEqual([expect.any(Number), 'x', '7']);
  });

  test('and no other byte that is stored holds the password, or a masked value', async () => {
    const stored = await readDataDirectory(world.dataDirectory);
    expect([stored.includes('Password: '), stored.includes(secret)]).toEqual([true, false]);
    expect(stored.replaceAll(/\\u001b\[\d*m/g, '').includes(digits)).toBe(false);
    expect(cast).toContain('******\\u001b[1m**********\\u001b[0m');
  });

  test('plays as text, and its records verify', async () => {
    const { exit, text } = await sallyport(['audit', 'play', session, '--data', world.dataDirectory, '--text']);
    expect([exit, text]).toEqual([0, expect.stringContaining(`got ${secret.length}`)]);
    expect(text).toContain('-- exit status 7');
    expect(text).not.toContain('\u001b');
    expect((await verifyEvidence(world)).exit).toBe(0);
  });

  (findAsset('asciinema') === null ? test.skip : test)('opens in asciinema 3', () => {
    const [from, to] = [join(world.root, 'shell.cast'), join(world.root, 'shell.txt')];
    writeFileSync(from, cast);
    const text = execFileSync(findAsset('asciinema')?.path ?? '', ['convert', '--overwrite', '-f', 'txt', from, to], { encoding: 'utf8' });
    expect(text).not.toContain('rror');
    expect(execFileSync('cat', [to], { encoding: 'utf8' })).toContain(`got ${secret.length}`);
  });
});
