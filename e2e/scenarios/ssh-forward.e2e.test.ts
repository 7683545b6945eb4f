import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { findAsset } from '../../tools/e2e-assets.ts';
import { eventually } from '../hosts/clients.ts';
import { freePort } from '../hosts/openssh.ts';
import { type FilesWorld, startFilesWorld } from '../hosts/ssh-files.ts';
import { sshPolicy } from '../hosts/ssh-world.ts';

const pieces = [findAsset('ssh-native'), findAsset('sshd'), findAsset('ssh')];
const xauth = findAsset('xauth');

(pieces.includes(null) ? describe.skip : describe)('forwarding', () => {
  let files: FilesWorld;
  let echo: Server;
  let echoPort = 0;
  let [listenPort, otherPort] = [0, 0];
  const running = new Set<ChildProcess>();
  const rules = (granted: boolean): readonly object[] => [
    { name: 'run', action: 'Allow', ssh: { commands: ['sleep *', 'ssh-add -l', 'ssh-add -D', 'ssh-keygen -q -Y sign **', 'printenv *'], stdin: 'Attach' } },
    ...(granted ? [
      { name: 'tunnel', action: 'Allow', ssh: { forward: { to: [`127.0.0.1:${echoPort}`, join(files.folder, 'run/app.sock')], listen: [`localhost:${listenPort}`, join(files.folder, 'run/listen.sock')] } } },
      { name: 'agent', action: 'Allow', ssh: { agent: true } },
      { name: 'x11', action: 'Allow', ssh: { x11: true } },
    ] : []),
  ];

  beforeAll(async () => {
    echo = createServer({ allowHalfOpen: true }, (socket) => void socket.on('error', () => undefined).pipe(socket));
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
    echoPort = (echo.address() as { readonly port: number }).port;
    [listenPort, otherPort] = [await freePort(), await freePort()];
    files = await startFilesWorld({ rules: () => rules(false), sshd: { config: ['X11Forwarding yes', 'AllowTcpForwarding yes', 'AllowStreamLocalForwarding yes'] } });
    mkdirSync(join(files.folder, 'run'));
  });
  afterAll(async () => {
    for (const child of running) child.kill();
    echo.close();
    await files[Symbol.asyncDispose]();
  });

  const ssh = (...args: readonly string[]): ReturnType<FilesWorld['run']> => files.run('ssh', ['-F', files.config, ...args], { limitMs: 15_000 });
  const display77 = (): Readonly<Record<string, string>> => ({ DISPLAY: ':77', XAUTHORITY: join(files.folder, 'xauthority') });
  const background = async (...args: readonly string[]): Promise<{ readonly stderr: () => string; readonly child: ChildProcess }> => {
    const child = files.start('ssh', ['-F', files.config, '-o', 'LogLevel=INFO', '-o', 'ExitOnForwardFailure=no', ...args], args.includes('-Y') ? display77() : {});
    running.add(child);
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => { stderr += text; });
    return { stderr: () => stderr, child };
  };
  /** What comes back through a port for `text`, after the end of input; null when nobody listens or it is closed at once. */
  const through = (port: number | string, text: string): Promise<string | null> => new Promise((resolve) => {
    let received = '';
    const socket = connect(typeof port === 'string' ? { path: port } : { port, host: '127.0.0.1' }, () => void socket.end(text));
    socket.setEncoding('utf8').on('data', (chunk: string) => { received += chunk; }).on('error', () => resolve(null)).on('close', () => resolve(received === '' ? null : received));
  });

  describe('without a rule', () => {
    test('-W prints why, and is on record', async () => {
      const run = await ssh('-o', 'LogLevel=INFO', '-W', `127.0.0.1:${echoPort}`, 'web');
      expect([run.status, run.stdout]).toEqual([255, '']);
      expect(run.stderr).toContain('administratively prohibited: ');
      expect(run.stderr).toContain('[FORWARD_DENIED]');
      expect(files.events('forward.refused').map(({ path, reason }) => [path, reason])).toContainEqual([`127.0.0.1:${echoPort}`, 'FORWARD_DENIED']);
    });

    test('-L, -R and -D carry nothing', async () => {
      const [local, dynamic] = [await freePort(), await freePort()];
      const { child } = await background('-N', '-L', `${local}:127.0.0.1:${echoPort}`, '-R', `${listenPort}:127.0.0.1:${echoPort}`, '-D', String(dynamic), 'web');
      await eventually('the local port is open', () => through(local, 'x').then((got) => got === null && files.events('forward.refused').length > 1));
      expect(await through(listenPort, 'x')).toBeNull();
      const curl = await files.run('curl', ['-s', '-m', '5', '-x', `socks5://127.0.0.1:${dynamic}`, `http://127.0.0.1:${echoPort}/`]);
      expect([curl.status, curl.stdout]).toEqual([97, '']);
      child.kill();
    }, 30_000);

    test('-A lends no agent and -X no display; the command runs all the same', async () => {
      const run = await files.run('ssh-agent', ['sh', '-c', `ssh-add -q ${files.world.sshd.userKey.path}; ssh -F ${files.config} -A -X web printenv SSH_AUTH_SOCK`], { environment: { DISPLAY: ':77' } });
      expect([run.status, run.stdout]).toEqual([1, '']);
      expect(files.events('channel.refused').map(({ facts }) => facts['type'])).toEqual(expect.arrayContaining(['agent', 'x11']));
    });
  });

  describe('with a rule', () => {
    beforeAll(async () => {
      files.world.writeConfig('policy.yaml', sshPolicy(rules(true)));
      await eventually('the rules are in force', async () => (await ssh('-W', `127.0.0.1:${echoPort}`, 'web')).status === 0);
    });

    test('-L reaches the destination that is named and no other, and its bytes are on record', async () => {
      const [local, other] = [await freePort(), await freePort()];
      const { child } = await background('-N', '-L', `${local}:127.0.0.1:${echoPort}`, '-L', `${other}:127.0.0.1:${files.world.sshd.port}`, '-L', `${otherPort}:localhost:${echoPort}`, 'web');
      await eventually('the forward carries bytes', async () => (await through(local, 'forwarded')) === 'forwarded');
      // The target's own sshd, and another name of the same place.
      expect([await through(other, 'x'), await through(otherPort, 'x')]).toEqual([null, null]);
      const large = 'x'.repeat(3_000_000);
      expect(await through(local, large)).toBe(large);
      await eventually('the end is on record', () => files.events('forward.closed').some(({ facts }) => facts['bytes_up'] === large.length && facts['bytes_down'] === large.length));
      expect(files.events('forward.refused').map(({ path }) => path)).toEqual(expect.arrayContaining([`127.0.0.1:${files.world.sshd.port}`, `localhost:${echoPort}`]));
      child.kill();
    }, 30_000);

    test('-D reaches what is named only', async () => {
      const dynamic = await freePort();
      const { child } = await background('-N', '-D', String(dynamic), 'web');
      const curl = (port: number): ReturnType<FilesWorld['run']> => files.run('curl', ['-s', '-m', '5', '--http0.9', '-x', `socks5://127.0.0.1:${dynamic}`, `http://127.0.0.1:${port}/path`]);
      await eventually('the named one answers', async () => (await curl(echoPort)).stdout.includes('GET /path'));
      expect((await curl(files.world.sshd.port)).status).toBe(97);
      child.kill();
    }, 30_000);

    test('-R listens where a rule says, each connection is recorded, and the end frees it', async () => {
      const { child, stderr } = await background('-N', '-R', `${listenPort}:127.0.0.1:${echoPort}`, '-R', `${otherPort}:127.0.0.1:${echoPort}`, 'web');
      await eventually('the listener carries bytes', async () => (await through(listenPort, 'back')) === 'back');
      await eventually('the other one is refused', () => stderr().includes('remote port forwarding failed'));
      expect(await through(otherPort, 'x')).toBeNull();
      expect(files.events('forward.open').filter(({ path }) => path === `localhost:${listenPort}`).map(({ facts }) => facts['type'])).toEqual(expect.arrayContaining(['tcpip-forward', 'forwarded-tcpip']));
      child.kill();
      await eventually('nobody listens any more', async () => (await through(listenPort, 'x')) === null);
    }, 30_000);

    test('Unix sockets are forwarded both ways where a rule names their path', async () => {
      const [local, app, listening] = [await freePort(), join(files.folder, 'run/app.sock'), join(files.folder, 'run/listen.sock')];
      const server = createServer({ allowHalfOpen: true }, (socket) => void socket.on('error', () => undefined).pipe(socket));
      await new Promise<void>((resolve) => server.listen(app, resolve));
      const { child } = await background('-N', '-L', `${local}:${app}`, '-L', `${otherPort}:${join(files.folder, 'run/other.sock')}`, '-R', `${listening}:127.0.0.1:${echoPort}`, 'web');
      await eventually('the socket answers', async () => (await through(local, 'unix')) === 'unix');
      await eventually('the listener carries bytes', async () => (await through(listening, 'back')) === 'back');
      expect(await through(otherPort, 'x')).toBeNull();
      child.kill();
      server.close();
    }, 30_000);

    test('the 17th forward at a time is refused', async () => {
      const local = await freePort();
      const { child } = await background('-N', '-L', `${local}:127.0.0.1:${echoPort}`, 'web');
      await eventually('the forward carries bytes', async () => (await through(local, 'x')) === 'x');
      const sockets = Array.from({ length: 17 }, () => connect(local, '127.0.0.1'));
      let closed = 0;
      for (const socket of sockets) socket.on('error', () => undefined).on('close', () => { closed++; }).write('stay');
      await eventually('one of them is closed', () => closed === 1);
      for (const socket of sockets) socket.destroy();
      child.kill();
    }, 30_000);

    test('parallel uses of a lent agent do not wait for each other, and each signature is on record with its key', async () => {
      const key = `${files.world.sshd.userKey.path}.pub`;
      const sign = (name: string): string => `ssh -F ${files.config} -A web ssh-keygen -q -Y sign -f ${key} -n test ${join(files.folder, 'run', name)}`;
      const names = ['a', 'b', 'c', 'd', 'e', 'f'];
      for (const name of names) writeFileSync(join(files.folder, 'run', name), name);
      const run = await files.run('ssh-agent', ['sh', '-c', `ssh-add -q ${files.world.sshd.userKey.path}; ${names.map((name) => `${sign(name)} & `).join('')} wait`], { limitMs: 30_000 });
      expect([run.status, names.map((name) => existsSync(join(files.folder, 'run', `${name}.sig`)))]).toEqual([0, names.map(() => true)]);
      const fingerprint = (await files.run('ssh-keygen', ['-lf', key])).stdout.split(' ')[1];
      const signatures = files.events('forward.open').filter(({ facts }) => facts['type'] === 'agent-signature');
      expect(signatures.map(({ facts }) => facts['key'])).toEqual(names.map(() => fingerprint));
    }, 60_000);

    test('a lent agent adds and removes no key', async () => {
      const run = await files.run('ssh-agent', ['sh', '-c', `ssh-add -q ${files.world.sshd.userKey.path}; ssh -F ${files.config} -A web ssh-add -D; ssh-add -l`], { limitMs: 30_000 });
      expect(run.stdout).toContain('ED25519');
      expect(files.events('forward.refused').map(({ facts }) => facts['type'])).toContain('agent request 19');
    }, 30_000);

    (xauth === null ? test.skip : test)('-X gives the command a display, whose connections come to the user and are on record', async () => {
      mkdirSync('/tmp/.X11-unix', { recursive: true });
      const path = '/tmp/.X11-unix/X77';
      rmSync(path, { force: true });
      const seen: number[] = [];
      const display = createServer((socket) => void socket.on('data', (chunk) => { seen.push(chunk.length); socket.end(); }));
      await new Promise<void>((resolve) => display.listen(path, resolve));
      try {
        const run = await files.run('ssh', ['-F', files.config, '-Y', 'web', 'printenv', 'DISPLAY'], { environment: display77(), limitMs: 10_000 });
        expect([run.status, run.stdout]).toEqual([0, expect.stringMatching(/^localhost:\d+\.\d+\n$/)]);
        const { child } = await background('-Y', 'web', 'sleep 20');
        const number = Number(/:(\d+)\./.exec(run.stdout)?.[1]);
        await eventually('the display is there', async () => {
          await through(6000 + number, 'B');
          return files.events('forward.closed').some(({ path, facts }) => path === 'x11' && facts['bytes_up'] !== undefined);
        });
        child.kill();
      } finally {
        display.close();
      }
      expect(files.events('forward.open').map(({ facts }) => facts['type'])).toContain('x11-req');
      expect(existsSync(path)).toBe(false);
    }, 30_000);

    test('an open forward is cut when its rule goes, and when access goes, each within a second or so', async () => {
      for (const without of [sshPolicy(rules(false)), null]) {
        const local = await freePort();
        files.world.writeConfig('policy.yaml', sshPolicy(rules(true)));
        const { child } = await background('-N', '-L', `${local}:127.0.0.1:${echoPort}`, 'web');
        await eventually('the forward carries bytes', async () => (await through(local, 'x')) === 'x');
        const socket = connect(local, '127.0.0.1');
        let closedAt = 0;
        socket.on('error', () => undefined).on('close', () => { closedAt = performance.now(); }).write('open');
        await new Promise((resolve) => socket.once('data', resolve));
        files.world.writeConfig('policy.yaml', without);
        const since = performance.now();
        await eventually('the forward is cut', () => closedAt > 0);
        expect(closedAt - since).toBeLessThan(2_500);
        if (without === null) await eventually('the client is told', () => child.exitCode !== null || child.signalCode !== null);
        child.kill();
      }
    }, 60_000);
  });
});
