import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type pg from 'pg';
import { connectPg, eventually } from '../hosts/clients.ts';
import { startWorld, type World } from '../hosts/gateway.ts';
import { sallyport, sessionEnds } from '../hosts/sallyport.ts';
import { compareServerWithRecords } from '../hosts/unrecorded.ts';

const disk = fs.mkdtempSync(join(os.tmpdir(), 'sallyport-disk-'));
const unmountable = mount();
if (unmountable !== null) console.log(`skipped: a small file system cannot be mounted here (${unmountable})`);

(unmountable === null ? describe : describe.skip)('a data directory on a disk that fills up (R2, R5)', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ dataDirectory: join(disk, 'data'), serve: ['--reserve-mib', '4', '--min-free-mib', '1'] });
  }, 60_000);
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
    execFileSync('umount', ['-l', disk]);
    fs.rmdirSync(disk);
  });

  test('stops statements with a clear error, forwards nothing that is not recorded, and space alone brings the gateway back', async () => {
    const token = await world.token('engineer');
    const [simple, extended] = [await connectPg(world, token), await connectPg(world, token)];
    expect(await readiness(world)).toEqual([200, 'ok\n']);
    fillUpTo(300_000);

    const refusals = await Promise.all([runUntilRefused(simple, (n) => ({ text: `select ${n} as n` })), runUntilRefused(extended, (n) => ({ text: 'select $1::int as n', values: [n] }))]);
    expect(refusals).toEqual([fullDisk, fullDisk]);
    // The limit of free space is looked at once a second, the failure of a write at once.
    expect(await refusedLogin(world, token)).toEqual(fullDisk);
    expect(await readiness(world)).toEqual([503, 'not ready: STORAGE_FULL\n']);
    expect(await metric(world, 'sallyport_recorder_failures_total{code="STORAGE_FULL"}')).toBe(1);
    const then = await compareServerWithRecords(world.postgres, world.dataDirectory);
    expect(then.unrecorded).toEqual([]);
    expect(then.executed).toBeGreaterThan(10);

    fs.rmSync(join(disk, 'filler'));
    await eventually('the gateway recovers by itself', async () => (await readiness(world))[0] === 200, 20_000);
    const back = await connectPg(world, token);
    expect((await back.query('select 1 as back')).rows).toEqual([{ back: 1 }]);
    await back.end();
    expect(await compareServerWithRecords(world.postgres, world.dataDirectory)).toEqual({ executed: then.executed + 1, sessions: 3, unrecorded: [] });

    await world.gateway.stop();
    expect(await sallyport(['audit', 'verify', '--data', world.dataDirectory])).toEqual({ exit: 0, text: expect.stringContaining('OK: nothing was changed, added or removed') });
    expect(await sessionEnds(world.dataDirectory)).toEqual({ RecorderFailed: 2, ClientClosed: 1 });
  }, 90_000);
});

const fullDisk = { severity: 'FATAL', code: '53100', message: 'the gateway has no space left to record sessions [STORAGE_FULL]', hint: 'tell the platform team' };

/** Runs until the session is ended; the answer of each statement is checked on the way. */
async function runUntilRefused(client: pg.Client, statement: (n: number) => pg.QueryConfig): Promise<object> {
  const ended = new Promise<object>((resolve) => client.on('error', (error) => resolve(words(error))));
  for (let n = 0; n < 100_000; n++) {
    try {
      expect((await client.query<{ n: number }>(statement(n))).rows[0]?.n).toBe(n);
    } catch (error) {
      const said = words(error);
      return 'code' in said && said.code ? said : ended;
    }
  }
  throw new Error('the disk never filled up');
}

async function refusedLogin(world: World, token: string): Promise<object> {
  try {
    await (await connectPg(world, token)).end();
    return { opened: true };
  } catch (error) {
    return words(error);
  }
}

function words(error: unknown): object {
  const { severity, code, message, hint } = error as pg.DatabaseError;
  return { severity, code, message, hint };
}

async function readiness(world: World): Promise<readonly [number, string]> {
  const answer = await fetch(`${world.gateway.httpUrl}/readyz`);
  return [answer.status, await answer.text()];
}

async function metric(world: World, series: string): Promise<number | null> {
  const line = (await (await fetch(`${world.gateway.httpUrl}/metrics`)).text()).split('\n').find((one) => one.startsWith(`${series} `));
  return line === undefined ? null : Number(line.slice(series.length));
}

/** Leaves this many bytes free. */
function fillUpTo(freeBytes: number): void {
  const { bavail, bsize } = fs.statfsSync(disk);
  fs.writeFileSync(join(disk, 'filler'), Buffer.alloc(bavail * bsize - freeBytes, 7));
}

function mount(): string | null {
  if (process.getuid?.() !== 0) return 'not root';
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', disk], { stdio: 'pipe' });
    return null;
  } catch (error) {
    return String(error).slice(0, 200);
  }
}
