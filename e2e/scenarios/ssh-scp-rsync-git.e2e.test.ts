import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findAsset } from '../../tools/e2e-assets.ts';
import { digestOf, type FilesWorld, startFilesWorld } from '../hosts/ssh-files.ts';
import { answer, nextRequest, tokenOf } from '../hosts/people.ts';

const pieces = [findAsset('ssh-native'), findAsset('sshd'), findAsset('ssh')];
const copyMib = Number(process.env['SALLYPORT_SSH_COPY_MIB'] ?? 64);
const clientOf = (name: 'scp' | 'rsync' | 'git'): typeof test => (findAsset(name) === null ? test.skip as typeof test : test);

(pieces.includes(null) ? describe.skip : describe)('transfer programs', () => {
  let files: FilesWorld;
  beforeAll(async () => {
    files = await startFilesWorld({
      rules: (folder) => [
        { name: 'drop', action: 'Allow', ssh: { files: { operations: ['Read', 'Write', 'List'], paths: [`${folder}/drop/**`] } } },
        { name: 'git', action: 'Allow', ssh: { files: { operations: ['Read', 'Write'], paths: [`${folder}/git/*.git`] } } },
        { name: 'single', action: 'Allow', ssh: { files: { operations: ['Read', 'Write', 'List'], paths: [`${folder}/single/*`], maxBytes: 1000 } } },
        { name: 'secret', action: 'Deny', ssh: { files: { operations: ['Read', 'Write', 'List'], paths: [`${folder}/drop/mixed/private/**`] } } },
        { name: 'no-times', action: 'Deny', ssh: { commands: ['scp -p'] } },
        { name: 'held', action: 'RequireApproval', ssh: { files: { operations: ['Write'], paths: [`${folder}/held/**`] } }, approval: { groups: ['leads'], required: 1 } },
      ],
    });
    for (const name of ['drop/mixed/private', 'single', 'held', 'local', 'git']) mkdirSync(join(files.folder, name), { recursive: true });
    writeFileSync(join(files.folder, 'drop/mixed/open'), 'open');
    writeFileSync(join(files.folder, 'drop/mixed/private/key'), 'private');
  });
  afterAll(async () => files[Symbol.asyncDispose]());

  const scp = (...args: readonly string[]): ReturnType<FilesWorld['run']> => files.run('scp', ['-O', '-F', files.config, ...args], { limitMs: 120_000 });
  const rsync = (...args: readonly string[]): ReturnType<FilesWorld['run']> => files.run('rsync', ['-a', '-e', `ssh -F ${files.config}`, ...args], { limitMs: 120_000 });
  const at = (path: string): string => join(files.folder, path);

  clientOf('scp')('scp -O copies a large file byte for byte both ways, recorded with its digest', async () => {
    writeFileSync(at('local/large'), randomBytes(copyMib * 1024 * 1024));
    const up = await scp(at('local/large'), `web:${at('drop/large')}`);
    expect([up.status, up.stderr]).toEqual([0, '']);
    const down = await scp(`web:${at('drop/large')}`, at('local/back'));
    expect([down.status, down.stderr]).toEqual([0, '']);
    const digest = await digestOf(at('local/large'));
    expect([await digestOf(at('drop/large')), await digestOf(at('local/back'))]).toEqual([digest, digest]);
    const facts = files.events('file.result').map((event) => event.facts);
    expect(facts).toContainEqual(expect.objectContaining({ outcome: 'Completed', digest_written: `sha256:${digest}` }));
    expect(facts).toContainEqual(expect.objectContaining({ outcome: 'Completed', digest_read: `sha256:${digest}` }));
  }, 300_000);

  clientOf('scp')('scp -O leaves out what is denied and goes on with the rest of the tree', async () => {
    const run = await scp('-r', `web:${at('drop/mixed')}`, at('local/mixed'));
    expect([run.status, existsSync(at('local/mixed/open')), existsSync(at('local/mixed/private'))]).toEqual([1, true, false]);
    expect(run.stderr).toContain('[FILE_DENIED]');
  });

  clientOf('scp')('scp -O into a directory is judged file by file, with the size that it announces', async () => {
    writeFileSync(at('local/small'), 'small');
    writeFileSync(at('local/too-big'), Buffer.alloc(2000));
    const run = await scp(at('local/too-big'), at('local/small'), `web:${at('single')}`);
    expect([run.status, existsSync(at('single/small')), existsSync(at('single/too-big'))]).toEqual([1, true, false]);
  });

  clientOf('scp')('scp -O of a name that a shell reads, and outside of every rule, is refused', async () => {
    writeFileSync(at('local/.bashrc'), 'x');
    expect([(await scp(at('local/.bashrc'), `web:${at('drop')}`)).status, existsSync(at('drop/.bashrc'))]).toEqual([1, false]);
    const outside = await scp(at('local/small'), `web:${at('outside')}`);
    expect([outside.status, outside.stderr.includes('[FILE_DENIED]'), existsSync(at('outside'))]).toEqual([1, true, false]);
  });

  clientOf('scp')('a rule that denies the command is heard, though a rule for files would let it pass', async () => {
    writeFileSync(at('local/timed'), 'x');
    const run = await scp('-p', at('local/timed'), `web:${at('drop/timed')}`);
    expect([run.status, run.stderr, existsSync(at('drop/timed'))]).toEqual([1, expect.stringContaining('[COMMAND_DENIED]'), false]);
  });

  clientOf('scp')('scp -O of a held file waits for its approver', async () => {
    writeFileSync(at('local/held'), 'held');
    const running = scp(at('local/held'), `web:${at('held/file')}`);
    const approver = await tokenOf(files.world, 'app', ['leads']);
    const request = await nextRequest(files.world, approver, new Set());
    expect(existsSync(at('held/file'))).toBe(false);
    await answer(files.world, approver, request, 'approve');
    expect([(await running).status, readFileSync(at('held/file'), 'utf8')]).toEqual([0, 'held']);
  }, 60_000);

  clientOf('rsync')('rsync copies a tree both ways, and deletes', async () => {
    mkdirSync(at('local/tree/deep'), { recursive: true });
    writeFileSync(at('local/tree/deep/large'), randomBytes(copyMib * 1024 * 1024));
    writeFileSync(at('local/tree/gone'), 'gone');
    expect(await rsync(`${at('local/tree')}/`, `web:${at('drop/tree')}/`)).toMatchObject({ status: 0, stderr: '' });
    expect(await digestOf(at('drop/tree/deep/large'))).toBe(await digestOf(at('local/tree/deep/large')));
    await files.run('rm', [at('local/tree/gone')]);
    expect(await rsync('--delete', `${at('local/tree')}/`, `web:${at('drop/tree')}/`)).toMatchObject({ status: 0, stderr: '' });
    expect(existsSync(at('drop/tree/gone'))).toBe(false);
    expect(await rsync(`web:${at('drop/tree')}/`, at('local/tree-back'))).toMatchObject({ status: 0, stderr: '' });
    expect(await digestOf(at('local/tree-back/deep/large'))).toBe(await digestOf(at('local/tree/deep/large')));
    expect(files.events('file.result').map((event) => event.facts)).toContainEqual(expect.objectContaining({ outcome: 'Completed', exit_status: 0, bytes_up: expect.any(Number), digest_up: expect.stringMatching(/^sha256:/) }));
  }, 300_000);

  clientOf('rsync')('rsync needs a rule for the whole directory, and hears one that denies a part of it', async () => {
    expect(await rsync(at('local/small'), `web:${at('single')}/`)).toMatchObject({ stderr: expect.stringContaining('[FILE_DENIED]') });
    expect(await rsync(`web:${at('drop/mixed')}/`, at('local/mixed-rsync'))).toMatchObject({ stderr: expect.stringContaining('[FILE_DENIED]') });
    expect([existsSync(at('single/small')), existsSync(at('local/mixed-rsync/private'))]).toEqual([true, false]);
  });

  clientOf('rsync')('rsync follows no symbolic link out of the directory that a rule names, whichever way it is asked to', async () => {
    for (const path of ['beyond', 'local/links/deep', 'local/into/door']) mkdirSync(at(path), { recursive: true });
    writeFileSync(at('beyond/secret'), 'beyond every rule');
    writeFileSync(at('local/into/door/planted'), 'planted');
    symlinkSync(at('beyond/secret'), at('local/links/secret'));
    symlinkSync(at('beyond'), at('local/links/door'));
    expect(await rsync(`${at('local/links')}/`, `web:${at('drop/links')}/`)).toMatchObject({ status: 0 });
    for (const option of ['-L', '--copy-unsafe-links', '-k']) {
      expect(await rsync(option, `web:${at('drop/links')}/`, at(`local/back${option}`))).toMatchObject({ stderr: expect.stringContaining('[COMMAND_') });
      expect([existsSync(at(`local/back${option}/secret`)), existsSync(at(`local/back${option}/door/secret`))]).toEqual([false, false]);
    }
    await rsync('-K', `${at('local/into')}/`, `web:${at('drop/links')}/`);
    expect(existsSync(at('beyond/planted'))).toBe(false);
  }, 60_000);

  clientOf('git')('a rule for files is none for programs: a push starts no hook that its user wrote', async () => {
    expect((await files.run('git', ['init', '-q', '--bare', at('drop/hooked.git')])).status).toBe(0);
    writeFileSync(at('local/post-receive'), `#!/bin/sh\nid > ${at('beyond-hook')}\n`, { mode: 0o755 });
    await files.run('sftp', ['-F', files.config, '-b', '-', 'web'], { input: `put -p ${at('local/post-receive')} ${at('drop/hooked.git/hooks/post-receive')}\n` });
    mkdirSync(at('local/hooked'), { recursive: true });
    const git = (...args: readonly string[]): ReturnType<FilesWorld['run']> => files.run('git', ['-c', 'user.name=Eng', '-c', 'user.email=eng@bank.example', ...args], { cwd: at('local/hooked') });
    await git('init', '-q');
    await git('commit', '-q', '--allow-empty', '-m', 'first');
    const pushed = await git('push', '-q', `web:${at('drop/hooked.git')}`, 'HEAD:main');
    expect([existsSync(at('drop/hooked.git/hooks/post-receive')), existsSync(at('beyond-hook')), pushed.stderr]).toEqual([true, false, expect.stringContaining('[FILE_DENIED]')]);
  }, 60_000);

  clientOf('git')('git clones and pushes; a repository outside of every rule is refused', async () => {
    const git = (args: readonly string[], cwd?: string): ReturnType<FilesWorld['run']> => files.run('git', ['-c', 'user.name=Eng', '-c', 'user.email=eng@bank.example', '-c', 'init.defaultBranch=main', '-c', 'core.compression=0', ...args], { limitMs: 120_000, ...(cwd === undefined ? {} : { cwd }) });
    for (const path of ['git/app.git', 'outside.git']) expect((await git(['init', '-q', '--bare', at(path)])).status).toBe(0);
    expect(await git(['clone', '-q', `web:${at('git/app.git')}`, at('local/app')])).toMatchObject({ status: 0 });
    const content = randomBytes(copyMib * 1024 * 1024);
    writeFileSync(at('local/app/file'), content);
    expect(await git(['add', 'file'], at('local/app'))).toMatchObject({ status: 0 });
    expect(await git(['commit', '-q', '-m', 'first'], at('local/app'))).toMatchObject({ status: 0 });
    expect(await git(['push', '-q', 'origin', 'HEAD:main'], at('local/app'))).toMatchObject({ status: 0, stderr: '' });
    expect(await git(['clone', '-q', `web:${at('git/app.git')}`, at('local/app2')])).toMatchObject({ status: 0 });
    expect(readFileSync(at('local/app2/file')).equals(content)).toBe(true);
    expect((await git(['clone', '-q', `web:${at('outside.git')}`, at('local/app3')])).stderr).toContain('[FILE_DENIED]');
  }, 300_000);
});
