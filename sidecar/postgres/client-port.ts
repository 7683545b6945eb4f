import type { Duplex } from 'node:stream';

import { type Denial, deny, SallyportError } from '../core/errors.ts';
import { wordDenial } from './sqlstate.ts';
import type { StartupSession } from './startup.ts';
import { sendAndClose } from './wire/close-socket.ts';
import { encodeError, encodeNotice } from './wire/error-response.ts';
import { authenticationCleartextPassword, authenticationOk, backendKeyData, parameterStatus, readyForQuery } from './wire/frame-writer.ts';

/** The part of a startup that talking to the client needs. */
export type ClientPortStartup = Pick<StartupSession, 'reader' | 'user' | 'applicationName' | 'protocolMinor'> & { readonly socket: Duplex };

/** The token, in memory of its own: the caller wipes it after verification. */
export type TokenOutcome = { readonly outcome: 'token'; readonly token: Buffer } | { readonly outcome: 'denied'; readonly denial: Denial };

/** Our own cancel key for a session. */
export interface CancelKey {
  readonly pid: number;
  readonly key: Buffer;
}

/** A password message longer than this is not read, the length field included; the server's own limit is 65,535 for the text. */
const limitPasswordMessageBytes = 65_540;
const limitTokenBytes = 16_384;
/** Terminal canonical mode cuts psql's password prompt here without a word. */
const promptCutBytes = 4_095;

/**
 * The client's side of the login, from the StartupMessage to ReadyForQuery. State, because AuthenticationOk may be sent once and success is said last.
 *
 * Nothing is read but one password message; what the client sends ahead stays in the reader for the relay.
 */
export class PostgresClientPort {
  readonly #startup: ClientPortStartup;
  #authenticated = false;

  constructor(startup: ClientPortStartup) {
    this.#startup = startup;
  }

  /** Aborted when the client went away: ends an approval that nobody waits for any more. */
  get gone(): AbortSignal {
    return this.#startup.reader.gone;
  }

  /**
   * Asks for the password and takes it as the token: one message of at most 65,540 bytes, one NUL at its end, 1 to 16,384 bytes before it.
   *
   * @throws SallyportError `PROTOCOL_VIOLATION` for any other message (a second StartupMessage included), `FRAME_TOO_LONG`, `CONNECTION_LOST`, the signal's reason.
   */
  async askForToken(signal: AbortSignal): Promise<TokenOutcome> {
    const { reader } = this.#startup;
    this.#write(authenticationCleartextPassword());
    const header = await reader.readExactly(5, signal);
    // Every message is legal in one state only: here a StartupMessage (first byte 0), a Query or anything else ends it (CVE-2026-107350).
    if (header[0] !== 0x70) throw new SallyportError('PROTOCOL_VIOLATION');
    const length = header.readUInt32BE(1);
    if (length < 5) throw new SallyportError('PROTOCOL_VIOLATION', { length });
    if (length > limitPasswordMessageBytes) throw new SallyportError('FRAME_TOO_LONG', { length, limit: limitPasswordMessageBytes });
    const message = await reader.readSecret(length - 4, signal);
    const denial = reasonAgainst(message);
    if (denial === null) return { outcome: 'token', token: message.subarray(0, -1) };
    message.fill(0);
    return { outcome: 'denied', denial };
  }

  /** FATAL, then closes; resolves when the connection is closed, after at most one second. Safe to call when the client has gone. */
  async deny(denial: Denial): Promise<void> {
    this.#startup.reader.takeBuffered();
    await sendAndClose(this.#startup.socket, encodeError({ severity: 'FATAL', ...wordDenial(denial, 'login') }));
  }

  /** Before the first notice only (`access.mode: OnRequest`): libpq refuses a notice before AuthenticationOk. Otherwise `ready` says it. */
  authenticationOk(): void {
    if (this.#authenticated) return;
    this.#authenticated = true;
    this.#write(authenticationOk());
  }

  /** A NoticeResponse; says AuthenticationOk first when that was not said. */
  notice(notice: { readonly sqlstate: string; readonly message: string; readonly detail: string | null; readonly hint: string | null }): void {
    this.authenticationOk();
    this.#write(encodeNotice({ severity: 'NOTICE', ...notice }));
  }

  /**
   * The target stands: AuthenticationOk, ParameterStatus, BackendKeyData, ReadyForQuery in one write.
   *
   * @param parameters what the target reported; what would reveal the injected account is replaced.
   * @param cancelKey ours, never the target's; 4 bytes of key for protocol 3.0, 32 for 3.2.
   */
  ready(parameters: ReadonlyMap<string, string>, cancelKey: CancelKey): void {
    const statuses = [...clientParameters(parameters, this.#startup)].map(([name, value]) => parameterStatus(name, value));
    const greeting = [...statuses, backendKeyData(cancelKey.pid, cancelKey.key), readyForQuery('I')];
    this.#write(Buffer.concat(this.#authenticated ? greeting : [authenticationOk(), ...greeting]));
    this.#authenticated = true;
  }

  #write(bytes: Buffer): void {
    // A login writes a few kilobytes in all, so nothing waits for drain here.
    if (!this.#startup.socket.destroyed && this.#startup.socket.writable) this.#startup.socket.write(bytes);
  }
}

/** Parameters that would tell the injected account: the client gets its own values, told at login. */
export const ownParameters: ReadonlySet<string> = new Set(['is_superuser', 'session_authorization', 'application_name']);

/**
 * What the client is told of the target's parameters: the real values, except those that name the injected account.
 *
 * @param client the user and application name that the client gave.
 */
export function clientParameters(parameters: ReadonlyMap<string, string>, client: { readonly user: string; readonly applicationName: string | null }): ReadonlyMap<string, string> {
  const told = new Map(parameters);
  if (told.has('is_superuser')) told.set('is_superuser', 'off');
  if (told.has('session_authorization')) told.set('session_authorization', client.user);
  if (told.has('application_name')) told.set('application_name', client.applicationName ?? '');
  return told;
}

/**
 * Rewords a refusal of a token that was cut by the password prompt: exactly 4,095 bytes that do not verify.
 */
export function explainCutToken(denial: Denial, tokenBytes: number): Denial {
  const cutLooksLikeThis = denial.code === 'TOKEN_MALFORMED' || denial.code === 'TOKEN_SIGNATURE_INVALID';
  return tokenBytes === promptCutBytes && cutLooksLikeThis ? deny('TOKEN_TRUNCATED') : denial;
}

function reasonAgainst(message: Buffer): Denial | null {
  if (message.at(-1) !== 0) throw new SallyportError('PROTOCOL_VIOLATION');
  if (message.length === 1) return deny('TOKEN_MISSING');
  // Text behind a NUL would be read by us and not by others, or the other way round.
  if (message.indexOf(0) !== message.length - 1) return deny('TOKEN_MALFORMED');
  if (message.length - 1 > limitTokenBytes) return deny('TOKEN_TOO_LONG');
  return null;
}
