import { describe, expect, test } from '@jest/globals';
import { readTransferCommand } from './transfer-command.ts';

describe('a transfer that a client starts is recognised', () => {
  test.each([
    ['scp -t /srv/drop', { kind: 'scp', direction: 'Write', paths: ['/srv/drop'] }],
    ['scp -f /etc/hosts', { kind: 'scp', direction: 'Read', paths: ['/etc/hosts'] }],
    ['scp -v -r -p -d -t /srv', { kind: 'scp', direction: 'Write', paths: ['/srv'] }],
    ['scp -t -- -odd', { kind: 'scp', direction: 'Write', paths: ['-odd'] }],
    ["scp -f '/srv/with blank'", { kind: 'scp', direction: 'Read', paths: ['/srv/with blank'] }],
    ['scp -f /srv/with\\ blank', { kind: 'scp', direction: 'Read', paths: ['/srv/with blank'] }],
    ['rsync --server -vlogDtpre.iLsfxCIvu . /srv/drop/', { kind: 'rsync', direction: 'Write', paths: ['/srv/drop/'] }],
    ['rsync --server --sender -vlogDtpre.iLsfxCIvu --numeric-ids . /a /b', { kind: 'rsync', direction: 'Read', paths: ['/a', '/b'] }],
    ['rsync --server -e31.14iLsfxCIvu --delete --timeout=30 . /srv', { kind: 'rsync', direction: 'Write', paths: ['/srv'] }],
    ["git-upload-pack '/srv/repo.git'", { kind: 'git', direction: 'Read', paths: ['/srv/repo.git'] }],
    ["git-receive-pack '~/repo.git'", { kind: 'git', direction: 'Write', paths: ['~/repo.git'] }],
  ] as const)('%s', (text, expected) => {
    expect(readTransferCommand(text)).toEqual(expected);
  });
});

test.each([
  '', 'scp', 'scp -t', 'scp -f', 'scp -t ""', 'scp -t a b', 'scp a b', 'scp -x -t a', 'scp -t -odd', 'scp -S prog -t a', 'scp -f /srv/*.log', 'scp -f $HOME/x', 'scp -f ~/x', 'scp -f `id`', 'scp -f "$(id)"', 'scp -f {a,b}',
  'scp -t a; id', 'scp -t a && id', 'scp -t a | id', 'scp -t a > b', 'scp -t a\nid', 'scp -t a # b', 'scp -t a #b', 'scp -t "a', "scp -t 'a", 'scp -t a\\', 'A=1 scp -t a', '/usr/bin/scp -t a', '\u202escp -t a', 'scp -t a\0',
  'rsync -a . /a', 'rsync --sender --server . /a', 'rsync --server -e.iLsf /a', 'rsync --server -e.iLsf .', 'rsync --server -e.iLsf . -x', 'rsync --server -se.iLsf . /a', 'rsync --server --rsh=x . /a', 'rsync --server --remove-source-files . /a',
  'rsync --server --sender -logDtpLre.iLsfxC . /a', 'rsync --server -logDtpKre.iLsfxC . /a', 'rsync --server -k . /a', 'rsync --server -R . /a', 'rsync --server --copy-unsafe-links . /a', "scp -t $'/a'",
  'rsync --server --backup-dir=/x . /a', 'rsync --daemon', 'rsync --server --daemon .', 'git-upload-pack', 'git-upload-pack a b', 'git-upload-pack --timeout=1 a', 'git-shell -c x', 'git upload-pack a',
])('an ordinary command, however near: %j', (text) => {
  expect(readTransferCommand(text)).toBeNull();
});
