import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findAsset } from '../../tools/e2e-assets.ts';
import { digestOf, type FilesWorld, startFilesWorld } from '../hosts/ssh-files.ts';
import { nextRequest, answer, tokenOf } from '../hosts/people.ts';

const pieces = [findAsset('ssh-native'), findAsset('sshd'), findAsset('sftp'), findAsset('scp')];
/** The acceptance asks for 256 MB: SALLYPORT_SSH_COPY_MIB=256. */
const copyMib = Number(process.env['SALLYPORT_SSH_COPY_MIB'] ?? 64);

(pieces.includes(null) ? describe.skip : describe)('files over SFTP', () => {
  let files: FilesWorld;
  beforeAll(async () => {
    files = await startFilesWorld({
      rules: (folder) => [
        { name: 'drop', action: 'Allow', ssh: { files: { operations: ['Read', 'Write', 'List'], paths: [`${folder}/drop/**`, `${folder}/home/**`] } } },
        { name: 'write-only', action: 'Deny', ssh: { files: { operations: ['Read'], paths: [`${folder}/drop/write-only/**`] } } },
        { name: 'small', action: 'Allow', ssh: { files: { operations: ['Read', 'Write', 'List'], paths: [`${folder}/small/**`], maxBytes: 100_000 } } },
        { name: 'held', action: 'RequireApproval', ssh: { files: { operations: ['Write'], paths: [`${folder}/held/**`] } }, approval: { groups: ['leads'], required: 1 } },
        { name: 'held-list', action: 'Allow', ssh: { files: { operations: ['List', 'Read'], paths: [`${folder}/held/**`] } } },
      ],
    });
    for (const name of ['drop', 'home', 'home/.ssh', 'small', 'held', 'local']) mkdirSync(join(files.folder, name));
  });
  afterAll(async () => files[Symbol.asyncDispose]());

  const sftp = (batch: string, limitMs?: number): ReturnType<FilesWorld['run']> => files.run('sftp', ['-F', files.config, '-b', '-', 'web'], { input: batch, ...(limitMs === undefined ? {} : { limitMs }) });
  const local = (name: string, content: string | Buffer): string => {
    const path = join(files.folder, 'local', name);
    writeFileSync(path, content);
    return path;
  };

  test('copies of a large file are byte-identical both ways, and their records bear its digest', async () => {
    const source = local('large', randomBytes(copyMib * 1024 * 1024));
    const up = await files.run('scp', ['-F', files.config, source, `web:${files.folder}/drop/large`], { limitMs: 120_000 });
    expect([up.status, up.stderr]).toEqual([0, '']);
    const down = await sftp(`get ${files.folder}/drop/large ${files.folder}/local/large2\n`, 120_000);
    expect([down.status, down.stderr]).toEqual([0, '']);
    const digest = await digestOf(source);
    expect([await digestOf(join(files.folder, 'drop/large')), await digestOf(join(files.folder, 'local/large2'))]).toEqual([digest, digest]);
    const results = files.events('file.result').filter(({ path }) => path === `${files.folder}/drop/large`).map(({ facts }) => facts);
    expect(results).toContainEqual(expect.objectContaining({ outcome: 'Completed', bytes_written: copyMib * 1024 * 1024, digest_written: `sha256:${digest}` }));
    expect(results).toContainEqual(expect.objectContaining({ outcome: 'Completed', bytes_read: copyMib * 1024 * 1024 }));
  }, 300_000);

  test('each operation that changes something is on record before it is done, and its result after', async () => {
    const source = local('ops', 'content');
    const drop = `${files.folder}/drop`;
    const run = await sftp(`put ${source} ${drop}/ops\nrename ${drop}/ops ${drop}/ops2\nln -s ${drop}/ops2 ${drop}/link\nln ${drop}/ops2 ${drop}/hard\nchmod 600 ${drop}/ops2\nmkdir ${drop}/dir\nrmdir ${drop}/dir\nls ${drop}\nget ${drop}/ops2 ${files.folder}/local/ops2\nrm ${drop}/link\ndf ${drop}\n`);
    expect([run.status, run.stderr]).toEqual([0, '']);
    const operations = files.events('file.intent').filter(({ path }) => path?.startsWith(`${drop}/`) && !path.includes('large')).map(({ facts }) => facts['operation']);
    expect(operations).toEqual(expect.arrayContaining(['open', 'rename', 'symlink', 'link', 'setstat', 'mkdir', 'rmdir', 'remove']));
    expect(readFileSync(join(files.folder, 'local/ops2'), 'utf8')).toBe('content');
  });

  test('a denied path answers "permission denied", and the session goes on', async () => {
    const source = local('denied', 'x');
    const run = await sftp(`-put ${source} ${files.folder}/elsewhere\n-ls ${files.folder}\n-rename ${files.folder}/drop/none ${files.folder}/out\nput ${source} ${files.folder}/drop/after\n`);
    expect(run.status).toBe(0);
    expect(run.stderr).toMatch(/elsewhere": Permission denied/);
    expect(run.stderr).toContain('[FILE_DENIED]');
    expect([existsSync(join(files.folder, 'elsewhere')), existsSync(join(files.folder, 'drop/after'))]).toEqual([false, true]);
    expect(files.events('file.denied').map(({ path, reason, facts }) => [path, reason, facts['operation']])).toContainEqual([`${files.folder}/elsewhere`, 'FILE_DENIED', 'open']);
  });

  test('what a login shell or sshd reads is refused under a rule for the whole home', async () => {
    const source = local('keys', 'x');
    const home = `${files.folder}/home`;
    const run = await sftp(`-put ${source} ${home}/.bashrc\n-put ${source} ${home}/.ssh/authorized_keys\n-put ${source} ${home}/fine\n-rename ${home}/fine ${home}/.bash_profile\n-symlink .ssh ${home}/innocent\n-put ${source} ${home}/innocent/authorized_keys\n`);
    expect(run.status).toBe(0);
    expect(['.bashrc', '.ssh/authorized_keys', '.bash_profile', 'innocent'].filter((name) => existsSync(join(files.folder, 'home', name)))).toEqual([]);
    expect(existsSync(join(files.folder, 'home/fine'))).toBe(true);
  });

  test('a symbolic link leads no further than its target may be reached', async () => {
    writeFileSync(join(files.folder, 'outside'), 'not for you');
    symlinkSync(join(files.folder, 'outside'), join(files.folder, 'drop/escape'));
    symlinkSync(join(files.folder, 'new-outside'), join(files.folder, 'drop/dangling'));
    const source = local('through', 'x');
    const run = await sftp(`-get ${files.folder}/drop/escape ${files.folder}/local/stolen\n-put ${source} ${files.folder}/drop/escape\n-put ${source} ${files.folder}/drop/dangling\n`);
    expect(run.status).toBe(0);
    expect([existsSync(join(files.folder, 'local/stolen')), readFileSync(join(files.folder, 'outside'), 'utf8'), existsSync(join(files.folder, 'new-outside'))]).toEqual([false, 'not for you', false]);
  });

  test('what may not be read does not become readable under another name', async () => {
    mkdirSync(join(files.folder, 'drop/write-only'));
    writeFileSync(join(files.folder, 'drop/write-only/secret'), 'secret');
    const drop = `${files.folder}/drop`;
    const run = await sftp(`-rename ${drop}/write-only/secret ${drop}/moved\n-ln ${drop}/write-only/secret ${drop}/linked\n-rename ${drop}/write-only ${drop}/all-moved\n-rename ${drop}/write-only/secret ${drop}/write-only/other\n`);
    expect([run.status, ['moved', 'linked', 'all-moved'].filter((name) => existsSync(join(drop, name))), existsSync(join(drop, 'write-only/other'))]).toEqual([0, [], true]);
  });

  test('a file over the size of its rule is cut with an error, also when it is read', async () => {
    const source = local('big', Buffer.alloc(200_000, 7));
    writeFileSync(join(files.folder, 'small/there'), Buffer.alloc(200_000, 7));
    const run = await sftp(`-put ${source} ${files.folder}/small/big\n-get ${files.folder}/small/there ${files.folder}/local/there\n`);
    expect(run.stderr).toMatch(/Failure/);
    expect(readFileSync(join(files.folder, 'small/big')).length).toBeLessThanOrEqual(100_000);
    expect(readFileSync(join(files.folder, 'local/there')).length).toBeLessThanOrEqual(100_000);
    expect(files.events('file.denied').filter(({ facts }) => facts['operation'] === 'limit').map(({ path }) => path)).toEqual([`${files.folder}/small/big`, `${files.folder}/small/there`]);
  });

  test('a held upload waits for its approver and is done then; its user reads who decides', async () => {
    const source = local('held', 'approved content');
    const running = sftp(`put ${source} ${files.folder}/held/file\n`);
    const approver = await tokenOf(files.world, 'app', ['leads']);
    const request = await nextRequest(files.world, approver, new Set());
    expect(existsSync(join(files.folder, 'held/file'))).toBe(false);
    await answer(files.world, approver, request, 'approve');
    const run = await running;
    expect([run.status, readFileSync(join(files.folder, 'held/file'), 'utf8')]).toEqual([0, 'approved content']);
    expect(run.stderr).toContain(request);
  }, 60_000);

  const library = (name: 'paramiko' | 'asyncssh', script: string): void => {
    const python = findAsset(name);
    (python === null ? test.skip : test)(`${name} copies a file up and down`, async () => {
      const source = local(name, randomBytes(3_000_000));
      const run = await files.run(python?.path ?? '', ['-c', script, String(files.world.port), files.world.sshd.account, await files.world.token('engineer'), source, `${files.folder}/drop/${name}`, `${files.folder}/local/${name}.back`]);
      expect([run.status, run.stderr.replaceAll(/.*Warning.*\n.*\n?/g, '')]).toEqual([0, '']);
      expect(readFileSync(join(files.folder, 'local', `${name}.back`)).equals(readFileSync(source))).toBe(true);
    });
  };
  library('paramiko', `import sys, paramiko
port, user, token, source, there, back = sys.argv[1:]
t = paramiko.Transport(('127.0.0.1', int(port))); t.connect(username=user, password=token)
s = paramiko.SFTPClient.from_transport(t)
s.put(source, there); s.get(there, back); s.chmod(there, 0o600); s.stat(there)
try: s.open('/nowhere/x', 'w'); sys.exit(3)
except PermissionError: pass
t.close()`);
  library('asyncssh', `import sys, asyncio, asyncssh
port, user, token, source, there, back = sys.argv[1:]
async def main():
    async with asyncssh.connect('127.0.0.1', int(port), username=user, password=token, known_hosts=None) as c:
        async with c.start_sftp_client() as s:
            await s.put(source, there); await s.get(there, back)
            try: await s.open('/nowhere/x', 'w'); sys.exit(3)
            except asyncssh.SFTPPermissionDenied: pass
asyncio.run(main())`);

  const lftp = findAsset('lftp');
  (lftp === null ? test.skip : test)('lftp mirrors a directory up', async () => {
    mkdirSync(join(files.folder, 'local/mirror'));
    writeFileSync(join(files.folder, 'local/mirror/a'), 'a');
    const run = await files.run('lftp', ['-c', `set sftp:connect-program "ssh -a -x -F ${files.config}"; set net:max-retries 1; set cmd:fail-exit yes; open -u ${files.world.sshd.account},x sftp://web; mirror -R ${files.folder}/local/mirror ${files.folder}/drop/mirror`], { limitMs: 30_000 });
    expect([run.status, run.stderr, existsSync(join(files.folder, 'drop/mirror/a'))]).toEqual([0, '', true]);
  }, 60_000);
});
