import { X509Certificate } from 'node:crypto';
import type { ProxyConfig, Target } from '../../../contract/proxy-config.ts';
import { hasSshCredential } from '../ssh-credential-form.ts';
import type { FailedTarget } from './ack-entry.ts';

/** What is known of one Secret. */
export type SecretState =
  | { readonly state: 'read'; readonly values: ReadonlyMap<string, Uint8Array> }
  /** It does not exist, or we may not read it: the two are not told apart. */
  | { readonly state: 'missing' }
  /** The API server did not answer yet. */
  | { readonly state: 'unknown' };

/** Names of the Secrets that a config's Targets need. */
export function secretsOf(config: ProxyConfig): ReadonlySet<string> {
  return new Set(config.targets.flatMap(namesOf));
}

/** Targets that their Secrets keep from being served. Pure; a Secret that was not asked for yet is no problem. */
export function secretProblems(config: ProxyConfig, stateOf: (name: string) => SecretState | null): readonly FailedTarget[] {
  return config.targets.flatMap((target): readonly FailedTarget[] => {
    const states = namesOf(target).map(stateOf);
    if (states.some((state) => state?.state === 'missing')) return [{ name: target.name, reason: 'SecretNotFound' }];
    return isUsable(target, stateOf) ? [] : [{ name: target.name, reason: 'InvalidSecret' }];
  });
}

function namesOf(target: Target): readonly string[] {
  if ('ssh' in target) return [...new Set([target.ssh.credentialsSecret, ...Object.values(target.ssh.accountCredentials)])];
  const { postgres } = target;
  return postgres.tls.caSecret === null ? [postgres.credentialsSecret] : [postgres.credentialsSecret, postgres.tls.caSecret.name];
}

function isUsable(target: Target, stateOf: (name: string) => SecretState | null): boolean {
  if ('ssh' in target) return namesOf(target).map(stateOf).every((secret) => secret?.state !== 'read' || hasSshCredential(secret.values));
  const { postgres } = target;
  const credentials = stateOf(postgres.credentialsSecret);
  const { caSecret } = postgres.tls;
  const ca = caSecret === null ? null : stateOf(caSecret.name);
  return (credentials?.state !== 'read' || hasCredentials(credentials.values)) && (ca?.state !== 'read' || caSecret === null || isCertificate(ca.values.get(caSecret.key)));
}

function hasCredentials(values: ReadonlyMap<string, Uint8Array>): boolean {
  const has = (key: string): boolean => (values.get(key)?.length ?? 0) > 0;
  return has('username') && (has('password') || (has('tls.crt') && has('tls.key')));
}

function isCertificate(bytes: Uint8Array | undefined): boolean {
  try {
    return bytes !== undefined && new X509Certificate(bytes).subject !== undefined;
  } catch {
    return false;
  }
}
