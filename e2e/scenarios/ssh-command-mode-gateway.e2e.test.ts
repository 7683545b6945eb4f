import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findAsset } from '../../tools/e2e-assets.ts';
import { eventually } from '../hosts/clients.ts';
import { sshOptions } from '../hosts/openssh.ts';
import { answer } from '../hosts/people.ts';
import { sallyport } from '../hosts/sallyport.ts';
import { sshEvents, verifyEvidence } from '../hosts/ssh-events.ts';
import { sshPolicy, type SshWorld, startSshWorld } from '../hosts/ssh-world.ts';
import { startTerminal, type TerminalSession } from '../hosts/terminal.ts';

const isPossible = (['ssh-native', 'sshd', 'ssh'] as const).every((name) => findAsset(name) !== null);
const approval = { groups: ['leads'], required: 1, decideWithin: '15m' };
const rules = [
  { name: 'prompt', action: 'Allow', ssh: { level: 'CommandMode' } },
  { name: 'raw', action: 'RequireApproval', ssh: { level: 'RawShell' }, approval },
  { name: 'look', action: 'Allow', ssh: { commands: ['echo **', 'pwd', 'cd *', 'sleep *', 'false'] } },
  { name: 'touching', action: 'RequireApproval', ssh: { commands: ['touch **'] }, approval },
];

let world: SshWorld;
let approver: string;

beforeAll(async () => {
  if (!isPossible) return;
  world = await startSshWorld({ rules, target: { level: 'RawShell' } });
  approver = await world.token('approver');
}, 60_000);
afterAll(async () => world?.[Symbol.asyncDispose]());

async function open(options: readonly string[] = []): Promise<TerminalSession> {
  return startTerminal(
    ['ssh', ...options, ...sshOptions(world.port), '-tt', '-o', 'PreferredAuthentications=password', '-o', 'NumberOfPasswordPrompts=1', `${world.sshd.account}@127.0.0.1`],
    { environment: world.askpass(await world.token('engineer')) },
  );
}

(isPossible ? describe : describe.skip)('a shell through the whole gateway', () => {
  test('at CommandMode: lines are intents with results, a hold is approved, the recording plays and verifies', async () => {
    await using terminal = await open();
    await terminal.expect('@web:~$ ');
    expect(terminal.output()).toContain('you are oidc:eng@bank.example');
    terminal.type('cd /tmp\r');
    await terminal.expect('@web:/tmp$ ');
    terminal.type('echo hello there\r');
    await terminal.expect('2004lhello there\r\n');
    const file = join(world.root, 'held');
    terminal.type(`touch ${file}\r`);
    const request = /areq-[a-z0-9]+/u.exec(await terminal.expect(/areq-[a-z0-9]+;/u))?.[0] ?? '';
    expect(existsSync(file)).toBe(false);
    await answer(world, approver, request, 'approve');
    await terminal.expect('@web:/tmp$ ');
    expect(existsSync(file)).toBe(true);
    terminal.type('id\r');
    await terminal.expect('[COMMAND_NOT_ALLOWED]');
    terminal.type('exit 5\r');
    expect(await terminal.exit).toBe(5);

    const events = await sshEvents(world);
    const session = events.find(({ text }) => text === 'echo hello there')?.session;
    const ours = events.filter((event) => event.session === session);
    expect(ours.map(({ code, text }) => (text === null || !code.startsWith('exec') ? code : `${code} ${text.replace(file, 'FILE')}`))).toEqual([
      'session.start', 'shell.start', 'exec.intent cd /tmp', 'exec.result', 'exec.intent echo hello there', 'exec.result', 'exec.held touch FILE', 'exec.intent touch FILE', 'exec.result', 'exec.denied id', 'shell.end', 'session.end',
    ]);
    const played = await sallyport(['replay', session ?? '', '--data', world.dataDirectory, '--text']);
    expect([played.exit, played.text.includes('hello there')]).toEqual([0, true]);
    // A log that is being written ends in the middle of a line now and then.
    await eventually('the log verifies', async () => (await verifyEvidence(world)).exit === 0 || null);
  }, 60_000);

  test('a raw shell that is approved, and both kinds cut within a second of revocation', async () => {
    await using raw = await open(['-o', 'SetEnv=SALLYPORT_LEVEL=RawShell']);
    const request = /areq-[a-z0-9]+/u.exec(await raw.expect(/areq-[a-z0-9]+;/u))?.[0] ?? '';
    await answer(world, approver, request, 'approve');
    await raw.expect('raw shell: recorded');
    await raw.expect(/[$#] $/u);
    raw.type('echo in the ra""w shell\r');
    await raw.expect('in the raw shell');
    await using prompt = await open();
    await prompt.expect('~$ ');
    await using running = await open();
    await running.expect('~$ ');
    running.type('sleep 30\r');
    await eventually('it runs', async () => (await sshEvents(world)).some(({ code, text }) => code === 'exec.intent' && text === 'sleep 30') || null);
    const start = performance.now();
    world.writeConfig('policy.yaml', null);
    for (const terminal of [raw, prompt, running]) {
      await terminal.expect('[SESSION_REVOKED]');
      expect(await terminal.exit).toBe(255);
    }
    expect(performance.now() - start).toBeLessThan(1500);
    const events = await sshEvents(world);
    expect(events.filter(({ code }) => code === 'command.observed').map(({ text }) => text)).toContain('echo in the ra""w shell');
    world.writeConfig('policy.yaml', sshPolicy(rules));
  }, 60_000);
});
