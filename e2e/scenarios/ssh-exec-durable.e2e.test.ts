import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { findAsset } from '../../tools/e2e-assets.ts';
import { eventually } from '../hosts/clients.ts';
import { sshEvents, verifyEvidence } from '../hosts/ssh-events.ts';
import { type SshWorld, startSshWorld } from '../hosts/ssh-world.ts';

const isPossible = (['ssh-native', 'sshd', 'ssh'] as const).every((name) => findAsset(name) !== null);
const scenario = isPossible ? describe : describe.skip;
const touches = [{ name: 'marks', action: 'Allow', ssh: { commands: ['touch **', 'cat **', 'echo **', 'seq *', 'sleep *'] } }];

/** Clients that run commands, one after another, each of which leaves a mark; until `over`. */
async function makeMarks(world: SshWorld, marks: string, name: string, over: AbortSignal): Promise<void> {
  for (let number = 0; !over.aborted; number += 1) await world.ssh([`touch ${join(marks, `${name}-${number}`)}`], { limitMs: 3_000 });
}

/** Marks that the target saw and no intent names. */
async function unrecorded(world: SshWorld, marks: string): Promise<readonly string[]> {
  const texts = new Set((await sshEvents(world)).filter(({ code }) => code === 'exec.intent').map(({ text }) => text));
  return readdirSync(marks).filter((mark) => !texts.has(`touch ${join(marks, mark)}`));
}

scenario('a gateway that is killed at any point', () => {
  test('has an intent for every command that the target saw, and its log verifies after the next start', async () => {
    await using world = await startSshWorld({ rules: touches });
    const marks = join(world.root, 'marks');
    mkdirSync(marks);
    for (let round = 0; round < 8; round += 1) {
      const over = new AbortController();
      const clients = [0, 1, 2].map((client) => makeMarks(world, marks, `${round}-${client}`, over.signal));
      await new Promise((resolve) => setTimeout(resolve, 250 + round * 130));
      over.abort();
      await world.gateway.kill();
      await Promise.all(clients);
      expect(await unrecorded(world, marks)).toEqual([]);
      await world.restart();
    }
    expect(readdirSync(marks).length).toBeGreaterThan(8);
    await world.gateway.stop();
    expect(await verifyEvidence(world)).toMatchObject({ exit: 0 });
  }, 120_000);
});

const tiny = mountTiny();

/** A file system of 6 MiB, or null where none can be mounted. */
function mountTiny(): string | null {
  const directory = mkdtempSync(join(tmpdir(), 'sp-ssh-tiny-'));
  try {
    if (process.getuid?.() !== 0) throw new Error('not root');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', directory], { stdio: 'pipe' });
    return directory;
  } catch {
    rmdirSync(directory);
    return null;
  }
}

(isPossible && tiny !== null ? describe : describe.skip)('a disk that fills up', () => {
  test('stops commands with a reason, also one that runs, before the target sees anything that is not on record; space alone brings the gateway back', async () => {
    const data = join(tiny ?? '', 'data');
    try {
      await using world = await startSshWorld({ rules: touches, dataDirectory: data });
      const marks = join(world.root, 'marks');
      mkdirSync(marks);
      const running = await world.open(['echo begun; sleep 20; seq 2000000']);
      await eventually('it runs', () => running.stdout() === 'begun\n' || null, 30_000);
      const idle = await world.open(['sleep 1; seq 3000000']);
      const filler = join(tiny ?? '', 'filler');
      for (let size = 4_096; size >= 64; size /= 2) {
        try {
          writeFileSync(`${filler}-${size}`, Buffer.alloc(size * 1024, 7));
        } catch {
          // Full at this size: a smaller one may fit.
        }
      }
      const { status } = await idle.ended;
      expect([status === 126 || status === 255, idle.stderr()]).toEqual([true, expect.stringMatching(/\[(?:STORAGE_FULL|RECORDER_FAILED)\]/)]);
      expect((await running.ended).status).toBe(255);
      const refused = await world.ssh([`touch ${join(marks, 'full')}`]);
      expect([refused.status, refused.stderr.toString()]).toEqual([126, expect.stringMatching(/\[(?:STORAGE_FULL|RECORDER_FAILED)\]/)]);
      expect(await unrecorded(world, marks)).toEqual([]);
      for (const name of readdirSync(tiny ?? '')) if (name.startsWith('filler')) rmSync(join(tiny ?? '', name));
      await eventually('it serves again', async () => (await world.ssh([`touch ${join(marks, 'again')}`])).status === 0 || null, 30_000);
      expect([readdirSync(marks), await unrecorded(world, marks)]).toEqual([['again'], []]);
    } finally {
      execFileSync('umount', ['-l', tiny ?? '']);
      rmdirSync(tiny ?? '');
    }
  }, 120_000);
});
