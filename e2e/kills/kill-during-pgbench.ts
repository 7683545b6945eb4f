import { execFileSync } from 'node:child_process';
import type pg from 'pg';
import { connectDirect, conninfo, directEnv, eventually, libpqEnv, type LiveProgram, startClient } from '../hosts/clients.ts';
import { startWorld, type World } from '../hosts/gateway.ts';
import { sallyport, sessionEnds } from '../hosts/sallyport.ts';
import { compareServerWithRecords, type ServerAgainstRecords } from '../hosts/unrecorded.ts';

/** What the kills left behind. */
export interface KillsReport extends ServerAgainstRecords {
  readonly kills: number;
  /** Exit status and text of `sallyport audit verify` on the data directory after the last restart and a drain. */
  readonly verified: { readonly exit: number | null; readonly text: string };
  /** Sessions of the records by how they ended. */
  readonly ends: Readonly<Record<string, number>>;
}

/**
 * Runs pgbench's TPC-B through the gateway in simple and in extended mode at once, sends SIGKILL to the gateway at a random moment, starts it again on the same
 * data directory, and repeats. The moments come from `random` (0 to 1) and reach from the first login to some hundred transactions later.
 */
export async function killDuringPgbench(options: { readonly kills: number; readonly pgbench: string; readonly random: () => number; readonly onKill?: (done: number) => void }): Promise<KillsReport> {
  await using world = await startWorld();
  execFileSync(options.pgbench, ['-i', '-q', '-s', '1'], { env: directEnv(world.postgres), stdio: 'pipe' });
  const token = await world.token('engineer');
  const watcher = await connectDirect(world.postgres);
  for (let done = 1; done <= options.kills; done++) {
    const benches = ['simple', 'extended'].map((mode) => startPgbench(world, options.pgbench, mode, token));
    await atRandomMoment(watcher, options.random);
    await world.gateway.kill();
    await Promise.all(benches.map((bench) => bench.ended));
    await world.restart();
    options.onKill?.(done);
  }
  await watcher.end();
  await world.gateway.stop();
  return { kills: options.kills, ...(await compareServerWithRecords(world.postgres, world.dataDirectory)), verified: await sallyport(['audit', 'verify', '--data', world.dataDirectory]), ends: await sessionEnds(world.dataDirectory) };
}

function startPgbench(world: World, pgbench: string, mode: string, token: string): LiveProgram {
  return startClient(pgbench, ['-n', '-M', mode, '-c', '2', '-T', '60', '-P', '1', conninfo(world)], libpqEnv(token));
}

/** A fifth of the kills may fall into logins, the others come up to 700 ms after the first transactions of both. */
async function atRandomMoment(watcher: pg.Client, random: () => number): Promise<void> {
  const running = "select count(*) from pg_stat_activity where application_name like 'sallyport/%' and query ~ '^(BEGIN|UPDATE|SELECT abalance|INSERT|END)'";
  const isLogin = random() < 0.2;
  if (!isLogin) await eventually('pgbench runs', async () => Number((await watcher.query<{ count: string }>(running)).rows[0]?.count) >= 3, 20_000);
  await new Promise((resolve) => setTimeout(resolve, random() * (isLogin ? 400 : 700)));
}
