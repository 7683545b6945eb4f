import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { ProxyConfig, Target } from '../../../contract/proxy-config.ts';
import type { KubeRequest } from '../../../runtime/kube/kube-client.ts';
import { aLog, settle } from '../../../tools/testkit/cluster-config.ts';
import { type FakeClock, fakeClock } from '../../../tools/testkit/fake-clock.ts';
import { aConfig, aTarget } from '../../../tools/testkit/policies.ts';
import { refused, type ScriptedClient, scriptedClient, unreachable } from '../../../tools/testkit/scripted-client.ts';
import { type ClusterSecrets, openClusterSecrets } from './secrets.ts';

let clock: FakeClock;
let client: ScriptedClient;
let config: ProxyConfig | null;
let changed: () => void;
let stored: Map<string, Readonly<Record<string, string>>>;
let down: Error | null;
let secrets: ClusterSecrets;
let log: ReturnType<typeof aLog>;

beforeEach(() => {
  clock = fakeClock();
  client = scriptedClient();
  config = aConfig([], [aTarget()]);
  stored = new Map([['orders-gateway', { username: 'app', password: 'one' }]]);
  down = null;
  log = aLog();
  client.answer(({ path }: KubeRequest) => {
    if (down) throw down;
    const name = path.split('/').at(-1) ?? '';
    const data = stored.get(name);
    if (!data) throw refused(404, 'NotFound');
    return { metadata: { name }, data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')])) };
  });
});
afterEach(async () => secrets[Symbol.asyncDispose]());

function open(): ClusterSecrets {
  secrets = openClusterSecrets({ client, namespace: 'payments', config: { current: () => (config ? { config } : null), subscribe: (listener) => { changed = listener; return () => undefined; } }, clock, random: () => 0.5, log });
  return secrets;
}

const password = async (name = 'orders-gateway'): Promise<string> => secrets.read(name, 'password').then((bytes) => Buffer.from(bytes).toString(), (error: unknown) => (error as { code: string }).code);

/** Time in steps that let every timer's work finish. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 500) {
    clock.advance(500);
    await settle();
  }
}

describe('a credential', () => {
  test('is read by name when the config names it, once for any number of sessions', async () => {
    open();
    await secrets.settled();
    expect(await Promise.all([password(), password(), password()])).toEqual(['one', 'one', 'one']);
    expect(client.requests.map(({ method, path }) => `${method} ${path}`)).toEqual(['GET /api/v1/namespaces/payments/secrets/orders-gateway']);
  });

  test('is a copy: wiping it costs nobody else theirs', async () => {
    open();
    (await secrets.read('orders-gateway', 'password')).fill(0);
    expect(await password()).toBe('one');
  });

  test('that no Target names is never asked for', async () => {
    open();
    await secrets.settled();
    expect([await password('other'), await secrets.reread?.('other'), client.requests.length]).toEqual(['SECRET_UNAVAILABLE', false, 1]);
  });

  test('of a Target that is added is there for its first session', async () => {
    open();
    await secrets.settled();
    stored.set('new-login', { username: 'app', password: 'new' });
    config = aConfig([], [aTarget(), withSecret('new', 'new-login')]);
    changed();
    expect(await password('new-login')).toBe('new');
  });

  test('of a Target that is gone is forgotten', async () => {
    open();
    await secrets.settled();
    config = aConfig([], []);
    changed();
    expect(await password()).toBe('SECRET_UNAVAILABLE');
  });

  test('that was rotated is used by the next dial within 90 s', async () => {
    open();
    await secrets.settled();
    stored.set('orders-gateway', { username: 'app', password: 'two' });
    await pass(67_000);
    expect(await password()).toBe('two');
  });

  test('is looked at once more, at once, when the target refuses the login: true when it is another by now; a storm of failures asks every 5 s', async () => {
    open();
    await secrets.settled();
    const before = client.requests.length;
    expect(await secrets.reread?.('orders-gateway')).toBe(false);
    stored.set('orders-gateway', { username: 'app', password: 'two' });
    expect(await Promise.all(Array.from({ length: 50 }, async () => secrets.reread?.('orders-gateway')))).not.toContain(true);
    expect(client.requests.length - before).toBe(1);
    clock.advance(5_000);
    expect([await secrets.reread?.('orders-gateway'), await password()]).toEqual([true, 'two']);
  });
});

describe('while the API server is away', () => {
  test('what is in memory serves new sessions', async () => {
    open();
    await secrets.settled();
    down = unreachable();
    await pass(600_000);
    expect([await password(), secrets.failedTargets()]).toEqual(['one', []]);
  });

  test('a refusal by RBAC takes nothing away that was read', async () => {
    open();
    await secrets.settled();
    down = refused(403);
    await pass(120_000);
    expect(await password()).toBe('one');
  });

  test('what was never read is asked for again until it is there, at most every minute', async () => {
    down = unreachable();
    open();
    await secrets.settled();
    expect(secrets.failedTargets()).toEqual([]);
    await pass(600_000);
    expect(client.requests.length).toBeLessThan(25);
    down = null;
    await pass(70_000);
    expect(await password()).toBe('one');
  });
});

describe('a Target is reported as failed', () => {
  const failed = async (): Promise<unknown> => {
    open();
    await secrets.settled();
    return secrets.failedTargets();
  };

  test('when its Secret does not exist, or may not be read: the two look the same', async () => {
    stored.clear();
    expect(await failed()).toEqual([{ name: 'orders-db', reason: 'SecretNotFound' }]);
    await secrets[Symbol.asyncDispose]();
    down = refused(403);
    expect(await failed()).toEqual([{ name: 'orders-db', reason: 'SecretNotFound' }]);
  });

  test.each([[{}], [{ username: 'app' }], [{ password: 'x' }], [{ username: '', password: 'x' }], [{ username: 'app', 'tls.crt': 'x' }]])('when its Secret cannot be used: %j', async (data) => {
    stored.set('orders-gateway', data);
    expect(await failed()).toEqual([{ name: 'orders-db', reason: 'InvalidSecret' }]);
  });

  test('when its CA is no certificate', async () => {
    const { postgres, ...target } = aTarget();
    config = aConfig([], [{ ...target, postgres: { ...postgres, tls: { ...postgres.tls, caSecret: { name: 'ca', key: 'ca.crt' } } } }]);
    stored.set('ca', { 'ca.crt': 'nonsense' });
    expect(await failed()).toEqual([{ name: 'orders-db', reason: 'InvalidSecret' }]);
  });

  test('not when it logs in with a client certificate', async () => {
    stored.set('orders-gateway', { username: 'app', 'tls.crt': 'c', 'tls.key': 'k' });
    expect(await failed()).toEqual([]);
  });

  test('once its Secret is deleted, and no longer when it is back; listeners are told both times', async () => {
    open();
    await secrets.settled();
    let told = 0;
    secrets.subscribe(() => { told++; });
    stored.clear();
    await pass(67_000);
    expect([secrets.failedTargets(), await password(), told]).toEqual([[{ name: 'orders-db', reason: 'SecretNotFound' }], 'SECRET_UNAVAILABLE', 1]);
    stored.set('orders-gateway', { username: 'app', password: 'back' });
    await pass(70_000);
    expect([secrets.failedTargets(), await password(), told]).toEqual([[], 'back', 2]);
  });
});

test('no value of a Secret is ever logged', async () => {
  stored.set('orders-gateway', { username: 'canary-user', password: 'canary-password' });
  open();
  await secrets.settled();
  stored.clear();
  await pass(67_000);
  expect(log.lines.length).toBeGreaterThan(0);
  expect(log.lines.join()).not.toContain('canary');
});

function withSecret(name: string, credentialsSecret: string): Target {
  const target = aTarget(name);
  return { ...target, postgres: { ...target.postgres, credentialsSecret } };
}
