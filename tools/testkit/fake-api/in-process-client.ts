import { type KubeClient, KubeError, type KubeRequest, type KubeStreamRequest } from '../../../runtime/kube/kube-client.ts';
import { errorOfAnswer } from '../../../runtime/kube/kube-errors.ts';
import { type Core, handle, type Outcome } from './core.ts';
import type { FakeWatch } from './reads.ts';

/** A client without sockets: what it sends and gets are copies through JSON; its timeouts run on the server's clock. */
export function inProcessClient(core: Core, user: string): KubeClient {
  const closed = new AbortController();
  return {
    async request(request) {
      const outcome = await send(core, user, request, closed.signal);
      if (outcome.outcome === 'hang') return silence(core, request, closed.signal);
      if (outcome.outcome !== 'answer') throw unreachable();
      const text = typeof outcome.answer.body === 'string' ? outcome.answer.body : JSON.stringify(outcome.answer.body);
      if (outcome.answer.status >= 300) throw errorOfAnswer(outcome.answer.status, outcome.answer.headers ?? {}, Buffer.from(text));
      return JSON.parse(text) as unknown;
    },
    stream: (request) => stream(core, user, request, closed.signal),
    async close() {
      closed.abort(new Error('closed'));
    },
  };
}

async function send(core: Core, user: string, request: KubeRequest, closed: AbortSignal): Promise<Outcome> {
  if (request.signal?.aborted === true || closed.aborted) throw aborted();
  // A real request is never answered in the same turn.
  await Promise.resolve();
  request.beforeSend?.();
  const body = request.body === undefined ? undefined : (JSON.parse(JSON.stringify(request.body)) as unknown);
  return handle(core, { method: request.method, path: request.path, query: request.query ?? {}, accept: request.accept ?? 'application/json', contentType: request.contentType ?? 'application/json', body, user, userAgent: user });
}

/** Waits for the caller to lose patience. */
function silence(core: Core, request: KubeRequest & { readonly idleMs?: number }, closed: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const cancel = core.clock.after(Math.min(request.timeoutMs ?? 15_000, request.idleMs ?? 15_000), () => end(timedOut()));
    const onAbort = (): void => end(aborted());
    const end = (error: KubeError): void => {
      cancel();
      for (const signal of [request.signal, closed]) signal?.removeEventListener('abort', onAbort);
      reject(error);
    };
    for (const signal of [request.signal, closed]) {
      signal?.addEventListener('abort', onAbort, { once: true });
      if (signal?.aborted === true) onAbort();
    }
  });
}

async function* stream(core: Core, user: string, request: KubeStreamRequest, closed: AbortSignal): AsyncGenerator<unknown> {
  const outcome = await send(core, user, request, closed);
  if (outcome.outcome === 'hang') await silence(core, request, closed);
  if (outcome.outcome === 'reset') throw unreachable();
  if (outcome.outcome === 'answer') throw errorOfAnswer(outcome.answer.status, outcome.answer.headers ?? {}, Buffer.from(typeof outcome.answer.body === 'string' ? outcome.answer.body : JSON.stringify(outcome.answer.body)));
  if (outcome.outcome !== 'watch') return;
  const lines: string[] = [];
  let ended: 'end' | 'reset' | 'idle' | 'abort' | null = null;
  let wake = (): void => {};
  const finish = (how: 'end' | 'reset' | 'idle' | 'abort'): void => {
    ended ??= how;
    wake();
  };
  let watch: FakeWatch | null = null;
  const onAbort = (): void => finish('abort');
  for (const signal of [request.signal, closed]) signal?.addEventListener('abort', onAbort, { once: true });
  if (request.signal?.aborted === true) onAbort();
  try {
    request.onOpen?.();
    watch = outcome.start({
      line(value) {
        lines.push(JSON.stringify(value));
        wake();
      },
      end: finish,
    });
    for (;;) {
      const line = lines.shift();
      if (line !== undefined && ended !== 'abort') yield JSON.parse(line) as unknown;
      else if (ended === null) {
        const cancel = core.clock.after(request.idleMs, () => finish('idle'));
        await new Promise<void>((resolve) => (wake = resolve));
        cancel();
      } else break;
    }
    const how = ended as string | null;
    if (how === 'reset') throw unreachable();
    if (how === 'idle') throw timedOut();
    if (how === 'abort') throw aborted();
  } finally {
    for (const signal of [request.signal, closed]) signal?.removeEventListener('abort', onAbort);
    watch?.close('end');
  }
}

function unreachable(): KubeError {
  return new KubeError({ status: 0, reason: 'Unreachable', message: 'no answer of the API server (ECONNRESET)' });
}

function timedOut(): KubeError {
  return new KubeError({ status: 0, reason: 'Timeout', message: 'the API server did not answer in time' });
}

function aborted(): KubeError {
  return new KubeError({ status: 0, reason: 'Aborted', message: 'the request was given up' });
}
