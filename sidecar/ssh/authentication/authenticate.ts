import type { AuthContext, AuthenticationType } from 'ssh2';
import { type Denial, deny, SallyportError } from '../../core/errors.ts';
import { credentialUser } from '../../core/identity/ssh-identity-extension.ts';
import type { ServedConnection } from '../server.ts';
import { judgeKeyboard } from './keyboard.ts';
import { type AuthenticationAsk, type AuthenticationDeps, type AuthenticationTiming, type CredentialOutcome, defaultTiming, isAccountName, type Proven } from './outcome.ts';
import { judgePassword } from './password.ts';
import { judgePublicKey } from './public-key.ts';

/**
 * Who the client is, or why it ended.
 *
 * `requestedUser` is its user name when that is an account's (`[A-Za-z_][A-Za-z0-9._-]{0,31}`) or the one of the credential subsystem, else '': a name may be a token by mistake.
 * `wantsCredential`: it came as `credential@sallyport.dev`; nothing but that subsystem may be opened, and no Permit is needed for it.
 */
export type AuthenticationOutcome =
  | ({ readonly outcome: 'authenticated'; readonly requestedUser: string; readonly wantsCredential: boolean } & Proven)
  | { readonly outcome: 'failed'; readonly denial: Denial; readonly requestedUser: string };

/** Bounds of one connection's login (ssh.md 3.6). */
export const authenticationLimits = { failedCredentials: 6, keyQuestions: 32, requests: 128, deviceLogins: 3 } as const;

const methodsLeft: AuthenticationType[] = ['publickey', 'keyboard-interactive', 'password'];

/**
 * Authenticates the client of one connection: says who it is, never what it may do.
 *
 * Every request is judged by itself; `none`, `hostbased` and plain keys prove nothing. The seventh credential after six that failed ends the connection, as do 32 questions about keys and the
 * end of grace. Nothing is accepted in the tick of the packet that asked, so whoever awaits this can listen before the first channel is opened.
 *
 * Call it synchronously in `SshHandlers.connected`.
 *
 * @param signal aborted by the listener: the connection ends.
 * @returns once; never throws for what a client did.
 */
export function authenticateClient(client: Pick<ServedConnection, 'connection' | 'authBanner' | 'end'>, ask: AuthenticationAsk, deps: AuthenticationDeps, signal: AbortSignal): Promise<AuthenticationOutcome> {
  return new Login(client, ask, deps).run(signal);
}

/** One login. State, because attempts are counted and what was said last is why it failed. */
class Login {
  readonly #client: Pick<ServedConnection, 'connection' | 'authBanner' | 'end'>;
  readonly #ask: AuthenticationAsk;
  readonly #deps: AuthenticationDeps;
  readonly #timing: AuthenticationTiming;
  readonly #outcome = Promise.withResolvers<AuthenticationOutcome>();
  /** Aborted with the login's end, so that nothing goes on polling. */
  readonly #over = new AbortController();
  readonly #startedMs = performance.now();
  readonly #bannersShown = new Set<string>();
  #grace: NodeJS.Timeout | null = null;
  #user = '';
  #requests = 0;
  #failed = 0;
  #keyQuestions = 0;
  #deviceLogins = 0;
  #last: Denial | null = null;

  constructor(client: Pick<ServedConnection, 'connection' | 'authBanner' | 'end'>, ask: AuthenticationAsk, deps: AuthenticationDeps) {
    this.#client = client;
    this.#ask = ask;
    this.#deps = deps;
    this.#timing = { ...defaultTiming, ...deps.timing };
  }

  async run(signal: AbortSignal): Promise<AuthenticationOutcome> {
    const { connection } = this.#client;
    const onGone = (): void => this.#end(this.#last ?? deny('CONNECTION_LOST'));
    const onAbort = (): void => this.#end(signal.reason instanceof SallyportError ? signal.reason.toDenial() : deny('STARTUP_TIMEOUT'));
    // Stays for good: without a listener ssh2 would answer by itself; after the end everything is refused here.
    connection.on('authentication', (context: AuthContext) => void this.#serve(context).catch((error: unknown) => this.#crash(error)));
    connection.on('close', onGone).on('end', onGone);
    signal.addEventListener('abort', onAbort, { once: true });
    this.#graceUntil(this.#timing.graceMs);
    if (signal.aborted) onAbort();
    try {
      return await this.#outcome.promise;
    } finally {
      if (this.#grace !== null) clearTimeout(this.#grace);
      signal.removeEventListener('abort', onAbort);
      connection.off('close', onGone).off('end', onGone);
    }
  }

  #graceUntil(sinceStartMs: number): void {
    if (this.#grace !== null) clearTimeout(this.#grace);
    this.#grace = setTimeout(() => this.#end(this.#last ?? deny('STARTUP_TIMEOUT')), Math.max(0, this.#startedMs + sinceStartMs - performance.now()));
  }

  async #serve(context: AuthContext): Promise<void> {
    // Never in the tick of the packet.
    await Promise.resolve();
    if (this.#over.signal.aborted) return context.reject();
    this.#user = context.username === credentialUser || isAccountName(context.username) ? context.username : '';
    this.#requests += 1;
    if (this.#requests > authenticationLimits.requests || this.#failed >= authenticationLimits.failedCredentials) return this.#end(this.#last ?? deny('AUTH_METHOD_REFUSED'));
    // A client's way to ask which methods there are.
    if (context.method === 'none') return context.reject(methodsLeft);
    const outcome = await this.#judge(context);
    if (outcome === null || this.#over.signal.aborted) return;
    if (outcome.outcome === 'proven') return this.#accept(context, outcome);
    if (outcome.outcome === 'refused') return this.#refuse(context, outcome);
    this.#answerQuestion(context, outcome.outcome === 'usable');
  }

  /** Null: the client went on to something else, nothing is to be answered. */
  async #judge(context: AuthContext): Promise<CredentialOutcome | { readonly outcome: 'usable' | 'unusable' } | null> {
    const use = { target: this.#ask.target, account: this.#user, address: this.#ask.remote.ip };
    if (context.method === 'password') return judgePassword(context.password, use, this.#deps);
    if (context.method === 'publickey') return judgePublicKey(context, this.#ask, this.#deps);
    if (context.method !== 'keyboard-interactive') return { outcome: 'refused', denial: deny('AUTH_METHOD_REFUSED', { detail: 'hostbased' }) };
    const gone = new AbortController();
    context.once('abort', () => gone.abort(new Error('the client went on')));
    try {
      return await judgeKeyboard(context, { use, timing: this.#timing, mayStartDeviceLogin: () => this.#mayStartDeviceLogin(), signal: AbortSignal.any([gone.signal, this.#over.signal]) }, this.#deps);
    } catch (error) {
      if (gone.signal.aborted || this.#over.signal.aborted) return null;
      throw error;
    }
  }

  #mayStartDeviceLogin(): boolean {
    this.#deviceLogins += 1;
    if (this.#deviceLogins > authenticationLimits.deviceLogins) return false;
    this.#graceUntil(this.#timing.deviceGraceMs);
    return true;
  }

  /** Nothing is logged or kept of a key without a signature, but that a question was asked. */
  #answerQuestion(context: AuthContext, isUsable: boolean): void {
    this.#keyQuestions += 1;
    if (this.#keyQuestions > authenticationLimits.keyQuestions) return this.#end(this.#last ?? deny('AUTH_METHOD_REFUSED'));
    // ssh2 answers PK_OK to a request without a signature, and nothing else.
    if (isUsable) context.accept();
    else context.reject(methodsLeft);
  }

  #accept(context: AuthContext, { identity, credentialId }: Proven): void {
    // First: where ssh2 cannot accept, the login fails.
    context.accept();
    this.#over.abort(new Error('the login is over'));
    this.#outcome.resolve({ outcome: 'authenticated', identity, credentialId, requestedUser: this.#user, wantsCredential: this.#user === credentialUser });
  }

  #refuse(context: AuthContext, { denial, reason }: { readonly denial: Denial; readonly reason?: string }): void {
    this.#failed += 1;
    this.#last = denial;
    this.#deps.log.info('credential refused', { target: this.#ask.target, ip: this.#ask.remote.ip, method: context.method, code: denial.code, ...(reason === undefined ? {} : { reason }) });
    this.#explain(denial);
    context.reject(methodsLeft);
  }

  /** The client's own words are "Permission denied"; each reason is told once. */
  #explain({ code, message, hint }: Denial): void {
    if (code === 'AUTH_METHOD_REFUSED' || code === 'TOKEN_MISSING' || this.#bannersShown.has(code)) return;
    this.#bannersShown.add(code);
    this.#client.authBanner(`sallyport: ${message} [${code}]\r\nhint: ${hint}\r\n`);
  }

  #end(denial: Denial): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort(new Error('the login is over'));
    this.#outcome.resolve({ outcome: 'failed', denial, requestedUser: this.#user });
    this.#client.end();
  }

  #crash(error: unknown): void {
    this.#deps.log.error('authentication failed', { target: this.#ask.target, error: error instanceof Error ? (error.stack ?? error.message) : 'not an error' });
    this.#end(deny('INTERNAL'));
  }
}
