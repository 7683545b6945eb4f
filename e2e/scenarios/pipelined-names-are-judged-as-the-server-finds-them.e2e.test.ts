import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { openByteClient, type ByteClient } from '../fuzz/byte-client.ts';
import { allowEverything, startWorld, type World } from '../hosts/gateway.ts';
import { type Frame, readFields } from '../leaks/raw-client.ts';

// A name means what it means on the server when the message arrives there. A client that pipelines can make the gateway's guess wrong:
// each of these, judged by the last message sent, would run a DELETE that needs an approval as if it were the SELECT.
const policies = allowEverything.replace('rules:', `rules:
  - name: deletes
    action: RequireApproval
    postgres: {statements: [Delete]}
    approval: {groups: [dba], decideWithin: 5m}`);

let world: World;
let client: ByteClient;

beforeAll(async () => {
  world = await startWorld({ policies });
  client = await openByteClient({ port: world.port, ca: world.ca, user: 'me', database: 'postgres', password: await world.token('engineer') });
  await send(write.query('create table kept (a int); insert into kept values (1)'), 1);
}, 60_000);

afterAll(async () => {
  client.destroy();
  await world[Symbol.asyncDispose]();
});

const run = (statement: string): Buffer => Buffer.concat([write.bind('', statement), write.execute(''), write.sync()]);

describe('a DELETE that needs an approval, under a name that the server did not give away', () => {
  test.each<[string, Buffer, Buffer]>([
    ['a Parse of the same name fails, then its Sync', Buffer.concat([write.parse('d', 'delete from kept'), write.sync()]), Buffer.concat([write.parse('d', 'select 1'), write.sync(), run('d')])],
    ['a Parse of the unnamed statement is skipped after an error', Buffer.concat([write.parse('', 'delete from kept'), write.sync()]), Buffer.concat([write.describe('S', 'nope'), write.parse('', 'select 1'), write.sync(), run('')])],
    ['PREPARE of the same name fails', Buffer.concat([write.parse('e', 'delete from kept'), write.sync()]), Buffer.concat([write.query('prepare e as select 1'), run('e')])],
    ['DEALLOCATE and PREPARE are skipped after an error', Buffer.concat([write.parse('f', 'delete from kept'), write.sync()]), Buffer.concat([write.describe('S', 'nope'), write.query('deallocate f'), write.parse('f', 'select 1'), write.sync(), write.query('execute f')])],
    ['Close is skipped after an error', Buffer.concat([write.parse('g', 'delete from kept'), write.sync()]), Buffer.concat([write.describe('S', 'nope'), write.close('S', 'g'), write.parse('g', 'select 1'), write.sync(), run('g')])],
  ])('%s: it is held', async (_, prepare, pipeline) => {
    await send(prepare, 1);
    const from = client.frames.length;
    client.socket.write(pipeline);
    const held = await client.wait((frames) => frames.slice(from).some(isHeld), 3_000);
    expect({ held, closed: client.closed, ran: client.frames.slice(from).some(({ type, body }) => type === 'C' && body.includes('DELETE')) }).toEqual({ held: true, closed: false, ran: false });
    client.destroy();
    client = await openByteClient({ port: world.port, ca: world.ca, user: 'me', database: 'postgres', password: await world.token('engineer') });
    await send(write.query('select count(*)::text from kept'), 1);
    expect(client.frames.at(-3)?.body.toString('latin1').endsWith('1')).toBe(true);
  });
});

function isHeld({ type, body }: Frame): boolean {
  return type === 'N' && readFields(body).get('C') === 'SP001';
}

async function send(bytes: Buffer, ready: number): Promise<void> {
  const from = client.frames.length;
  client.socket.write(bytes);
  await client.wait((frames) => frames.slice(from).filter(({ type }) => type === 'Z').length >= ready, 5_000);
}
