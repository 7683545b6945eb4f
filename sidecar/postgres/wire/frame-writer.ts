import { SallyportError } from '../../core/errors.ts';

/** Status byte of ReadyForQuery. */
export type TransactionStatus = 'I' | 'T' | 'E';

/** One message of ours: the type letter, the length, the parts. */
export function frame(type: string, ...parts: readonly Buffer[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 4);
  return Buffer.concat([Buffer.from(type, 'latin1'), int32(length), ...parts]);
}

// Backend messages: what we say to the client.

/** AuthenticationOk. */
export function authenticationOk(): Buffer {
  return frame('R', int32(0));
}

/** AuthenticationCleartextPassword: asks for the token. */
export function authenticationCleartextPassword(): Buffer {
  return frame('R', int32(3));
}

/** ParameterStatus. */
export function parameterStatus(name: string, value: string): Buffer {
  return frame('S', cstring(name), cstring(value));
}

/** BackendKeyData; `key` has 4 bytes in protocol 3.0 and 32 in 3.2. */
export function backendKeyData(pid: number, key: Buffer): Buffer {
  return frame('K', int32(pid), key);
}

/** ReadyForQuery. */
export function readyForQuery(status: TransactionStatus): Buffer {
  return frame('Z', Buffer.from(status, 'latin1'));
}

/**
 * NegotiateProtocolVersion.
 *
 * @param minor the minor version that is in force from here on; never above what the client asked for, libpq refuses that.
 * @param unknownOptions the `_pq_.` names that we do not know.
 */
export function negotiateProtocolVersion(minor: number, unknownOptions: readonly string[]): Buffer {
  return frame('v', int32(protocolVersion(minor)), int32(unknownOptions.length), ...unknownOptions.map(cstring));
}

/** CommandComplete, e.g. `SELECT 1`. */
export function commandComplete(tag: string): Buffer {
  return frame('C', cstring(tag));
}

// Frontend messages: what we say to the target.

/** StartupMessage, built of length-prefixed pairs: a name with `?&@/%` in it is data, never syntax. */
export function startupMessage(minor: number, parameters: Iterable<readonly [string, string]>): Buffer {
  const pairs = [...parameters].flatMap(([name, value]) => [cstring(name), cstring(value)]);
  const body = Buffer.concat([int32(protocolVersion(minor)), ...pairs, Buffer.from([0])]);
  return Buffer.concat([int32(body.length + 4), body]);
}

/** SSLRequest. */
export function sslRequest(): Buffer {
  return Buffer.concat([int32(8), int32(requestCodes.ssl)]);
}

/** CancelRequest. */
export function cancelRequest(pid: number, key: Buffer): Buffer {
  return Buffer.concat([int32(12 + key.length), int32(requestCodes.cancel), int32(pid), key]);
}

/** PasswordMessage; the caller wipes the frame after it was written. */
export function passwordMessage(password: Buffer): Buffer {
  return frame('p', password, Buffer.from([0]));
}

/** SASLInitialResponse. */
export function saslInitialResponse(mechanism: string, response: string): Buffer {
  const bytes = Buffer.from(response, 'utf8');
  return frame('p', cstring(mechanism), int32(bytes.length), bytes);
}

/** SASLResponse. */
export function saslResponse(response: string): Buffer {
  return frame('p', Buffer.from(response, 'utf8'));
}

/** Query. */
export function query(text: string): Buffer {
  return frame('Q', cstring(text));
}

/** Parse, with the types of the parameters that are given; 0 means: the server decides. */
export function parse(name: string, text: string, typeOids: readonly number[] = []): Buffer {
  return frame('P', cstring(name), cstring(text), int16(typeOids.length), ...typeOids.map(int32));
}

/** Bind with text parameters and text results; null is NULL. */
export function bind(portal: string, statement: string, values: readonly (string | null)[] = []): Buffer {
  const fields = values.flatMap((value) => {
    if (value === null) return [int32(-1)];
    const bytes = Buffer.from(value, 'utf8');
    return [int32(bytes.length), bytes];
  });
  return frame('B', cstring(portal), cstring(statement), int16(0), int16(values.length), ...fields, int16(0));
}

/** Describe of a statement (`S`) or a portal (`P`). */
export function describe(kind: 'S' | 'P', name: string): Buffer {
  return frame('D', Buffer.from(kind, 'latin1'), cstring(name));
}

/** Close of a statement (`S`) or a portal (`P`). */
export function close(kind: 'S' | 'P', name: string): Buffer {
  return frame('C', Buffer.from(kind, 'latin1'), cstring(name));
}

/** Execute; 0 rows means all. */
export function execute(portal: string, maxRows = 0): Buffer {
  return frame('E', cstring(portal), int32(maxRows));
}

/** Sync. */
export function sync(): Buffer {
  return frame('S');
}

/** Flush. */
export function flush(): Buffer {
  return frame('H');
}

/** Terminate. */
export function terminate(): Buffer {
  return frame('X');
}

/** Codes of the startup phase that stand where a protocol version would. @see pqcomm.h */
export const requestCodes = { cancel: 80_877_102, ssl: 80_877_103, gssEncryption: 80_877_104 } as const;

/** 3.`minor` as it is written on the wire. */
export function protocolVersion(minor: number): number {
  return 3 * 65_536 + minor;
}

function cstring(text: string): Buffer {
  if (text.includes('\0')) throw new SallyportError('INTERNAL', { reason: 'NUL in a message of our own' });
  return Buffer.from(`${text}\0`, 'utf8');
}

function int16(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(value | 0);
  return bytes;
}
