import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { LeakCase } from './leak-case.ts';

/** One message from the server. */
export interface Frame {
  readonly type: string;
  readonly body: Buffer;
}

/** What came back for something sent, up to ReadyForQuery or the end of the connection. */
export interface Answer {
  readonly frames: readonly Frame[];
  readonly closed: boolean;
}

export interface RawTarget {
  /** A TCP port on loopback, or the path of a Unix socket. */
  readonly port: number | string;
  /** PEM to verify the server with; null: no TLS. */
  readonly ca: string | null;
  readonly user: string;
  readonly database: string;
  readonly password: string;
  readonly parameters?: Readonly<Record<string, string>>;
}

/** The longest that any answer may take. */
const hangMs = 10_000;

/**
 * A PostgreSQL client that speaks bytes: nothing is decoded for it, everything received after TLS is kept, and a message that breaks the protocol fails.
 */
export class RawClient {
  readonly #socket: Socket;
  readonly #chunks: Buffer[] = [];
  readonly #frames: Frame[] = [];
  #pending: Buffer = Buffer.alloc(0);
  #columns: number | null = null;
  #closed = false;
  #problem: Error | null = null;
  #wake: () => void = () => undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
      this.#split();
      this.#wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#closed = true;
      if (this.#pending.length > 0) this.#problem ??= new Error('the connection ended inside a message');
      this.#wake();
    });
  }

  /** Everything received so far. */
  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** All messages received so far. */
  get frames(): readonly Frame[] {
    return this.#frames;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Sends the startup packet and the password if asked; resolves at ReadyForQuery or the end of the connection. */
  async start(target: RawTarget): Promise<Answer> {
    const pairs = { user: target.user, database: target.database, client_encoding: 'UTF8', ...target.parameters };
    const body = Buffer.concat([Buffer.from([0, 3, 0, 0]), ...Object.entries(pairs).map(([name, value]) => Buffer.from(`${name}\0${value}\0`)), Buffer.of(0)]);
    this.#socket.write(Buffer.concat([int32(body.length + 4), body]));
    const from = this.#frames.length;
    const asked = await this.#until((frame) => frame.type === 'Z' || frame.type === 'R');
    if (asked.frames.at(-1)?.type === 'R' && asked.frames.at(-1)?.body.readInt32BE(0) === 3) this.#socket.write(message('p', cstring(target.password)));
    if (asked.frames.at(-1)?.type !== 'Z') await this.#until((frame) => frame.type === 'Z');
    return { frames: this.#frames.slice(from), closed: this.#closed };
  }

  /** One simple Query. */
  query(sql: string): Promise<Answer> {
    return this.exchange(message('Q', cstring(sql)));
  }

  /** Sends messages and collects what comes up to ReadyForQuery. */
  exchange(bytes: Buffer): Promise<Answer> {
    if (!this.#closed) this.#socket.write(bytes);
    return this.#until((frame) => frame.type === 'Z');
  }

  /** Sends messages (or none) and collects what comes up to a message of that type. */
  async exchangeUntil(bytes: Buffer, type: string): Promise<readonly Frame[]> {
    if (!this.#closed && bytes.length > 0) this.#socket.write(bytes);
    return (await this.#until((frame) => frame.type === type)).frames;
  }

  /** Sends `leak_sql` as the case's mode says. @param functionOid OID of `function`, for the fast path. */
  async run(item: LeakCase, functionOid: number): Promise<Answer> {
    switch (item.mode) {
      case 'simple':
        return this.query(item.leak_sql);
      case 'extended_text':
      case 'extended_binary':
      case 'extended_nodescribe':
      case 'extended_maxrows1':
      case 'extended_param':
        return this.exchange(Buffer.concat(extended(item)));
      case 'fastpath':
      case 'fastpath_fn':
        return this.exchange(functionCall(functionOid, item.args_hex ?? [], item.result_format ?? 0));
      case 'copyin':
        return this.#copyIn(item);
      case 'replication':
      case 'basebackup':
        this.#socket.write(message('Q', cstring(item.leak_sql)));
        // Changes stream without an end: what has come after a while is searched.
        return this.#until((frame) => frame.type === 'Z' && this.#frames.some(({ type }) => type === 'E' || type === 'c'), 1_500).catch(() => ({ frames: [], closed: this.#closed }));
      default:
        return item.mode satisfies never;
    }
  }

  /** Terminate, and wait for the server to close. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#socket.end(message('X', Buffer.alloc(0)));
    const deadline = setTimeout(() => this.#socket.destroy(), 2_000);
    await this.#until(() => false).catch(() => undefined);
    clearTimeout(deadline);
  }

  async #copyIn(item: LeakCase): Promise<Answer> {
    const from = this.#frames.length;
    this.#socket.write(message('Q', cstring(item.leak_sql)));
    const started = await this.#until((frame) => frame.type === 'Z' || frame.type === 'G');
    if (started.frames.at(-1)?.type !== 'G') return started;
    const data = Buffer.from(item.copy_data ?? '');
    const half = data.length >> 1;
    await this.exchange(Buffer.concat([message('d', data.subarray(0, half)), message('d', data.subarray(half)), message('c', Buffer.alloc(0))]));
    return { frames: this.#frames.slice(from), closed: this.#closed };
  }

  /** Waits for a message from now on, or the end. */
  async #until(isLast: (frame: Frame) => boolean, limitMs: number = hangMs): Promise<Answer> {
    const from = this.#seen;
    const deadline = Date.now() + limitMs;
    for (let at = from; ; ) {
      for (; at < this.#frames.length; at++) {
        if (!isLast(this.#frames[at] as Frame)) continue;
        this.#seen = at + 1;
        return { frames: this.#frames.slice(from, at + 1), closed: this.#closed };
      }
      if (this.#problem) throw this.#problem;
      if (this.#closed) {
        this.#seen = this.#frames.length;
        return { frames: this.#frames.slice(from), closed: true };
      }
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`no answer within ${limitMs} ms`);
      await this.#change(left);
    }
  }

  #seen = 0;

  #change(limitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, limitMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #split(): void {
    while (this.#pending.length >= 5) {
      const length = this.#pending.readInt32BE(1);
      if (length < 4) return this.#fail(`a message of length ${length}`);
      if (this.#pending.length < length + 1) return undefined;
      const frame = { type: String.fromCharCode(this.#pending[0] as number), body: Buffer.from(this.#pending.subarray(5, length + 1)) };
      this.#pending = this.#pending.subarray(length + 1);
      this.#check(frame);
      this.#frames.push(frame);
    }
  }

  /** What a client's parser would choke on. */
  #check({ type, body }: Frame): void {
    if (!/^[RSKZTDCIEN123ntsAGHWdcVv]$/.test(type)) this.#fail(`a message of unknown type ${type}`);
    if (type === 'T') this.#columns = body.readInt16BE(0);
    if (type === 'C' || type === 'Z') this.#columns = null;
    if (type !== 'D') return;
    const cells = readCells(body);
    if (cells === null) this.#fail('a DataRow whose lengths do not fill it');
    else if (this.#columns !== null && cells.length !== this.#columns) this.#fail(`a DataRow of ${cells.length} cells where ${this.#columns} were described`);
  }

  #fail(text: string): void {
    this.#problem ??= new Error(`protocol: ${text}`);
  }
}

/** Connects and, with `ca`, turns TLS on. Nothing is sent yet. */
export async function connectRaw(target: RawTarget): Promise<RawClient> {
  return new RawClient(await connectSocket(target));
}

/** The same without a client on it. */
export async function connectSocket(target: Pick<RawTarget, 'port' | 'ca'>): Promise<Socket> {
  const socket = typeof target.port === 'string' ? connect(target.port) : connect(target.port, '127.0.0.1');
  await once(socket, 'connect');
  // A line that breaks later is seen as closed, by whoever reads it.
  socket.on('error', () => undefined);
  if (target.ca === null) return socket;
  socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]));
  const reply = await new Promise<Buffer>((resolve, reject) => {
    socket.once('data', resolve);
    socket.once('close', () => reject(new Error('closed before TLS')));
  });
  if (reply.toString() !== 'S') throw new Error('no TLS');
  const secure = connectTls({ socket, ca: target.ca, servername: 'localhost' });
  await once(secure, 'secureConnect');
  return secure;
}

/** Connects and logs in. */
export async function openRaw(target: RawTarget): Promise<{ readonly client: RawClient; readonly login: Answer }> {
  const client = await connectRaw(target);
  return { client, login: await client.start(target) };
}

/** Cells of a DataRow body, null cells as null; null when the lengths do not fit. */
export function readCells(body: Buffer): readonly (Buffer | null)[] | null {
  const cells: (Buffer | null)[] = [];
  if (body.length < 2) return null;
  let at = 2;
  for (let left = body.readInt16BE(0); left > 0; left--) {
    if (at + 4 > body.length) return null;
    const length = body.readInt32BE(at);
    at += 4;
    if (length < -1 || (length > 0 && at + length > body.length)) return null;
    cells.push(length === -1 ? null : body.subarray(at, at + length));
    at += Math.max(length, 0);
  }
  return at === body.length ? cells : null;
}

/** Fields of an ErrorResponse or NoticeResponse by letter. */
export function readFields(body: Buffer): ReadonlyMap<string, string> {
  return new Map(body.toString('utf8').split('\0').filter((part) => part !== '').map((part) => [part[0] as string, part.slice(1)]));
}

/** A frontend message. */
export function message(type: string, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body]);
}

export function cstring(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

export function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function extended(item: LeakCase): readonly Buffer[] {
  const parameters = (item.params ?? []).map((value) => Buffer.concat([int32(Buffer.byteLength(value)), Buffer.from(value)]));
  const format = item.mode === 'extended_binary' ? Buffer.concat([int16(1), int16(1)]) : int16(0);
  const describe = item.mode === 'extended_nodescribe' ? [] : [message('D', cstring('P'))];
  const limited = item.mode === 'extended_maxrows1';
  const execute = (rows: number): Buffer => message('E', Buffer.concat([cstring(''), int32(rows)]));
  return [
    message('P', Buffer.concat([cstring(''), cstring(item.leak_sql), int16(0)])),
    message('B', Buffer.concat([cstring(''), cstring(''), int16(0), int16(parameters.length), ...parameters, format])),
    ...describe, execute(limited ? 1 : 0), ...(limited ? [execute(1)] : []), message('S', Buffer.alloc(0)),
  ];
}

function functionCall(oid: number, argsHex: readonly string[], resultFormat: number): Buffer {
  const args = argsHex.map((hex) => Buffer.concat([int32(hex.length / 2), Buffer.from(hex, 'hex')]));
  return message('F', Buffer.concat([int32(oid), int16(1), int16(1), int16(args.length), ...args, int16(resultFormat)]));
}

function once(socket: Socket, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, () => {
      socket.off('error', reject);
      resolve();
    });
    socket.once('error', reject);
  });
}
