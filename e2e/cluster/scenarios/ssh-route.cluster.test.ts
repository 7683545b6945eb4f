import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { endClients, eventually, runClient } from '../../hosts/clients.ts';
import { openCluster, type Printed } from '../hosts/cluster.ts';
import { type SshNamespace, startSshNamespace } from '../hosts/ssh-namespace.ts';

const cluster = openCluster();
const cli = fileURLToPath(new URL('../../../cli/main.ts', import.meta.url));

const policies = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: oncall}
spec:
  subjects: [{kind: Group, name: sre}]
  targets: {names: [web-1]}
  rules:
  - {name: look, action: Allow, ssh: {accounts: [deploy], commands: [id, "id **", "cat *", "echo **", "sleep *"]}}
  - {name: no-root, action: Deny, ssh: {commands: ["rm -rf"]}, message: ask in the channel}
  - {name: privileged, action: RequireApproval, ssh: {accounts: [deploy], commands: [sudo]}, approval: {groups: [dba], required: 1, decideWithin: 5m}}
`;

(cluster ? describe : describe.skip)('the route of an SSH connection in a cluster', () => {
  if (cluster === null) return void test.todo('needs a Kubernetes node');
  const namespace = 'ssh-payments';
  let world: SshNamespace;
  let alice = '';
  let bob = '';

  beforeAll(async () => {
    [alice, bob] = await Promise.all([cluster.tokenOf('alice', ['sre']), cluster.tokenOf('bob', ['dba'])]);
    world = await startSshNamespace(cluster, { namespace, policies });
  }, 240_000);

  afterAll(async () => {
    endClients();
    await world?.[Symbol.asyncDispose]();
  }, 60_000);

  test('stock ssh in another pod logs in by the Target\'s own name at port 22, with the host key verified, and runs a command with its exit code', async () => {
    expect(await world.ssh(alice, 'id -un')).toEqual({ code: 0, out: 'deploy\n', err: '' });
    expect(await world.ssh(alice, 'cat /nonexistent')).toMatchObject({ code: 1, out: '', err: expect.stringContaining('No such file') });
    expect((await cluster.get('service', 'web-1', namespace))?.spec?.ports).toMatchObject([{ port: 22, appProtocol: 'ssh', name: 'ssh' }]);
  });

  test('another account, another command and somebody whom no policy names are refused with the reason, and nothing runs', async () => {
    expect(await world.ssh(alice, 'rm -fr /tmp/x')).toMatchObject({ code: 126, out: '', err: expect.stringContaining('COMMAND_DENIED') });
    expect(await world.ssh(alice, 'ls /')).toMatchObject({ code: 126, out: '', err: expect.stringContaining('COMMAND_NOT_ALLOWED') });
    expect(await world.ssh(alice, 'id', { account: 'ops' })).toMatchObject({ out: '', err: expect.stringContaining('ACCOUNT_NOT_GRANTED') });
    expect(await world.ssh(bob, 'id')).toMatchObject({ out: '', err: expect.stringContaining('ACCESS_DENIED') });
    expect((await world.ssh('not-a-token', 'id')).err).toContain('Permission denied');
  });

  test('sallyport ssh and sallyport login work from outside: a ticket opens at whichever replica the Service leads to, and so does a certificate', async () => {
    const address = (await cluster.get('service', 'web-1', namespace))?.spec?.clusterIP as string;
    const door = await cluster.forward(address, 22);
    const directory = mkdtempSync(join(tmpdir(), 'sallyport-ssh-outside-'));
    try {
      const [known, token] = [join(directory, 'known_hosts'), join(directory, 'token')];
      const hostKey = (await world.learnHostKeys()).trim().split(' ').slice(1).join(' ');
      writeFileSync(known, `[127.0.0.1]:${door.port} ${hostKey}\n`);
      writeFileSync(token, alice, { mode: 0o600 });
      const environment: NodeJS.ProcessEnv = { PATH: process.env['PATH'] ?? '', HOME: directory, XDG_CONFIG_HOME: directory };
      const sallyport = (...words: readonly string[]): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }> => runClient(process.execPath, ['--disable-warning=ExperimentalWarning', cli, ...words], environment, '');
      // Each takes two connections, one for the ticket and one with it: eight times on one replica of two would be a rare accident.
      for (let round = 0; round < 8; round += 1) {
        expect(await sallyport('ssh', '--token-file', token, '--known-hosts', known, `deploy@127.0.0.1:${door.port}`, '--', 'id', '-un')).toEqual({ code: 0, out: 'deploy\n', err: '' });
      }
      expect(await sallyport('login', '--token-file', token, '--known-hosts', known, `127.0.0.1:${door.port}`)).toMatchObject({ code: 0, out: expect.stringContaining(`for namespace ${namespace}`) });
      const config = /Include "([^"]+)"/.exec((await sallyport('login', '--token-file', token, '--known-hosts', known, `127.0.0.1:${door.port}`)).out)?.[1] ?? '';
      for (let round = 0; round < 4; round += 1) {
        expect(await runClient('ssh', ['-F', config, '-p', String(door.port), '-o', `UserKnownHostsFile=${known}`, '-o', 'BatchMode=yes', 'deploy@127.0.0.1', 'id', '-un'], environment, '')).toEqual({ code: 0, out: 'deploy\n', err: '' });
      }
    } finally {
      door.close();
      rmSync(directory, { recursive: true });
    }
  }, 120_000);

  test('a held sudo runs once another person has approved it by kubectl, and only then', async () => {
    const held = world.live(alice, 'sudo cat /etc/group');
    const request = await eventually('a request is pending', async () => (await cluster.list('areq', namespace)).find(({ status }) => status?.phase === 'Pending'), 20_000);
    expect(request.spec).toMatchObject({ requester: { username: 'oidc:alice@bank.example' } });
    const own = await cluster.kubectl(['apply', '-f', '-'], { token: alice, input: decisionOn(request, 'oidc:alice@bank.example') });
    expect(own.code).toBe(1);
    await cluster.apply(decisionOn(request, 'oidc:bob@bank.example'), { token: bob });
    await held.until(/^deploy:x:1001:/m);
    await held.end();
    expect((await cluster.get('areq', request.metadata.name, namespace))?.status).toMatchObject({ phase: 'Approved', use: { state: 'Used' } });
  });

  test('kubectl get reads as a dashboard', async () => {
    await cluster.waitFor('jsonpath={.status.programmed}=2/2', ['tgt/web-1', 'apol/oncall'], namespace, 30);
    expect(await cluster.must(['get', 'tgt', 'web-1', '-n', namespace, '--no-headers'])).toMatch(/^web-1 +web-1\.ssh-payments:22 +True +2\/2 +Ready /);
    await eventually('the session with the held command is shown', async () => /oidc:alice@bank\.example +web-1 .* Ended +[1-9]\d* +\d+/.test(await cluster.must(['get', 'asess', '-n', namespace, '--no-headers'])), 45_000);
    const denied = await eventually('the session with the denied command is shown', async () => (await cluster.list('asess', namespace)).find(({ status }) => status?.denied === 1 && status?.phase === 'Ended'), 45_000);
    expect(denied.spec).toMatchObject({ protocol: 'SSH', account: 'deploy', targetRef: { name: 'web-1' } });
  });

  test('a running command is cut when its policy is deleted, with the reason on standard error', async () => {
    const live = world.live(alice, 'echo begun; sleep 300');
    await live.until(/begun/);
    await cluster.must(['delete', 'apol', 'oncall', '-n', namespace]);
    const deleted = performance.now();
    await live.until(/SESSION_REVOKED|POLICY|ACCESS_DENIED/);
    expect(performance.now() - deleted).toBeLessThan(5_000);
    await live.end();
    expect((await world.ssh(alice, 'id')).err).toContain('ACCESS_DENIED');
    await cluster.must(['apply', '-n', namespace, '-f', '-'], { input: policies });
    await cluster.waitFor('condition=Ready', ['accesspolicy', '--all'], namespace, 30);
  }, 60_000);

  test('the host key outlives a restart of the proxies and of the operator; when its Secret is gone no other is made, and the Target says so', async () => {
    const fingerprint = async (): Promise<unknown> => (await cluster.get('proxyconfig', 'sallyport-proxy', namespace))?.status?.sshHostKeyFingerprint;
    const before = await fingerprint();
    expect(before).toMatch(/^SHA256:[A-Za-z0-9+/]{43}$/);
    await cluster.must(['rollout', 'restart', 'deployment/sallyport-proxy', '-n', namespace]);
    await cluster.must(['rollout', 'status', 'deployment/sallyport-proxy', '-n', namespace, '--timeout=120s']);
    // The client still knows the key of before.
    expect(await eventually('a new proxy answers', async () => {
      const ran = await world.ssh(alice, 'id -un');
      return ran.code === 0 ? ran : undefined;
    }, 30_000)).toMatchObject({ out: 'deploy\n' });

    const secret = await cluster.must(['get', 'secret', 'sallyport-proxy-ssh', '-n', namespace, '-o', 'json']);
    await cluster.must(['delete', 'secret', 'sallyport-proxy-ssh', '-n', namespace]);
    await cluster.must(['rollout', 'restart', 'deployment/sallyport-operator', '-n', 'sallyport-system']);
    await cluster.must(['rollout', 'status', 'deployment/sallyport-operator', '-n', 'sallyport-system', '--timeout=120s']);
    await eventually('the Target says that its host key is missing', async () => conditionOf(await cluster.get('tgt', 'web-1', namespace), 'ResolvedRefs')?.reason === 'HostKeyMissing', 60_000);
    expect([await cluster.get('secret', 'sallyport-proxy-ssh', namespace), await fingerprint()]).toEqual([null, before]);

    const { metadata: { annotations, labels, name }, data, type } = JSON.parse(secret) as Printed & { readonly type: string };
    await cluster.apply(JSON.stringify({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace, annotations, labels }, data, type }));
    await eventually('the restored key counts', async () => conditionOf(await cluster.get('tgt', 'web-1', namespace), 'ResolvedRefs')?.status === 'True', 60_000);
    expect(await world.ssh(alice, 'id -un')).toMatchObject({ code: 0, out: 'deploy\n' });
  }, 300_000);
});

function conditionOf(object: Printed | null, type: string): { readonly status: string; readonly reason: string } | undefined {
  return (object?.status?.conditions as readonly { readonly type: string; readonly status: string; readonly reason: string }[] | undefined)?.find((condition) => condition.type === type);
}

/** What `kubectl sallyport approve` writes: the approver repeats what they saw. */
function decisionOn(request: Printed, by: string): string {
  const { requester, digest, policyRef } = request.spec;
  return JSON.stringify({
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessDecision', metadata: { name: `${request.metadata.name}-${by.replace(/[^a-z]+/g, '-')}`, namespace: request.metadata.namespace },
    spec: { requestRef: { name: request.metadata.name, uid: request.metadata.uid }, policyRef: { name: policyRef.name }, requester: { username: requester.username }, digest, decision: 'Approve', by, asGroups: ['dba'] },
  });
}
