import type { FieldDescription } from '../../core/masking/masker.ts';
import type { StatementFacts } from '../../core/sql/statement-facts.ts';
import type { BoundParameter } from '../wire/bind.ts';
import type { Execution } from './execution.ts';
import type { RowPlan } from './row-plan.ts';

/** A prepared statement as this proxy knows it; protocol and SQL share one name space on the server, so they do here. */
export interface PreparedStatement {
  readonly name: string;
  /** Text as received. */
  readonly text: string;
  readonly exactText: Uint8Array;
  readonly parameterTypes: readonly number[];
  /** Null for an empty text. Replaced when catalog, search path or masking rules changed since. */
  facts: StatementFacts | null;
  /** Catalog epoch, search path and masking rules that `facts` rests on. */
  inspectionKey: string;
  /** Made by PREPARE or DECLARE: `text` is the whole query that held it. */
  readonly bySql: boolean;
  /** Undefined until described; null when it returns no rows. */
  fields: readonly FieldDescription[] | null | undefined;
  /** Row plans by result formats, for the inspection key they were made under. */
  readonly plans: Map<string, RowPlan>;
}

/** A portal or cursor. */
export interface Portal {
  readonly name: string;
  readonly statement: PreparedStatement;
  /** The statement's facts when the portal was made: the server runs what the names meant then. */
  readonly bound: StatementFacts | null;
  readonly parameters: readonly BoundParameter[];
  readonly resultFormats: readonly (0 | 1)[];
  /** DECLARE … WITH HOLD survives the transaction. */
  readonly hold: boolean;
  /** The execution that paging continues. */
  execution: Execution | null;
  /** From the client's own Describe of the portal, if any. */
  fields: readonly FieldDescription[] | null | undefined;
}

/**
 * Names with two states: what the server has confirmed, and an overlay of what was sent and not yet answered.
 *
 * Within one segment (up to the next Sync, Query or FunctionCall) the overlay may be believed: when a message fails, the server skips what follows it.
 * Beyond that it may not: the server may have failed, and still hold under that name what it held before. See `settled` in settle.ts.
 */
export class NameTable<T> {
  readonly #confirmed = new Map<string, T>();
  readonly #sent = new Map<string, { readonly value: T | null; readonly segment: number }>();
  readonly #bytesOf: (value: T) => number;
  #segment = 0;
  #bytes = 0;

  /** @param bytesOf what a value holds of the client's bytes. */
  constructor(bytesOf: (value: T) => number = () => 0) {
    this.#bytesOf = bytesOf;
  }

  get size(): number {
    return this.#confirmed.size + this.#sent.size;
  }

  /** Bytes of the client that the names would hold with `bytes` more under `name`, in place of what it means now. */
  bytesWith(name: string, bytes: number): number {
    const replaced = this.get(name);
    return this.#bytes + bytes - (replaced ? this.#bytesOf(replaced) : 0);
  }

  get(name: string): T | null {
    const sent = this.#sent.get(name);
    if (sent) return sent.value;
    return this.#confirmed.get(name) ?? null;
  }

  /** What the name means depends on an answer that is still to come. */
  isUnsettled(name: string): boolean {
    const sent = this.#sent.get(name);
    return sent !== undefined && sent.segment !== this.#segment;
  }

  /** A Sync, Query or FunctionCall was forwarded: what was sent before may fail without what follows being skipped. */
  startSegment(): void {
    this.#segment++;
  }

  /** The message that makes (or, with null, removes) the name was forwarded; `earlier`: in a segment before this one. */
  send(name: string, value: T | null, earlier = false): void {
    this.#count(value, this.#sent.get(name)?.value);
    this.#sent.set(name, { value, segment: earlier ? -1 : this.#segment });
  }

  /** The server confirmed it. */
  confirm(name: string, value: T | null): void {
    this.#count(value, this.#confirmed.get(name));
    if (value === null) this.#confirmed.delete(name);
    else this.#confirmed.set(name, value);
    const sent = this.#sent.get(name);
    if (sent?.value !== value) return;
    this.#count(null, sent.value);
    this.#sent.delete(name);
  }

  /** SQL made the name. What was sent under it is confirmed if it is this very one; a later message may have sent another. */
  confirmMade(name: string, made: T, isThisOne: (sent: T) => boolean): void {
    const sent = this.#sent.get(name)?.value;
    this.confirm(name, sent && isThisOne(sent) ? sent : made);
  }

  /** After an error: what is still queued is sent again by the caller. */
  dropSent(): void {
    for (const { value } of this.#sent.values()) this.#count(null, value);
    this.#sent.clear();
  }

  /** Removes confirmed names, all or those that `which` picks. */
  clear(which: (value: T) => boolean = () => true): void {
    for (const [name, value] of this.#confirmed) if (which(value)) this.confirm(name, null);
  }

  #count(added: T | null, removed: T | null | undefined): void {
    if (added) this.#bytes += this.#bytesOf(added);
    if (removed) this.#bytes -= this.#bytesOf(removed);
  }
}

/** Bytes of a prepared statement that the client sent. */
export function statementBytes({ exactText, name }: PreparedStatement): number {
  return exactText.length + name.length;
}

/** Bytes of a portal's parameters. */
export function portalBytes({ parameters, name }: Portal): number {
  return parameters.reduce((sum, { value }) => sum + (value?.length ?? 0) + 16, name.length);
}
