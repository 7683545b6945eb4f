import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

import { SallyportError } from '../core/errors.ts';
import { prepareSaslPassword } from './saslprep.ts';

/** Which mechanism is used, and what it is bound to. */
export interface ScramChoice {
  readonly mechanism: 'SCRAM-SHA-256' | 'SCRAM-SHA-256-PLUS';
  /** `p=tls-server-end-point,,` with -PLUS; `y,,` = we could have, the server did not offer; `n,,` = we cannot. */
  readonly gs2Header: string;
  /** Hash of the server's certificate with -PLUS, else empty. */
  readonly bindingData: Buffer;
}

/** The first message of the client and what the next step needs. */
export interface ScramStart {
  readonly choice: ScramChoice;
  readonly nonce: string;
  readonly clientFirst: string;
}

/** Largest server nonce (CVE-2026-6665) and salt, in characters. */
const limitNonce = 1_024;
const limitSalt = 1_024;
/** PostgreSQL's default is 4,096; more than this is a way to burn our processor. */
const limitIterations = 1_000_000;
const derive = promisify(pbkdf2);

/** The client's first message. The user name is empty: PostgreSQL takes the one of the StartupMessage. */
export function startScram(choice: ScramChoice, nonce: string): ScramStart {
  return { choice, nonce, clientFirst: `${choice.gs2Header}n=,r=${nonce}` };
}

/**
 * Answers the server's first message.
 *
 * PBKDF2 runs off the event loop. The server's nonce must begin with ours and be longer, printable and at most 1 KiB; the salt not empty; 1 to 1,000,000 iterations.
 *
 * @returns our final message, and the signature that a server which knows the password will send.
 * @throws SallyportError `TARGET_LOGIN_FAILED` with the reason.
 * @see RFC 5802, RFC 7677
 */
export async function answerScram(start: ScramStart, serverFirst: Buffer, password: Buffer): Promise<{ readonly clientFinal: string; readonly serverSignature: Buffer }> {
  const { nonce, salt, iterations } = readServerFirst(serverFirst, start.nonce);
  const prepared = prepareSaslPassword(password);
  const saltedPassword = await derive(prepared, salt, iterations, 32, 'sha256');
  if (prepared !== password) prepared.fill(0);
  const clientKey = hmac(saltedPassword, 'Client Key');
  const channel = Buffer.concat([Buffer.from(start.choice.gs2Header, 'latin1'), start.choice.bindingData]).toString('base64');
  const withoutProof = `c=${channel},r=${nonce}`;
  const authMessage = `n=,r=${start.nonce},${serverFirst.toString('latin1')},${withoutProof}`;
  const clientSignature = hmac(createHash('sha256').update(clientKey).digest(), authMessage);
  const proof = Buffer.from(clientKey.map((byte, i) => byte ^ (clientSignature[i] ?? 0)));
  const serverSignature = hmac(hmac(saltedPassword, 'Server Key'), authMessage);
  for (const secret of [saltedPassword, clientKey]) secret.fill(0);
  return { clientFinal: `${withoutProof},p=${proof.toString('base64')}`, serverSignature };
}

/**
 * Checks the server's final message: only a server that knows the password can sign.
 *
 * @throws SallyportError `TARGET_LOGIN_FAILED`.
 */
export function checkServerFinal(serverFinal: Buffer, expected: Buffer): void {
  const value = /^v=([A-Za-z0-9+/]{43}=)$/.exec(serverFinal.toString('latin1'))?.[1];
  const signature = Buffer.from(value ?? '', 'base64');
  if (signature.length !== expected.length || !timingSafeEqual(signature, expected)) throw refused('the signature of the server is wrong');
}

function readServerFirst(message: Buffer, ownNonce: string): { readonly nonce: string; readonly salt: Buffer; readonly iterations: number } {
  if (message.length > limitNonce + limitSalt + 64) throw refused('the first SCRAM message of the server is too long');
  const fields = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9][0-9]{0,9})$/.exec(message.toString('latin1'));
  if (!fields) throw refused('the first SCRAM message of the server is not well formed');
  const [, nonce = '', salt64 = '', digits = ''] = fields;
  if (nonce.length > limitNonce || nonce.length <= ownNonce.length || !nonce.startsWith(ownNonce)) throw refused('the nonce of the server is not acceptable');
  const salt = Buffer.from(salt64, 'base64');
  if (salt.length === 0 || salt64.length > limitSalt) throw refused('the salt of the server is not acceptable');
  const iterations = Number(digits);
  if (iterations > limitIterations) throw refused('the server asks for too many iterations');
  return { nonce, salt, iterations };
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'latin1').digest();
}

function refused(reason: string): SallyportError {
  return new SallyportError('TARGET_LOGIN_FAILED', { reason });
}
