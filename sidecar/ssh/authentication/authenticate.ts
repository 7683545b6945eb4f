import type { AuthContext, AuthenticationType, Connection } from 'ssh2';
import { type Denial, deny, SallyportError } from '../../core/errors.ts';
import type { Identity } from '../../core/identity/identity.ts';
import type { Clock, ConfigSource, KeySource, Logger } from '../../core/ports.ts';
import { judgePassword } from './password.ts';

/** What authenticating SSH clients takes. */
export interface AuthenticationDeps {
  readonly config: ConfigSource;
  readonly keys: KeySource;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timing?: Partial<AuthenticationTiming>;
}

/** Times of ssh.md 3.3 and 3.6, ms. */
export interface AuthenticationTiming {
  /** From the first request to the login. */
  readonly graceMs: number;
}

/** Where the client came to, and from where. The account comes with its first request, as the user name. */
export interface AuthenticationAsk {
  readonly target: string;
  readonly remote: { readonly ip: string; readonly port: number };
}

/** A credential that proved an identity; `credentialId` names it in records, null for a token. */
export interface Proven {
  readonly identity: Identity;
  readonly credentialId: string | null;
}

/** Who the client is, or why it ended. `requestedUser` is its user name when that has the form of an account, else ''. */
export type AuthenticationOutcome =
  | ({ readonly outcome: 'authenticated'; readonly requestedUser: string } & Proven)
  | { readonly outcome: 'failed'; readonly denial: Denial; readonly requestedUser: string };

/** What one credential came to. */
export type CredentialOutcome = ({ readonly outcome: 'proven' } & Proven) | { readonly outcome: 'refused'; readonly denial: Denial };

/** Bounds of one connection's login (ssh.md 3.6). */
export const authenticationLimits = { failedCredentials: 6, requests: 64 } as const;

const defaultTiming: AuthenticationTiming = { graceMs: 120_000 };
const methodsLeft: AuthenticationType[] = ['publickey', 'keyboard-interactive', 'password'];

/**
 * Authenticates the client of one connection: says who it is, never what it may do.
 *
 * Every request is judged by itself; `none`, `hostbased` and plain keys prove nothing. Ends the connection after six failed credentials and at the end of grace.
 * Nothing is accepted in the tick of the packet that asked, so whoever awaits this can listen before the first channel is opened.
 *
 * @param signal aborted by the listener; the reason is told to nobody, the connection ends.
 * @returns once; never throws for what a client did.
 */
export function authenticateClient(connection: Connection, ask: AuthenticationAsk, deps: AuthenticationDeps, signal: AbortSignal): Promise<AuthenticationOutcome> {
  return new Login(connection, ask, deps).run(signal);
}

/** One login. State, because attempts are counted and what was said last is why it failed. */
class Login {
  readonly #connection: Connection;
  readonly #ask: AuthenticationAsk;
  readonly #deps: AuthenticationDeps;
  readonly #outcome = Promise.withResolvers<AuthenticationOutcome>();
  #requestedUser = '';
  #requests = 0;
  #failed = 0;
  #over = false;
  #last: Denial | null = null;

  constructor(connection: Connection, ask: AuthenticationAsk, deps: AuthenticationDeps) {
    this.#connection = connection;
    this.#ask = ask;
    this.#deps = deps;
  }

  async run(signal: AbortSignal): Promise<AuthenticationOutcome> {
    const onRequest = (context: AuthContext): void => void this.#serve(context).catch((error: unknown) => this.#crash(error));
    const onGone = (): void => this.#end(this.#last ?? deny('CONNECTION_LOST'));
    const onAbort = (): void => this.#end(signal.reason instanceof SallyportError ? signal.reason.toDenial() : deny('STARTUP_TIMEOUT'));
    const grace = setTimeout(() => this.#end(deny('STARTUP_TIMEOUT')), this.#deps.timing?.graceMs ?? defaultTiming.graceMs);
    this.#connection.on('authentication', onRequest).on('close', onGone).on('end', onGone);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      return await this.#outcome.promise;
    } finally {
      clearTimeout(grace);
      signal.removeEventListener('abort', onAbort);
      this.#connection.off('close', onGone).off('end', onGone);
      // The listener for requests stays: without one ssh2 would answer, and after this everything is refused here.
    }
  }

  async #serve(context: AuthContext): Promise<void> {
    // Never in the tick of the packet.
    await Promise.resolve();
    if (this.#over) return context.reject();
    this.#requestedUser = /^[A-Za-z_][A-Za-z0-9._-]{0,31}$/.test(context.username) ? context.username : '';
    this.#requests += 1;
    if (this.#requests > authenticationLimits.requests || this.#failed >= authenticationLimits.failedCredentials) return this.#end(this.#last ?? deny('AUTH_METHOD_REFUSED'));
    if (context.method === 'none') return context.reject(methodsLeft);
    const outcome: CredentialOutcome = context.method === 'password' ? await judgePassword(context.password, this.#deps) : { outcome: 'refused', denial: deny('AUTH_METHOD_REFUSED') };
    if (this.#over) return;
    if (outcome.outcome === 'proven') return this.#accept(context, outcome);
    this.#refuse(context, outcome.denial);
  }

  #accept(context: AuthContext, { identity, credentialId }: Proven): void {
    this.#over = true;
    context.accept();
    this.#outcome.resolve({ outcome: 'authenticated', identity, credentialId, requestedUser: this.#requestedUser });
  }

  #refuse(context: AuthContext, denial: Denial): void {
    this.#failed += 1;
    this.#last = denial;
    this.#deps.log.info('credential refused', { target: this.#ask.target, method: context.method, code: denial.code });
    context.reject(methodsLeft);
  }

  #end(denial: Denial): void {
    if (this.#over) return;
    this.#over = true;
    this.#outcome.resolve({ outcome: 'failed', denial, requestedUser: this.#requestedUser });
    this.#connection.end();
  }

  #crash(error: unknown): void {
    this.#deps.log.error('authentication failed', { target: this.#ask.target, error: error instanceof Error ? (error.stack ?? error.message) : 'not an error' });
    this.#end(deny('INTERNAL'));
  }
}
