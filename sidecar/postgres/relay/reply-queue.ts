import type { Denial } from '../../core/errors.ts';
import type { StatementEffect } from '../../core/sql/statement-facts.ts';
import type { Execution } from './execution.ts';
import type { Portal, PreparedStatement } from './statements.ts';

/** A question of our own to the server, in the session's connection: its answers are swallowed. */
export interface OwnQuestion {
  readonly rows: (string | null)[][];
  failed: boolean;
  readonly done: () => void;
}

/**
 * What one forwarded frontend message waits for. The head of the queue decides what a backend message belongs to.
 * `own` set: we asked, and the client sees nothing of the answer.
 */
export type Reply =
  | { readonly kind: 'parse'; readonly statement: PreparedStatement; readonly own: OwnQuestion | null }
  | { readonly kind: 'bind'; readonly portal: Portal | null; readonly own: OwnQuestion | null }
  | { readonly kind: 'describe'; readonly statement: PreparedStatement | null; readonly portal: Portal | null; readonly own: OwnQuestion | 'description' | null }
  | { readonly kind: 'execute'; readonly portal: Portal; readonly execution: Execution; readonly effect: StatementEffect | null; readonly own: null }
  | { readonly kind: 'execute'; readonly portal: null; readonly execution: null; readonly effect: null; readonly own: OwnQuestion }
  | { readonly kind: 'close'; readonly what: 'statement' | 'portal'; readonly name: string; readonly own: OwnQuestion | null }
  | { readonly kind: 'query'; readonly executions: readonly Execution[]; readonly own: null; current: number }
  /** Its execution is null once it was answered; ReadyForQuery ends it. */
  | { readonly kind: 'function'; execution: Execution | null; readonly own: null }
  | Poison
  | { readonly kind: 'sync'; readonly own: OwnQuestion | null };

/**
 * What went in place of a refused message, so that the server fails there.
 * `execute`: of a portal that does not exist. `query`: a text that is no SQL, which the server skips in a failed pipeline as it skips any Query.
 */
export interface Poison {
  readonly kind: 'poison';
  readonly form: 'execute' | 'query';
  /** What the client gets; null: it was told already. */
  readonly denial: Denial | null;
  /** Of the mistake in the refused text, 1-based, in characters. */
  readonly position: number | null;
  /** The refused message would have ended the unnamed statement. */
  readonly dropsUnnamed: boolean;
  readonly own: null;
  /** The server has failed as it should. */
  answered: boolean;
}

/** Sync, Query and FunctionCall end a segment: what was sent before may fail without what follows being skipped. */
export function endsSegment(reply: Reply): boolean {
  return reply.kind === 'sync' || reply.kind === 'query' || reply.kind === 'function' || (reply.kind === 'poison' && reply.form === 'query');
}

/** The executions of a reply that were not answered yet. */
export function executionsOf(reply: Reply): readonly Execution[] {
  if (reply.kind === 'query') return reply.executions.slice(reply.current);
  return (reply.kind === 'execute' || reply.kind === 'function') && reply.execution ? [reply.execution] : [];
}

/** First in, first out; bounded by `limit`, since a client may pipeline without end. */
export class ReplyQueue {
  #entries: Reply[] = [];
  #head = 0;
  readonly limit: number;

  constructor(limit = 10_000) {
    this.limit = limit;
  }

  get length(): number {
    return this.#entries.length - this.#head;
  }

  get isFull(): boolean {
    return this.length >= this.limit;
  }

  get head(): Reply | undefined {
    return this.#entries[this.#head];
  }

  push(reply: Reply): void {
    this.#entries.push(reply);
  }

  shift(): void {
    this.#head++;
    if (this.#head === this.#entries.length) {
      this.#entries = [];
      this.#head = 0;
    } else if (this.#head > 1024) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Removes and returns everything before the next Sync, which stays: the server skips these after an error, simple Queries and function calls included. */
  skipToSync(): readonly Reply[] {
    const skipped: Reply[] = [];
    while (this.head && this.head.kind !== 'sync') {
      skipped.push(this.head);
      this.shift();
    }
    return skipped;
  }

  all(): readonly Reply[] {
    return this.#entries.slice(this.#head);
  }
}
