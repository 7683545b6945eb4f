import type { RuntimeClock } from '../../../runtime/clock.ts';
import { type FakeAnswer, failure, Refusal } from './answers.ts';
import type { Call } from './calls.ts';
import type { Faults } from './faults.ts';
import { type FakeWatch, openWatch, type Pages, read, type WatchSink } from './reads.ts';
import { rightsFor } from './rights.ts';
import { type Route, routeOf } from './route.ts';
import type { Store } from './store.ts';
import { carryOut, type WriteContext } from './writes.ts';

/** One request, whichever way it came. */
export interface FakeRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly accept: string;
  readonly contentType: string;
  readonly body: unknown;
  readonly user: string;
  readonly userAgent: string;
}

/** What comes of a request. */
export type Outcome =
  | { readonly outcome: 'answer'; readonly answer: FakeAnswer }
  | { readonly outcome: 'reset' }
  | { readonly outcome: 'hang' }
  | { readonly outcome: 'watch'; readonly start: (sink: WatchSink) => FakeWatch | null };

/** What the fake server is made of. */
export interface Core {
  readonly context: WriteContext;
  readonly store: Store;
  readonly pages: Pages;
  readonly faults: Faults;
  readonly clock: RuntimeClock;
  readonly calls: Call[];
  readonly watches: Set<FakeWatch>;
  readonly maxPage: number;
  readonly allows: (call: Call) => boolean;
}

/** Answers one request; never throws. */
export async function handle(core: Core, request: FakeRequest): Promise<Outcome> {
  if (['/healthz', '/readyz', '/livez'].includes(request.path)) return answered({ status: 200, body: 'ok' });
  if (request.path === '/version') return answered({ status: 200, body: { major: '1', minor: '36', gitVersion: 'v1.36.1-fake' } });
  const route = routeOf(request.path);
  if (route === null) return answered(failure(404, 'NotFound', 'the server could not find the requested resource'));
  const call = callOf(request, route);
  core.calls.push(call);
  const fault = core.faults.take(call);
  switch (fault?.kind) {
    case 'reset': return { outcome: 'reset' };
    case 'hang': return { outcome: 'hang' };
    case 'status': return note(call, failure(fault.status, fault.reason ?? 'Injected', `injected ${fault.status}`, fault.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: fault.retryAfterSeconds }));
    case 'text': return note(call, { status: fault.status, body: fault.text });
    case 'slow': await new Promise<void>((resolve) => core.clock.after(fault.delayMs, resolve)); break;
    case 'stale-list':
    case 'reset-after':
    case undefined: break;
    default: fault satisfies never;
  }
  const refused = rightsFor(call, route, core.store.get(route.kind, route.namespace, route.name ?? '')).find((right) => !core.allows(right));
  if (refused !== undefined) return note(call, failure(403, 'Forbidden', `${call.user} cannot ${refused.verb} resource "${refused.resource}"`));
  try {
    if (call.verb === 'watch') {
      call.status = 200;
      return { outcome: 'watch', start: (sink) => start(core, request, route, sink) };
    }
    const answer = request.method === 'GET' ? read(core.store, core.pages, route, request.query, request.accept, core.maxPage) : write(core, request, route);
    if (fault?.kind === 'reset-after') return { outcome: 'reset' };
    return note(call, fault?.kind === 'stale-list' ? stale(answer) : answer);
  } catch (error) {
    if (error instanceof Refusal) return note(call, error.answer);
    throw error;
  }
}

function write(core: Core, request: FakeRequest, route: Route): FakeAnswer {
  const { method } = request;
  if (method !== 'POST' && method !== 'PUT' && method !== 'PATCH' && method !== 'DELETE') throw new Refusal(405, 'MethodNotAllowed', method);
  if ((method === 'POST') !== (route.name === null)) throw new Refusal(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource');
  const { status, object } = carryOut(core.context, { method, route, query: request.query, contentType: request.contentType, body: request.body, user: request.user, userAgent: request.userAgent });
  return { status, body: request.accept.includes('as=PartialObjectMetadata') ? { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object['metadata'] } : object };
}

function start(core: Core, request: FakeRequest, route: Route, sink: WatchSink): FakeWatch | null {
  let watch: FakeWatch | null = null;
  watch = openWatch({
    store: core.store, clock: core.clock, route, query: request.query, accept: request.accept, user: request.user,
    sink: {
      line: (value) => sink.line(value),
      end(how) {
        if (watch !== null) core.watches.delete(watch);
        sink.end(how);
      },
    },
  });
  if (watch !== null) core.watches.add(watch);
  return watch;
}

/** As a server that lags behind answers: without the newest object, at an older revision. */
function stale(answer: FakeAnswer): FakeAnswer {
  const { items, metadata, ...rest } = answer.body as { items: readonly { metadata: { resourceVersion: string } }[]; metadata: object };
  const newest = Math.max(0, ...items.map((item) => Number(item.metadata.resourceVersion)));
  return { ...answer, body: { ...rest, metadata: { ...metadata, resourceVersion: String(newest - 1) }, items: items.filter((item) => Number(item.metadata.resourceVersion) !== newest) } };
}

function callOf(request: FakeRequest, route: Route): Call {
  const isWatch = request.query['watch'] === 'true' || request.query['watch'] === '1';
  const verb = request.method === 'GET' ? (isWatch ? 'watch' : route.name === null ? 'list' : 'get') : verbs[request.method] ?? 'get';
  return {
    user: request.user, verb, group: route.kind.group, resource: route.kind.plural, namespace: route.namespace, name: route.name, subresource: route.subresource, query: request.query, contentType: request.contentType,
    body: request.body, metadataOnly: request.accept.includes('as=PartialObjectMetadata'), line: `${request.method} ${request.path}`, status: 0,
  };
}

const verbs: Readonly<Record<string, Call['verb']>> = { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' };

function note(call: Call, answer: FakeAnswer): Outcome {
  call.status = answer.status;
  return answered(answer);
}

function answered(answer: FakeAnswer): Outcome {
  return { outcome: 'answer', answer };
}
