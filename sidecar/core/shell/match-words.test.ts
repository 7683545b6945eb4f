import { describe, expect, test } from '@jest/globals';
import { matchesCommand } from './match-words.ts';
import type { ShellCommand, ShellWord } from './shell-facts.ts';

/** Words by blanks; `<p*s>` is a dynamic word with that prefix and suffix, `<>` one of which nothing is known, `"<p>"` a single one. */
function command(text: string): ShellCommand {
  const words = text.split(' ').map((piece): ShellWord => {
    const dynamic = /^("?)<([^*]*)\*?(.*)>"?$/u.exec(piece);
    if (dynamic === null) return { kind: 'static', text: piece };
    const [, quote, prefix = '', suffix = ''] = dynamic;
    return {
      kind: 'dynamic', source: piece, ...(quote === '"' ? { single: true as const } : {}), ...(prefix === '' ? {} : { prefix }), ...(suffix === '' ? {} : { suffix }),
      ...(prefix === '' || prefix.startsWith('-') ? {} : { dashless: true as const }),
    };
  });
  const path = words[0]?.kind === 'static' ? words[0].text : '';
  return { program: path.slice(path.lastIndexOf('/') + 1), path, words, writes: [], needsRule: true };
}

const match = (side: 'permits' | 'restricts') => (pattern: string, text: string) => matchesCommand(pattern.split(' '), command(text), side);

describe('a rule that permits is anchored to the whole command', () => {
  test.each([
    ['uptime', 'uptime', 'yes'],
    ['uptime', 'uptime -p', 'no'],
    ['df -h', 'df -h', 'yes'],
    ['df -h', 'df', 'no'],
    ['df -h', 'df -h /', 'no'],
    ['df -h', 'df -hT', 'no'],
    ['cat *', 'cat /etc/hosts', 'yes'],
    ['cat *', 'cat "<>"', 'no'],
    ['cat *', 'cat', 'no'],
    ['cat *', 'cat a b', 'no'],
    ['ls **', 'ls', 'yes'],
    ['ls **', 'ls <> -la', 'yes'],
    ['journalctl -u * **', 'journalctl -u nginx', 'yes'],
    ['journalctl -u * **', 'journalctl -u nginx -f <>', 'yes'],
    ['journalctl -u * **', 'journalctl -u', 'no'],
    ['journalctl -u * **', 'journalctl -u <>', 'no'],
    ['a ** b', 'a x b', 'no'],
    ['a ** b', 'a ** b', 'yes'],
    ['cat /var/log/*', 'cat /var/log/syslog', 'no'],
    ['ls', '/bin/ls', 'yes'],
    ['ls', '/usr/local/bin/ls', 'yes'],
    ['ls', './ls', 'no'],
    ['ls', '/tmp/ls', 'no'],
    ['ls', '/tmp/bin/ls', 'no'],
    ['/opt/tool', '/opt/tool', 'yes'],
    ['/opt/tool', 'tool', 'no'],
    ['* **', '/anything here', 'yes'],
  ])('%s and %s: %s', (pattern, text, verdict) => {
    expect(match('permits')(pattern, text)).toBe(verdict);
  });
});

describe('a rule that restricts is loose', () => {
  test.each([
    ['rm', 'rm x', 'yes'],
    ['rm', '/opt/bin/rm x', 'yes'],
    ['rm', 'rmdir x', 'no'],
    ['/bin/rm', '/bin/rm x', 'yes'],
    ['/bin/rm', 'rm x', 'yes'],
    ['/bin/rm', '/usr/bin/rm x', 'maybe'],
    ['/bin/rm', '/bin/ls x', 'no'],
    ['* --force', 'tool --force', 'yes'],
    ['systemctl stop', 'systemctl stop nginx', 'yes'],
    ['systemctl stop', 'systemctl --no-pager stop nginx', 'yes'],
    ['systemctl stop', 'systemctl -t service stop nginx', 'maybe'],
    ['systemctl stop', 'systemctl status stop', 'no'],
    ['systemctl stop', 'systemctl', 'no'],
    ['systemctl stop', 'systemctl -- stop', 'yes'],
    ['systemctl stop', 'systemctl -H -- stop', 'yes'],
    ['systemctl stop', 'systemctl <> stop', 'maybe'],
    ['systemctl stop', 'systemctl "<>" nginx', 'maybe'],
    ['systemctl stop', 'systemctl "<st>" nginx', 'maybe'],
    ['systemctl stop', 'systemctl "<re>" nginx', 'no'],
    ['systemctl stop', 'systemctl -H "<re>" stop', 'maybe'],
    ['systemctl * nginx', 'systemctl stop nginx', 'yes'],
    ['systemctl * nginx*', 'systemctl stop nginx.service', 'yes'],
    ['systemctl * n*x*d', 'systemctl stop nginxd', 'yes'],
    ['systemctl * n*x*d', 'systemctl stop nginy', 'no'],
    ['systemctl * n*q*d', 'systemctl stop nginxd', 'no'],
    ['systemctl * n*d', 'systemctl stop n', 'no'],
    ['systemctl stop **', 'systemctl stop', 'yes'],
    ['git push origin', 'git -C push push origin', 'maybe'],
    ['git push', 'git commit -m push', 'no'],
    ['git push', 'git --git-dir=x push', 'yes'],
    ['cp x', 'cp -t dir x', 'yes'],
    ['cp dir', 'cp -t dir x', 'no'],
    ['cp dir', 'cp --target-directory dir x', 'no'],
    ['cp dir', 'cp --t dir x', 'no'],
  ])('%s and %s: %s', (pattern, text, verdict) => {
    expect(match('restricts')(pattern, text)).toBe(verdict);
  });
});

describe('flags are found in every spelling', () => {
  test.each([
    ['rm -rf', 'rm -rf x', 'yes'],
    ['rm -rf', 'rm -fr -- x', 'yes'],
    ['rm -rf', 'rm -r -f x', 'yes'],
    ['rm -rf', 'rm -R -i -f x', 'yes'],
    ['rm -rf', 'rm x -vRdf', 'yes'],
    ['rm -rf', 'rm x -r y -f', 'yes'],
    ['rm -rf', 'rm --recursive --force x', 'yes'],
    ['rm -rf', 'rm --rec --for x', 'yes'],
    ['rm -rf', 'rm --r --f x', 'yes'],
    ['rm -rf', 'rm -r x', 'no'],
    ['rm -rf', 'rm -f x', 'no'],
    ['rm -rf', 'rm x', 'no'],
    ['rm -rf', 'rm -r -- -f', 'no'],
    ['rm -rf', 'rm -- -rf', 'no'],
    ['rm -rf', 'rm -r x -- -- -f', 'no'],
    ['rm -rf', 'rm -r --v x -f', 'yes'],
    ['rm -rf', 'rm -rz x', 'maybe'],
    ['rm -rf', 'rm <> x', 'maybe'],
    ['rm -rf', 'rm -r "<>"', 'maybe'],
    ['rm -rf', 'rm -r "</tmp/>"', 'no'],
    ['rm -rf', 'rm "<-r>"', 'maybe'],
    ['rm -rf', 'rm -r "<--f>"', 'maybe'],
    ['rm -rf', 'rm <*.log>', 'no'],
    ['rm -rf', 'rm <*f>', 'maybe'],
    ['rm -rf', 'rm <> -rf', 'yes'],
    ['rm --recursive', 'rm -R x', 'yes'],
    ['rm --recursive', 'rm --recurs x', 'yes'],
    ['rm --recursive', 'rm -f x', 'no'],
    ['rm --recursive', 'rm <>', 'maybe'],
    ['rm -i', 'rm -f x', 'no'],
    ['cp -f', 'cp -S.f a b', 'no'],
    ['cp -f', 'cp -t -- -f', 'yes'],
    ['cp -f', 'cp --target-directory -- -f', 'yes'],
    ['cp -f', 'cp --s -- -f', 'maybe'],
    ['cp -f', 'cp --unheard -- -f', 'maybe'],
    ['cp -f', 'cp <*.log>', 'maybe'],
    ['rm --verb', 'rm --ver x', 'maybe'],
    ['rm --version', 'rm --ver x', 'maybe'],
    ['tool -x', 'tool -x', 'yes'],
    ['tool -x', 'tool -ax', 'maybe'],
    ['tool -x', 'tool --ex', 'maybe'],
    ['tool -x', 'tool -a', 'no'],
    ['tool -x', 'tool x', 'no'],
    ['tool -x', 'tool -a -- -x', 'maybe'],
    ['tool -x', 'tool a -- -x', 'no'],
    ['tool -x', 'tool <> -- -x', 'maybe'],
    ['tool --wipe', 'tool --wi', 'maybe'],
    ['tool --wipe', 'tool -w', 'maybe'],
    ['tool --wipe', 'tool --status', 'no'],
    ['tool --mode=x', 'tool --mode=x', 'yes'],
    ['tool --mode=x', 'tool --mode x', 'maybe'],
    ['find -delete', 'find . -name x -delete', 'yes'],
    ['find -delete', 'find . -name x -type d', 'no'],
    ['kill -9', 'kill -9 1', 'yes'],
  ])('%s and %s: %s', (pattern, text, verdict) => {
    expect(match('restricts')(pattern, text)).toBe(verdict);
  });
});

test('time for a list of ten thousand words stays short', () => {
  const started = performance.now();
  expect(match('restricts')('tool a b', `tool ${'-x y '.repeat(5_000)}z`)).toBe('no');
  expect(performance.now() - started).toBeLessThan(1_000);
});
