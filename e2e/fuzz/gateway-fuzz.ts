import { connect } from 'node:net';
import pg from 'pg';
import { residentMiB } from '../../bench/process-cost.ts';
import type { World } from '../hosts/gateway.ts';
import { openByteClient } from './byte-client.ts';
import { hostileFrontendFrame, hostileStartup } from './hostile-bytes.ts';
import type { Random } from './random.ts';

/** What a run against the real gateway showed. */
export interface GatewayFuzz {
  readonly packets: number;
  readonly frames: number;
  readonly residentMiB: number;
}

/**
 * Hostile startup packets and frames against a running gateway, each connection on its own; between them a control session must answer.
 *
 * @throws when a connection neither ends nor answers within 10 s, when the gateway ends, or when the control session fails.
 */
export async function fuzzGateway(world: World, random: Random, counts: { readonly packets: number; readonly frames: number }): Promise<GatewayFuzz> {
  const token = await world.token('engineer');
  const control = new pg.Client({ host: 'localhost', port: world.port, user: 'control', database: 'postgres', password: token, ssl: { ca: world.ca } });
  await control.connect();
  for (let sent = 0; sent < counts.packets; sent += 5) {
    await Promise.all(Array.from({ length: 5 }, () => startupOnce(world.port, hostileStartup(random))));
    if (sent % 100 === 0) await answers(control, world);
  }
  let frames = 0;
  while (frames < counts.frames) {
    frames += await sessionOnce(world, token, random);
    await answers(control, world);
  }
  await control.end();
  return { packets: counts.packets, frames, residentMiB: residentMiB(world.gateway.child.pid ?? 0) };
}

/** The login deadline is 60 s; who sends half a packet and closes must not wait for it. */
function startupOnce(port: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.end(bytes));
    const late = setTimeout(() => { socket.destroy(); reject(new Error(`no end after the startup packet ${bytes.toString('hex')}`)); }, 10_000);
    socket.on('data', () => undefined);
    socket.on('error', () => undefined);
    socket.once('close', () => { clearTimeout(late); resolve(); });
  });
}

async function sessionOnce(world: World, token: string, random: Random): Promise<number> {
  const client = await openByteClient({ port: world.port, ca: world.ca, user: 'fuzz', database: 'postgres', password: token });
  const frames = Array.from({ length: 1 + random.int(40) }, () => hostileFrontendFrame(random));
  client.socket.write(Buffer.concat(frames));
  client.socket.end();
  if (!(await client.wait(() => false, 10_000))) throw new Error(`a session did not end after ${frames.map((bytes) => bytes.toString('hex')).join(' ')}`);
  client.destroy();
  return frames.length;
}

async function answers(control: pg.Client, world: World): Promise<void> {
  if (world.gateway.child.exitCode !== null) throw new Error(`the gateway ended: ${world.gateway.stderr()}`);
  const { rows } = await control.query<{ one: number }>('select 1 as one');
  if (rows[0]?.one !== 1) throw new Error('the control session got a wrong answer');
}
