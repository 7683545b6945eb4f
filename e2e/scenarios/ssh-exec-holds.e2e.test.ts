import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findAsset } from '../../tools/e2e-assets.ts';
import { eventually } from '../hosts/clients.ts';
import { answer, shown } from '../hosts/people.ts';
import { sshEvents } from '../hosts/ssh-events.ts';
import { type OpenRun, sshPolicy, type SshWorld, startSshWorld, usualRule } from '../hosts/ssh-world.ts';

const isPossible = (['ssh-native', 'sshd', 'ssh'] as const).every((name) => findAsset(name) !== null);
const scenario = isPossible ? describe : describe.skip;
const approval = { groups: ['leads'], required: 1, decideWithin: '15m' };

let world: SshWorld;
let approver: string;
let marks = 0;

beforeAll(async () => {
  if (!isPossible) return;
  world = await startSshWorld({ rules: rules() });
  approver = await world.token('approver');
}, 60_000);
afterAll(async () => world?.[Symbol.asyncDispose]());

function rules(): readonly object[] {
  return [
    usualRule,
    { name: 'privileged', action: 'RequireApproval', ssh: { commands: ['touch **', 'tee **', 'date **'] }, approval },
    { name: 'attached', action: 'RequireApproval', ssh: { commands: ['dd **'], stdin: 'Attach' }, approval },
    { name: 'opaque', action: 'RequireApproval', ssh: { unknown: true }, approval },
  ];
}

/** A file that only a command of its own makes. */
function mark(): string {
  marks += 1;
  return join(world.root, `mark-${marks}`);
}

async function held(run: OpenRun): Promise<string> {
  return (await run.says(/; (areq-[a-z0-9]+);/))[1] ?? '';
}

const phaseOf = async (request: string): Promise<string | undefined> => (await shown(world, approver, request))?.phase;

scenario('a command that needs approval', () => {
  test('says at once which rule, groups, request and deadline, runs once it is approved, and both stand in the log', async () => {
    const file = mark();
    const run = await world.open([`touch ${file}`]);
    const request = await held(run);
    expect(run.stderr()).toMatch(/^sallyport: held: rule "privileged" needs 1 of leads; areq-\S+; decide within 15m; Ctrl-C cancels\nhint: sallyport approve \S+\n$/);
    expect(existsSync(file)).toBe(false);
    expect(await shown(world, approver, request)).toMatchObject({ statement: { text: `touch ${file}`, kind: 'Exec', objects: ['touch'], parameters: [`account=${world.sshd.account}`, 'cwd=~', 'pty=no', 'stdin=closed', 'wrap=no'] } });
    expect(await answer(world, approver, request, 'approve')).toMatch(/ 1\/1$/);
    expect([(await run.ended).status, existsSync(file)]).toEqual([0, true]);
    const all = await sshEvents(world);
    const { session } = all.find(({ code, text }) => code === 'exec.held' && text === `touch ${file}`) ?? { session: '' };
    const events = all.filter((event) => event.session === session);
    expect(events.map(({ code }) => code)).toEqual(['session.start', 'exec.held', 'exec.intent', 'exec.result', 'session.end']);
    expect(events[2]?.line).toContain('oidc:app@bank.example');
  });

  test('is not run when it is denied: 126', async () => {
    const file = mark();
    const run = await world.open([`touch ${file}`]);
    await answer(world, approver, await held(run), 'deny', { reason: 'not today' });
    expect([(await run.ended).status, run.stderr(), existsSync(file)]).toEqual([126, expect.stringContaining('not today [APPROVAL_DENIED]'), false]);
  });

  test('is taken back within a second by Ctrl-C without a terminal: the client goes, and its request with it', async () => {
    const run = await world.open([`touch ${mark()}`]);
    const request = await held(run);
    run.child.kill('SIGINT');
    await run.ended;
    const startedMs = performance.now();
    await eventually('the request is withdrawn', async () => (await phaseOf(request)) === 'Withdrawn' || null);
    expect(performance.now() - startedMs).toBeLessThan(1_000);
  });

  test('is taken back within a second by Ctrl-C on a terminal: 130', async () => {
    const run = await world.open([`touch ${mark()}`], { options: ['-tt'] });
    const request = await held(run);
    const startedMs = performance.now();
    run.child.stdin.write('\u0003');
    const { status, atMs } = await run.ended;
    expect([status, atMs - startedMs < 1_000, run.stderr()]).toEqual([130, true, expect.stringContaining('[HOLD_CANCELLED]\r\n')]);
    expect(await phaseOf(request)).toBe('Withdrawn');
  });

  test('does not run on input that nobody saw', async () => {
    const file = mark();
    writeFileSync(file, 'before');
    const run = await world.open([`tee ${file}`]);
    run.child.stdin.end('after');
    await answer(world, approver, await held(run), 'approve');
    expect([(await run.ended).status, run.stderr(), readFileSync(file, 'utf8')]).toEqual([126, expect.stringContaining('[STDIN_NOT_APPROVED]'), 'before']);
  });

  test('of a rule that attaches input gets what came while it waited, whole', async () => {
    const file = mark();
    const run = await world.open([`dd of=${file} status=none`]);
    run.child.stdin.end('x'.repeat(300_000));
    await answer(world, approver, await held(run), 'approve');
    expect([(await run.ended).status, readFileSync(file, 'utf8').length]).toEqual([0, 300_000]);
  });

  test('that cannot be known for certain is shown with the reason', async () => {
    const run = await world.open(['X=date; $X']);
    const request = await held(run);
    expect((await shown(world, approver, request))?.statement?.parameters.some((parameter) => parameter.startsWith('unknown: '))).toBe(true);
    await answer(world, approver, request, 'deny');
    await run.ended;
  });

  test('holds its own channel only', async () => {
    const socket = join(world.root, 'mux');
    const master = await world.open([`touch ${mark()}`], { options: ['-M', '-S', socket] });
    const request = await held(master);
    const other = await world.open(['echo beside'], { options: ['-S', socket] });
    expect([(await other.ended).status, other.stdout()]).toEqual([0, 'beside\n']);
    await answer(world, approver, request, 'approve');
    expect((await master.ended).status).toBe(0);
  });

  test('is refused, not run, when the policy changes while it waits', async () => {
    const file = mark();
    const run = await world.open([`touch ${file}`]);
    const request = await held(run);
    world.writeConfig('policy.yaml', sshPolicy([...rules(), { name: 'more', action: 'Allow', ssh: { commands: ['hostname'] } }]));
    expect([(await run.ended).status, run.stderr(), existsSync(file)]).toEqual([126, expect.stringMatching(/\[APPROVAL_(?:SUPERSEDED|WITHDRAWN)\]/), false]);
    expect(await answer(world, approver, request, 'approve')).toBe('APPROVAL_CLOSED');
  });
});

scenario('a session that needs approval', () => {
  test('tells its first channel, refuses every other channel and request meanwhile, and opens when it is approved', async () => {
    await using waiting = await startSshWorld({ rules: rules(), policy: { access: { mode: 'OnRequest', approval: { ...approval, grantTTL: '10m' } } }, sharedSshd: world.sshd });
    const socket = join(waiting.root, 'mux');
    const first = await waiting.open(['echo in'], { options: ['-M', '-S', socket, '-R', '0:127.0.0.1:1'] });
    const request = (await first.says(/session held: policy "oncall" needs 1 of leads; (areq-[a-z0-9]+);/))[1] ?? '';
    const second = await waiting.open(['echo second'], { options: ['-S', socket, '-o', 'ProxyCommand=false'] });
    expect((await second.ended).status).not.toBe(0);
    await answer(waiting, await waiting.token('approver'), request, 'approve');
    expect([(await first.ended).status, first.stdout(), second.stdout()]).toEqual([0, 'in\n', '']);
    const refused = (await sshEvents(waiting)).filter(({ code }) => code === 'channel.refused');
    expect(refused.map(({ line }) => /"(session|tcpip-forward)"/.exec(line)?.[1]).sort()).toEqual(['session', 'tcpip-forward']);
  }, 60_000);

  test('ends with 126 when it is denied', async () => {
    await using waiting = await startSshWorld({ rules: rules(), policy: { access: { mode: 'OnRequest', approval: { ...approval, grantTTL: '10m' } } }, sharedSshd: world.sshd });
    const run = await waiting.open(['echo in']);
    const request = (await run.says(/; (areq-[a-z0-9]+);/))[1] ?? '';
    await answer(waiting, await waiting.token('approver'), request, 'deny');
    expect([(await run.ended).status, run.stdout(), run.stderr()]).toEqual([126, '', expect.stringContaining('[APPROVAL_DENIED]')]);
  }, 60_000);
});
