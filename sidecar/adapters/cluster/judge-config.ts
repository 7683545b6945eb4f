import { createHash } from 'node:crypto';
import { parseProxyConfig, type ProxyConfig } from '../../../contract/proxy-config.ts';

/** A ProxyConfig as far as it says what to serve. */
export interface OfferedConfig {
  readonly uid: string;
  readonly revision: number;
  /** `sha256:<hex>` of the bytes of `config`. */
  readonly hash: string;
  /** Canonical JSON. */
  readonly config: string;
}

/** A config that was parsed and may be served. */
export interface AcceptedConfig extends OfferedConfig {
  readonly parsed: ProxyConfig;
}

/** What becomes of an offered config. */
export type ConfigVerdict =
  | { readonly verdict: 'same' }
  /** Older than what is in force: an answer of a cache that lags, unless a consistent read says the same. */
  | { readonly verdict: 'older' }
  | { readonly verdict: 'accepted'; readonly accepted: AcceptedConfig }
  | { readonly verdict: 'rejected'; readonly reason: 'RevisionGoesBack' | 'HashMismatch' | 'InvalidConfig' | 'WrongNamespace'; readonly message: string };

/**
 * Judges an offered config against the one in force. Pure.
 *
 * @param inForce null at the start.
 * @param isConsistent whether the object was read past every cache: only then does an older revision mean that the config itself went back.
 */
export function judgeConfig(inForce: Pick<AcceptedConfig, 'uid' | 'revision' | 'hash'> | null, offered: OfferedConfig, namespace: string, isConsistent: boolean): ConfigVerdict {
  if (inForce !== null && offered.revision < inForce.revision) {
    if (!isConsistent) return { verdict: 'older' };
    return { verdict: 'rejected', reason: 'RevisionGoesBack', message: `revision ${offered.revision} is older than ${inForce.revision}, which is in force` };
  }
  if (inForce !== null && offered.revision === inForce.revision && offered.hash === inForce.hash) return { verdict: 'same' };
  const hash = hashOf(offered.config);
  if (hash !== offered.hash) return { verdict: 'rejected', reason: 'HashMismatch', message: 'the hash is not that of the config' };
  const parsed = parseText(offered.config);
  if (parsed.outcome === 'rejected') return { verdict: 'rejected', reason: 'InvalidConfig', message: parsed.problems.slice(0, 5).join('; ') };
  if (parsed.config.namespace !== namespace) return { verdict: 'rejected', reason: 'WrongNamespace', message: `the config is for namespace ${parsed.config.namespace}` };
  return { verdict: 'accepted', accepted: { ...offered, parsed: parsed.config } };
}

/** `sha256:<hex>` of a text's bytes. */
export function hashOf(text: string): string {
  return `sha256:${createHash('sha256').update(text, 'utf8').digest('hex')}`;
}

function parseText(text: string): ReturnType<typeof parseProxyConfig> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { outcome: 'rejected', problems: ['(root): not JSON'] };
  }
  return parseProxyConfig(value);
}
