import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ssh2, { type Client, type ClientChannel } from 'ssh2';
import { type Field, writePacket } from '../../sidecar/core/ssh-files/packet-fields.ts';
import { findAsset } from '../../tools/e2e-assets.ts';
import { eventually } from '../hosts/clients.ts';
import { answer, nextRequest, tokenOf } from '../hosts/people.ts';
import { type FilesWorld, startFilesWorld } from '../hosts/ssh-files.ts';
import { sshPolicy } from '../hosts/ssh-world.ts';

const pieces = [findAsset('ssh-native'), findAsset('sshd'), findAsset('ssh')];
const u32 = (uint32: number): Field => ({ uint32 });
const str = (string: string): Field => ({ string });
const init = writePacket(1, [u32(3)]);
const stat = (id: number, path: string): Uint8Array => writePacket(17, [u32(id), str(path)]);
const home = (id: number): Uint8Array => writePacket(16, [u32(id), str('.')]);
const openForWriting = (id: number, path: string): Uint8Array => writePacket(3, [u32(id), str(path), u32(26), u32(0)]);

(pieces.includes(null) ? describe.skip : describe)('raw SFTP packets', () => {
  let files: FilesWorld;
  let client: Client;
  const rules = (folder: string): readonly object[] => [
    { name: 'drop', action: 'Allow', ssh: { files: { operations: ['Read', 'Write', 'List'], paths: [`${folder}/drop/**`] } } },
    { name: 'held', action: 'RequireApproval', ssh: { files: { operations: ['Write'], paths: [`${folder}/drop/held/**`] } }, approval: { groups: ['leads'], required: 1 } },
  ];
  beforeAll(async () => {
    files = await startFilesWorld({ rules });
    mkdirSync(join(files.folder, 'drop/held'), { recursive: true });
    client = await connect(files);
  });
  afterAll(async () => {
    client.end();
    await files[Symbol.asyncDispose]();
  });

  test.each<readonly [string, Uint8Array]>([
    ['an unknown type', writePacket(99, [u32(1)])],
    ['a length of 4 GiB', Buffer.from([0xff, 0xff, 0xff, 0xff])],
    ['an empty packet', Buffer.alloc(4)],
    ['an id that is in use', Buffer.concat([home(1), home(1)])],
    ['a cut request', writePacket(17, [u32(1), u32(500)])],
  ])('%s ends that channel only', async (_name, bytes) => {
    const [broken, other] = [await openSftp(client), await openSftp(client)];
    broken.channel.write(bytes);
    await eventually('the channel is closed', () => broken.isClosed());
    other.channel.write(stat(7, join(files.folder, 'drop')));
    await eventually('the other channel answers', () => other.replies().includes('105:7'));
    other.channel.end();
    expect(files.events('channel.refused').map(({ reason }) => reason)).toContain('PROTOCOL_VIOLATION');
  });

  test('while an upload is held, other requests on its channel go on', async () => {
    const path = join(files.folder, 'drop/held/file');
    const { channel, replies, stderr } = await openSftp(client);
    channel.write(Buffer.concat([openForWriting(1, path), stat(2, join(files.folder, 'drop'))]));
    const approver = await tokenOf(files.world, 'app', ['leads']);
    const request = await nextRequest(files.world, approver, new Set());
    await eventually('the other request is answered', () => replies().includes('105:2'));
    expect([replies().some((reply) => reply.endsWith(':1')), stderr().includes(request), existsSync(path)]).toEqual([false, true, false]);
    await answer(files.world, approver, request, 'approve');
    await eventually('the file is open', () => replies().includes('102:1') && existsSync(path));
    channel.end();
  });

  test('a policy that loses the rule refuses the next request of a channel that is open', async () => {
    const { channel, replies } = await openSftp(client);
    channel.write(openForWriting(1, join(files.folder, 'drop/before')));
    await eventually('the first one passes', () => replies().includes('102:1'));
    files.world.writeConfig('policy.yaml', sshPolicy([{ name: 'other', action: 'Allow', ssh: { files: { operations: ['Read'], paths: [`${files.folder}/other/**`] } } }]));
    let id = 100;
    await eventually('the rule is gone', () => {
      channel.write(openForWriting(++id, join(files.folder, `drop/after${id}`)));
      return replies().some((reply) => /^101:\d+:3$/.test(reply));
    });
    files.world.writeConfig('policy.yaml', sshPolicy(rules(files.folder)));
    channel.end();
  });

  test('revocation ends open channels within a second', async () => {
    const own = await connect(files);
    const { isClosed } = await openSftp(own);
    let closedAt = 0;
    own.once('close', () => { closedAt = performance.now(); });
    const since = performance.now();
    files.world.writeConfig('policy.yaml', null);
    await eventually('the channel is closed', () => isClosed() || closedAt > 0);
    expect(performance.now() - since).toBeLessThan(2_500);
    files.world.writeConfig('policy.yaml', sshPolicy(rules(files.folder)));
  });

  test('where the policy masks text, files need a rule with unmasked: true', async () => {
    const masking = [{ detectors: ['us-ssn'], style: 'Redact' }];
    const source = join(files.folder, 'plain');
    writeFileSync(source, 'x');
    const copy = (): ReturnType<FilesWorld['run']> => files.run('scp', ['-F', files.config, source, `web:${files.folder}/drop/masked`]);
    const copyOld = (): ReturnType<FilesWorld['run']> => files.run('scp', ['-O', '-F', files.config, source, `web:${files.folder}/drop/masked`]);
    files.world.writeConfig('policy.yaml', sshPolicy(rules(files.folder), { masking }));
    await eventually('masking is in force', async () => (await copy()).stderr.includes('[MASKING_CONFLICT]'));
    expect((await copyOld()).stderr).toContain('[MASKING_CONFLICT]');
    expect(existsSync(join(files.folder, 'drop/masked'))).toBe(false);
    const [drop, held] = rules(files.folder) as readonly { readonly ssh: object }[];
    files.world.writeConfig('policy.yaml', sshPolicy([{ ...drop, ssh: { ...drop?.ssh, unmasked: true } }, held as object], { masking }));
    await eventually('the rule lets it pass', async () => (await copy()).status === 0);
    expect((await copyOld()).status).toBe(0);
  }, 60_000);

  test('a gateway that is killed leaves an intent for every file that the target has', async () => {
    const source = join(files.folder, 'plain');
    writeFileSync(source, 'x');
    const into = join(files.folder, 'drop/killed');
    mkdirSync(into);
    const policy = sshPolicy(rules(files.folder));
    files.world.writeConfig('policy.yaml', policy);
    await eventually('the rule is in force', async () => (await files.run('scp', ['-F', files.config, source, `web:${files.folder}/drop/first`])).status === 0);
    const running = files.run('sftp', ['-F', files.config, '-b', '-', 'web'], { input: Array.from({ length: 2_000 }, (_, n) => `put ${source} ${into}/${n}\n`).join('') });
    await eventually('some files are there', () => readdirSync(into).length > 20);
    await files.world.gateway.kill();
    await running;
    const intended = new Set(files.events('file.intent').map(({ path }) => path));
    const there = readdirSync(into);
    expect([there.length > 20 && there.length < 2_000, there.filter((name) => !intended.has(join(into, name)))]).toEqual([true, []]);
    await files.world.restart();
  }, 60_000);
});

async function connect(files: FilesWorld): Promise<Client> {
  const client = new ssh2.Client();
  const token = await files.world.token('engineer');
  await new Promise<void>((resolve, reject) => {
    client.on('error', reject).on('ready', resolve);
    client.connect({ host: '127.0.0.1', port: files.world.port, username: files.world.sshd.account, password: token, hostVerifier: () => true });
  });
  return client.on('error', () => undefined);
}

interface RawSftp {
  readonly channel: ClientChannel;
  /** `TYPE:ID`, of a STATUS with its code. */
  replies(): readonly string[];
  stderr(): string;
  isClosed(): boolean;
}

async function openSftp(client: Client): Promise<RawSftp> {
  const channel = await new Promise<ClientChannel>((resolve, reject) => client.subsys('sftp', (error, opened) => (error ? reject(error) : resolve(opened))));
  let [received, stderr, isClosed] = [Buffer.alloc(0), '', false];
  channel.on('data', (chunk: Buffer) => { received = Buffer.concat([received, chunk]); }).on('close', () => { isClosed = true; });
  channel.stderr.on('data', (chunk: Buffer) => { stderr += chunk.toString(); });
  const replies = (): readonly string[] => {
    const list: string[] = [];
    for (let at = 0; at + 9 <= received.length; at += 4 + received.readUInt32BE(at)) list.push(`${received[at + 4]}:${received.readUInt32BE(at + 5)}${received[at + 4] === 101 ? `:${received.readUInt32BE(at + 9)}` : ''}`);
    return list;
  };
  channel.write(init);
  await eventually('the server greets', () => replies().some((reply) => reply.startsWith('2:')));
  return { channel, replies, stderr: () => stderr, isClosed: () => isClosed };
}
