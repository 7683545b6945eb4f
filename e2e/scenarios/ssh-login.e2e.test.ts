import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import ssh2 from 'ssh2';
import { createUserCaKey, readUserCa } from '../../sidecar/core/identity/ssh-user-ca.ts';
import { type AssetName, findAsset } from '../../tools/e2e-assets.ts';
import { type IssuerHost, startIssuer } from '../hosts/issuer.ts';
import { type LoginDoor, type LoginDoorOptions, startLoginDoor } from '../hosts/ssh-login-door.ts';
import { eventually } from '../hosts/gateway-process.ts';

const isThere = (...names: readonly AssetName[]): boolean => names.every((name) => findAsset(name) !== null);
/** A test for which these must be there. */
const testWith = (...names: readonly AssetName[]): typeof test => (isThere(...names) ? test : test.skip as typeof test);

const folder = mkdtempSync(join(tmpdir(), 'sp-login-'));
const hostKey = join(folder, 'host');
writeFileSync(hostKey, ssh2.utils.generateKeyPairSync('ed25519').private, { mode: 0o600 });
const userCa = readUserCa(createUserCaKey(), null);
let issuer: IssuerHost;

beforeAll(async () => {
  issuer = await startIssuer({ clients: [], device: { clientId: 'sallyport-cli', people: { ada: { email: 'ada@bank.example', groups: ['sre'] } } } });
});

afterAll(async () => {
  await issuer.stop();
  rmSync(folder, { recursive: true, force: true });
});

function door(over: Partial<LoginDoorOptions> = {}): Promise<LoginDoor> {
  return startLoginDoor({ issuer, hostKey, userCa, deviceClient: 'sallyport-cli', ...over });
}

/** A token of about `bytes` bytes, exactly that many where it can be. */
async function tokenOf(bytes: number): Promise<string> {
  let padding = Math.max(0, Math.floor((bytes - 400) * 0.75));
  for (let token = ''; ; padding += 1) {
    token = await issuer.sign({ sub: 'ada', jti: 'fixed', email: 'ada@bank.example', groups: ['sre'], note: 'x'.repeat(padding) });
    if (token.length >= bytes) return token;
  }
}

interface Run { readonly status: number | null; readonly stdout: string; readonly stderr: string }

function run(program: string, args: readonly string[], options: { readonly env?: Readonly<Record<string, string>>; readonly limitMs?: number; readonly onText?: (text: string) => void } = {}): Promise<Run> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, SSH_AUTH_SOCK: '', PYTHONWARNINGS: 'ignore', ...options.env } });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    options.onText?.(stdout + stderr);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    options.onText?.(stdout + stderr);
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), options.limitMs ?? 40_000);
  return new Promise((resolve) => child.once('close', (status) => {
    clearTimeout(timer);
    resolve({ status, stdout, stderr });
  }));
}

const sshOptions = ['-F', 'none', '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'GlobalKnownHostsFile=/dev/null', '-o', 'IdentitiesOnly=yes'];

/** `ssh` without configuration, key or agent; approves the device login whose code it shows. */
function ssh(at: LoginDoor, args: readonly string[], more: { readonly approve?: string; readonly limitMs?: number; readonly env?: Readonly<Record<string, string>> } = {}): Promise<Run> {
  let isApproved = false;
  return run('ssh', [...sshOptions, '-p', String(at.port), ...args], {
    ...more,
    onText: (text) => {
      const code = /enter ([A-Z]{4}-[A-Z]{4})/.exec(text)?.[1];
      if (code === undefined || isApproved || more.approve === undefined) return;
      isApproved = true;
      void issuer.approveDevice(code, more.approve);
    },
  });
}

const paramiko = `
import sys, paramiko, socket
port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
t = paramiko.Transport(socket.create_connection(('127.0.0.1', port)))
t.start_client(timeout=10)
try:
    t.auth_password(user, password, fallback=False)
    c = t.open_session(); c.exec_command('x'); sys.stdout.write(c.makefile().read().decode())
except Exception as e:
    print(type(e).__name__, t.get_banner()); sys.exit(1)
finally:
    t.close()
`;

const asyncssh = `
import sys, asyncio, asyncssh
async def main():
    async with asyncssh.connect('127.0.0.1', int(sys.argv[1]), username=sys.argv[2], password=sys.argv[3], known_hosts=None, client_keys=None, agent_path=None, config=None) as c:
        print((await c.run('x')).stdout, end='')
try:
    asyncio.run(main())
except asyncssh.Error as e:
    print(type(e).__name__, e); sys.exit(1)
`;

(isThere('ssh-native', 'ssh') ? describe : describe.skip)('device login', () => {
  test('stock ssh without configuration or terminal prints the address, waits for the browser, runs the command', async () => {
    await using at = await door();
    const { status, stdout, stderr } = await ssh(at, ['deploy@127.0.0.1', 'uptime'], { approve: 'ada' });
    expect(stderr).toMatch(/To log in to web-1 as deploy: open https:\/\/127\.0\.0\.1:\d+\/device and enter [A-Z]{4}-[A-Z]{4}\.[^]*You come from 127\.0\.0\.1\.[^]*approved as oidc:ada@bank\.example/);
    expect([status, JSON.parse(stdout)]).toEqual([0, expect.objectContaining({ username: 'oidc:ada@bank.example', groups: ['sre'], method: 'DeviceLogin', credentialId: null, account: 'deploy' })]);
  });

  testWith('expect')('with LogLevel=ERROR on a terminal the code comes in a prompt; Enter before the approval goes on waiting', async () => {
    await using at = await door({ timing: { promptAfterMs: 1_000 } });
    const script = join(folder, 'hidden.exp');
    writeFileSync(script, `set timeout 20
spawn -noecho ssh ${sshOptions.join(' ')} -o LogLevel=ERROR -p ${at.port} deploy@127.0.0.1 uptime
expect {
  -re {enter ([A-Z]+-[A-Z]+), then press Enter here} { send_user "CODE $expect_out(1,string)\\n" }
  timeout { exit 7 }
}
send "\\r"
expect eof
`);
    let isApproved = false;
    const { status, stdout } = await run('expect', [script], {
      onText: (text) => {
        const code = /CODE ([A-Z]{4}-[A-Z]{4})/.exec(text)?.[1];
        if (code === undefined || isApproved) return;
        isApproved = true;
        void issuer.approveDevice(code, 'ada');
      },
    });
    expect([status, stdout]).toEqual([0, expect.stringContaining('"method":"DeviceLogin"')]);
  });

  test('BatchMode fails at once, and nothing polls', async () => {
    await using at = await door();
    const before = issuer.tokenRequests();
    const started = performance.now();
    expect((await ssh(at, ['-o', 'BatchMode=yes', 'deploy@127.0.0.1', 'uptime'])).status).toBe(255);
    expect(performance.now() - started).toBeLessThan(5_000);
    await eventually('the login is over', () => at.undecided === 0);
    expect(issuer.tokenRequests()).toBe(before);
  });

  test('a client that goes away leaves no poll behind', async () => {
    await using at = await door();
    const client = spawn('ssh', [...sshOptions, '-p', String(at.port), 'deploy@127.0.0.1', 'uptime'], { stdio: ['ignore', 'ignore', 'pipe'] });
    await new Promise<void>((resolve) => client.stderr.setEncoding('utf8').on('data', (text: string) => { if (text.includes('enter ')) resolve(); }));
    client.kill('SIGKILL');
    await eventually('the login is over', () => at.undecided === 0);
    const before = issuer.tokenRequests();
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    expect(issuer.tokenRequests()).toBe(before);
  });

  test('grace ends a login that nobody approves', async () => {
    await using at = await door({ timing: { graceMs: 500, deviceGraceMs: 1_500 } });
    const started = performance.now();
    expect((await ssh(at, ['deploy@127.0.0.1', 'uptime'])).status).toBe(255);
    expect(performance.now() - started).toBeGreaterThan(1_300);
    expect(at.outcomes).toEqual([expect.objectContaining({ outcome: 'failed', denial: expect.objectContaining({ code: 'STARTUP_TIMEOUT' }) })]);
  });

  testWith('dbclient')('dbclient logs in the same way', async () => {
    await using at = await door();
    let isApproved = false;
    const { stdout } = await run('dbclient', ['-y', '-y', '-p', String(at.port), 'deploy@127.0.0.1', 'uptime'], {
      env: { HOME: folder },
      onText: (text) => {
        const code = /enter ([A-Z]{4}-[A-Z]{4})/.exec(text)?.[1];
        if (code === undefined || isApproved) return;
        isApproved = true;
        void issuer.approveDevice(code, 'ada');
      },
    });
    expect(stdout).toContain('"method":"DeviceLogin"');
  });
});

(isThere('ssh-native', 'ssh') ? describe : describe.skip)('tokens', () => {
  testWith('sshpass', 'paramiko', 'asyncssh')('a token of 1500 bytes is cut by stock ssh and the banner says so; paramiko and asyncssh log in with it', async () => {
    await using at = await door({ deviceClient: null });
    const token = await tokenOf(1_500);
    const cut = await run('sshpass', ['-e', 'ssh', ...sshOptions, '-o', 'NumberOfPasswordPrompts=1', '-p', String(at.port), 'deploy@127.0.0.1', 'uptime'], { env: { SSHPASS: token } });
    expect(cut.status).not.toBe(0);
    expect(cut.stderr).toContain('your SSH client cut this token at 1023 bytes [TOKEN_TRUNCATED]');
    expect(cut.stderr).toContain('use `sallyport ssh <target>` or log in with the browser');
    expect(at.log()).toContain('"code":"TOKEN_TRUNCATED"');
    for (const script of [paramiko, asyncssh]) {
      const whole = await run('/usr/bin/python3', ['-c', script, String(at.port), 'deploy', token]);
      expect([whole.status, JSON.parse(whole.stdout)]).toEqual([0, expect.objectContaining({ username: 'oidc:ada@bank.example', method: 'Token' })]);
    }
    expect(at.log()).not.toContain(token.slice(0, 40));
  });

  testWith('sshpass')('a token short enough for sshpass passes', async () => {
    await using at = await door({ deviceClient: null });
    const short = await run('sshpass', ['-e', 'ssh', ...sshOptions, '-p', String(at.port), 'deploy@127.0.0.1', 'uptime'], { env: { SSHPASS: await tokenOf(600) } });
    expect([short.status, short.stdout]).toEqual([0, expect.stringContaining('"method":"Token"')]);
  });

  testWith('paramiko')('the banner of an expired token says that it has expired', async () => {
    await using at = await door({ deviceClient: null });
    const expired = await issuer.sign({ sub: 'ada', email: 'ada@bank.example' }, { expiresInSeconds: -3_600 });
    const { status, stdout } = await run('/usr/bin/python3', ['-c', paramiko, String(at.port), 'deploy', expired]);
    expect([status, stdout]).toEqual([1, expect.stringContaining('[TOKEN_EXPIRED]')]);
  });
});
