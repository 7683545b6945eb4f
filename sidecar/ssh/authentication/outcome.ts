import type { Denial } from '../../core/errors.ts';
import type { Identity } from '../../core/identity/identity.ts';
import type { SshUserCa } from '../../core/identity/ssh-user-ca.ts';
import type { Clock, ConfigSource, DeviceLogin, KeySource, Logger } from '../../core/ports.ts';
import type { TicketDesk } from './tickets.ts';

/** What authenticating SSH clients takes. */
export interface AuthenticationDeps {
  readonly config: ConfigSource;
  readonly keys: KeySource;
  readonly clock: Clock;
  readonly log: Logger;
  readonly tickets: TicketDesk;
  /** Null: no certificate counts and none is issued. */
  readonly userCa: SshUserCa | null;
  /** Null: nobody is sent to a browser. */
  readonly deviceLogin: DeviceLogin | null;
  /** Shorter times, for tests. */
  readonly timing?: Partial<AuthenticationTiming>;
}

/** Times of ssh.md 3.3 and 3.6, ms. */
export interface AuthenticationTiming {
  /** From the first line to the login. */
  readonly graceMs: number;
  /** The same once a device login was started. */
  readonly deviceGraceMs: number;
  /** When a device login is shown again, in a prompt, for clients that hide everything else. */
  readonly promptAfterMs: number;
}

/** The times that hold unless a test says otherwise. */
export const defaultTiming: AuthenticationTiming = { graceMs: 120_000, deviceGraceMs: 180_000, promptAfterMs: 30_000 };

/** Where the client came to, and from where. The account comes with its first request, as the user name. */
export interface AuthenticationAsk {
  readonly target: string;
  readonly remote: { readonly ip: string; readonly port: number };
}

/** A credential that proved an identity; `credentialId` names it in records (key id and serial of a certificate, id of a ticket), null for a token. */
export interface Proven {
  readonly identity: Identity;
  readonly credentialId: string | null;
}

/** What one credential came to. `reason` is for the log. */
export type CredentialOutcome = ({ readonly outcome: 'proven' } & Proven) | { readonly outcome: 'refused'; readonly denial: Denial; readonly reason?: string };

/** Whether a user name has the form of an account; whether the Target has it and a policy grants it is asked later. */
export function isAccountName(text: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9._-]{0,31}$/.test(text);
}
