import { managedByLabel, managedByValue } from '../../../contract/names.ts';
import type { RuntimeClock } from '../../../runtime/clock.ts';
import type { KubeClient, KubeObject } from '../../../runtime/kube/kube-client.ts';
import { getObject } from '../../../runtime/kube/verbs.ts';
import { kinds } from '../../kube/kinds.ts';
import type { KindKey } from '../../kube/kinds.ts';
import type { UpstreamService } from '../../render/network-policies.ts';
import type { SecretFacts } from './facts.ts';

/**
 * Reads of what no reflector follows: Secrets (their metadata alone, always), and objects of other people. Answers are kept for a while: what exists 10 min, what does not 10 s.
 * Only a saving: whoever starts without them reads again.
 */
export interface Lookups {
  /** Never its value. */
  secret(namespace: string, name: string, signal: AbortSignal): Promise<SecretFacts | null>;
  /** Whether an object of that name exists and does not bear our label. */
  isForeign(kind: KindKey, namespace: string, name: string, signal: AbortSignal): Promise<boolean>;
  /** Whose an object of that name is, read anew. */
  holderNow(kind: KindKey, namespace: string, name: string, signal: AbortSignal): Promise<Holder>;
  /** A Service's selector and ports; null: there is none. */
  service(namespace: string, name: string, signal: AbortSignal): Promise<UpstreamService | null>;
  /** A whole object of ours that no reflector follows. */
  object(kind: 'configMap', namespace: string, name: string, signal: AbortSignal): Promise<KubeObject | null>;
  /** Reads it anew next time. */
  forget(kind: KindKey, namespace: string, name: string): void;
  /** The same for everything of a namespace: one that was deleted and made again has nothing of what the old one had. */
  forgetNamespace(namespace: string): void;
}

/** Whose an object is: ours by our label, somebody else's, or there is none. */
export type Holder = 'nobody' | 'us' | 'somebody';

/** How long an answer is kept, ms. */
export const lookupTimes = { foundMs: 600_000, missingMs: 10_000 } as const;
/** Answers kept; the oldest is dropped. */
const maxAnswers = 20_000;

/** Makes the lookups of one process. */
export function createLookups({ client, clock }: { readonly client: KubeClient; readonly clock: RuntimeClock }): Lookups {
  const answers = new Map<string, { readonly value: unknown; readonly untilMs: number }>();
  const remember = (key: string, value: unknown, keepMs: number): void => {
    answers.delete(key);
    answers.set(key, { value, untilMs: clock.monotonicMs() + keepMs });
    if (answers.size > maxAnswers) answers.delete(answers.keys().next().value ?? '');
  };
  const read = async <T>(key: string, ask: () => Promise<T | null>): Promise<T | null> => {
    const known = answers.get(key);
    // Only what this function stored under this key: the key says the shape.
    if (known !== undefined && clock.monotonicMs() < known.untilMs) return known.value as T | null;
    const value = await ask();
    remember(key, value, value === null ? lookupTimes.missingMs : lookupTimes.foundMs);
    return value;
  };
  const foreignKey = (kind: KindKey, namespace: string, name: string): string => `foreign ${kind} ${namespace}/${name}`;
  const holderNow = async (kind: KindKey, namespace: string, name: string, signal: AbortSignal): Promise<Holder> => {
    const object = await getObject(client, kinds[kind], namespace, name, { signal, metadataOnly: true });
    const holder = object === null ? 'nobody' : object.metadata.labels?.[managedByLabel] === managedByValue ? 'us' : 'somebody';
    // When it goes nobody tells us, so it is asked for often.
    remember(foreignKey(kind, namespace, name), holder === 'somebody', lookupTimes.missingMs);
    return holder;
  };
  return {
    secret: (namespace, name, signal) => read(`secret ${namespace}/${name}`, async () => {
      const object = await getObject(client, kinds.secret, namespace, name, { signal, metadataOnly: true });
      return object === null ? null : { resourceVersion: object.metadata.resourceVersion ?? '', annotations: object.metadata.annotations ?? {} };
    }),
    async isForeign(kind, namespace, name, signal) {
      const known = answers.get(foreignKey(kind, namespace, name));
      return known !== undefined && clock.monotonicMs() < known.untilMs ? known.value === true : await holderNow(kind, namespace, name, signal) === 'somebody';
    },
    holderNow,
    service: (namespace, name, signal) => read(`upstream ${namespace}/${name}`, async () => {
      const object = await getObject(client, kinds.service, namespace, name, { signal });
      return object === null ? null : upstreamOf(object);
    }),
    object: (kind, namespace, name, signal) => read(`${kind} ${namespace}/${name}`, () => getObject(client, kinds[kind], namespace, name, { signal })),
    forget(kind, namespace, name) {
      for (const key of [`${kind} ${namespace}/${name}`, foreignKey(kind, namespace, name), `upstream ${namespace}/${name}`]) answers.delete(key);
    },
    forgetNamespace(namespace) {
      for (const key of answers.keys()) if (key.includes(` ${namespace}/`)) answers.delete(key);
    },
  };
}

function upstreamOf({ metadata, spec }: KubeObject): UpstreamService {
  const { selector, ports } = (spec ?? {}) as { readonly selector?: Readonly<Record<string, string>>; readonly ports?: readonly { readonly port: number; readonly targetPort?: number | string }[] };
  return { name: metadata.name, selector: selector ?? {}, ports: (ports ?? []).map(({ port, targetPort }) => ({ port, targetPort: targetPort ?? port })) };
}
