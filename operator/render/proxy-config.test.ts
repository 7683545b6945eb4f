import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatPath } from '../../contract/api/validate-schema.ts';
import type { AccessPolicyResource, SallyportResource, TargetResource } from '../../contract/api/v1alpha1.gen.ts';
import { canonicalJson } from '../../contract/canonical-json.ts';
import { digestOf } from '../../contract/digest.ts';
import { parseProxyConfig } from '../../contract/proxy-config.ts';
import { renderProxyConfig } from './proxy-config.ts';
import { readResources, renderInput } from '../../tools/testkit/read-resources.ts';

const testdata = new URL('testdata/', import.meta.url);
const cases = readdirSync(testdata, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => entry.name).sort();
const inputOf = (name: string): readonly SallyportResource[] => readResources(readFileSync(new URL(`${name}/input.yaml`, testdata), 'utf8'));

describe('each case of testdata compiles to its config and problems', () => {
  test.each(cases)('%s', (name) => {
    const { config, problems } = renderProxyConfig(renderInput(inputOf(name)));
    const text = `${JSON.stringify({ config, problems: problems.map(({ severity, kind, name: of, path, reason, message, withholds }) => `${severity} ${kind}/${of} ${formatPath(path)} ${reason}: ${message}${withholds === undefined ? '' : ` [not served: ${withholds.join(', ')}]`}`) }, null, 1)}\n`;
    const expected = new URL(`${name}/expected.json`, testdata);
    if (process.env['SALLYPORT_WRITE_TESTDATA'] === '1') writeFileSync(expected, text);
    expect(text).toBe(readFileSync(expected, 'utf8'));
  });
});

/** Shuffles what has no order: resources, keys, sets and list-map entries; atomic lists keep theirs. */
function shuffled(value: unknown, random: () => number, key = ''): unknown {
  const atomic = new Set(['subjects', 'when', 'masking', 'matchExpressions', 'values']);
  if (Array.isArray(value)) {
    const inner = value.map((item) => shuffled(item, random));
    return atomic.has(key) ? inner : inner.map((item) => ({ item, place: random() })).sort((a, b) => a.place - b.place).map(({ item }) => item);
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]: [string, unknown]) => ({ name, inner, place: random() })).sort((a, b) => a.place - b.place).map(({ name, inner }) => [name, shuffled(inner, random, name)]));
}

test('shuffled resources, keys, sets and list-map entries give the same bytes and problems of the same text', () => {
  fc.assert(fc.property(fc.constantFrom(...cases), fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), (name, stream) => {
    const random = (): number => stream.next().value as number;
    const resources = inputOf(name);
    const one = renderProxyConfig(renderInput(resources));
    const other = renderProxyConfig(renderInput(shuffled(resources, random) as SallyportResource[]));
    expect(digestOf(other.config)).toBe(digestOf(one.config));
    expect(other.problems.map((each) => each.message).sort()).toEqual(one.problems.map((each) => each.message).sort());
  }), { numRuns: 100 });
});

const nameArbitrary = fc.stringMatching(/^[a-z]([-a-z0-9]{0,8}[a-z0-9])?$/);
const targetArbitrary = fc.record({ name: nameArbitrary, port: fc.integer({ min: 1, max: 65535 }), env: fc.constantFrom('prod', 'test'), databases: fc.uniqueArray(fc.string({ minLength: 1, maxLength: 20 }), { maxLength: 4 }) })
  .map(({ name, port, env, databases }): TargetResource => ({
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', metadata: { name, namespace: 'payments', labels: { env } },
    spec: { postgres: { host: 'db', port, tls: { mode: 'VerifyFull', channelBinding: 'Prefer' }, credentials: { secretRef: { name: 's' } }, ...(databases.length > 0 ? { databases } : {}) } },
  }));

test('what the compile step writes is what the proxy reads, for any input', () => {
  const policies = inputOf('every-field').concat(inputOf('quickstart')).filter((each) => each.kind === 'AccessPolicy');
  fc.assert(fc.property(fc.uniqueArray(targetArbitrary, { selector: (each) => each.metadata.name, maxLength: 8 }), fc.subarray(policies), fc.dictionary(nameArbitrary, fc.string()), (targets, some, labels) => {
    const labelled = targets.map((target) => ({ ...target, metadata: { ...target.metadata, labels: { ...labels, ...target.metadata.labels } } }));
    const { config } = renderProxyConfig({ ...renderInput([]), targets: labelled, policies: some });
    expect(parseProxyConfig(JSON.parse(canonicalJson(config)))).toEqual({ outcome: 'parsed', config });
  }), { numRuns: 200 });
});

test('every case can be read back by the proxy', () => {
  for (const name of cases) {
    const { config } = renderProxyConfig(renderInput(inputOf(name)));
    expect(parseProxyConfig(JSON.parse(canonicalJson(config)))).toEqual({ outcome: 'parsed', config });
  }
});

test('one object that no proxy can hold is left out alone, and what it restricts is not served: the others are still followed', () => {
  const fine: AccessPolicyResource = { apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessPolicy', metadata: { name: 'fine' }, spec: { subjects: [{ kind: 'User', name: 'a' }], targets: { names: ['a', 'b'] }, access: { mode: 'Standing' } } };
  // The largest int64: the API server takes it, and no number of JavaScript is it.
  const huge: AccessPolicyResource = { ...fine, metadata: { name: 'huge' }, spec: { ...fine.spec, targets: { names: ['a'] }, limits: { rowsPerStatement: Number('9223372036854775807') } } };
  const { config, problems } = renderProxyConfig({ ...renderInput([]), targets: [aTarget('a'), aTarget('b')], policies: [fine, huge] });
  expect(parseProxyConfig(JSON.parse(canonicalJson(config)))).toEqual({ outcome: 'parsed', config });
  expect([config.policies.map((each) => [each.name, each.targets]), config.targets.map((each) => each.name)]).toEqual([[['fine', ['b']]], ['b']]);
  expect(problems).toMatchObject([{ severity: 'rejected', kind: 'AccessPolicy', name: 'huge', reason: 'UnsupportedValue', withholds: ['a'] }]);
});

test('what the API server could not store is too large, though its text is not: a character may take six bytes there', () => {
  const sized = (sign: string): readonly string[] => {
    const rules = Array.from({ length: 64 }, (_, n) => ({ name: `r${n}`, action: 'Deny' as const, message: sign.repeat(256), postgres: { where: 'Missing' as const } }));
    const policies = Array.from({ length: 28 }, (_, n): AccessPolicyResource => ({
      apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessPolicy', metadata: { name: `p${n}` }, spec: { subjects: [{ kind: 'User', name: 'a' }], targets: { names: ['a'] }, access: { mode: 'Standing' }, rules },
    }));
    return renderProxyConfig({ ...renderInput([]), targets: [aTarget('a')], policies }).problems.map(({ kind, reason }) => `${kind} ${reason}`);
  };
  expect(['x', '<'].map(sized)).toEqual([[], ['ProxyConfig ConfigTooLarge']]);
});

const aTarget = (name: string, port?: string): TargetResource => ({
  apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', metadata: { name, ...(port === undefined ? {} : { annotations: { 'sallyport.dev/listen-port': port } }) },
  spec: { postgres: { host: 'db', port: 5432, tls: { mode: 'VerifyFull', channelBinding: 'Prefer' }, credentials: { secretRef: { name: 's' } }, databases: ['d'] } },
});
const portsOf = (targets: readonly TargetResource[], listenPorts = new Map<string, number>()): unknown =>
  renderProxyConfig({ ...renderInput([]), targets, listenPorts }).config.targets.map((each) => [each.name, each.listenPort]);

describe('listener ports', () => {
  test('count from 15432 in the order of names and step over a port that an annotation takes', () => {
    expect(portsOf([aTarget('c'), aTarget('a'), aTarget('b', '15432')])).toEqual([['a', 15433], ['b', 15432], ['c', 15434]]);
  });
  test('come from the operator where it assigned them', () => {
    expect(portsOf([aTarget('a', '7000')], new Map([['a', 20001]]))).toEqual([['a', 20001]]);
  });
  test.each(['65536', '-1', '5432x', '', '1e3'])('the annotation %j is no port, so the Target is not served', (port) => {
    expect(portsOf([aTarget('a', port)])).toEqual([]);
  });
  test('two Targets never share one: the second by name is not served', () => {
    expect(portsOf([aTarget('b', '7000'), aTarget('a', '7000')])).toEqual([['a', 7000]]);
  });
  test('0 may be used by several, because each gets a free port', () => {
    expect(portsOf([aTarget('b', '0'), aTarget('a', '0')])).toEqual([['a', 0], ['b', 0]]);
  });
});

test('a policy with a broken selector that denies withholds every Target of the namespace', () => {
  const [policy] = readResources(`{apiVersion: sallyport.dev/v1alpha1, kind: AccessPolicy, metadata: {name: a, namespace: payments}, spec: {subjects: [{kind: User, name: a}],
    targets: {selector: {matchExpressions: [{key: env, operator: In}]}}, rules: [{name: r, action: Deny, postgres: {statements: [Drop]}}]}}`);
  const { config, problems } = renderProxyConfig({ ...renderInput(policy === undefined ? [] : [policy]), targets: [aTarget('a'), aTarget('b')] });
  expect([config.targets, config.policies, problems.map((each) => [each.message, each.withholds])]).toEqual([[], [], [['In needs values', ['a', 'b']]]]);
});

test.each([
  ['a second of no length', { limits: { idleTimeout: '0s' } }, 'spec.limits.idleTimeout', 'at least 1s'],
  ['an approval that waits longer than a day', { rules: [{ name: 'r', action: 'RequireApproval', postgres: { statements: ['Drop'] }, approval: { groups: ['dba'], required: 1, decideWithin: '25h' } }] }, 'spec.rules[0].approval.decideWithin', 'at most 86400s'],
  ['a review rule without reviewers', { rules: [{ name: 'r', action: 'RequireApproval', postgres: { statements: ['Drop'] }, approval: { groups: [], required: 1 } }] }, 'spec.rules[0].approval.groups', 'name at least one group'],
  ['a session grant without an end', { access: { mode: 'OnRequest', approval: { groups: ['dba'], required: 1 } } }, 'spec.access.approval.grantTTL', 'needs an end'],
])('%s is rejected with its field', (_name, part, field, message) => {
  const policy = { apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessPolicy', metadata: { name: 'a' }, spec: { subjects: [{ kind: 'User', name: 'a' }], targets: { names: ['t'] }, access: { mode: 'Standing' }, ...part } } as unknown as SallyportResource;
  const { config, problems } = renderProxyConfig({ ...renderInput([policy]), targets: [aTarget('t')] });
  expect(config.policies).toEqual([]);
  expect(problems.map((each) => `${each.severity} ${formatPath(each.path)} ${each.message}`)).toEqual([expect.stringMatching(new RegExp(`^rejected ${field.replaceAll(/[[\].]/g, '\\$&')} .*${message}`))]);
});

test('more Targets than the limit are reported and none is cut', () => {
  const { config, problems } = renderProxyConfig({ ...renderInput([]), targets: Array.from({ length: 513 }, (_, index) => aTarget(`t${index}`)) });
  expect([config.targets.length, problems.map((each) => each.reason)]).toEqual([513, ['ConfigTooLarge']]);
});
