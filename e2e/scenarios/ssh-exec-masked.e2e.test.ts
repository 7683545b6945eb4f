import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findAsset } from '../../tools/e2e-assets.ts';
import { eventually } from '../hosts/clients.ts';
import { readDataDirectory } from '../hosts/gateway.ts';
import { answer } from '../hosts/people.ts';
import { sshEvents, verifyEvidence } from '../hosts/ssh-events.ts';
import { type SshWorld, startSshWorld, usualRule } from '../hosts/ssh-world.ts';

const isPossible = (['ssh-native', 'sshd', 'ssh'] as const).every((name) => findAsset(name) !== null);
const scenario = isPossible ? describe : describe.skip;
const digits = '4539148803436467';

let world: SshWorld;

beforeAll(async () => {
  if (!isPossible) return;
  world = await startSshWorld({
    rules: [
      { ...usualRule, ssh: { commands: [...usualRule.ssh.commands, 'cat *'] } },
      { name: 'raw', action: 'Allow', ssh: { commands: ['gzip **'], output: 'Binary' } },
      { name: 'knowing', action: 'Allow', ssh: { commands: ['base64 **'], output: 'Binary', unmasked: true } },
      { name: 'privileged', action: 'RequireApproval', ssh: { commands: ['touch **'] }, approval: { groups: ['leads'], required: 1 } },
    ],
    policy: { masking: [{ detectors: ['payment-card'], style: 'Redact' }] },
    serve: ['--log-level', 'debug'],
  });
}, 60_000);
afterAll(async () => world?.[Symbol.asyncDispose]());

scenario('under a policy that masks', () => {
  test('a value reaches neither user nor recording, on standard output and error, wherever it is cut and coloured', async () => {
    const pieces = Array.from({ length: 15 }, (_, cut) => `printf ${digits.slice(0, cut + 1)}; sleep 0.01; printf '${digits.slice(cut + 1)}\\n'`);
    const runs = [
      await world.ssh([pieces.join('; ')]), await world.ssh([`{ ${pieces.join('; ')}; } >&2`]), await world.ssh([`printf '45391\\033[31m4880\\033[0m3436467\\n'`]),
    ];
    for (const run of runs) expect([run.status, `${run.stdout.toString()}${run.stderr.toString()}`]).toEqual([0, expect.stringMatching(/\*{4}/)]);
    expect(runs.map((run) => `${run.stdout.toString()}${run.stderr.toString()}`.replaceAll(/\u001b\[\d*m/g, '')).join('\n')).not.toContain(digits.slice(4, 12));
    const stored = await readDataDirectory(world.dataDirectory);
    expect(stored.replaceAll(/\\u001b\[\d*m/g, '')).not.toContain(digits);
  }, 60_000);

  test('output that is no text is cut, and the command stopped', async () => {
    const file = join(world.root, 'binary');
    writeFileSync(file, Buffer.from([0x61, 0x0a, 0x00, 0x62, 0x0a]));
    const run = await world.ssh([`cat ${file}`]);
    expect([run.status, run.stdout.toString(), run.stderr.toString()]).toEqual([126, 'a\n', expect.stringContaining('[OUTPUT_NOT_TEXT]')]);
  }, 30_000);

  test('a byte-exact command needs a rule that lets it pass knowingly', async () => {
    const [refused, passed] = await Promise.all([world.ssh([`gzip -c ${join(world.root, 'binary')}`]), world.ssh([`base64 ${join(world.root, 'binary')}`])]);
    expect([refused.status, refused.stdout.length, refused.stderr.toString()]).toEqual([126, 0, expect.stringContaining('[MASKING_CONFLICT]')]);
    expect([passed.status, passed.stdout.toString()]).toEqual([0, 'YQoAYgo=\n']);
  });

  test('token, credential, and masked values, in command texts, requests and refusals, stand in no log, record, recording and error', async () => {
    const token = await world.token('engineer');
    await world.ssh([`printf '' ${digits} --password hunter2secret`], { logLevel: 'INFO' });
    const refused = await world.ssh([`shutdown ${digits}`]);
    const held = await world.open([`touch /tmp/${digits}`], { token });
    const request = (await held.says(/; (areq-[a-z0-9]+);/))[1] ?? '';
    await answer(world, await world.token('approver'), request, 'deny', { reason: 'no' });
    await held.ended;
    await world.ssh(['true'], { token: `${token.slice(0, -4)}AAAA` });
    await eventually('results are written', async () => (await sshEvents(world)).filter(({ code }) => code === 'session.end').length > 5 || null);
    const stored = [await readDataDirectory(world.dataDirectory), world.gateway.stderr(), world.gateway.stdout(), refused.stderr.toString(), held.stderr()].join('\n');
    for (const canary of [digits, 'hunter2secret', token, token.split('.')[2] ?? 'none', 'OPENSSH PRIVATE KEY']) {
      const files = stored.split('\n').filter((line) => line.includes(canary) && !line.startsWith('-----'));
      expect([canary.slice(0, 6), files.map((line) => line.slice(0, 200))]).toEqual([canary.slice(0, 6), []]);
    }
    await world.gateway.stop();
    expect(await verifyEvidence(world)).toMatchObject({ exit: 0 });
  }, 60_000);
});
