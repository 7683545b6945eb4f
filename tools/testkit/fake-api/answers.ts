import type { Json } from './json.ts';

/** An answer of the fake API server. */
export interface FakeAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/** A Status object with its HTTP status. */
export function failure(status: number, reason: string, message: string, details: Json = {}): FakeAnswer {
  const seconds = details['retryAfterSeconds'];
  return {
    status, body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', reason, message, code: status, details },
    ...(seconds === undefined ? {} : { headers: { 'retry-after': String(seconds) } }),
  };
}

/** Thrown inside the fake server, answered as it is. */
export class Refusal extends Error {
  readonly answer: FakeAnswer;

  constructor(status: number, reason: string, message: string, details: Json = {}) {
    super(message);
    this.answer = failure(status, reason, message, details);
  }
}
