import { createHash, randomBytes } from 'node:crypto';

import type { PostgresTarget } from '../../contract/proxy-config.ts';
import { SallyportError } from '../core/errors.ts';
import type { SecretSource } from '../core/ports.ts';
import { asTargetFailure, type Dialed } from './dial.ts';
import { answerScram, checkServerFinal, type ScramChoice, startScram } from './scram.ts';
import { sqlstateOf } from './wire/error-response.ts';
import { passwordMessage, saslInitialResponse, saslResponse, startupMessage } from './wire/frame-writer.ts';

/** What a target said between our StartupMessage and its first ReadyForQuery. */
export interface LoggedIn {
  /** ParameterStatus, raw. */
  readonly parameters: ReadonlyMap<string, string>;
  /** The target's own cancel key: never shown to a client. Null when the server sent none. */
  readonly cancelKey: { readonly pid: number; readonly key: Buffer } | null;
  /** What came behind ReadyForQuery. */
  readonly leftover: Buffer;
  readonly role: string;
}

/**
 * Logs in to a target with the credentials of its Secret (`username`, `password`), and reads up to ReadyForQuery.
 *
 * SCRAM-SHA-256-PLUS when the server offers it over TLS, else SCRAM-SHA-256; md5 and cleartext only over verified TLS; everything else is refused.
 * Nothing is believed of a server in SCRAM before its signature was checked. At most 1,000 messages and 1 MiB, each below its cap.
 *
 * @param parameters of the StartupMessage, `user` and `database` excluded.
 * @throws SallyportError `TARGET_LOGIN_FAILED`, `TARGET_UNREACHABLE`, `TARGET_PROTOCOL_VIOLATION`, `SECRET_UNAVAILABLE`; detail may hold `sqlstate` and `reason`, never a text of the server.
 */
export async function login(
  dialed: Dialed, target: PostgresTarget['postgres'], database: string, parameters: ReadonlyMap<string, string>, deps: { readonly secrets: SecretSource; readonly signal: AbortSignal },
): Promise<LoggedIn> {
  const role = (await readCredential(deps.secrets, target.credentialsSecret, 'username')).toString('utf8');
  const inbox = new Inbox(dialed, deps.signal);
  dialed.socket.write(startupMessage(0, [['user', role], ['database', database], ...parameters]));
  await authenticate(inbox, dialed, target, role, deps.secrets);
  const state = await readUntilReady(inbox);
  return { ...state, role, leftover: dialed.reader.takeBuffered() };
}

async function authenticate(inbox: Inbox, dialed: Dialed, target: PostgresTarget['postgres'], role: string, secrets: SecretSource): Promise<void> {
  const { kind, body } = await inbox.authentication();
  const bindingRequired = target.tls.channelBinding === 'Require';
  if (bindingRequired && kind !== requests.sasl) throw failed('channel binding is required, the target does not offer it');
  if (kind === requests.ok) return;
  if (kind !== requests.sasl && kind !== requests.md5 && kind !== requests.cleartext) throw failed('the target asks for an authentication that is not supported');
  // Whoever answers in the target's place would get the password, or a hash that can be tried offline.
  if (kind !== requests.sasl && dialed.tls?.verified !== true) throw failed('the target asks for the password without verified TLS');
  const password = await readCredential(secrets, target.credentialsSecret, 'password');
  try {
    if (kind === requests.sasl) return await authenticateWithScram(inbox, dialed, body, bindingRequired, password);
    if (kind === requests.md5 && body.length !== 4) throw violated('md5 request');
    const message = passwordMessage(kind === requests.md5 ? md5Answer(password, role, body) : password);
    dialed.socket.write(message, () => message.fill(0));
  } finally {
    password.fill(0);
  }
  if ((await inbox.authentication()).kind !== requests.ok) throw failed('the target asks for a second authentication');
}

async function authenticateWithScram(inbox: Inbox, dialed: Dialed, offer: Buffer, bindingRequired: boolean, password: Buffer): Promise<void> {
  const start = startScram(chooseScram(offer, dialed, bindingRequired), randomBytes(18).toString('base64'));
  dialed.socket.write(saslInitialResponse(start.choice.mechanism, start.clientFirst));
  const first = await inbox.authentication();
  if (first.kind !== requests.saslContinue) throw failed('the target broke off SCRAM');
  const { clientFinal, serverSignature } = await answerScram(start, first.body, password);
  dialed.socket.write(saslResponse(clientFinal));
  const last = await inbox.authentication();
  if (last.kind !== requests.saslFinal) throw failed('the target did not sign its login');
  checkServerFinal(last.body, serverSignature);
  if ((await inbox.authentication()).kind !== requests.ok) throw failed('the target asks for a second authentication');
}

/**
 * The mechanism, and the header that says what we could have done: a middleman who hides -PLUS from us is found out by the `y`.
 *
 * @throws SallyportError `TARGET_LOGIN_FAILED` when binding is required and impossible: never a silent fallback (GHSA-j92g-9f8w-j867).
 */
export function chooseScram(offer: Buffer, dialed: Pick<Dialed, 'tls'>, bindingRequired: boolean): ScramChoice {
  const mechanisms = offer.toString('latin1').split('\0');
  const binding = dialed.tls?.binding ?? null;
  if (binding !== null && mechanisms.includes('SCRAM-SHA-256-PLUS')) return { mechanism: 'SCRAM-SHA-256-PLUS', gs2Header: 'p=tls-server-end-point,,', bindingData: binding };
  if (bindingRequired) throw failed('channel binding is required and not possible');
  if (!mechanisms.includes('SCRAM-SHA-256')) throw failed('the target offers no SCRAM mechanism that is supported');
  return { mechanism: 'SCRAM-SHA-256', gs2Header: binding !== null ? 'y,,' : 'n,,', bindingData: Buffer.alloc(0) };
}

async function readUntilReady(inbox: Inbox): Promise<Pick<LoggedIn, 'parameters' | 'cancelKey'>> {
  const parameters = new Map<string, string>();
  let cancelKey: LoggedIn['cancelKey'] = null;
  for (;;) {
    const { type, body } = await inbox.next();
    if (type === 'Z') {
      if (body.toString('latin1') !== 'I') throw violated('ReadyForQuery');
      return { parameters, cancelKey };
    } else if (type === 'S') {
      const [name = '', value = '', rest = '', ...more] = body.toString('utf8').split('\0');
      if (name === '' || rest !== '' || more.length > 0 || body.at(-1) !== 0) throw violated('ParameterStatus');
      parameters.set(name, value);
    } else if (type === 'K') {
      // One backend has one key (GHSA-qw79-rh95-853p).
      if (cancelKey !== null) throw violated('BackendKeyData');
      cancelKey = { pid: body.readUInt32BE(0), key: Buffer.from(body.subarray(4)) };
    } else throw violated(type);
  }
}

/** Codes of Authentication messages. */
const requests = { ok: 0, cleartext: 3, md5: 5, sasl: 10, saslContinue: 11, saslFinal: 12 } as const;

/** Smallest and largest length field of each message that a server may send before its first ReadyForQuery. */
const lengthLimits: Readonly<Record<string, readonly [number, number]>> = {
  R: [8, 8_192], K: [12, 264], v: [12, 30_000], S: [6, 30_000], E: [5, 30_000], N: [5, 30_000], Z: [5, 5],
};
const limitMessages = 1_000;
const limitBytes = 1_048_576;

/** Reads the target's messages during the login, with a budget. State, because it counts. */
class Inbox {
  readonly #dialed: Dialed;
  readonly #signal: AbortSignal;
  #messages = 0;
  #bytes = 0;

  constructor(dialed: Dialed, signal: AbortSignal) {
    this.#dialed = dialed;
    this.#signal = signal;
  }

  /** The next Authentication message. */
  async authentication(): Promise<{ readonly kind: number; readonly body: Buffer }> {
    const { type, body } = await this.next();
    if (type !== 'R') throw violated(type);
    return { kind: body.readUInt32BE(0), body: body.subarray(4) };
  }

  /** The next message that is not a notice; an error ends the login. NegotiateProtocolVersion cannot answer 3.0. */
  async next(): Promise<{ readonly type: string; readonly body: Buffer }> {
    for (;;) {
      const message = await this.#read();
      if (message.type === 'E') throw refusedBy(sqlstateOf(message.body));
      if (message.type !== 'N') return message;
    }
  }

  async #read(): Promise<{ readonly type: string; readonly body: Buffer }> {
    const { reader } = this.#dialed;
    try {
      const header = await reader.readExactly(5, this.#signal);
      const type = String.fromCharCode(header[0] ?? 0);
      const length = header.readUInt32BE(1);
      const [least, most] = lengthLimits[type] ?? [1, 0];
      this.#bytes += length + 1;
      if (length < least || length > most || ++this.#messages > limitMessages || this.#bytes > limitBytes) throw violated(/^[A-Za-z0-9]$/.test(type) ? type : '?');
      return { type, body: await reader.readExactly(length - 4, this.#signal) };
    } catch (error) {
      throw asTargetFailure(error);
    }
  }
}

async function readCredential(secrets: SecretSource, name: string, key: string): Promise<Buffer> {
  // A copy of our own: it is wiped after use, the source may keep its.
  const value = Buffer.from(await secrets.read(name, key));
  // Secrets made from a file or with echo end with a line break that is no part of them.
  const end = value.at(-1) === 0x0a ? (value.at(-2) === 0x0d ? -2 : -1) : value.length;
  const credential = value.subarray(0, end);
  if (credential.length === 0 || credential.includes(0)) throw new SallyportError('SECRET_UNAVAILABLE', { key, reason: 'empty or not a text' });
  return credential;
}

function md5Answer(password: Buffer, role: string, salt: Buffer): Buffer {
  const inner = createHash('md5').update(password).update(role, 'utf8').digest('hex');
  return Buffer.from(`md5${createHash('md5').update(inner, 'latin1').update(salt).digest('hex')}`, 'latin1');
}

/** Busy or starting is not the same as "wrong password": the user may try again. */
function refusedBy(sqlstate: string): SallyportError {
  return new SallyportError(sqlstate === '57P03' || sqlstate === '53300' ? 'TARGET_UNREACHABLE' : 'TARGET_LOGIN_FAILED', { sqlstate });
}

function failed(reason: string): SallyportError {
  return new SallyportError('TARGET_LOGIN_FAILED', { reason });
}

function violated(message: string): SallyportError {
  return new SallyportError('TARGET_PROTOCOL_VIOLATION', { message });
}
