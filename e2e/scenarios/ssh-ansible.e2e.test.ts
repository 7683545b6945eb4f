import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findAsset } from '../../tools/e2e-assets.ts';
import { answer, nextRequest, tokenOf } from '../hosts/people.ts';
import { type FilesWorld, startFilesWorld } from '../hosts/ssh-files.ts';

const pieces = [findAsset('ssh-native'), findAsset('sshd'), findAsset('ssh'), findAsset('ansible')];

// The policy of docs/ssh-files.md: the steps around a module are plain commands, its directory is files, and the module itself is code, which people approve for a while.
const rules = (folder: string): readonly object[] => [
  { name: 'steps', action: 'Allow', ssh: { commands: ['/bin/sh -c *', 'echo **', 'sleep 0', 'umask 77', 'mkdir **', 'chmod u+x **', 'rm -f -r *', '/usr/bin/python3 **', 'dd * bs=65536'], pty: true, stdin: 'Attach' } },
  { name: 'files', action: 'Allow', ssh: { files: { operations: ['Read', 'Write', 'List'], paths: [`${folder}/drop/**`] } } },
  { name: 'modules', action: 'RequireApproval', ssh: { unknown: true }, approval: { groups: ['leads'], required: 1, scope: 'Window', grantTTL: '10m' } },
];

(pieces.includes(null) ? describe.skip : describe)('ansible', () => {
  let files: FilesWorld;
  beforeAll(async () => {
    files = await startFilesWorld({ rules });
    mkdirSync(join(files.folder, 'drop'));
    writeFileSync(join(files.folder, 'source'), 'copied by ansible');
    writeFileSync(join(files.folder, 'inventory'), `web ansible_ssh_common_args='-F ${files.config}' ansible_python_interpreter=/usr/bin/python3\n`);
    writeFileSync(join(files.folder, 'playbook.yml'), JSON.stringify([{
      hosts: 'web', gather_facts: false,
      tasks: [{ name: 'ping', ping: {} }, { name: 'copy', copy: { src: join(files.folder, 'source'), dest: join(files.folder, 'drop', '{{ method }}'), mode: '0600' } }, { name: 'command', command: 'uptime', changed_when: false }],
    }]));
    const approver = await tokenOf(files.world, 'app', ['leads']);
    void nextRequest(files.world, approver, new Set()).then((request) => answer(files.world, approver, request, 'approve'), () => undefined);
  });
  afterAll(async () => files[Symbol.asyncDispose]());

  test.each(['sftp', 'scp', 'piped'])('a playbook of ping, copy and command passes with transfer method %s and one approval for all', async (method) => {
    writeFileSync(join(files.folder, 'ansible.cfg'), [
      '[defaults]', `local_tmp = ${files.folder}/local-${method}`, `remote_tmp = ${files.folder}/drop/tmp`, 'nocows = 1', '[ssh_connection]', `transfer_method = ${method}`, 'ssh_args = -o ControlMaster=no', `control_path_dir = ${files.folder}/control`, '',
    ].join('\n'));
    const run = await files.run('ansible-playbook', ['-i', join(files.folder, 'inventory'), '-e', `method=${method}`, join(files.folder, 'playbook.yml')], {
      limitMs: 120_000, environment: { ANSIBLE_CONFIG: join(files.folder, 'ansible.cfg'), HOME: files.folder, PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin' },
    });
    expect(run.stdout).toMatch(/ok=3 .*unreachable=0 .*failed=0/);
    expect(readFileSync(join(files.folder, 'drop', method), 'utf8')).toBe('copied by ansible');
  }, 180_000);
});
