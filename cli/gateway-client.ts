import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { apiErrorSchema, type ApprovalRequestView, approvalRequestViewSchema } from '../contract/approval-api.ts';
import { z } from 'zod';

/** Streams and environment of a command; `process` in the program, buffers in tests. */
export interface CommandIo {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin?: NodeJS.ReadableStream & { readonly isTTY?: boolean };
}

/** Where the gateway is and how to get the caller's token. */
export interface GatewayOptions {
  readonly gateway?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly tokenCommand?: string | undefined;
  readonly caFile?: string | undefined;
}

/** The approvals API of a gateway, as one person. */
export interface GatewayClient {
  /** Those of the caller and those that the caller's groups decide on, newest first, texts cut. */
  requests(): Promise<readonly ApprovalRequestView[]>;
  request(name: string): Promise<ApprovalRequestView>;
  decide(name: string, body: { readonly decision: 'approve' | 'deny'; readonly reason: string; readonly digest: string }): Promise<ApprovalRequestView>;
  end(name: string, reason: string): Promise<ApprovalRequestView>;
}

/** What the user has to know about a failed call; `code` is one of docs/errors.md or a word of this program. */
export class GatewayError extends Error {
  readonly code: string;
  readonly hint: string;

  constructor(code: string, message: string, hint: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = 'GatewayError';
    this.code = code;
    this.hint = hint;
  }
}

/**
 * Connects to the HTTP API of a gateway. The token comes from `--token-file`, `--token-command` or SALLYPORT_TOKEN, in this order, and is sent over TLS or to this machine only.
 *
 * @throws GatewayError with a code and a hint, for every failure.
 */
export async function gatewayClient(options: GatewayOptions, env: CommandIo['env']): Promise<GatewayClient> {
  const base = parseGateway(options.gateway ?? env['SALLYPORT_GATEWAY'] ?? defaultGateway);
  const token = await readToken(options, env);
  const ca = options.caFile === undefined ? null : await readTextFile(options.caFile);
  const call = async <T>(method: string, path: string, schema: z.ZodType<T>, body?: unknown): Promise<T> => {
    const { status, text } = await send(base, method, path, token, ca, body);
    return readAnswer(status, text, schema);
  };
  const path = (name: string): string => `/v1/requests/${encodeURIComponent(name)}`;
  return {
    requests: async () => (await call('GET', '/v1/requests', z.object({ requests: z.array(approvalRequestViewSchema) }))).requests,
    request: (name) => call('GET', path(name), approvalRequestViewSchema),
    decide: (name, body) => call('POST', `${path(name)}/decision`, approvalRequestViewSchema, body),
    end: (name, reason) => call('DELETE', `${path(name)}?reason=${encodeURIComponent(reason)}`, approvalRequestViewSchema),
  };
}

/** Options that every command of the approvals takes, for `util.parseArgs`. */
export const gatewayFlags = {
  gateway: { type: 'string' }, 'token-file': { type: 'string' }, 'token-command': { type: 'string' }, 'ca-file': { type: 'string' }, help: { type: 'boolean', short: 'h' },
} as const;

/** Their lines in a command's help. */
export const gatewayHelp = `  --gateway URL          the gateway's HTTP address (default SALLYPORT_GATEWAY, else http://127.0.0.1:8087)
  --token-file FILE      read your OIDC token from FILE
  --token-command CMD    run CMD with the shell and take your token from its output; default: SALLYPORT_TOKEN
  --ca-file FILE         trust the certificate authorities in FILE (PEM) for an https gateway`;

/** Says what went wrong in two lines: the code and message, and what to do. */
export function reportFailure(io: CommandIo, error: unknown): number {
  if (!(error instanceof GatewayError)) throw error;
  io.stderr.write(`error: ${error.code}: ${error.message}\nhint: ${error.hint}\n`);
  return 1;
}

const defaultGateway = 'http://127.0.0.1:8087';
const timeoutMs = 15_000;
const maxAnswerBytes = 16 * 1024 * 1024;
const maxTokenBytes = 16 * 1024;

function parseGateway(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !['http:', 'https:'].includes(url.protocol) || url.username !== '' || url.search !== '') throw new GatewayError('USAGE', 'the gateway is not an http or https URL', 'give --gateway https://HOST:PORT');
  const isLocal = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  if (url.protocol === 'http:' && !isLocal) throw new GatewayError('TLS_REQUIRED', 'your token would travel in clear text', 'use an https gateway, or forward a local port to it');
  return url;
}

/** The token of `--token-file`, `--token-command` or SALLYPORT_TOKEN, in this order. @throws GatewayError TOKEN_MISSING, TOKEN_MALFORMED, USAGE. */
export async function readToken(options: GatewayOptions, env: CommandIo['env']): Promise<string> {
  const text = options.tokenFile !== undefined ? await readTextFile(options.tokenFile)
    : options.tokenCommand !== undefined ? await runTokenCommand(options.tokenCommand)
      : env['SALLYPORT_TOKEN'];
  const token = text?.trim() ?? '';
  if (token === '') throw new GatewayError('TOKEN_MISSING', 'no token was given', 'set SALLYPORT_TOKEN, or use --token-file or --token-command');
  if (token.length > maxTokenBytes || !/^[\x21-\x7e]+$/.test(token)) throw new GatewayError('TOKEN_MALFORMED', 'that is not a token', 'give one OIDC token of a configured issuer');
  return token;
}

async function readTextFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new GatewayError('USAGE', `${path} cannot be read`, 'check the path and its permissions', { cause });
  }
}

function runTokenCommand(command: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  execFile('/bin/sh', ['-c', command], { timeout: 60_000, maxBuffer: 64 * 1024 }, (cause, stdout) => {
    // The error of execFile repeats the output; what a token command prints stays here.
    if (cause === null) resolve(stdout);
    else reject(new GatewayError('TOKEN_MISSING', 'the token command failed', 'run it by itself to see why'));
  });
  return promise;
}

function send(base: URL, method: string, path: string, token: string, ca: string | null, body: unknown): Promise<{ readonly status: number; readonly text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ readonly status: number; readonly text: string }>();
  const payload = body === undefined ? null : JSON.stringify(body);
  const fail = (cause: unknown): void => reject(new GatewayError('GATEWAY_UNREACHABLE', `the gateway at ${base.origin} does not answer`, 'is it running, and is --gateway right? (sallyport serve prints its address)', { cause }));
  const options = {
    method, signal: AbortSignal.timeout(timeoutMs), ...(ca === null ? {} : { ca }),
    headers: { authorization: `Bearer ${token}`, accept: 'application/json', ...(payload === null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }) },
  };
  const outgoing = (base.protocol === 'https:' ? httpsRequest : httpRequest)(new URL(path, base), options, (incoming) => {
    const chunks: Buffer[] = [];
    let size = 0;
    incoming.on('data', (chunk: Buffer) => {
      size += chunk.byteLength;
      if (size > maxAnswerBytes) incoming.destroy(new Error('the answer is too long'));
      else chunks.push(chunk);
    });
    incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }));
    incoming.on('error', fail);
  });
  outgoing.on('error', fail);
  outgoing.end(payload ?? undefined);
  return promise;
}

function readAnswer<T>(status: number, text: string, schema: z.ZodType<T>): T {
  const value = parseJson(text);
  const answer = schema.safeParse(value);
  if (status === 200 && answer.success) return answer.data;
  const refusal = apiErrorSchema.safeParse(value);
  if (status === 200 || !refusal.success) throw new GatewayError('GATEWAY_ANSWER_INVALID', `the answer is not that of a gateway (status ${status})`, 'check --gateway, and that both programs have the same version');
  const { code, message, detail, hint } = refusal.data;
  throw new GatewayError(code, detail === undefined || detail === null ? message : `${message} (${detail})`, hint);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
