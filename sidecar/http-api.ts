import { decisionBodySchema } from '../contract/approval-api.ts';
import { errorAnswer, type HttpAnswer, type HttpLimits, type HttpRequest, type HttpServer, type Route, serveHttp } from '../runtime/http.ts';
import type { RequestDesk } from './adapters/directory/access-requests.ts';
import { type Denial, deny, type ErrorCode, SallyportError } from './core/errors.ts';
import { type Identity, subjectKey } from './core/identity/identity.ts';
import type { Clock, Logger } from './core/ports.ts';

/** A live session as the API shows it. */
export interface SessionSummary {
  readonly sessionId: string;
  readonly subject: string;
  readonly username: string;
  readonly target: string;
  readonly database: string;
  readonly startedAtMs: number;
  /** Groups that approve on the policies of this session: their members see it too. */
  readonly approverGroups: readonly string[];
}

/** What the API needs of the session registry. */
export interface SessionsView {
  list(): readonly SessionSummary[];
}

export interface HttpApiOptions {
  /** Loopback unless `tls` is given: elsewhere only the probes and metrics answer, because a token may not travel in clear text. */
  readonly host: string;
  readonly port: number;
  readonly tls: { readonly certificate: string | Buffer; readonly key: string | Buffer } | null;
  readonly desk: RequestDesk;
  /** Verifies a token as for a login. */
  readonly verify: (token: string) => Promise<{ readonly outcome: 'verified'; readonly identity: Identity } | { readonly outcome: 'denied'; readonly denial: Denial }>;
  /** Null = ready, else why not (a code or a short constant text). */
  readonly notReady: () => string | null;
  readonly metrics: { readonly contentType: string; render(): Promise<string> };
  readonly sessions: SessionsView | null;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits?: Partial<HttpLimits>;
}

/** A route and who may use it. A route that is not in the table does not exist. */
export interface ApiRoute extends Omit<Route, 'answer'> {
  /** `open`: anybody who reaches the port; `token`: whoever a configured issuer vouches for, and then only what is theirs. */
  readonly access: 'open' | 'token';
  readonly answer: (request: HttpRequest, caller: Identity | null) => Promise<HttpAnswer>;
}

/**
 * Serves probes, metrics and the approvals of directory mode.
 *
 * @throws the listen error.
 */
export async function serveHttpApi(options: HttpApiOptions): Promise<HttpServer> {
  const attempts = new FailedLogins(options.clock);
  const routes = apiRoutes(options).map((route) => ({ ...route, answer: (request: HttpRequest) => admit(route, request, options, attempts) }));
  return serveHttp({
    host: options.host, port: options.port, tls: options.tls, routes, onError: (error, route) => options.log.error('http request failed', { route, error }),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
}

/** The authorization table of the HTTP surface (security.md C1). */
export function apiRoutes(options: HttpApiOptions): readonly ApiRoute[] {
  return [
    { method: 'GET', path: '/healthz', access: 'open', answer: async () => text(200, 'ok\n') },
    { method: 'GET', path: '/readyz', access: 'open', answer: async () => readiness(options.notReady()) },
    { method: 'GET', path: '/metrics', access: 'open', answer: async () => ({ status: 200, text: await options.metrics.render(), contentType: options.metrics.contentType }) },
    { method: 'GET', path: '/v1/requests', access: 'token', answer: async (request, caller) => listRequests(options.desk, request, known(caller)) },
    { method: 'GET', path: '/v1/requests/:name', access: 'token', answer: async (request, caller) => showRequest(options.desk, request, known(caller)) },
    { method: 'POST', path: '/v1/requests/:name/decision', access: 'token', body: 'json', answer: (request, caller) => decide(options.desk, request, known(caller)) },
    { method: 'DELETE', path: '/v1/requests/:name', access: 'token', answer: (request, caller) => end(options.desk, request, known(caller)) },
    { method: 'GET', path: '/v1/sessions', access: 'token', answer: async (_request, caller) => listSessions(options.sessions, known(caller)) },
  ];
}

async function admit(route: ApiRoute, request: HttpRequest, options: HttpApiOptions, attempts: FailedLogins): Promise<HttpAnswer> {
  if (route.access === 'open') return route.answer(request, null);
  if (!request.isEncrypted && !isLoopback(options.host)) return denied(deny('TLS_REQUIRED', { hint: 'start the gateway with a certificate for its HTTP listener, or use the loopback address' }));
  if (attempts.isBlocked(request.remoteAddress)) return denied(deny('HTTP_TOO_MANY_ATTEMPTS'));
  if (request.bearer === null) return denied(deny('HTTP_UNAUTHORIZED'));
  const verified = await options.verify(request.bearer).catch((error: unknown) => {
    if (!(error instanceof SallyportError)) throw error;
    return { outcome: 'denied' as const, denial: error.toDenial() };
  });
  if (verified.outcome === 'denied') {
    // An issuer that is down is not the caller's guess.
    if (verified.denial.code !== 'ISSUER_UNREACHABLE' && verified.denial.code !== 'CONFIG_NOT_LOADED') attempts.add(request.remoteAddress);
    options.log.info('http login denied', { code: verified.denial.code, route: route.path });
    return denied(verified.denial);
  }
  return route.answer(request, verified.identity);
}

function readiness(reason: string | null): HttpAnswer {
  return reason === null ? text(200, 'ok\n') : text(503, `not ready: ${reason}\n`);
}

function listRequests(desk: RequestDesk, request: HttpRequest, caller: Identity): HttpAnswer {
  const phase = request.query.get('phase');
  return { status: 200, json: { requests: desk.list(caller).filter((one) => phase === null || one.phase.toLowerCase() === phase.toLowerCase()) } };
}

function showRequest(desk: RequestDesk, request: HttpRequest, caller: Identity): HttpAnswer {
  const found = desk.find(request.params['name'] ?? '', caller);
  return found === null ? denied(deny('APPROVAL_NOT_FOUND')) : { status: 200, json: found };
}

async function decide(desk: RequestDesk, request: HttpRequest, caller: Identity): Promise<HttpAnswer> {
  const body = decisionBodySchema.safeParse(request.body);
  if (!body.success) return denied(deny('HTTP_BAD_REQUEST', { detail: body.error.issues.map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`).join('; '), hint: 'send {"decision": "approve" or "deny", "reason": "…", "digest": "sha256:…"}' }));
  const { decision, reason, digest } = body.data;
  const outcome = await desk.decide({ name: request.params['name'] ?? '', by: caller, decision: decision === 'approve' ? 'Approve' : 'Deny', reason, digest: digest ?? null, method: 'oidc' });
  return outcome.outcome === 'done' ? { status: 200, json: outcome.request } : denied(outcome.denial);
}

async function end(desk: RequestDesk, request: HttpRequest, caller: Identity): Promise<HttpAnswer> {
  const outcome = await desk.end({ name: request.params['name'] ?? '', by: caller, reason: request.query.get('reason') ?? '', method: 'oidc' });
  return outcome.outcome === 'done' ? { status: 200, json: outcome.request } : denied(outcome.denial);
}

function listSessions(sessions: SessionsView | null, caller: Identity): HttpAnswer {
  const subject = subjectKey(caller);
  const visible = (sessions?.list() ?? []).filter((session) => session.subject === subject || session.approverGroups.some((group) => caller.groups.includes(group)));
  return { status: 200, json: { sessions: visible.map(({ approverGroups: _groups, subject: owner, ...shown }) => ({ ...shown, mine: owner === subject })) } };
}

/** Words a denial in HTTP. */
function denied(denial: Denial): HttpAnswer {
  const answer = errorAnswer(statusOf[denial.code] ?? (denial.code.startsWith('TOKEN_') ? 401 : 403), denial.code, denial.message, denial.hint, denial.detail);
  return 'json' in answer && answer.status === 401 ? { ...answer, headers: { 'www-authenticate': 'Bearer' } } : answer;
}

const statusOf: Partial<Record<ErrorCode, number>> = {
  HTTP_UNAUTHORIZED: 401, HTTP_BAD_REQUEST: 400, HTTP_NOT_FOUND: 404, HTTP_TOO_MANY_ATTEMPTS: 429, TOO_MANY_REQUESTS: 429, APPROVAL_NOT_FOUND: 404, APPROVAL_CLOSED: 409, APPROVAL_DIGEST_MISMATCH: 409,
  APPROVAL_UNAVAILABLE: 503, RECORDER_FAILED: 503, STORAGE_FULL: 503, ISSUER_UNREACHABLE: 503, CONFIG_NOT_LOADED: 503, INTERNAL: 500,
};

function known(caller: Identity | null): Identity {
  if (caller === null) throw new SallyportError('INTERNAL', { reason: 'a route with a token was reached without one' });
  return caller;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function text(status: number, body: string): HttpAnswer {
  return { status, text: body, contentType: 'text/plain; charset=utf-8' };
}

/** 30 failed logins per address in 10 minutes (security.md 3.1); at most 10,000 addresses are remembered, the oldest go first. */
class FailedLogins {
  readonly #clock: Clock;
  readonly #byAddress = new Map<string, { readonly sinceMs: number; count: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  isBlocked(address: string): boolean {
    const seen = this.#byAddress.get(address);
    return seen !== undefined && this.#clock.monotonicMs() - seen.sinceMs < failedLoginWindowMs && seen.count >= maxFailedLogins;
  }

  add(address: string): void {
    const nowMs = this.#clock.monotonicMs();
    const seen = this.#byAddress.get(address);
    if (seen !== undefined && nowMs - seen.sinceMs < failedLoginWindowMs) {
      seen.count++;
      return;
    }
    this.#byAddress.delete(address);
    this.#byAddress.set(address, { sinceMs: nowMs, count: 1 });
    const [oldest] = this.#byAddress.keys();
    if (this.#byAddress.size > maxAddresses && oldest !== undefined) this.#byAddress.delete(oldest);
  }
}

const maxFailedLogins = 30;
const failedLoginWindowMs = 600_000;
const maxAddresses = 10_000;
