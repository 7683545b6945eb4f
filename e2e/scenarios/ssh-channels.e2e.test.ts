import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findAsset } from '../../tools/e2e-assets.ts';
import { eventually } from '../hosts/clients.ts';
import { sshEvents } from '../hosts/ssh-events.ts';
import { runPython } from '../hosts/ssh-python.ts';
import { type SshWorld, startSshWorld, usualRule } from '../hosts/ssh-world.ts';

const isPossible = (['ssh-native', 'sshd', 'ssh'] as const).every((name) => findAsset(name) !== null);
const scenario = isPossible ? describe : describe.skip;
const paramiko = findAsset('paramiko');
const asyncssh = findAsset('asyncssh');

let world: SshWorld;

beforeAll(async () => {
  if (!isPossible) return;
  world = await startSshWorld({
    rules: [{ ...usualRule, ssh: { commands: usualRule.ssh.commands.filter((command) => command !== 'sleep *') } }, { name: 'screen', action: 'Allow', ssh: { commands: ['stty size', 'sleep *'], pty: true } }],
  });
}, 60_000);
afterAll(async () => world?.[Symbol.asyncDispose]());

scenario('the closed table of channels and requests', () => {
  (paramiko === null ? test.skip : test)('passes what it names and refuses everything else, which stands in the record; the connection goes on', async () => {
    expect(await runPython(world, paramiko?.path ?? '', 'ssh_table.py')).toEqual({
      exec: '0 ', 'exec denied': '126 COMMAND_NOT_ALLOWED', shell: '126 SHELL_NOT_GRANTED', 'subsystem invented': 'None refused', 'subsystem credential': 'None refused',
      'pty-req': 'success', 'env LANG': 'success', 'env PATH': 'success', 'window-change': 'success', signal: 'success', 'auth-agent-req': 'failure', 'x11-req': 'failure', break: 'failure', 'invented request': 'failure',
      'direct-tcpip': 'refused 1', x11: 'refused 3', 'forwarded-tcpip': 'refused 3', 'auth-agent': 'refused 3', tun: 'refused 3', 'invented channel': 'refused 3',
      'tcpip-forward': 'failure', 'streamlocal-forward': 'failure', 'invented global': 'failure', keepalive: 'failure', '11th session': 'refused 1', 'after all': '0 ',
    });
    const refused = (await sshEvents(world)).filter(({ code }) => code === 'channel.refused' || code === 'forward.refused' || code === 'exec.denied');
    expect(refused.map(({ code, reason, facts }) => `${code} ${reason} ${String(facts['type'] ?? facts['kind'])}`)).toEqual([
      'exec.denied COMMAND_NOT_ALLOWED Exec', 'exec.denied SHELL_NOT_GRANTED Shell', 'channel.refused CHANNEL_REFUSED subsystem:netconf', 'channel.refused CHANNEL_REFUSED subsystem:credential@sallyport.dev',
      'channel.refused FORWARD_DENIED agent', 'channel.refused FORWARD_DENIED x11', 'channel.refused CHANNEL_REFUSED break', 'channel.refused CHANNEL_REFUSED invented@example.com',
      'forward.refused FORWARD_DENIED direct-tcpip', 'channel.refused CHANNEL_REFUSED x11', 'channel.refused CHANNEL_REFUSED forwarded-tcpip', 'channel.refused CHANNEL_REFUSED auth-agent@openssh.com',
      'channel.refused CHANNEL_REFUSED tun@openssh.com', 'channel.refused CHANNEL_REFUSED invented@example.com', 'forward.refused FORWARD_DENIED tcpip-forward', 'forward.refused FORWARD_DENIED streamlocal-forward',
      'channel.refused CHANNEL_REFUSED invented@example.com', 'channel.refused CHANNEL_LIMIT_REACHED session',
    ]);
  }, 60_000);

  (paramiko === null ? test.skip : test)('a client that goes on asking for what is refused is cut after a thousand', async () => {
    expect(await runPython(world, paramiko?.path ?? '', 'ssh_flood.py', ['3000'])).toBe(1_000);
    expect((await world.ssh(['true'])).status).toBe(0);
  }, 90_000);

  test('ssh says itself that agent and X11 forwarding are refused, and runs the command', async () => {
    const run = await world.ssh(['echo on'], { options: ['-A', '-R', '0:127.0.0.1:9'], logLevel: 'INFO' });
    expect([run.status, run.stdout.toString(), run.stderr.toString()]).toEqual([0, 'on\n', expect.stringContaining('remote port forwarding failed')]);
  });
});

scenario('many', () => {
  test('sessions of one connection run beside each other through a control socket; the eleventh is refused', async () => {
    const socket = join(world.root, 'mux');
    const master = await world.open(['sleep 6'], { options: ['-M', '-S', socket] });
    await eventually('the master is up', async () => (await (await world.open(['-O', 'check'], { options: ['-S', socket] })).ended).status === 0 || null);
    const nine = await Promise.all(Array.from({ length: 9 }, (_, number) => world.open([`sleep 2; echo ${number}`], { options: ['-S', socket] })));
    await new Promise((resolve) => setTimeout(resolve, 800));
    const eleventh = await world.open(['true'], { options: ['-S', socket, '-o', 'ProxyCommand=false'] });
    expect((await eleventh.ended).status).not.toBe(0);
    await Promise.all(nine.map(({ ended }) => ended));
    expect(nine.map(({ stdout }) => stdout())).toEqual(Array.from({ length: 9 }, (_, number) => `${number}\n`));
    expect((await master.ended).status).toBe(0);
  }, 60_000);

  (asyncssh === null ? test.skip : test)('clients at once: a hundred connections of asyncssh, two commands each', async () => {
    expect(await runPython(world, asyncssh?.path ?? '', 'ssh_parallel.py', ['100'], 110_000)).toEqual({ right: 100, failures: [] });
  }, 120_000);
});

scenario('a terminal of a rule with pty', () => {
  test('follows the size of the window', async () => {
    const client = `import fcntl, os, pty, signal, struct, subprocess, sys, termios, time
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
child = subprocess.Popen(sys.argv[1:], stdin=slave, stdout=slave, stderr=slave, preexec_fn=os.setsid)
time.sleep(1.5)
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 41, 107, 0, 0))
os.kill(child.pid, signal.SIGWINCH)
child.wait()
os.set_blocking(master, False)
sys.stdout.write(os.read(master, 65536).decode())`;
    const python = findAsset('paramiko')?.path ?? 'python3';
    const token = await world.token('engineer');
    const args = ['ssh', '-F', 'none', '-p', String(world.port), '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'LogLevel=ERROR', '-o', 'PreferredAuthentications=password', '-tt', `${world.sshd.account}@127.0.0.1`, 'stty size; sleep 3; stty size'];
    const child = spawn(python, ['-c', client, ...args], { env: { ...process.env, ...world.askpass(token) }, stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => { out += text; });
    await new Promise((resolve) => child.once('close', resolve));
    expect(out.replaceAll('\r', '')).toBe('31 97\n41 107\n');
  }, 30_000);
});
