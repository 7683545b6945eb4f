import { SallyportError } from '../core/errors.ts';
import type { Permit } from '../core/policy/permit.ts';
import { openTarget, type Upstream, type UpstreamDeps } from './upstream.ts';
import { sqlstateOf } from './wire/error-response.ts';
import { query as queryMessage } from './wire/frame-writer.ts';
import { SocketReader } from './wire/packet-reader.ts';

/** The proxy's own connection to a target, for its catalog: read only, simple queries, one at a time. */
export interface SideConnection extends AsyncDisposable {
  /**
   * Runs a text of ours and returns the rows of its last result; every value is text, null is NULL.
   *
   * Calls wait for each other. After an error of the server (detail `sqlstate`) the connection goes on; after any other it is closed.
   *
   * @throws SallyportError `CATALOG_UNAVAILABLE` (detail: `sqlstate` or `reason`).
   */
  query(sql: string): Promise<(string | null)[][]>;
  /** False once it was closed, by either side. */
  isOpen(): boolean;
  close(): Promise<void>;
}

export interface SideConnectionDeps extends UpstreamDeps {
  /** Longest wait for one answer, ms; the server's own statement_timeout is 10 s. */
  readonly queryMs?: number;
  /** Bytes of one answer; more closes the connection. */
  readonly limitAnswerBytes?: number;
}

const defaultQueryMs = 15_000;
const defaultLimitAnswerBytes = 67_108_864;

/**
 * Opens a side connection to the target of a permit: without a permit nothing dials a target.
 *
 * Same credential and checks as a session; `application_name` is `sallyport-catalog`, the search_path is empty, transactions are read only, statements end after 10 s.
 *
 * @param database of the same target.
 * @throws like `connectUpstream`.
 */
export async function openSideConnection(permit: Permit, database: string, deps: SideConnectionDeps): Promise<SideConnection> {
  const upstream = await openTarget(permit, database, sideParameters, deps);
  return new SimpleQueries(upstream, deps);
}

const sideParameters: ReadonlyMap<string, string> = new Map([
  ['application_name', 'sallyport-catalog'], ['client_encoding', 'UTF8'], ['default_transaction_read_only', 'on'], ['statement_timeout', '10000'],
  ['search_path', ''], ['DateStyle', 'ISO'], ['client_min_messages', 'error'],
]);

class SimpleQueries implements SideConnection {
  readonly #upstream: Upstream;
  readonly #reader: SocketReader;
  readonly #queryMs: number;
  readonly #limitAnswerBytes: number;
  #turn: Promise<unknown> = Promise.resolve();
  #open = true;

  constructor(upstream: Upstream, deps: SideConnectionDeps) {
    this.#upstream = upstream;
    if (upstream.leftover.length > 0) upstream.socket.unshift(upstream.leftover);
    this.#reader = new SocketReader(upstream.socket);
    this.#queryMs = deps.queryMs ?? defaultQueryMs;
    this.#limitAnswerBytes = deps.limitAnswerBytes ?? defaultLimitAnswerBytes;
    this.#reader.gone.addEventListener('abort', () => { this.#open = false; }, { once: true });
  }

  isOpen(): boolean {
    return this.#open;
  }

  query(sql: string): Promise<(string | null)[][]> {
    const answer = this.#turn.then(() => this.#run(sql));
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  async close(): Promise<void> {
    this.#open = false;
    this.#reader.takeBuffered();
    await this.#upstream[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(sql: string): Promise<(string | null)[][]> {
    if (!this.#open) throw new SallyportError('CATALOG_UNAVAILABLE', { reason: 'the connection is closed' });
    try {
      this.#upstream.socket.write(queryMessage(sql));
      return await this.#readAnswer(AbortSignal.timeout(this.#queryMs));
    } catch (error) {
      if (error instanceof SallyportError && error.detail['sqlstate'] !== undefined) throw error;
      this.#open = false;
      this.#upstream.socket.destroy();
      if (error instanceof SallyportError && error.code === 'CATALOG_UNAVAILABLE') throw error;
      throw new SallyportError('CATALOG_UNAVAILABLE', { reason: 'the answer broke off' }, { cause: error });
    }
  }

  async #readAnswer(signal: AbortSignal): Promise<(string | null)[][]> {
    let rows: (string | null)[][] = [];
    let failure: SallyportError | null = null;
    let left = this.#limitAnswerBytes;
    for (;;) {
      const header = await this.#reader.readExactly(5, signal);
      const length = header.readUInt32BE(1);
      left -= length + 1;
      if (length < 4 || left < 0) throw new SallyportError('CATALOG_UNAVAILABLE', { reason: 'the answer is too long' });
      const body = await this.#reader.readExactly(length - 4, signal);
      switch (String.fromCharCode(header[0] ?? 0)) {
        case 'T': rows = []; break;
        case 'D': rows.push(readRow(body)); break;
        case 'Z':
          if (failure) throw failure;
          return rows;
        case 'E': failure = new SallyportError('CATALOG_UNAVAILABLE', { sqlstate: sqlstateOf(body) }); break;
        case 'C': case 'I': case 'S': case 'N': case 'A': break;
        default: throw new SallyportError('CATALOG_UNAVAILABLE', { reason: 'the target answered outside the protocol' });
      }
    }
  }
}

/** A DataRow in text format; a field that does not fit into the body, or bytes left over, is a broken server. */
function readRow(body: Buffer): (string | null)[] {
  const row: (string | null)[] = [];
  let offset = 2;
  const fields = body.length >= 2 ? body.readUInt16BE(0) : -1;
  for (let i = 0; i < fields && offset + 4 <= body.length; i++) {
    const length = body.readInt32BE(offset);
    offset += 4;
    if (length < -1 || length > body.length - offset) break;
    row.push(length === -1 ? null : body.toString('utf8', offset, offset + length));
    offset += Math.max(length, 0);
  }
  if (row.length !== fields || offset !== body.length) throw new SallyportError('CATALOG_UNAVAILABLE', { reason: 'the target sent a row that is not well formed' });
  return row;
}
