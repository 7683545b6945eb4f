import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { answer, shown } from '../../e2e/hosts/people.ts';
import { startSshWorld, type SshWorld } from '../../e2e/hosts/ssh-world.ts';
import { nativeProblem } from '../../sidecar/ssh/native.ts';
import type { Shown } from './clients.ts';

/** How a demo tells its story. */
export interface Telling {
  readonly say: (text: string) => void;
  readonly step: (title: string) => void;
  readonly show: (shown: Shown, expected: (text: string, failed: boolean) => boolean) => void;
}

const rules = [
  { name: 'look', action: 'Allow', ssh: { commands: ['uptime', 'id -un', 'printf **'] } },
  { name: 'no-rm', action: 'Deny', ssh: { commands: ['rm -rf'] } },
  { name: 'privileged', action: 'RequireApproval', ssh: { commands: ['date **'] }, approval: { groups: ['leads'], required: 1 } },
];

/** The same with SSH, where the machine has what it takes; else it says what is left out. */
export async function sshStory(telling: Telling): Promise<void> {
  const missing = whatIsMissing();
  if (missing !== null) {
    telling.step('SSH is left out');
    telling.say(`  ${missing}`);
    return;
  }
  telling.say('\nStarting an sshd of its own and a gateway for it …');
  await using world = await startSshWorld({ rules, policy: { masking: [{ detectors: ['payment-card'], style: 'Redact' }] } });
  telling.step('The same engineer logs in to a host with stock ssh: the token is the password, the account is on the target');
  telling.show(await run(world, telling, 'uptime'), (text, failed) => !failed && text.includes('load average'));

  telling.step('What no rule allows, and what a rule denies, is refused before the host sees it');
  telling.show(await run(world, telling, 'rm -rf /srv/data'), (text) => text.includes('COMMAND_DENIED'));
  telling.show(await run(world, telling, 'echo $(id)'), (text) => text.includes('COMMAND_NOT_ALLOWED'));

  telling.step('A card number in the output of a command is masked, also where colours cut it in two');
  telling.show(await run(world, telling, "printf 'card 45391\\033[31m48803436467\\033[0m\\n'"), (text) => text.includes('****') && !text.includes('48803436467'));

  telling.step('A command is held until a lead approves exactly this text');
  telling.say(`  $ ssh ${world.sshd.account}@web-1 date -u`);
  const waiting = await world.open(['date -u']);
  const request = (await waiting.says(/; (areq-[a-z0-9]+);/))[1] ?? '';
  const approver = await world.token('approver');
  telling.say(`  the approver sees: ${JSON.stringify((await shown(world, approver, request))?.statement?.text)}`);
  await answer(world, approver, request, 'approve', { reason: 'go on' });
  const { status } = await waiting.ended;
  telling.show({ text: `${waiting.stderr()}${waiting.stdout()}`.trimEnd(), failed: status !== 0 }, (text, failed) => !failed && text.includes('approved') && text.includes('UTC'));
}

function whatIsMissing(): string | null {
  const problem = nativeProblem();
  if (problem !== null) return `${problem}.`;
  if (!existsSync('/usr/sbin/sshd')) return 'there is no sshd on this machine (Debian: openssh-server).';
  return spawnSync('ssh', ['-V']).status === 0 ? null : 'there is no ssh on this machine (Debian: openssh-client).';
}

async function run(world: SshWorld, telling: Telling, command: string): Promise<Shown> {
  telling.say(`  $ ssh ${world.sshd.account}@web-1 ${JSON.stringify(command)}`);
  const { status, stdout, stderr } = await world.ssh([command]);
  // A colour of the output is not one of the demo's.
  return { text: `${stdout.toString()}${stderr.toString()}`.trimEnd().replaceAll('\u001b', '\\e'), failed: status !== 0 };
}
