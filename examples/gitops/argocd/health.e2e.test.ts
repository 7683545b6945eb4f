import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { findAsset } from '../../../tools/e2e-assets.ts';

const lua = findAsset('lua');

(lua === null ? describe.skip : describe)('health in Argo CD', () => {
  const condition = (type: string, status: string, more: object = {}): object => ({ type, status, reason: type, message: `${type} is ${status}`, observedGeneration: 2, ...more });
  const object = (status?: object): object => ({ apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', metadata: { name: 'orders-db', generation: 2 }, ...(status === undefined ? {} : { status }) });

  test.each<readonly [string, object | undefined, readonly [string, string]]>([
    ['without status', undefined, ['Progressing', 'waiting for the operator']],
    ['that the operator has not seen', { observedGeneration: -1 }, ['Progressing', 'waiting for the operator']],
    ['whose last change the operator has not seen', { observedGeneration: 1, conditions: [condition('Ready', 'True')] }, ['Progressing', 'waiting for the operator']],
    ['that is stalled', { observedGeneration: 2, conditions: [condition('Ready', 'False'), condition('Stalled', 'True')] }, ['Degraded', 'Stalled is True']],
    ['that was not accepted', { observedGeneration: 2, conditions: [condition('Accepted', 'False', { reason: 'NameConflict' }), condition('Ready', 'False')] }, ['Degraded', 'NameConflict: Accepted is False']],
    ['without the condition Ready', { observedGeneration: 2, conditions: [condition('Accepted', 'True')] }, ['Progressing', 'waiting for the operator']],
    ['whose Ready is about an older generation', { observedGeneration: 2, conditions: [condition('Ready', 'True', { observedGeneration: 1 })] }, ['Progressing', 'waiting for the operator']],
    ['that half of the proxies run', { observedGeneration: 2, conditions: [condition('Accepted', 'True'), condition('Ready', 'False', { reason: 'Partial' })] }, ['Progressing', 'Partial: Ready is False']],
    ['that nobody knows about', { observedGeneration: 2, conditions: [condition('Ready', 'Unknown', { reason: 'ProxyUnavailable' })] }, ['Progressing', 'ProxyUnavailable: Ready is Unknown']],
    ['that all proxies run', { observedGeneration: 2, conditions: [condition('Accepted', 'True'), condition('Ready', 'True')] }, ['Healthy', 'Ready is True']],
  ])('of a resource %s', (_, status, expected) => {
    expect(health('access.lua', object(status))).toEqual(expected);
  });

  test.each<readonly [object | undefined, readonly [string, string]]>([
    [undefined, ['Suspended', 'waiting for an approval']],
    [{ observedGeneration: -1 }, ['Suspended', 'waiting for an approval']],
    [{ phase: 'Pending' }, ['Suspended', 'waiting for an approval']],
    [{ phase: 'Approved' }, ['Healthy', 'approved']],
    [{ phase: 'Denied' }, ['Degraded', 'Denied']],
    [{ phase: 'Superseded' }, ['Degraded', 'Superseded']],
  ])('of a request with status %j', (status, expected) => {
    expect(health('access-request.lua', object(status))).toEqual(expected);
  });

  /** Runs a check as Argo CD does: the object is the global `obj`, the result a table. */
  function health(file: string, value: object): readonly [string, string] {
    const script = `obj = ${literal(value)}\nlocal result = (function()\n${readFileSync(`examples/gitops/argocd/health/${file}`, 'utf8')}\nend)()\nio.write(result.status, '\\n', result.message)`;
    const [status = '', message = ''] = execFileSync(lua?.path ?? '', ['-'], { input: script, encoding: 'utf8' }).split('\n');
    return [status, message];
  }
});

function literal(value: unknown): string {
  if (Array.isArray(value)) return `{${value.map((item) => literal(item)).join(', ')}}`;
  if (typeof value === 'object' && value !== null) return `{${Object.entries(value).map(([key, inner]) => `[${JSON.stringify(key)}] = ${literal(inner)}`).join(', ')}}`;
  return JSON.stringify(value);
}
