import { describe, expect, test } from '@jest/globals';
import { readClusterSettings } from './cluster-settings.ts';

const proxy = { drainSeconds: 900, staleness: 'KeepLast', maxStalenessSeconds: 900, maxSessions: 500, sessionObjects: 'Notable', logLevel: 'info', identityAliases: {}, persistentState: false };
const environment = { POD_NAME: 'sallyport-proxy-1', POD_UID: 'u', POD_NAMESPACE: 'payments', SALLYPORT_PROXY: JSON.stringify(proxy), KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };
const problems = (env: Readonly<Record<string, string | undefined>>): unknown => {
  const read = readClusterSettings({ ...environment, ...env });
  return read.outcome === 'rejected' ? read.problems : 'read';
};

describe('the environment of a proxy pod', () => {
  test('as the operator writes it is enough: everything else has its place in the pod', () => {
    expect(readClusterSettings(environment)).toEqual({
      outcome: 'read',
      settings: {
        pod: 'sallyport-proxy-1', podUid: 'u', namespace: 'payments', proxy, apiServer: { host: '10.96.0.1', port: 443 }, bindHost: '0.0.0.0', ports: { health: 8081, metrics: 8080, peers: 8443 },
        paths: { serviceAccount: '/var/run/secrets/kubernetes.io/serviceaccount', state: '/var/lib/sallyport', keys: '/etc/sallyport/keys' }, minFreeBytes: 536_870_912, reserveBytes: 67_108_864,
      },
    });
  });

  test('that lacks something is refused with all that is missing', () => {
    expect(readClusterSettings({})).toEqual({ outcome: 'rejected', problems: ['KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT', 'POD_NAME', 'POD_NAMESPACE', 'POD_UID', 'SALLYPORT_PROXY'].map((name) => `${name}: required`) });
  });

  test('with a misspelt or wrong setting is refused', () => {
    expect(problems({ SALLYPORT_PROXI: '1' })).toEqual(['SALLYPORT_PROXI: unknown variable']);
    expect(problems({ SALLYPORT_PROXY: '{' })).toEqual(['SALLYPORT_PROXY: not JSON']);
    expect(problems({ SALLYPORT_PROXY: JSON.stringify({ ...proxy, staleness: 'Never' }) })).toEqual([expect.stringMatching(/^SALLYPORT_PROXY: staleness: /)]);
    expect(problems({ SALLYPORT_PROXY: JSON.stringify({ ...proxy, drain: 1 }) })).toEqual([expect.stringContaining('drain')]);
    expect(problems({ KUBERNETES_SERVICE_PORT: '99999' })).toEqual(['KUBERNETES_SERVICE_PORT: must be a whole number from 1 to 65535']);
  });
});
