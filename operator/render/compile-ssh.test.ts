import { expect, test } from '@jest/globals';
import { formatPath } from '../../contract/api/validate-schema.ts';
import type { AccessPolicyResource, SallyportResource, TargetResource } from '../../contract/api/v1alpha1.gen.ts';
import { renderInput } from '../../tools/testkit/read-resources.ts';
import { renderProxyConfig } from './proxy-config.ts';

const hostKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJCdgLuBAbRQCxc/UMH51DYRWJH6TwNbcVB7F1FW4qHE';
type Ssh = NonNullable<TargetResource['spec']['ssh']>;
const host = (ssh: Partial<Ssh> = {}, metadata: Partial<TargetResource['metadata']> = {}): TargetResource => ({
  apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', metadata: { name: 'web', uid: 'u-web', generation: 1, ...metadata },
  spec: { ssh: { host: 'h', port: 22, hostKeys: [hostKey], credentials: { secretRef: { name: 's' } }, accounts: ['deploy'], level: 'Exec', ...ssh } },
});
const said = (resources: readonly SallyportResource[]): readonly string[] => renderProxyConfig(renderInput(resources)).problems.map(({ severity, path, message }) => `${severity} ${formatPath(path)} ${message}`);

test('what the schema refuses first is refused here once more: no key, a credential of nobody, permission for what cannot be read', () => {
  expect(said([host({ hostKeys: [] })])).toEqual(["rejected spec.ssh.hostKeys name the host's keys or a host certificate authority"]);
  expect(said([host({ accountCredentials: [{ account: 'root', secretRef: { name: 'r' } }] })])).toEqual(['rejected spec.ssh.accountCredentials[0].account accounts does not list root']);
  const policy: AccessPolicyResource = {
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessPolicy', metadata: { name: 'p' },
    spec: { subjects: [{ kind: 'User', name: 'a' }], targets: { names: ['web'] }, access: { mode: 'Standing' }, rules: [{ name: 'r', action: 'Allow', ssh: { unknown: true } }] },
  };
  expect(said([host(), policy])).toEqual(['rejected spec.rules[0].ssh.unknown what cannot be read for certain may be denied or approved, never allowed']);
});

test('a Target of no protocol is served as none', () => {
  const empty: TargetResource = { ...host(), spec: {} };
  const { config, problems } = renderProxyConfig(renderInput([empty]));
  expect([config.targets, problems.length > 0]).toEqual([[], true]);
});

test('an SSH Target that is broken now stays as it was, at its port of now', () => {
  const lastGood = renderProxyConfig(renderInput([host()])).config;
  const { config, carried } = renderProxyConfig({ ...renderInput([host({ hostKeys: ['ssh-ed25519 AAAA'] }, { generation: 2 })]), lastGood, listenPorts: new Map([['web', 20_007]]) });
  expect(config.targets).toEqual([{ ...lastGood.targets[0], listenPort: 20_007 }]);
  expect(carried).toEqual([{ kind: 'Target', name: 'web', generation: 1 }]);
});
