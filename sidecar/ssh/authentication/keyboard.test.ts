import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { KeyboardAuthContext } from 'ssh2';
import { aConfig, aProvider } from '../../../tools/testkit/policies.ts';
import { SallyportError } from '../../core/errors.ts';
import type { DeviceGrant } from '../../core/ports.ts';
import { judgeKeyboard } from './keyboard.ts';
import { type AuthenticationDeps, type CredentialOutcome, defaultTiming } from './outcome.ts';
import { TicketDesk } from './tickets.ts';

interface Asked { readonly prompts: readonly { readonly prompt: string }[]; readonly title: string; readonly instructions: string; readonly answer: (answers: unknown) => void }
type Poll = Awaited<ReturnType<DeviceGrant['poll']>>;

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

/** A login whose client and issuer the test plays. */
function start(polls: readonly Poll[], over: { readonly device?: boolean; readonly may?: boolean; readonly fails?: Error; readonly grant?: Partial<DeviceGrant> } = {}): {
  readonly asked: Asked[]; readonly polledAtMs: number[]; readonly gone: AbortController; readonly tickets: TicketDesk; readonly outcome: Promise<CredentialOutcome>;
} {
  const asked: Asked[] = [];
  const polledAtMs: number[] = [];
  const gone = new AbortController();
  const startedAtMs = performance.now();
  const left = [...polls];
  const grant: DeviceGrant = {
    userCode: 'WDJB-MJHT', verificationUri: 'https://id.example/device', verificationUriComplete: null, expiresInMs: 300_000, intervalMs: 5_000,
    poll: async () => {
      polledAtMs.push(performance.now() - startedAtMs);
      return left.shift() ?? { outcome: 'pending' };
    },
    ...over.grant,
  };
  const tickets = new TicketDesk(clock, null);
  const config = { ...aConfig([]), identityProviders: [aProvider(over.device === false ? {} : { deviceLogin: { clientId: 'cli', scopes: [] } })] };
  const deps: AuthenticationDeps = {
    config: { current: () => ({ config, revision: 1 }), subscribe: () => () => undefined }, keys: { keysOf: () => { throw new SallyportError('ISSUER_UNREACHABLE'); } }, clock, tickets, userCa: null,
    log: { error: () => undefined, info: () => undefined, debug: () => undefined },
    deviceLogin: { start: async () => { if (over.fails !== undefined) throw over.fails; return grant; } },
  };
  const context = { prompt: (prompts: Asked['prompts'], title: string, instructions: string, answer: Asked['answer']) => void asked.push({ prompts, title, instructions, answer }) } as unknown as KeyboardAuthContext;
  const outcome = judgeKeyboard(context, { use: { target: 'web-1', account: 'deploy', address: '10.0.0.1' }, timing: defaultTiming, mayStartDeviceLogin: () => over.may ?? true, signal: gone.signal }, deps);
  outcome.catch(() => undefined);
  return { asked, polledAtMs, gone, tickets, outcome };
}

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

describe('a device login', () => {
  test('it shows target, account, address and code without a prompt, and polls at the interval of the issuer, slower when told', async () => {
    const { asked, polledAtMs, outcome } = start([{ outcome: 'pending' }, { outcome: 'slower' }, { outcome: 'pending' }, { outcome: 'refused' }]);
    await jest.advanceTimersByTimeAsync(0);
    expect(asked).toEqual([expect.objectContaining({ prompts: [], instructions: expect.stringMatching(/web-1 as deploy: open https:\/\/id\.example\/device and enter WDJB-MJHT[^]*10\.0\.0\.1/) })]);
    asked[0]?.answer([]);
    await jest.advanceTimersByTimeAsync(60_000);
    expect(polledAtMs.map((ms) => Math.round(ms / 1_000))).toEqual([5, 10, 20, 30]);
    expect(await outcome).toMatchObject({ outcome: 'refused', denial: { code: 'AUTH_METHOD_REFUSED' } });
  });

  test('after 30 s one prompt carries the code; no answer, an empty one and an Error of ssh2 go on waiting', async () => {
    for (const answers of [[], [''], new Error('aborted'), [undefined], 'text']) {
      const { asked, outcome } = start([...Array.from({ length: 8 }, () => ({ outcome: 'pending' }) as const), { outcome: 'expired' }]);
      await jest.advanceTimersByTimeAsync(0);
      asked[0]?.answer([]);
      await jest.advanceTimersByTimeAsync(29_000);
      expect(asked.length).toBe(1);
      await jest.advanceTimersByTimeAsync(2_000);
      expect(asked[1]?.prompts).toEqual([{ prompt: expect.stringMatching(/open https:\/\/id\.example\/device and enter WDJB-MJHT[^]*Ticket or token \(password\): $/), echo: false }]);
      asked[1]?.answer(answers);
      await jest.advanceTimersByTimeAsync(20_000);
      expect([asked.length, (await outcome).outcome]).toEqual([2, 'refused']);
    }
  });

  test('a ticket that is typed at that prompt logs in', async () => {
    const { asked, tickets, outcome } = start([]);
    await jest.advanceTimersByTimeAsync(0);
    asked[0]?.answer([]);
    await jest.advanceTimersByTimeAsync(31_000);
    const minted = tickets.mint({ issuer: 'i', subject: 's', username: 'oidc:ada', expiresAtMs: Date.now() + 60_000 } as never, { target: 'web-1', account: 'deploy', address: null });
    asked[1]?.answer([minted.outcome === 'minted' ? minted.ticket : '']);
    await jest.advanceTimersByTimeAsync(0);
    expect(await outcome).toMatchObject({ outcome: 'proven', identity: { username: 'oidc:ada', authMethod: 'Ticket' } });
  });

  test('nothing polls once the client is gone', async () => {
    const { asked, polledAtMs, gone, outcome } = start([]);
    await jest.advanceTimersByTimeAsync(0);
    asked[0]?.answer([]);
    await jest.advanceTimersByTimeAsync(12_000);
    gone.abort(new Error('gone'));
    await expect(outcome).rejects.toThrow('gone');
    await jest.advanceTimersByTimeAsync(120_000);
    expect([polledAtMs.length, jest.getTimerCount()]).toEqual([2, 0]);
  });

  test('a client that never answers the first request is polled for all the same, and gets no second one', async () => {
    const { asked, polledAtMs, gone, outcome } = start([]);
    await jest.advanceTimersByTimeAsync(60_000);
    expect([asked.length, polledAtMs.length > 5]).toEqual([1, true]);
    gone.abort(new Error('gone'));
    await expect(outcome).rejects.toThrow('gone');
  });

  test('a code counts for five minutes at most, whatever the issuer says', async () => {
    const { asked, outcome } = start([], { grant: { expiresInMs: 1_800_000 } });
    await jest.advanceTimersByTimeAsync(0);
    asked[0]?.answer([]);
    await jest.advanceTimersByTimeAsync(301_000);
    expect(await outcome).toMatchObject({ denial: { detail: 'nobody approved the login in time' } });
  });
});

describe('one prompt instead', () => {
  test.each([
    ['the provider names no client', { device: false }], ['this connection has had its device logins', { may: false }], ['the issuer does not answer', { fails: new SallyportError('ISSUER_UNREACHABLE') }],
  ])('when %s', async (_name, over) => {
    const { asked, outcome } = start([], over);
    await jest.advanceTimersByTimeAsync(0);
    expect(asked).toEqual([expect.objectContaining({ prompts: [{ prompt: 'Ticket or token (password): ', echo: false }] })]);
    asked[0]?.answer([]);
    expect(await outcome).toMatchObject({ outcome: 'refused', denial: { code: 'TOKEN_MISSING' } });
  });

  test('a bug is no reason to go on', async () => {
    await expect(start([], { fails: new TypeError('bug') }).outcome).rejects.toThrow('bug');
  });
});
