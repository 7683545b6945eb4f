import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from '@jest/globals';
import { stringify } from 'yaml';
import { createShellParser } from '../../sidecar/adapters/shell-parser.ts';
import { judgeCase, readCases } from '../../tools/testkit/shell-verdicts.ts';
import { main } from '../main.ts';

const scratch = mkdtempSync(join(tmpdir(), 'sallyport-policy-test-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const config = fileURLToPath(new URL('testdata/', import.meta.url));
const ann = { user: 'oidc:ann', groups: ['sre'] };

async function run(...argv: readonly string[]): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string }> {
  let stdout = '';
  let stderr = '';
  const status = await main(['policy', 'test', ...argv], { stdout: { write: (text) => void (stdout += text) }, stderr: { write: (text) => void (stderr += text) }, env: {} });
  return { status, stdout, stderr };
}

function fileOf(content: unknown): string {
  const file = join(scratch, 'cases.yaml');
  writeFileSync(file, typeof content === 'string' ? content : stringify(content));
  return file;
}

async function verdictOf(one: Readonly<Record<string, unknown>>): Promise<unknown> {
  const { stdout } = await run('--json', config, fileOf({ defaults: { as: ann, target: 'web-1', account: 'deploy' }, cases: [one] }));
  const { verdict, code, rule, problem } = JSON.parse(stdout) as Record<string, unknown>;
  return problem === undefined ? [verdict, code, rule] : problem;
}

describe('the verdict of', () => {
  test.each([
    ['a session', {}, ['Allow', null, 'oncall']],
    ['an account that nobody grants', { account: 'root' }, ['Deny', 'ACCOUNT_NOT_GRANTED', null]],
    ['somebody whom no policy names', { as: { user: 'oidc:eve' } }, ['Deny', 'ACCESS_DENIED', null]],
    ['a way to log in that the only policy refuses', { as: { user: 'oidc:ann' } }, ['Deny', 'AUTH_METHOD_REFUSED', null]],
    ['a session that an approval opens', { as: { user: 'oidc:ann', by: 'Certificate' }, command: 'id' }, ['RequireApproval', null, 'night']],
    ['a command in a session that an approval has opened', { as: { user: 'oidc:ann', by: 'Certificate' }, opened: ['night'], command: 'id' }, ['Allow', null, 'night/id']],
    ['a command by its rule', { command: 'df -h' }, ['Allow', null, 'oncall/look']],
    ['a comment', { command: '# nothing' }, ['Allow', null, '']],
    ['a command without a rule', { command: 'df -h /' }, ['Deny', 'COMMAND_NOT_ALLOWED', null]],
    ['a denied command inside a list', { command: 'uptime && rm -fr /srv' }, ['Deny', 'COMMAND_DENIED', 'oncall/no-root']],
    ['what cannot be known', { account: 'ops', command: '$x -h' }, ['Deny', 'COMMAND_UNKNOWN', null]],
    ['a held command', { account: 'ops', command: 'sudo df -h' }, ['RequireApproval', null, 'oncall/privileged']],
    ['a held command that was approved', { account: 'ops', command: 'sudo df -h', approved: ['oncall/privileged'] }, ['Allow', null, 'oncall/everything, oncall/privileged']],
    ['an answer of a policy that is not there', { account: 'ops', command: 'sudo df -h', approved: ['gone/privileged'] }, ['RequireApproval', null, 'oncall/privileged']],
    ['a file that would be written', { account: 'ops', command: 'echo x > /srv/x' }, ['Deny', 'COMMAND_NOT_ALLOWED', null]],
    ['text that no shell takes', { command: 'a\u0000b' }, ['Deny', 'COMMAND_INVALID', null]],
    ['a prompt', { shell: 'CommandMode' }, ['Allow', null, 'oncall/prompt']],
    ['a raw shell above the ceiling', { shell: 'RawShell' }, ['Deny', 'SHELL_NOT_GRANTED', null]],
    ['a file whose bytes cannot be masked', { file: { operation: 'Read', path: '/srv/drop/a' } }, ['Deny', 'MASKING_CONFLICT', null]],
    ['a file without a rule', { file: { operation: 'Write', path: '/etc/passwd', bytes: 3 } }, ['Deny', 'FILE_DENIED', null]],
    ['a transfer', { command: 'rsync --server -logDtpre.iLsfxCIvu . /home/ann' }, ['Deny', 'FILE_DENIED', null]],
    ['a forward', { forward: { to: '127.0.0.1:9090' } }, ['Allow', null, 'oncall/tunnel']],
    ['a listener', { forward: { listen: '127.0.0.1:9090' } }, ['Deny', 'FORWARD_DENIED', null]],
    ['the agent', { agent: true }, ['Deny', 'FORWARD_DENIED', null]],
    ['X11', { x11: true }, ['Deny', 'FORWARD_DENIED', null]],
    ['a session on a database', { target: 'orders-db', database: 'orders' }, ['Allow', null, 'oncall']],
    ['a Target that is not there', { target: 'web-9' }, 'there is no Target web-9'],
    ['a provider that is not there', { as: { serviceAccount: 'ci/deployer' } }, 'there is no IdentityProvider for this subject'],
    ['two questions', { command: 'uptime', agent: true }, 'ask for one of command, shell, file, forward, agent, x11'],
    ['a forward to nowhere', { forward: {} }, 'a forward has one of to and listen'],
    ['a command on a database', { target: 'orders-db', database: 'orders', command: 'ls' }, 'commands, shells, files and forwards are of SSH Targets; a statement needs the catalog of its database'],
    ['a transfer to a relative path', { command: 'scp -t drop' }, 'the path of a transfer is absolute here: where a relative one leads, only the target knows'],
  ] as const)('%s', async (_what, one, verdict) => {
    expect(await verdictOf(one)).toEqual(verdict);
  });
});

test('expectations that hold exit 0, one that does not exits 1 and says what came instead', async () => {
  const cases = (expected: string): unknown => ({ defaults: { as: ann, target: 'web-1', account: 'deploy' }, cases: [{ name: 'deletes', command: 'rm -rf /', expect: expected, code: 'COMMAND_DENIED', rule: 'oncall/no-root' }] });
  expect(await run(config, fileOf(cases('Deny')))).toEqual({ status: 0, stderr: '1 cases, 0 not as expected\n', stdout: 'ok    deletes: Deny COMMAND_DENIED by oncall/no-root (command denied by policy "oncall", rule "no-root": ask in the channel)\n' });
  expect(await run(config, fileOf(cases('Allow')))).toMatchObject({ status: 1, stdout: expect.stringMatching(/^WRONG deletes: .*\n {6}expect Allow, got Deny\n$/) });
});

test('what cannot be read exits 1 with its place', async () => {
  expect(await run(config, fileOf('cases:\n- {command: ls, exepct: Allow}\n'))).toMatchObject({ status: 1, stderr: expect.stringMatching(/cases\.yaml:2:3: cases\.0: Unrecognized key/) });
  expect(await run(join(config, 'none'), fileOf('cases: [{command: ls}]'))).toMatchObject({ status: 1, stdout: '' });
  expect(await run('--help')).toMatchObject({ status: 0, stdout: expect.stringContaining('Usage: sallyport policy test') });
});

test('the shell cases get the verdict that inspection gives them, through YAML, compile step and decision', async () => {
  const dir = mkdtempSync(join(scratch, 'shell-'));
  const rule = (name: string, action: string, commands: readonly string[]): string => `{name: ${name}, action: ${action}, ssh: {commands: ${JSON.stringify(commands)}}${action === 'RequireApproval' ? ', approval: {groups: [leads], required: 1}' : ''}}`;
  const base = readFileSync(join(config, 'targets-and-policies.yaml'), 'utf8').split('---').slice(0, 2).join('---');
  writeFileSync(join(dir, 'all.yaml'), `${base}---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: p, namespace: payments}
spec:
  subjects: [{kind: Group, name: sre}]
  targets: {names: [web-1]}
  rules: [${[rule('d', 'Deny', ['rm -rf', 'shutdown']), rule('h', 'RequireApproval', ['sudo', 'systemctl']), rule('a', 'Allow', ['* **'])].join(', ')}]
`);
  const cases = readCases(readFileSync(new URL('../../sidecar/core/shell/testdata/ssh_cases.json', import.meta.url), 'utf8'));
  const file = fileOf({ defaults: { as: ann, target: 'web-1', account: 'deploy' }, cases: cases.map(({ id, command }) => ({ name: id, command })) });
  const lines = (await run('--json', dir, file)).stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as { readonly name: string; readonly verdict: string; readonly code: string | null });
  using parser = createShellParser();
  expect(lines).toHaveLength(cases.length);
  for (const [index, shellCase] of cases.entries()) {
    const { verdict, code } = lines[index] ?? { verdict: '', code: null };
    const got = code === 'COMMAND_UNKNOWN' || code === 'COMMAND_INVALID' ? 'unknown' : verdict === 'RequireApproval' ? 'approve' : verdict.toLowerCase();
    expect([shellCase.id, got]).toEqual([shellCase.id, (await judgeCase(shellCase, parser)).verdict]);
    expect([shellCase.id, shellCase.accept]).toEqual([shellCase.id, expect.arrayContaining([got])]);
  }
});
