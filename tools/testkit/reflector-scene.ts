import type { KubeObject, Reflector } from '../../runtime/kube/kube-client.ts';
import { type ReflectorOptions, startReflector } from '../../runtime/kube/reflector.ts';
import { testKinds as kinds } from './fake-api/route.ts';
import { type FakeApi, fakeApiServer } from './fake-api-server.ts';
import { type FakeClock, fakeClock } from './fake-clock.ts';
import { until } from './settle.ts';

/** What the scene's reflector follows. */
export type ConfigMap = KubeObject & { readonly data?: Readonly<Record<string, string>> };

/** A reflector of the ConfigMaps of namespace `shop`, and what it told. */
export interface ReflectorScene {
  readonly api: FakeApi;
  readonly clock: FakeClock;
  readonly reflector: Reflector<ConfigMap>;
  readonly keys: string[];
  readonly relists: string[];
  readonly errors: unknown[];
}

/** Starts one; `before` acts on the server first. End its reflector. */
export function reflectorScene(options: Partial<ReflectorOptions<ConfigMap>> & { readonly before?: (api: FakeApi) => void; readonly maxPage?: number } = {}): ReflectorScene {
  const clock = fakeClock();
  const api = fakeApiServer({ clock, maxPage: options.maxPage ?? 500 });
  const keys: string[] = [];
  const relists: string[] = [];
  const errors: unknown[] = [];
  options.before?.(api);
  const reflector = startReflector<ConfigMap>({
    client: api.client(), kind: kinds.configMap, namespace: 'shop', onKey: (key) => void keys.push(key), clock, random: () => 0.5, onRelist: (reason) => void relists.push(reason), onError: (error) => void errors.push(error), ...options,
  });
  return { api, clock, reflector, keys, relists, errors };
}

/** Stores a ConfigMap with this value. */
export function putConfigMap(api: FakeApi, name: string, value: string): void {
  api.put<ConfigMap>(kinds.configMap, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'shop' }, data: { value } });
}

/** `name -> uid, value`: what cache and server must agree on. */
export function contentOf(objects: readonly ConfigMap[]): Record<string, string> {
  return Object.fromEntries(objects.map((object) => [object.metadata.name, `${object.metadata.uid ?? ''} ${object.data?.['value'] ?? ''}`] as const).sort());
}

/** Moves the clock until the cache has what the server has and one watch is open. @throws when that does not come. */
export async function converges({ api, clock, reflector }: ReflectorScene): Promise<void> {
  await until(() => JSON.stringify(contentOf(reflector.list())) === JSON.stringify(contentOf(api.list<ConfigMap>(kinds.configMap))) && api.watches.size === 1, { clock, stepMs: 500 });
}
