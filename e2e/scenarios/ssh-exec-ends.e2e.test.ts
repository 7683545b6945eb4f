import { spawnSync } from 'node:child_process';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { findAsset } from '../../tools/e2e-assets.ts';
import { eventually } from '../hosts/clients.ts';
import { sshEvents } from '../hosts/ssh-events.ts';
import { sshPolicy, type SshWorld, startSshWorld, usualRule } from '../hosts/ssh-world.ts';
import { type OpenSsh, startOpenSsh } from '../hosts/openssh.ts';

const isPossible = (['ssh-native', 'sshd', 'ssh'] as const).every((name) => findAsset(name) !== null);
const scenario = isPossible ? describe : describe.skip;
const approval = { groups: ['leads'], required: 1, decideWithin: '15m' };
const rules = [{ ...usualRule, ssh: { commands: [...usualRule.ssh.commands, 'yes', 'head **', 'trap **'] } }, { name: 'privileged', action: 'RequireApproval', ssh: { commands: ['touch **'] }, approval }];

/** An account that sshd hands signals on for; root's it does not. Null where a mount namespace cannot be made. */
const isRoot = process.getuid?.() === 0;
const ordinary = isRoot ? (spawnSync('unshare', ['-m', 'true']).status === 0 ? 'worker' : null) : userInfo().username;

let sshd: OpenSsh;
let world: SshWorld;

beforeAll(async () => {
  if (!isPossible) return;
  sshd = await startOpenSsh(isRoot && ordinary !== null ? { ordinaryAccount: ordinary } : {});
  world = await startSshWorld({ rules, sharedSshd: sshd, target: { accounts: [...new Set([sshd.account, ordinary ?? sshd.account])] } });
}, 60_000);
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await sshd?.[Symbol.asyncDispose]();
});

const swaps = (): number => world.gateway.stderr().split('"config in force"').length;
async function put(policy: string | null): Promise<void> {
  const before = swaps();
  if (policy === inForce) return;
  inForce = policy ?? '';
  world.writeConfig('policy.yaml', policy);
  await eventually('the config is in force', () => swaps() > before || null);
}

let inForce = sshPolicy(rules);
scenario('a session ends, with a reason on standard error, within a second', () => {
  afterEach(() => put(sshPolicy(rules)));

  test('of the revocation: one that runs, one that is held, one that is idle behind a control socket', async () => {
    const socket = join(world.root, 'mux');
    const running = await world.open(['echo begun; sleep 30']);
    const waiting = await world.open([`touch ${join(world.root, 'never')}`]);
    const idle = await world.open(['true'], { options: ['-M', '-S', socket, '-o', 'ControlPersist=60'] });
    await Promise.all([eventually('it runs', () => running.stdout() === 'begun\n' || null), waiting.says(/areq-/)]);
    const startedMs = performance.now();
    inForce = '';
    world.writeConfig('policy.yaml', null);
    const ends = await Promise.all([running.ended, waiting.ended]);
    for (const { status, atMs } of ends) expect([status, atMs - startedMs < 1_000]).toEqual([255, true]);
    for (const { stderr } of [running, waiting]) expect(stderr()).toMatch(/sallyport: the access that this session rests on was revoked \[SESSION_REVOKED\]\nhint: /);
    await idle.ended;
    await eventually('the control socket is gone', async () => (await (await world.open(['-O', 'check'], { options: ['-S', socket] })).ended).status !== 0 || null);
  }, 30_000);

  test('of the end of its token', async () => {
    // The issuer's clock may be 30 s off.
    const token = await world.issuer.sign({ sub: 'engineer', email: 'eng@bank.example', groups: ['sre'] }, { expiresInSeconds: -26 });
    const run = await world.open(['sleep 30'], { token });
    const { status } = await run.ended;
    expect([status, run.stderr()]).toEqual([255, expect.stringContaining('[SESSION_EXPIRED]')]);
  }, 60_000);

  test('of the time that the policy gives, and not while a command runs when it is idleness', async () => {
    await put(sshPolicy(rules, { limits: { idleTimeout: '1s' } }));
    const run = await world.ssh(['sleep 3; echo still']);
    expect([run.status, run.stdout.toString()]).toEqual([0, 'still\n']);
    await put(sshPolicy(rules, { limits: { sessionDuration: '2s' } }));
    const cut = await world.open(['sleep 30']);
    expect([(await cut.ended).status, cut.stderr()]).toEqual([255, expect.stringContaining('the policy allows sessions of 2 s [SESSION_EXPIRED]')]);
  }, 60_000);
});

scenario('a command is stopped', () => {
  /** What the record says of the command once its client was killed. */
  async function stoppedResult(text: string, options: readonly string[]): Promise<Readonly<Record<string, unknown>>> {
    const run = await world.open([text], { options });
    await eventually('it runs', () => run.stdout() === 'begun\n' || null);
    run.child.kill('SIGKILL');
    await run.ended;
    return eventually('its end is on record', async () => {
      const events = await sshEvents(world);
      const intent = events.findLast((event) => event.code === 'exec.intent' && event.text === text);
      return events.find(({ code, session }) => code === 'exec.result' && session === intent?.session)?.facts;
    });
  }
  const isRunning = (text: string): boolean => spawnSync('pgrep', ['-xf', text]).status === 0;

  test('when its client goes: of root the record claims no exit that was not seen', async () => {
    const facts = await stoppedResult('echo begun; sleep 29.71', []);
    expect(facts).toMatchObject({ stop_requested: true, exit_seen: !isRoot });
  }, 30_000);

  (ordinary === null ? test.skip : test)('when its client goes: of an ordinary account it has ended', async () => {
    const facts = await stoppedResult('echo begun; sleep 29.72', ['-l', ordinary ?? '']);
    expect([facts, isRunning('sleep 29.72')]).toEqual([expect.objectContaining({ stop_requested: true, exit_seen: true }), false]);
  }, 30_000);

  test('at the byte limit of the policy, with a reason: the user gets no more than that', async () => {
    await put(sshPolicy(rules, { limits: { bytesPerStatement: 100_000 } }));
    const run = await world.ssh(['yes']);
    expect([run.status, run.stdout.length, run.stderr.toString()]).toEqual([126, 100_000, expect.stringContaining('[BYTE_LIMIT_REACHED]')]);
    await put(sshPolicy(rules));
  }, 30_000);
});

scenario('a gateway that drains', () => {
  test('lets a command finish and refuses new sessions with a reason', async () => {
    await using going = await startSshWorld({ rules, sharedSshd: sshd, serve: ['--drain-seconds', '20'] });
    const run = await going.open(['echo begun; sleep 2; echo done']);
    await eventually('it runs', () => run.stdout() === 'begun\n' || null);
    going.gateway.child.kill('SIGTERM');
    await eventually('it drains', () => going.gateway.stderr().includes('"draining"') || null);
    const late = await going.ssh(['true']);
    expect([late.status, late.stderr.toString()]).toEqual([126, expect.stringContaining('[DRAINING]')]);
    expect([(await run.ended).status, run.stdout()]).toEqual([0, 'begun\ndone\n']);
  }, 60_000);
});
