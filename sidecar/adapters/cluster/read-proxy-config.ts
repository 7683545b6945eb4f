import { proxyName } from '../../../contract/names.ts';
import type { KubeObject } from '../../../runtime/kube/kube-client.ts';
import type { OfferedConfig } from './judge-config.ts';

/** What the operator says about the admission rules that keep approvals from being forged. */
export interface ApprovalIntegrity {
  /** Condition `ApprovalIntegrity` is True. */
  readonly holds: boolean;
  /** Last probe that was refused as it must be; Unix ms, null when there was none. */
  readonly checkedAtMs: number | null;
  /** Since when the rules are known to stand unchanged; Unix ms, null when that is not known. */
  readonly sinceMs: number | null;
}

/** A proxy's own entry in `status.proxies`, as stored. */
export type StoredAck = Readonly<Record<string, unknown>>;

/** A ProxyConfig object, read without trust: what it offers, and what its status says. */
export interface ReadProxyConfig {
  readonly resourceVersion: string;
  readonly offered: OfferedConfig;
  readonly integrity: ApprovalIntegrity;
  /** Of the pod that was asked for; null when there is none. */
  readonly ack: StoredAck | null;
}

/** Reads an object of the API server. @returns null when it is no ProxyConfig of ours. */
export function readProxyConfig(object: KubeObject, pod: string): ReadProxyConfig | null {
  const { metadata } = object;
  const spec = asRecord(object.spec);
  const { revision, hash, config } = { revision: spec['revision'], hash: spec['hash'], config: spec['config'] };
  if (metadata.name !== proxyName || typeof revision !== 'number' || typeof hash !== 'string' || typeof config !== 'string') return null;
  const status = asRecord(object.status);
  return {
    resourceVersion: metadata.resourceVersion ?? '', offered: { uid: metadata.uid ?? '', revision, hash, config }, integrity: integrityOf(status),
    ack: asList(status['proxies']).map(asRecord).find((entry) => entry['pod'] === pod) ?? null,
  };
}

function integrityOf(status: Readonly<Record<string, unknown>>): ApprovalIntegrity {
  const condition = asList(status['conditions']).map(asRecord).find((entry) => entry['type'] === 'ApprovalIntegrity');
  return { holds: condition?.['status'] === 'True', checkedAtMs: timeOf(status['integrityCheckedAt']), sinceMs: timeOf(status['integritySince']) };
}

function timeOf(value: unknown): number | null {
  const at = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(at) ? null : at;
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value as Readonly<Record<string, unknown>> : {};
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
