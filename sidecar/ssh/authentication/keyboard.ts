import type { KeyboardAuthContext, Prompt } from 'ssh2';
import { deny, SallyportError } from '../../core/errors.ts';
import type { DeviceGrant, TicketUse } from '../../core/ports.ts';
import type { AuthenticationDeps, AuthenticationTiming, CredentialOutcome } from './outcome.ts';
import { judgePassword, judgeToken } from './password.ts';

/** What one keyboard-interactive request is about. */
export interface KeyboardLogin {
  readonly use: TicketUse;
  readonly timing: AuthenticationTiming;
  /** Whether this connection may send a person to a browser (once more). Called once, at the start of a device login. */
  readonly mayStartDeviceLogin: () => boolean;
  /** Aborted when the client goes on to something else, goes away, or has no time left. */
  readonly signal: AbortSignal;
}

/**
 * Answers keyboard-interactive: a device login where an IdentityProvider names a client for it, else one prompt for a ticket or token.
 *
 * The device login needs no typing: URL and code are shown with a request of zero prompts, which clients answer at once, also without a terminal. Clients that hide
 * such texts get one prompt that carries them after 30 s; an empty answer to it, or none, means to go on waiting, any other is taken for a ticket or token.
 *
 * @throws the signal's reason.
 */
export async function judgeKeyboard(context: KeyboardAuthContext, login: KeyboardLogin, deps: AuthenticationDeps): Promise<CredentialOutcome> {
  const ask = asker(context, login.signal);
  const grant = await startDeviceLogin(login, deps);
  if (grant === null) {
    const [answer] = await ask([credentialPrompt], 'Sallyport', '');
    return judgePassword(answer ?? '', login.use, deps);
  }
  using stop = stopper(login.signal);
  const shown = ask([], 'Sallyport login', instruction(grant, login.use));
  const typed = typedCredential(ask, shown, grant, login.timing.promptAfterMs, stop.signal);
  const decided = await Promise.race([pollUntilDecided(grant, stop.signal), typed.credential]);
  if (decided.outcome === 'typed') return judgePassword(decided.text, login.use, deps);
  if (decided.outcome !== 'token') return { outcome: 'refused', denial: deny('AUTH_METHOD_REFUSED', { detail: decided.outcome === 'expired' ? 'nobody approved the login in time' : 'the login was refused in the browser' }) };
  const judged = await judgeToken(decided.token, deps);
  if (judged.outcome === 'refused') return judged;
  const identity = { ...judged.identity, authMethod: 'DeviceLogin' } as const;
  stop.abort();
  // A request may follow only the answer to the one before: a prompt that stands open waits for its Enter.
  await typed.outstanding();
  await ask([], '', `sallyport: approved as ${identity.username}`);
  return { outcome: 'proven', identity, credentialId: null };
}

/** Clients that answer by themselves look for "password" in it. */
const credentialPrompt: Prompt = { prompt: 'Ticket or token (password): ', echo: false };

/** Null where nobody can be sent to a browser now. */
async function startDeviceLogin(login: KeyboardLogin, deps: AuthenticationDeps): Promise<DeviceGrant | null> {
  const providers = deps.config.current()?.config.identityProviders ?? [];
  const provider = providers.filter((candidate) => candidate.deviceLogin !== undefined).sort((a, b) => (a.name < b.name ? -1 : 1))[0];
  if (provider === undefined || deps.deviceLogin === null || !login.mayStartDeviceLogin()) return null;
  try {
    return await deps.deviceLogin.start(provider, login.signal);
  } catch (error) {
    login.signal.throwIfAborted();
    if (!(error instanceof SallyportError)) throw error;
    deps.log.error('device login not started', { provider: provider.name, code: error.code });
    return null;
  }
}

type Ask = (prompts: readonly Prompt[], title: string, instructions: string) => Promise<readonly string[]>;

/** One request at a time. ssh2 calls back with an Error when the client goes on to something else. */
function asker(context: KeyboardAuthContext, signal: AbortSignal): Ask {
  return async (prompts, title, instructions) => {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>();
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      context.prompt([...prompts], title, instructions, (answers: unknown) => resolve(Array.isArray(answers) ? answers.filter((answer): answer is string => typeof answer === 'string') : []));
      return await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  };
}

type Typed = { readonly outcome: 'typed'; readonly text: string };

/** The prompt for clients that showed nothing. `credential` settles for an answer only; it rejects like `ask`. */
function typedCredential(ask: Ask, shown: Promise<unknown>, grant: DeviceGrant, afterMs: number, signal: AbortSignal): { readonly credential: Promise<Typed>; readonly outstanding: () => Promise<unknown> } {
  let outstanding: Promise<unknown> = shown;
  const credential = Promise.withResolvers<Typed>();
  const run = async (): Promise<void> => {
    await shown;
    if (!(await waited(afterMs, signal))) return;
    const asked = ask([{ prompt: `${where(grant)}, then press Enter here.\n${credentialPrompt.prompt}`, echo: false }], '', '');
    outstanding = asked;
    const text = (await asked)[0] ?? '';
    if (text !== '' && !signal.aborted) credential.resolve({ outcome: 'typed', text });
  };
  run().catch(credential.reject);
  // Whoever no longer waits for it is not to be told that it failed.
  credential.promise.catch(() => undefined);
  return { credential: credential.promise, outstanding: () => outstanding };
}

type Decided = { readonly outcome: 'token'; readonly token: string } | { readonly outcome: 'refused' | 'expired' };

/** Longest that a code counts, whatever the issuer says: codes can be phished. */
const longestCodeMs = 300_000;
const slowerMs = 5_000;

async function pollUntilDecided(grant: DeviceGrant, signal: AbortSignal): Promise<Decided> {
  const endMs = performance.now() + Math.min(grant.expiresInMs, longestCodeMs);
  let { intervalMs } = grant;
  while (performance.now() + intervalMs < endMs) {
    if (!(await waited(intervalMs, signal))) throw signal.reason;
    const polled = await grant.poll(signal);
    if (polled.outcome === 'slower') intervalMs += slowerMs;
    else if (polled.outcome !== 'pending') return polled;
  }
  return { outcome: 'expired' };
}

/** False when the signal came first. */
function waited(delayMs: number, signal: AbortSignal): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => done(true), delayMs);
  const onAbort = (): void => done(false);
  const done = (whole: boolean): void => {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    resolve(whole);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) done(false);
  return promise;
}

/** Ends what was started beside the answer, whichever way that came. */
function stopper(outer: AbortSignal): { readonly signal: AbortSignal; abort(): void; [Symbol.dispose](): void } {
  const inner = new AbortController();
  const abort = (): void => inner.abort(new Error('decided'));
  return { signal: AbortSignal.any([outer, inner.signal]), abort, [Symbol.dispose]: abort };
}

function instruction(grant: DeviceGrant, { target, account, address }: TicketUse): string {
  const whole = grant.verificationUriComplete === null ? '' : `\n(or open ${grant.verificationUriComplete})`;
  const as = account === '' ? '' : ` as ${account}`;
  return `To log in to ${target}${as}: ${where(grant)}.${whole}\nYou come from ${address}. Approve it only if you started this login yourself, just now. Waiting.`;
}

function where(grant: DeviceGrant): string {
  return `open ${grant.verificationUri} and enter ${grant.userCode}`;
}
