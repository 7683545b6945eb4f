import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { findAsset } from '../../tools/e2e-assets.ts';
import { eventually } from '../hosts/gateway-process.ts';
import { readDataDirectory } from '../hosts/gateway.ts';
import { sallyport } from '../hosts/sallyport.ts';
import { sshPolicy, type SshWorld, startSshWorld, usualRule } from '../hosts/ssh-world.ts';

const isPossible = (['ssh-native', 'sshd', 'ssh', 'scp'] as const).every((name) => findAsset(name) !== null);
const scenario = isPossible ? test : test.skip as typeof test;

let world: SshWorld;
let place: string;
let knownHosts: string;
let sshConfig: string;

beforeAll(async () => {
  if (!isPossible) return;
  world = await startSshWorld({
    device: { clientId: 'sallyport-cli', people: { ada: { email: 'ada@bank.example', groups: ['sre'] } } },
    rules: [usualRule, { name: 'files', action: 'Allow', ssh: { files: { operations: ['Read', 'Write', 'List'], paths: ['/tmp/**'] } } }],
  });
  place = `${world.sshd.account}@127.0.0.1:${world.port}`;
  [knownHosts, sshConfig] = [join(world.root, 'known_hosts'), join(world.root, 'ssh_config')];
  const directories = ['--config', world.configDirectory];
  writeFileSync(knownHosts, (await sallyport(['ssh', 'known-hosts', '--data', world.dataDirectory, ...directories])).text);
  writeFileSync(sshConfig, (await sallyport(['ssh', 'config', ...directories])).text);
});

afterAll(async () => {
  if (isPossible) await world[Symbol.asyncDispose]();
});

function run(program: string, args: readonly string[], onText: (text: string) => void = () => undefined, env: Readonly<Record<string, string>> = {}): Promise<{ readonly status: number | null; readonly stdout: string; readonly stderr: string }> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, SSH_AUTH_SOCK: '', ...env } });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text; });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    onText(stderr);
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 40_000);
  return new Promise((resolve) => child.once('close', (status) => {
    clearTimeout(timer);
    resolve({ status, stdout, stderr });
  }));
}

function options(...more: readonly string[]): readonly string[] {
  return ['-F', sshConfig, '-o', `UserKnownHostsFile=${knownHosts}`, '-o', 'GlobalKnownHostsFile=/dev/null', ...more];
}

function approving(): (text: string) => void {
  let isApproved = false;
  return (text) => {
    const code = /enter ([A-Z]{4}-[A-Z]{4})/.exec(text)?.[1];
    if (code === undefined || isApproved) return;
    isApproved = true;
    void world.issuer.approveDevice(code, 'ada');
  };
}

scenario('`sallyport ssh config` and `known-hosts` are all that ssh needs to find the target and know the gateway; the browser does the rest', async () => {
  expect(readFileSync(sshConfig, 'utf8')).toBe(`Host web\n  HostName 127.0.0.1\n  Port ${world.port}\n  # accounts: ${world.sshd.account}\n`);
  const { status, stdout, stderr } = await run('ssh', [...options('-o', 'StrictHostKeyChecking=yes', '-o', 'IdentityFile=none'), '-l', world.sshd.account, 'web', 'echo from the target; false'], approving());
  expect(stderr).toContain('approved as oidc:ada@bank.example');
  expect([status, stdout]).toEqual([1, 'from the target\n']);
});

scenario('`sallyport ssh` runs a command with a ticket, whatever the length of the token', async () => {
  const token = await world.issuer.sign({ sub: 'ada', email: 'ada@bank.example', groups: ['sre'], note: 'x'.repeat(3_000) });
  const ran = await sallyport(['ssh', '--known-hosts', knownHosts, '--ssh-config', sshConfig, place, '--', 'id -un'], { HOME: world.root, SALLYPORT_TOKEN: token });
  expect([ran.exit, ran.text]).toEqual([0, `${world.sshd.account}\n`]);
});

scenario('after `sallyport login` ssh and scp work in batch mode with the certificate, also after the gateway was started anew; policy decides which logins it takes', async () => {
  const login = (): Promise<{ readonly exit: number | null; readonly text: string }> => world.token('engineer').then((token) => sallyport(['login', '--known-hosts', knownHosts, '--ssh-config', sshConfig, 'web'], { HOME: world.root, SALLYPORT_CONFIG_DIR: join(world.root, 'sallyport'), SALLYPORT_TOKEN: token }));
  expect((await login()).exit).toBe(0);
  writeFileSync(sshConfig, `Include "${join(world.root, 'sallyport', 'ssh', 'default.conf')}"\n${readFileSync(sshConfig, 'utf8')}`);
  const batch = options('-o', 'BatchMode=yes', '-o', `User=${world.sshd.account}`);
  const file = join(world.root, 'file');
  writeFileSync(file, 'content\n');
  expect(await run('ssh', [...batch, 'web', 'id -un'])).toMatchObject({ status: 0, stdout: `${world.sshd.account}\n` });
  expect(await run('scp', [...batch, file, `web:${file}-copy`])).toMatchObject({ status: 0 });
  expect(readFileSync(`${file}-copy`, 'utf8')).toBe('content\n');
  await world.gateway.stop();
  await world.restart();
  expect(await run('ssh', [...batch, 'web', 'id -un'])).toMatchObject({ status: 0 });

  world.writeConfig('policy.yaml', sshPolicy([usualRule], { authMethods: ['Ticket'] }));
  await eventually('the policy is in force', () => world.gateway.stderr().split('"config in force"').length > 2);
  const refused = await run('ssh', [...batch, 'web', 'id -un']);
  expect([refused.status, refused.stderr]).toEqual([126, expect.stringContaining('AUTH_METHOD_REFUSED')]);
  world.writeConfig('policy.yaml', sshPolicy([usualRule]));
});

scenario('`sallyport login` without a token goes through the browser at the issuer that it is told', async () => {
  const program = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
  const args = ['--disable-warning=ExperimentalWarning', program, 'login', '--issuer', world.issuer.issuer, '--client-id', 'sallyport-cli', '--ca-file', world.caFile, '--known-hosts', knownHosts, '--ssh-config', '/dev/null', place];
  const ran = await run(process.execPath, args, approving(), { HOME: world.root, SALLYPORT_CONFIG_DIR: join(world.root, 'browser') });
  expect(ran).toMatchObject({ status: 0, stdout: expect.stringContaining('logged in as oidc:ada@bank.example for namespace default until ') });
});

scenario('what was minted is on record, and no ticket, certificate or token is in any file of the gateway', async () => {
  const all = `${await readDataDirectory(world.dataDirectory)}${world.gateway.stderr()}`;
  expect(all).toMatch(/credential\.minted|Credential Minted/);
  expect(all).not.toMatch(/sp1_[a-z0-9]{8}_|AAAAIHNzaC1lZDI1NTE5LWNlcnQt|eyJ[A-Za-z0-9_-]{20,}\.eyJ/);
});
