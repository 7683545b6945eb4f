import type { AccessDecisionResource, AccessRequestResource } from '../../contract/api/v1alpha1.gen.ts';
import { boundDigest } from '../../contract/approval-digest.ts';
import type { ProxyConfig } from '../../contract/proxy-config.ts';
import { type ClusterApprovals, openClusterApprovals } from '../../sidecar/adapters/cluster/access-requests.ts';
import { accessDecisionKind, accessRequestKind } from '../../sidecar/adapters/cluster/kinds.ts';
import type { ApprovalAsk, PendingApproval } from '../../sidecar/core/ports.ts';
import { aLog } from './cluster-config.ts';
import { type FakeApi, fakeApiServer } from './fake-api-server.ts';
import { fakeClock, type FakeClock } from './fake-clock.ts';
import { aConfig, aPolicy, aTarget } from './policies.ts';
import { settle, until } from './settle.ts';

const policyUid = '11111111-1111-4111-8111-111111111111';
const targetUid = '22222222-2222-4222-8222-222222222222';
const issuer = 'https://idp.bank.example';
const namespace = 'payments';
const start = Date.parse('2026-11-24T12:00:00Z');

/** An API server in memory, a clock, and as many replicas as a test wants. */
export interface ApprovalBench extends AsyncDisposable {
  readonly api: FakeApi;
  readonly clock: FakeClock;
  readonly integrity: { holds: boolean; checkedAtMs: number | null; sinceMs: number | null };
  /** One more replica, its caches filled. */
  replica(pod?: string): Promise<Replica>;
  /** Somebody decides, as admission would let them; `over` forges. */
  decide(request: string, decision: AccessDecisionResource['spec']['decision'], by?: string, over?: Partial<AccessDecisionResource['spec']>): void;
  /** Changes the config of all replicas. */
  setConfig(change: (config: ProxyConfig) => ProxyConfig): void;
  /** Tells all replicas to look at integrity again. */
  tellStatus(): void;
  request(name: string): AccessRequestResource | null;
  requests(): readonly AccessRequestResource[];
}

/** One replica: its approvals, and what it recorded and said. */
export interface Replica {
  readonly approvals: ClusterApprovals;
  readonly events: { readonly code: string; readonly facts: Readonly<Record<string, unknown>> }[];
  readonly announced: string[];
  readonly log: readonly string[];
  /** From now on records cannot be written. */
  failRecords(): void;
  /** Asks and expects to wait. */
  ask(ask: ApprovalAsk): Promise<PendingApproval>;
}

/** The config has policy `oncall`: rule `ddl` needs one of group `dba` for a statement, rule `win` for a window of an hour, opening a session on `vault` needs one for the session. */
export function approvalBench(): ApprovalBench {
  const clock = fakeClock(start);
  const api = fakeApiServer({ clock });
  let config = theConfig();
  const integrity: ApprovalBench['integrity'] = { holds: true, checkedAtMs: start, sinceMs: start - 3_600_000 };
  const configListeners = new Set<() => void>();
  const statusListeners = new Set<() => void>();
  const replicas: Replica[] = [];
  const subscribe = (listeners: Set<() => void>) => (listener: () => void): (() => void) => {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  };
  let decisions = 0;
  const request = (name: string): AccessRequestResource | null => api.get<AccessRequestResource>(accessRequestKind, namespace, name);
  return {
    api, clock, integrity, request,
    requests: () => api.list<AccessRequestResource>(accessRequestKind, namespace),
    replica: async (pod = `sallyport-proxy-${replicas.length}`) => {
      const log = aLog();
      const events: { code: string; facts: Readonly<Record<string, unknown>> }[] = [];
      const announced: string[] = [];
      let isBroken = false;
      const approvals = openClusterApprovals({
        client: api.client(pod), namespace, pod, aliases: {}, keyId: 'k1', sessionObject: (id) => `s-${id}`, clock, random: () => 0.5, log,
        config: { current: () => ({ config, revision: 1 }), subscribe: subscribe(configListeners), integrity: () => integrity, onStatus: subscribe(statusListeners) },
        onEvent: async (code, facts) => {
          if (isBroken) throw new Error('the disk is full');
          events.push({ code, facts });
        },
        announce: (object, what) => void announced.push(`${what} ${object.metadata.name}`),
      });
      await until(() => approvals.synced);
      const replica: Replica = {
        approvals, events, announced, log: log.lines, failRecords: () => { isBroken = true; },
        ask: async (ask) => {
          const asked = await approvals.ask(ask);
          if (asked.outcome === 'refused') throw new Error(asked.code);
          await settle(4);
          return asked.pending;
        },
      };
      replicas.push(replica);
      return replica;
    },
    decide: (name, decision, by = 'oidc:bob', over = {}) => {
      const asked = request(name);
      if (asked === null) throw new Error(`no request ${name}`);
      const { spec, metadata } = asked;
      api.put<AccessDecisionResource>(accessDecisionKind, {
        apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessDecision', metadata: { name: `d-${++decisions}`, namespace },
        spec: {
          requestRef: { name, uid: metadata.uid ?? '' }, policyRef: { name: spec.policyRef.name }, requester: { username: spec.requester.username, ...(spec.requester.actor === undefined ? {} : { actor: spec.requester.actor }) },
          digest: spec.digest, decision, by, asGroups: ['dba'], comment: 'because', ...over,
        },
      }, by);
    },
    setConfig: (change) => {
      config = change(config);
      for (const listener of [...configListeners]) listener();
    },
    tellStatus: () => {
      for (const listener of [...statusListeners]) listener();
    },
    async [Symbol.asyncDispose]() {
      for (const { approvals } of replicas) {
        const closed = approvals[Symbol.asyncDispose]();
        let isClosed = false;
        void closed.then(() => { isClosed = true; });
        await until(() => isClosed, { clock });
      }
    },
  };
}

/** Alice wants to run a statement that rule `ddl` holds. */
export function aStatementAsk(over: { readonly text?: string; readonly sessionId?: string; readonly user?: string; readonly parameters?: readonly string[]; readonly generation?: number; readonly searchPath?: string; readonly objects?: readonly string[]; readonly actors?: readonly string[] } = {}): ApprovalAsk {
  const user = over.user ?? 'alice';
  return withDigest({
    scope: 'Statement', target: 'orders-db', namespace, database: 'orders', sessionId: over.sessionId ?? 'S1',
    requester: { key: JSON.stringify([issuer, user]), username: `oidc:${user}`, actorKeys: (over.actors ?? []).map((actor) => JSON.stringify([issuer, actor])) },
    by: { policy: 'oncall', policyUid, policyGeneration: over.generation ?? 1, policyDigest: 'sha256:oncall', rule: 'ddl' },
    approval: { groups: ['dba'], required: 1, decideWithinSeconds: 900, grantTtlSeconds: null },
    statement: { text: over.text ?? 'ALTER TABLE orders ADD note text', parameters: over.parameters ?? [], kind: 'Alter', objects: over.objects ?? ['public.orders'], searchPath: over.searchPath ?? 'public', inTransaction: false },
    statementHmac: `hmac-sha256:${'ab'.repeat(32)}`,
  });
}

/** A statement that rule `win` holds: an approval opens a window of an hour. */
export function aWindowAsk(sessionId = 'S1', database = 'orders'): ApprovalAsk {
  const ask = aStatementAsk({ sessionId });
  return withDigest({ ...ask, database, scope: 'Window', by: { ...ask.by, rule: 'win' }, approval: { ...ask.approval, grantTtlSeconds: 3_600 } });
}

/** Alice wants to open a session on `vault`. */
export function aSessionAsk(sessionId = 'S1'): ApprovalAsk {
  const ask = aStatementAsk({ sessionId });
  return withDigest({ ...ask, scope: 'Session', target: 'vault', statement: null, statementHmac: null, by: { ...ask.by, rule: null }, approval: { ...ask.approval, grantTtlSeconds: 3_600 } });
}

function withDigest(ask: Omit<ApprovalAsk, 'digest'>): ApprovalAsk {
  return { ...ask, digest: boundDigest(ask, ask.statementHmac ?? null) };
}

function theConfig(): ProxyConfig {
  const policy = aPolicy('oncall', {
    targets: ['orders-db', 'vault'], onRequest: { groups: ['dba'], scope: 'Session', ttl: 3_600 },
    rules: [
      { name: 'ddl', action: 'RequireApproval', statements: ['Alter'], approval: { groups: ['dba'] } },
      { name: 'win', action: 'RequireApproval', statements: ['Update'], approval: { groups: ['dba'], scope: 'Window', ttl: 3_600 } },
    ],
  });
  return aConfig([{ ...policy, uid: policyUid }], [{ ...aTarget(), uid: targetUid }, { ...aTarget('vault'), uid: targetUid.replaceAll('2', '3') }]);
}
