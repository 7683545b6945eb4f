import { describe, expect, jest, test } from '@jest/globals';
import type { ProxyConfigResource, TargetResource } from '../../../contract/api/v1alpha1.gen.ts';
import { factsNowMs, namespaceFacts, readyPod, stored, storedConfig } from '../../../tools/testkit/namespace-facts.ts';
import { aPolicy, aTarget } from '../../../tools/testkit/operator-world.ts';
import { checkNamespace } from './check.ts';
import type { NamespaceFacts, SecretFacts } from './facts.ts';
import { emptyGraceMs, planConfig } from './plan-config.ts';
import type { ConfigPlan } from './plan-config.ts';
import { goneServices, missingSecrets, planServices, publicHostKeys } from './plan-objects.ts';
import { highestAcknowledged, progressOf, readyPods } from './progress.ts';
import { policyStatus, proxyConfigStatus, targetStatus } from './statuses.ts';

// Hundreds of objects through a whole API server: a busy machine takes longer.
jest.setTimeout(120_000);

const plan = (facts: NamespaceFacts): ConfigPlan => planConfig(facts, checkNamespace(facts));
const specOf = (planned: ConfigPlan): ProxyConfigResource['spec'] => {
  if (planned.action !== 'write') throw new Error(`planned to ${planned.action}`);
  return planned.spec;
};
const a = stored(aTarget('payments', 'a'));
const b = stored(aTarget('payments', 'b'));
const readers = stored(aPolicy('payments', 'readers'));
const first = specOf(plan(namespaceFacts({ targets: [a], policies: [readers] })));
const since = (spec: ProxyConfigResource['spec']): Readonly<Record<string, number>> => Object.fromEntries((spec.compiled ?? []).map(({ name, revision = 0 }) => [name, revision - factsNowMs]));

describe('the revision', () => {
  test('is the time of compiling, and above the last one even when the clock went back', () => {
    expect(first.revision).toBe(factsNowMs);
    expect(specOf(plan(namespaceFacts({ targets: [a, b], proxyConfig: storedConfig({ ...first, revision: factsNowMs + 5_000 }) }))).revision).toBe(factsNowMs + 5_001);
  });
  test('stays while the config is the same', () => {
    expect(plan(namespaceFacts({ nowMs: factsNowMs + 60_000, targets: [a], policies: [readers], proxyConfig: storedConfig(first) }))).toEqual({ action: 'keep' });
  });
  test('goes above what a proxy has in force after an old ProxyConfig was restored, and then everything counts as new', () => {
    const ahead = { pod: 'p0', podUID: 'uid-p0', revision: factsNowMs + 40_000, hash: 'sha256:0', state: 'Rejected' as const, reason: 'RevisionGoesBack' };
    const spec = specOf(plan(namespaceFacts({ targets: [a], policies: [readers], pods: [readyPod('p0')], proxyConfig: storedConfig(first, [ahead]) })));
    expect([spec.revision - factsNowMs, since(spec), spec.hash]).toEqual([40_001, { a: 40_001, readers: 40_001 }, first.hash]);
  });
  test('is not driven up by an absurd acknowledgement, nor by one of a pod that is gone or was another one', () => {
    const ack = (pod: string, podUID: string, revision: number): object => ({ pod, podUID, revision, hash: 'sha256:0', state: 'Applied' });
    const config = storedConfig(first, [ack('p0', 'uid-p0', factsNowMs + 90_000_000), ack('gone', 'uid-gone', factsNowMs + 10), ack('p1', 'older-uid', factsNowMs + 10)] as never);
    expect(highestAcknowledged(config, [readyPod('p0'), readyPod('p1')], factsNowMs)).toBeNull();
    expect(plan(namespaceFacts({ targets: [a], policies: [readers], pods: [readyPod('p0'), readyPod('p1')], proxyConfig: config }))).toEqual({ action: 'keep' });
  });
});

describe('since when an object is in the config as it is', () => {
  const later = (change: Partial<NamespaceFacts>): Readonly<Record<string, number>> => since(specOf(plan(namespaceFacts({ nowMs: factsNowMs + 1_000, proxyConfig: storedConfig(first), ...change }))));
  test('does not move for a policy when a Target that it selects is added', () => {
    expect(later({ targets: [a, b], policies: [readers] })).toEqual({ a: 0, readers: 0, b: 1_000 });
  });
  test('moves for a policy that was edited', () => {
    expect(later({ targets: [a], policies: [stored(aPolicy('payments', 'readers', { limits: { rowsPerStatement: 1 } }), 2)] })).toEqual({ a: 0, readers: 1_000 });
  });
  test('moves for a policy that ceases to select a Target whose labels changed, though no generation did', () => {
    expect(later({ targets: [stored(aTarget('payments', 'a', {}, { env: 'test' }))], policies: [readers] })).toEqual({ a: 1_000, readers: 1_000 });
  });
  test('moves for an object that was made anew under its name', () => {
    expect(later({ targets: [{ ...a, metadata: { ...a.metadata, uid: 'another' } }], policies: [readers] })).toMatchObject({ a: 1_000 });
  });
});

describe('a namespace without Targets', () => {
  const empty = specOf(plan(namespaceFacts({ nowMs: factsNowMs + 1, policies: [readers], proxyConfig: storedConfig(first) })));
  const applied = { pod: 'p0', podUID: 'uid-p0', revision: empty.revision, hash: empty.hash, state: 'Applied' as const };
  test.each([
    ['with no proxy wants none', { proxyConfig: null }, 'none'],
    ['has its Targets taken from the proxies first', { proxyConfig: storedConfig(first) }, 'write'],
    ['waits for the proxy that has not applied that yet', { proxyConfig: storedConfig(empty), pods: [readyPod('p0')] }, 'keep'],
    ['waits for a proxy that is not ready: it may hold sessions', { proxyConfig: storedConfig(empty, [applied]), pods: [readyPod('p0'), readyPod('p1', { isReady: false })] }, 'keep'],
    ['gives its proxy up once every pod has applied it', { proxyConfig: storedConfig(empty, [applied]), pods: [readyPod('p0')] }, 'delete'],
    ['gives its proxy up once there is no pod', { proxyConfig: storedConfig(empty) }, 'delete'],
    ['gives its proxy up after a while of silence', { proxyConfig: storedConfig(empty), pods: [readyPod('p0')], nowMs: factsNowMs + 1 + emptyGraceMs }, 'delete'],
  ] as const)('%s', (_name, change, action) => {
    expect(plan(namespaceFacts({ policies: [readers], ...change })).action).toBe(action);
  });
});

describe('progress', () => {
  const config = storedConfig(first, [
    { pod: 'p0', podUID: 'uid-p0', revision: first.revision, hash: first.hash, state: 'Applied' },
    { pod: 'p1', podUID: 'uid-p1', revision: first.revision, hash: 'sha256:other', state: 'Applied' },
    { pod: 'p2', podUID: 'uid-p2', revision: first.revision, hash: first.hash, state: 'Draining' },
    { pod: 'p3', podUID: 'uid-p3', revision: first.revision - 1, hash: 'sha256:older', state: 'Applied' },
    { pod: 'p4', podUID: 'uid-p4', revision: first.revision + 1, hash: 'sha256:newer', state: 'Applied' },
    { pod: 'p5', podUID: 'uid-p5', revision: first.revision, hash: first.hash, state: 'Applied', failedTargets: Array.from({ length: 64 }, (_, index) => ({ name: `t${index}`, reason: 'InvalidSecret' })) },
  ]);
  const applied = (pod: string, sinceRevision: number | null = first.revision, target?: string): number => progressOf(config, [readyPod(pod)], { sinceRevision, ...(target === undefined ? {} : { target }) }).applied;
  test('counts a pod that applied these bytes, and one that applied an older revision for what is older', () => {
    expect([applied('p0'), applied('p3'), applied('p3', first.revision - 1)]).toEqual([1, 0, 1]);
  });
  test('does not count other bytes under this revision, nor a revision that nobody stored, nor an object that is in no config', () => {
    expect([applied('p1'), applied('p4'), applied('p0', null)]).toEqual([0, 0, 0]);
  });
  test('does not trust a list of failures that is full', () => {
    expect([applied('p5'), applied('p5', first.revision, 'a')]).toEqual([1, 0]);
  });
  test('is of pods that are ready and stay: not draining, terminating or unready ones', () => {
    expect(readyPods(config, [readyPod('p2'), readyPod('p0', { isTerminating: true }), readyPod('p1', { isReady: false }), readyPod('p3')]).map((pod) => pod.name)).toEqual(['p3']);
  });
});

describe('conditions', () => {
  const serviceOf = (name: string): NamespaceFacts['generated'] => new Map([[`service/${name}`, { metadata: { name, namespace: 'payments', labels: { 'sallyport.dev/target': name }, annotations: { 'sallyport.dev/target-uid': `uid-${name}` } } }]]);
  const context = (change: Parameters<typeof namespaceFacts>[0]) => {
    const facts = namespaceFacts({ targets: [a], policies: [readers], secrets: new Map([['gateway', { resourceVersion: '5', annotations: {} }]]), ...change });
    return { facts, verdict: checkNamespace(facts), proxyConfig: facts.proxyConfig, isolation: new Map(), services: new Map([['a', 'a']]) };
  };
  const applied = storedConfig(first, [{ pod: 'p0', podUID: 'uid-p0', revision: first.revision, hash: first.hash, state: 'Applied' }]);
  const conditions = (status: { readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string }[] }): string => (status.conditions ?? []).filter(({ status: is }) => is !== 'True').map(({ type, status: is, reason }) => `${type}=${is}/${reason}`).join(' ');
  /** kstatus, as Flux and Helm 4 compute it. */
  const kstatus = (generation: number, status: { readonly observedGeneration?: number; readonly conditions?: readonly { readonly type: string; readonly status: string }[] } | undefined): string => {
    if (status?.observedGeneration !== generation) return 'InProgress';
    if (status.conditions?.some(({ type, status: is }) => type === 'Stalled' && is === 'True')) return 'Failed';
    const ready = status.conditions?.find(({ type }) => type === 'Ready');
    return ready === undefined || ready.status === 'True' ? 'Current' : 'InProgress';
  };

  test.each([
    ['everything in place', { proxyConfig: applied, pods: [readyPod('p0')], generated: serviceOf('a') }, 'BypassBlocked=False/NotRequested', 'Current'],
    ['no proxy is ready', { proxyConfig: applied, pods: [], generated: serviceOf('a') }, 'Programmed=False/ProxyUnavailable Ready=False/ProxyUnavailable BypassBlocked=False/NotRequested', 'InProgress'],
    ['one of two has applied it', { proxyConfig: applied, pods: [readyPod('p0'), readyPod('p1')], generated: serviceOf('a') }, 'Programmed=False/Partial Ready=False/Partial BypassBlocked=False/NotRequested', 'InProgress'],
    ['a Secret is missing', { proxyConfig: applied, pods: [readyPod('p0')], secrets: new Map([['gateway', null]]), generated: serviceOf('a') }, 'ResolvedRefs=False/SecretNotFound Ready=False/SecretNotFound BypassBlocked=False/NotRequested', 'InProgress'],
    ['it is not accepted', { foreignServices: new Set(['a']) }, 'Accepted=False/NameConflict Programmed=False/Pending Ready=False/NameConflict BypassBlocked=False/NotRequested', 'Failed'],
    ['it is for SSH and has no host key', { targets: [{ ...a, spec: { ssh: { host: 'h', port: 22, credentials: { secretRef: { name: 'gateway' } }, accounts: ['x'], level: 'Exec' as const } } }] }, 'Accepted=False/Invalid Programmed=False/Pending Ready=False/Invalid BypassBlocked=False/NotRequested', 'Failed'],
    ['isolation is asked for and no proxy is there', { targets: [stored(aTarget('payments', 'a', { isolation: { mode: 'ProxyOnly' } }))] }, 'Programmed=False/Pending Ready=False/Pending BypassBlocked=Unknown/Pending', 'InProgress'],
  ] as const)('of a Target: %s', (_name, change, expected, health) => {
    const made = context(change as never);
    const target = made.facts.targets[0] ?? a;
    const status = targetStatus(made, target);
    expect([conditions(status), kstatus(1, status), kstatus(2, status)]).toEqual([expected, health, 'InProgress']);
  });

  test('a new object is in progress for kstatus until the operator has seen it', () => {
    // The schema's default, so that nobody takes an object without conditions for healthy.
    expect(kstatus(1, { observedGeneration: -1 })).toBe('InProgress');
  });

  test.each([
    ['everything in place', { proxyConfig: applied, pods: [readyPod('p0')] }, ''],
    ['it names a Target that is not there', { policies: [stored(aPolicy('payments', 'readers', { targets: { names: ['a', 'nowhere'] } }))] }, 'ResolvedRefs=False/TargetNotFound Programmed=False/Pending Ready=False/TargetNotFound'],
    ['it selects nothing', { policies: [stored(aPolicy('payments', 'readers', { targets: { selector: { matchLabels: { env: 'nowhere' } } } }))] }, 'ResolvedRefs=False/NoMatchingTarget Programmed=False/Pending Ready=False/NoMatchingTarget'],
    ['it wants durable records on a disk that goes with the pod', { policies: [stored(aPolicy('payments', 'readers', { recording: { content: 'Full', durability: 'Fsync' } }))] }, 'Programmed=False/SpoolNotPersistent Ready=False/SpoolNotPersistent'],
    ['a proxy refused the config', { proxyConfig: storedConfig(first, [{ pod: 'p0', podUID: 'uid-p0', revision: first.revision, hash: first.hash, state: 'Rejected', reason: 'InvalidConfig', message: 'policies.0: unknown field' }]), pods: [readyPod('p0')] }, 'Programmed=False/Rejected Ready=False/Rejected'],
  ] as const)('of a policy: %s', (_name, change, expected) => {
    const made = context(change as never);
    expect(conditions(policyStatus(made, made.facts.policies[0] ?? readers))).toBe(expected);
  });

  test('lastTransitionTime moves with the status of a condition and not with its message', () => {
    const made = context({ proxyConfig: applied, pods: [readyPod('p0')], generated: serviceOf('a') });
    const before = targetStatus(made, a);
    const later = { ...context({ proxyConfig: applied, pods: [readyPod('p0'), readyPod('p1')], generated: serviceOf('a'), nowMs: factsNowMs + 60_000 }) };
    const after = targetStatus(later, { ...a, status: before });
    const times = Object.fromEntries((after.conditions ?? []).map(({ type, lastTransitionTime }) => [type, lastTransitionTime]));
    expect(times).toEqual({ Accepted: '2026-11-24T12:00:00Z', ResolvedRefs: '2026-11-24T12:00:00Z', Programmed: '2026-11-24T12:01:00Z', Ready: '2026-11-24T12:01:00Z', BypassBlocked: '2026-11-24T12:00:00Z' });
  });

  test('of the ProxyConfig tell how many proxies have it, and whether any is there', () => {
    expect([conditions(proxyConfigStatus(namespaceFacts({ pods: [readyPod('p0')] }), applied)), conditions(proxyConfigStatus(namespaceFacts(), applied)), proxyConfigStatus(namespaceFacts({ pods: [readyPod('p0'), readyPod('p1')] }), applied).programmed]).toEqual(['', 'Programmed=False/ProxyUnavailable Available=False/ProxyUnavailable', '1/2']);
  });

  describe('the SSH host key', () => {
    const publicKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJCdgLuBAbRQCxc/UMH51DYRWJH6TwNbcVB7F1FW4qHE';
    const hostKey = (annotation: string | null): NamespaceFacts['secrets'] => new Map<string, SecretFacts | null>([['gateway', { resourceVersion: '1', annotations: {} }], ['sallyport-proxy-ssh', annotation === null ? null : { resourceVersion: '1', annotations: { 'sallyport.dev/ssh-host-keys': annotation } }]]);
    const recorded = (fingerprint?: string): ProxyConfigResource => ({ ...applied, status: { observedGeneration: 1, ...applied.status, ...(fingerprint === undefined ? {} : { sshHostKeyFingerprint: fingerprint }) } });
    const web = stored({ ...aTarget('payments', 'web'), spec: { ssh: { host: 'h', port: 22, hostKeys: [publicKey], credentials: { secretRef: { name: 'gateway' } }, accounts: ['x'], level: 'Exec' as const } } });

    test('is made once, and never again while its fingerprint stands in the status', () => {
      expect(missingSecrets(namespaceFacts({ secrets: hostKey(null), proxyConfig: recorded() }))).toEqual(['sallyport-proxy-ssh']);
      expect(missingSecrets(namespaceFacts({ secrets: hostKey(null), proxyConfig: recorded('SHA256:x') }))).toEqual([]);
      expect(missingSecrets(namespaceFacts({ secrets: hostKey(publicKey), proxyConfig: recorded() }))).toEqual([]);
    });
    test('has its fingerprint recorded; of a Secret that names none it is unknown, of one that is gone the one of before', () => {
      const fingerprint = (secrets: NamespaceFacts['secrets'], before?: string): string | undefined => proxyConfigStatus(namespaceFacts({ secrets, proxyConfig: recorded(before) }), recorded(before)).sshHostKeyFingerprint;
      expect([fingerprint(hostKey(publicKey)), fingerprint(hostKey(publicKey), 'SHA256:old'), fingerprint(hostKey('')), fingerprint(hostKey(null), 'SHA256:old'), fingerprint(hostKey(null)), fingerprint(new Map(), 'SHA256:old')])
        .toEqual([expect.stringMatching(/^SHA256:[A-Za-z0-9+/]{43}$/), expect.stringMatching(/^SHA256:[A-Za-z0-9+/]{43}$/), 'unknown', 'SHA256:old', undefined, 'SHA256:old']);
    });
    test('that is gone is said by SSH Targets, and by no other', () => {
      const made = (target: TargetResource): string => conditions(targetStatus(context({ targets: [target], secrets: hostKey(null), proxyConfig: recorded('SHA256:x') } as never), target));
      expect(made(web)).toContain('ResolvedRefs=False/HostKeyMissing');
      expect(made(a)).not.toContain('HostKeyMissing');
    });
    test('is published with those that come next', () => {
      expect(publicHostKeys(namespaceFacts({ secrets: hostKey(`${publicKey}\nnot a key\n${publicKey} next`) }))).toEqual([publicKey, publicKey]);
    });
  });

  test('an SSH Target gets a Service at port 22, a PostgreSQL one at 5432', () => {
    const web = stored({ ...aTarget('payments', 'web'), spec: { ssh: { host: 'h', port: 2222, hostKeys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJCdgLuBAbRQCxc/UMH51DYRWJH6TwNbcVB7F1FW4qHE'], credentials: { secretRef: { name: 'gateway' } }, accounts: ['x'], level: 'Exec' as const } } });
    const facts = namespaceFacts({ targets: [web, a] });
    const { verdict, facts: { targets } } = context({ targets: [web, a] } as never);
    expect([targets.length, verdict.render.config.targets.map((target) => [target.name, 'ssh' in target])]).toEqual([2, [['a', false], ['web', true]]]);
    const status = targetStatus({ ...context({ targets: [web, a] } as never), facts, services: new Map([['web', 'web'], ['a', 'a']]) }, web);
    expect([status.endpoint, status.service]).toEqual(['web.payments:22', { name: 'web', port: 22 }]);
  });
});

describe('Services', () => {
  test('of a Target that has one stay while proxies come and go', () => {
    const generated: NamespaceFacts['generated'] = new Map([['service/a', { metadata: { name: 'a', labels: { 'sallyport.dev/target': 'a' }, annotations: { 'sallyport.dev/target-uid': 'uid-a' } } }]]);
    const facts = namespaceFacts({ targets: [a], generated, proxyConfig: storedConfig(first), pods: [] });
    expect(planServices(facts, checkNamespace(facts), storedConfig(first)).map(({ object }) => object.metadata.name)).toEqual(['a']);
  });
  test('of a Target of another uid are gone', () => {
    const generated: NamespaceFacts['generated'] = new Map([['service/a', { metadata: { name: 'a', labels: { 'sallyport.dev/target': 'a' }, annotations: { 'sallyport.dev/target-uid': 'older' } } }]]);
    expect(goneServices(namespaceFacts({ targets: [a], generated })).map(({ object }) => object.metadata.name)).toEqual(['a']);
  });
});

test('an own Secret is missing only where that is known, not where nobody looked', () => {
  expect([missingSecrets(namespaceFacts()), missingSecrets(namespaceFacts({ secrets: new Map([['sallyport-proxy-tls', null]]) }))]).toEqual([[], ['sallyport-proxy-tls']]);
});

describe('more than one ProxyConfig holds', () => {
  const many = Array.from({ length: 512 }, (_, index) => stored(aTarget('payments', `t${index}`)));
  const young = stored(aTarget('payments', 'a-too-many'), 1, '2026-02-01T00:00:00Z');
  test('refuses the youngest, whatever its name, and serves the rest', () => {
    const { render, refusals } = checkNamespace(namespaceFacts({ targets: [young, ...many] }));
    expect([render.config.targets.length, [...refusals.keys()]]).toEqual([512, ['Target/a-too-many']]);
  });
  test('keeps what is in force before what is older and new', () => {
    const inForce = specOf(plan(namespaceFacts({ targets: [young, ...many.slice(0, 511)] })));
    const { refusals } = checkNamespace(namespaceFacts({ targets: [young, ...many], proxyConfig: storedConfig(inForce) }));
    expect([...refusals.keys()]).toEqual(['Target/t511']);
  });
  test('takes the Targets of a policy that is refused and restricts', () => {
    const denies = stored(aPolicy('payments', 'young-deny', { targets: { names: ['t7'] }, rules: [{ name: 'r', action: 'Deny', postgres: { statements: ['Drop'] } }] }), 1, '2026-03-01T00:00:00Z');
    const filler = Array.from({ length: 512 }, (_, index) => stored(aPolicy('payments', `p${index}`, { targets: { names: ['t1'] } })));
    const { render, refusals } = checkNamespace(namespaceFacts({ targets: many, policies: [...filler, denies] }));
    expect([[...refusals.keys()], render.config.targets.some((target) => target.name === 't7'), render.config.policies.length]).toEqual([['AccessPolicy/young-deny'], false, 512]);
  });
});
