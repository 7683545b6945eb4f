import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { requestDigest } from '../../contract/request-digest.ts';
import { main } from '../main.ts';
import { buildDecision } from './decide.ts';
import type { ClusterRequest } from './requests.ts';
import { showClusterRequest } from './show-request.ts';

const bob = { username: 'oidc:bob', groups: ['dba', 'sre', 'system:authenticated'] };

describe('the decision that is made', () => {
  test('repeats what was shown, in the caller\'s name and with those of their groups that approve', () => {
    expect(buildDecision(request(), bob, { decision: 'Approve', comment: 'fine' }, 'abc')).toEqual({
      apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessDecision', metadata: { name: 'r-1-approve-abc', namespace: 'payments' },
      spec: {
        requestRef: { name: 'r-1', uid: 'u-1' }, policyRef: { name: 'oncall' }, requester: { username: 'oidc:alice', actor: 'oidc:robot' }, digest: request().spec.digest,
        decision: 'Approve', by: 'oidc:bob', asGroups: ['dba'], comment: 'fine',
      },
    });
  });

  test.each<[string, ClusterRequest, typeof bob, 'Approve' | 'Revoke', string]>([
    ['on a request whose text is not that of its digest', { ...request(), spec: { ...request().spec, statement: 'SELECT 1' } }, bob, 'Approve', 'APPROVAL_DIGEST_MISMATCH'],
    ['by the requester', request(), { ...bob, username: 'oidc:alice' }, 'Approve', 'APPROVAL_SELF'],
    ['by the agent', request(), { ...bob, username: 'oidc:robot' }, 'Approve', 'APPROVAL_SELF'],
    ['outside the groups', request(), { ...bob, groups: ['sre'] }, 'Approve', 'APPROVAL_NOT_APPROVER'],
    ['twice by one person', request({ phase: 'Pending', decisions: [{ name: 'd', by: 'oidc:bob', decision: 'Approve', counted: true }] }), bob, 'Approve', 'DECISION_IGNORED'],
    ['on what is decided', request({ phase: 'Denied' }), bob, 'Approve', 'APPROVAL_CLOSED'],
    ['that revokes what is not approved', request(), bob, 'Revoke', 'APPROVAL_CLOSED'],
    ['that revokes what was used', request({ phase: 'Approved', use: { state: 'Used' } }), bob, 'Revoke', 'APPROVAL_CLOSED'],
  ])('is not made %s', (_name, asked, user, decision, code) => {
    expect(() => buildDecision(asked, user, { decision, comment: '' }, 'x')).toThrow(expect.objectContaining({ code }) as unknown as Error);
  });

  test('is shown with everything that it binds, and nothing in it can move the cursor', () => {
    const shown = showClusterRequest({ ...request(), spec: { ...request().spec, statement: 'ALTER TABLE a\nADD b int \u001b[2J\u202e', parameters: ['x\u0007'] } });
    expect(shown).toContain('  | ALTER TABLE a\n  | ADD b int \\u{1b}[2J\\u{202e}');
    expect(shown).toContain('  $1 = x\\u{7}');
    expect(shown).toContain('agent oidc:robot');
    expect(shown).toContain('Fact       search-path = public');
  });
});

describe('a command chooses', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sallyport-kubectl-'));
    kubectl('case "$1" in config) echo test; exit 0;; esac\necho "$@" >> $FOLDER/calls\nif [ "$1" = auth ]; then echo \'{"status":{"userInfo":{"username":"oidc:bob","groups":["dba"]}}}\'; else echo \'{"items":[]}\'; fi');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test('the cluster when kubectl has a context and nothing of a gateway is given, with the flags of kubectl', async () => {
    expect(await sallyport(['requests', '-n', 'payments', '--context', 'prod'])).toMatchObject({ code: 0, out: 'no pending requests\n' });
    expect(calls()).toEqual(['auth whoami --context prod --namespace payments --output json', 'get accessrequests.sallyport.dev --context prod --namespace payments --output json']);
    expect(await sallyport(['requests'])).toMatchObject({ code: 0, out: 'no pending requests\n' });
  });

  test.each<[string, string[], Record<string, string>]>([
    ['an address', ['--gateway', 'http://127.0.0.1:1'], {}], ['a token in the environment', [], { SALLYPORT_TOKEN: 'x' }], ['an address in the environment', [], { SALLYPORT_GATEWAY: 'http://127.0.0.1:1' }],
    ['a file with a token', ['--token-file', '/nonexistent'], {}],
  ])('the gateway when %s is given', async (_name, args, env) => {
    expect((await sallyport(['requests', ...args], env)).code).toBe(1);
    expect(calls()).toEqual([]);
  });

  test('and approves there: shows it, creates the decision as the caller, and says what the operator made of it', async () => {
    const [pendingRequest, counted] = [request(), request({ phase: 'Approved', approvals: '1/1', decisions: [{ name: 'NAME', by: 'oidc:bob', decision: 'Approve', counted: true }] })];
    approver(pendingRequest, counted);
    expect(await sallyport(['approve', 'r-1', '--yes', '--comment', 'fine'])).toMatchObject({ code: 0, out: expect.stringMatching(/\| ALTER TABLE a ADD b int\n[^]*r-1 is now Approved \(1\/1\)\n$/) });
    expect(JSON.parse(readFileSync(join(folder, 'created'), 'utf8'))).toMatchObject({ kind: 'AccessDecision', spec: { by: 'oidc:bob', asGroups: ['dba'], comment: 'fine', digest: pendingRequest.spec.digest } });
  });

  test('and fails when the decision does not count', async () => {
    approver(request(), request({ phase: 'Pending', approvals: '0/1', decisions: [{ name: 'NAME', by: 'oidc:bob', decision: 'Approve', counted: false, ignoredReason: 'SelfApproval' }] }));
    expect(await sallyport(['deny', 'r-1', '--reason', 'no'])).toMatchObject({ code: 1, err: expect.stringContaining('DECISION_IGNORED: your decision does not count: SelfApproval') });
  });

  test('and decides nothing without a terminal unless it is said', async () => {
    approver(request(), request());
    expect(await sallyport(['approve', 'r-1'])).toMatchObject({ code: 3 });
    expect(() => readFileSync(join(folder, 'created'))).toThrow();
  });

  test('the gateway when kubectl has no context, or there is none', async () => {
    kubectl('exit 1');
    expect(await sallyport(['requests'])).toMatchObject({ code: 1, err: expect.stringContaining('TOKEN_MISSING') });
    rmSync(join(folder, 'kubectl'));
    expect(await sallyport(['requests'])).toMatchObject({ code: 1, err: expect.stringContaining('TOKEN_MISSING') });
  });

  test('neither when both are named', async () => {
    expect(await sallyport(['requests', '-n', 'a', '--gateway', 'http://127.0.0.1:1'])).toMatchObject({ code: 1, err: expect.stringContaining('USAGE') });
  });

  test.each<[string, string, string]>([
    ['a rule of admission', 'Error from server (Forbidden): x is forbidden: ValidatingAdmissionPolicy \'a\' with binding \'b\' denied request: may-approve: you need the verb approve', 'CLUSTER_REFUSED: may-approve: you need'],
    ['a missing right', 'Error from server (Forbidden): cannot create resource', 'CLUSTER_REFUSED: Error from server'],
    ['a request that is not there', 'Error from server (NotFound): accessrequests "r-1" not found', 'APPROVAL_NOT_FOUND'],
  ])('words that explain %s', async (_name, said, expected) => {
    kubectl(`case "$1" in config) echo test; exit 0;; esac\necho "${said}" >&2; exit 1`);
    expect(await sallyport(['requests', 'r-1'])).toMatchObject({ code: 1, err: expect.stringContaining(expected) });
  });

  test('never an option for a name', async () => {
    kubectl('case "$1" in config) echo test; exit 0;; esac\necho "$@" >> $FOLDER/calls; exit 1');
    await sallyport(['requests', '--', '--raw=/api/v1/secrets']);
    expect(calls()).toEqual(['get accessrequests.sallyport.dev --output json -- --raw=/api/v1/secrets']);
  });

  /** A cluster whose operator answers at once: the second look shows the decision of the name that was created. */
  function approver(before: ClusterRequest, after: ClusterRequest): void {
    writeFileSync(join(folder, 'before'), JSON.stringify(before));
    writeFileSync(join(folder, 'after'), JSON.stringify(after));
    kubectl([
      'case "$1" in', 'config) echo test;;', `auth) echo '{"status":{"userInfo":{"username":"oidc:bob","groups":["dba"]}}}';;`, 'create) cat > $FOLDER/created; echo "{}";;',
      'get) if [ -f $FOLDER/created ]; then name=$(sed \'s/.*"metadata":{"name":"\\([^"]*\\)".*/\\1/\' $FOLDER/created); sed "s/NAME/$name/" $FOLDER/after; else cat $FOLDER/before; fi;;', 'esac',
    ].join('\n'));
  }

  function kubectl(script: string): void {
    writeFileSync(join(folder, 'kubectl'), `#!/bin/sh\nFOLDER=${folder}\n${script}\n`);
    chmodSync(join(folder, 'kubectl'), 0o755);
  }

  function calls(): readonly string[] {
    try {
      return readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n');
    } catch {
      return [];
    }
  }

  async function sallyport(args: readonly string[], env: Record<string, string> = {}): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
    const [out, err]: [string[], string[]] = [[], []];
    const code = await main(args, { stdout: { write: (text) => out.push(text) }, stderr: { write: (text) => err.push(text) }, env: { PATH: `${folder}:/bin:/usr/bin`, ...env } });
    return { code, out: out.join(''), err: err.join('') };
  }
});

function request(status: NonNullable<ClusterRequest['status']> = { phase: 'Pending' }): ClusterRequest {
  const spec = {
    scope: 'Statement' as const, requester: { username: 'oidc:alice', actor: 'oidc:robot' }, policyRef: { name: 'oncall', uid: 'p', generation: 1, rule: 'ddl' }, targetRef: { name: 'db', uid: 't' }, action: 'Alter on a',
    statement: 'ALTER TABLE a ADD b int', statementHMAC: 'h', facts: [{ name: 'search-path', value: 'public' }], approvers: { groups: ['dba', 'leads'], required: 1 }, decideWithin: '10m', digest: '',
  };
  return { apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessRequest', metadata: { name: 'r-1', namespace: 'payments', uid: 'u-1', creationTimestamp: '2026-11-24T10:00:00Z' }, spec: { ...spec, digest: requestDigest(spec) }, status };
}
