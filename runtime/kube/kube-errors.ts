import { KubeError, type KubeRequest } from './kube-client.ts';

/** What an answer that is not 2xx means: the Status object's words, or the HTTP status's where a text came (from a load balancer, say). */
export function errorOfAnswer(status: number, headers: Readonly<Record<string, string | string[] | undefined>>, body: Buffer): KubeError {
  const object = readStatus(body.toString('utf8'));
  const reason = object?.reason ?? reasons[status] ?? (status >= 500 ? 'InternalError' : 'Unknown');
  const retryAfter = Number(headers['retry-after'] ?? object?.retryAfterSeconds ?? Number.NaN);
  return new KubeError({
    status, reason, message: (object?.message ?? `the API server answered ${status}`).slice(0, maxMessageLength),
    retryAfterMs: Number.isFinite(retryAfter) && retryAfter >= 0 ? Math.min(retryAfter, maxRetryAfterSeconds) * 1000 : null,
  });
}

/** What a watch's ERROR event means; its object is a Status. */
export function errorOfEvent(object: unknown): KubeError {
  const code = typeof object === 'object' && object !== null && 'code' in object && typeof object.code === 'number' ? object.code : 500;
  return errorOfAnswer(code, {}, Buffer.from(JSON.stringify(object ?? null)));
}

/** Any error of a request as a KubeError; status 0 where no answer came: `Timeout`, `Aborted`, `Unreachable`. */
export function errorOfTransport(error: unknown, request: Pick<KubeRequest, 'method' | 'signal'>, isOver: boolean): KubeError {
  if (error instanceof KubeError) return error;
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (request.signal?.aborted === true) return new KubeError({ status: 0, reason: 'Aborted', message: 'the request was given up', cause: request.signal.reason });
  if (isOver || code.endsWith('TIMEOUT')) return new KubeError({ status: 0, reason: 'Timeout', message: 'the API server did not answer in time', cause: error });
  return new KubeError({ status: 0, reason: 'Unreachable', message: `no answer of the API server${code === '' ? '' : ` (${code})`}`, cause: error });
}

const reasons: Readonly<Record<number, string>> = {
  400: 'BadRequest', 401: 'Unauthorized', 403: 'Forbidden', 404: 'NotFound', 405: 'MethodNotAllowed', 406: 'NotAcceptable', 409: 'Conflict', 410: 'Expired', 413: 'RequestEntityTooLarge',
  415: 'UnsupportedMediaType', 422: 'Invalid', 429: 'TooManyRequests', 503: 'ServiceUnavailable', 504: 'Timeout',
};
const maxMessageLength = 2_048;
const maxRetryAfterSeconds = 300;

interface StatusObject {
  readonly reason?: string;
  readonly message?: string;
  readonly retryAfterSeconds?: number;
}

function readStatus(text: string): StatusObject | null {
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value !== 'object' || value === null || !('kind' in value) || value.kind !== 'Status') return null;
    const { reason, message, details } = value as { reason?: unknown; message?: unknown; details?: { retryAfterSeconds?: unknown } | null };
    return {
      ...(typeof reason === 'string' && reason !== '' ? { reason } : {}), ...(typeof message === 'string' ? { message } : {}),
      ...(typeof details?.retryAfterSeconds === 'number' ? { retryAfterSeconds: details.retryAfterSeconds } : {}),
    };
  } catch {
    return null;
  }
}
