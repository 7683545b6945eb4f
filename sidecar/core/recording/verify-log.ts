import { hash } from 'node:crypto';
import { type NoteVerifier, openNote, parseCheckpointBody, parseVkey, splitNotes } from './checkpoint.ts';
import { maxLineBytes } from './encode.ts';
import type { Findings, Place } from './findings.ts';
import { emptyRoot, MerkleTree } from './merkle.ts';
import { countAt, objectAt, readRecord, type RecordView, textAt } from './record-view.ts';
import { closesOperation, closingCode, isRefusal } from './ssh-operations.ts';
import type { SessionLedger } from './verify-session.ts';

/** What stands beside a log's records. */
export interface LogFrame {
  /** Directory of the log, e.g. `log/01K…`. */
  readonly path: string;
  readonly logId: string;
  /** `checkpoints.note`; null when the file is missing. */
  readonly notes: string | null;
  /** `leaves.bin`: 32 bytes per record; null when the file is missing. */
  readonly leaves: Buffer | null;
  /** `keys/<log>.vkey`; null when missing. */
  readonly vkey: string | null;
  /** Keys from outside; null: the log's own key is believed, and the report says so. */
  readonly trusted: readonly string[] | null;
}

/** What was learned of one log. */
export interface LogOutcome {
  readonly logId: string;
  readonly origin: string | null;
  readonly size: number;
  readonly root: string;
  readonly closed: boolean;
  readonly tornBytes: number;
  readonly checkpoints: number;
  /** Records that a valid checkpoint covers. */
  readonly signedSize: number;
  readonly firstMs: number | null;
  readonly lastMs: number | null;
  /** What its records say about other logs' ends. */
  readonly claims: readonly LogClaim[];
}

/** A log's end as another log states it. */
export interface LogClaim {
  readonly how: 'previous' | 'recovered';
  readonly origin: string;
  readonly size: number;
  readonly root: string;
  readonly tornBytes: number;
  readonly place: Place;
}

const silenceMs = 90_000;

/**
 * Checks one log, fed line by line in stored order. Every line's own hash is compared with its leaf, every checkpoint's root with the leaves,
 * so an altered record is named itself, and nothing after it is blamed.
 */
export class LogCheck {
  readonly #frame: LogFrame;
  readonly #findings: Findings;
  readonly #ledger: SessionLedger;
  readonly #tree: MerkleTree = new MerkleTree();
  readonly #roots: Map<number, string> = new Map();
  readonly #claims: LogClaim[] = [];
  readonly #totals: { sessions: number; intents: number; results: number; denied: number } = { sessions: 0, intents: 0, results: 0, denied: 0 };
  #origin: string | null = null;
  #expected = 0;
  /** Sessions may have begun where nothing is left to read. */
  readonly #gapBefore: boolean;
  #gap = false;
  /** The next record may have any number. */
  #jump = false;
  #closedAt: number | null = null;
  #torn: { readonly bytes: number; readonly place: Place } | null = null;
  #verifier: NoteVerifier | null = null;
  #signedSize = 0;
  #checkpoints = 0;
  #rootReported = false;
  #firstMs: number | null = null;
  #lastMs: number | null = null;

  /** @param gapBefore a log that this one continues is not part of what is checked. */
  constructor(frame: LogFrame, ledger: SessionLedger, findings: Findings, gapBefore: boolean) {
    this.#frame = frame;
    this.#ledger = ledger;
    this.#findings = findings;
    this.#gapBefore = gapBefore;
    this.#readKeys();
    this.#readNotes();
  }

  /** The next complete line, LF excluded. */
  line(bytes: Buffer, place: Place): void {
    if (this.#torn !== null) this.#findings.add('tampering', 'torn-inside', 'a file that is not the last one ends within a line', this.#torn.place);
    this.#torn = null;
    const digest = hash('sha256', bytes, 'hex');
    const record = bytes.length > maxLineBytes ? null : readRecord(bytes.toString('utf8'));
    const seq = record?.logSeq ?? this.#expected;
    const leaf = this.#leaf(seq);
    if (leaf !== null && leaf !== digest) {
      this.#findings.add('tampering', 'record-changed', `record ${seq} is not the one that was logged: its hash differs from the leaf`, { ...place, session: record?.session ?? null });
    }
    if (record === null) {
      this.#findings.add('tampering', 'not-a-record', 'the line is not a record', place);
      this.#advance(seq, leaf ?? digest);
      return;
    }
    this.#order(record, place);
    if (seq >= this.#expected) this.#advance(seq, leaf ?? digest);
    this.#about(record, place);
    this.#ledger.feed(record, digest, place, this.#gap || this.#gapBefore);
  }

  /** The rest of a file after its last LF. */
  torn(bytes: number, place: Place): void {
    this.#torn = { bytes, place };
  }

  /** A numbered file between two others is missing. */
  missingFile(file: string): void {
    this.#findings.add('incomplete', 'file-missing', 'a file of records is missing', { file });
    this.#gap = true;
    this.#jump = true;
    this.#ledger.markGap();
  }

  finish(): LogOutcome {
    const { path } = this.#frame;
    const leaves = this.#frame.leaves === null ? 0 : Math.floor(this.#frame.leaves.length / 32);
    const due = Math.max(leaves, ...this.#roots.keys());
    const lines = this.#expected;
    if (due > lines) {
      this.#findings.add('incomplete', 'records-missing', `the log ends at record ${lines - 1}, but ${due} records were signed or listed: the last ${due - lines} are missing`, { file: path });
      this.#fill(leaves);
    }
    this.#checkRoots();
    if (this.#closedAt !== null && this.#closedAt !== lines - 1) this.#findings.add('tampering', 'after-close', 'records stand after the log was closed', { file: path });
    if (this.#closedAt !== null && this.#signedSize < lines) this.#findings.add('incomplete', 'unsigned-close', 'the log was closed, but its last checkpoint is missing', { file: `${path}/checkpoints.note` });
    if (this.#frame.leaves === null) this.#findings.add('incomplete', 'file-missing', 'the list of leaves is missing', { file: `${path}/leaves.bin` });
    if (this.#frame.notes === null) this.#findings.add('incomplete', 'file-missing', 'the checkpoints are missing', { file: `${path}/checkpoints.note` });
    const torn = this.#torn?.bytes ?? 0;
    if (torn > 0 && this.#closedAt !== null) this.#findings.add('tampering', 'torn-after-close', 'bytes stand after the log was closed', this.#torn?.place);
    return {
      logId: this.#frame.logId, origin: this.#origin, size: lines, root: this.#tree.size === lines ? this.#tree.root() : '', closed: this.#closedAt !== null, tornBytes: torn,
      checkpoints: this.#checkpoints, signedSize: this.#signedSize, firstMs: this.#firstMs, lastMs: this.#lastMs, claims: this.#claims,
    };
  }

  #order(record: RecordView, place: Place): void {
    const at = { ...place, session: record.session };
    if (this.#origin === null) {
      this.#origin = record.origin;
      if (record.logSeq === 0 && record.code !== 'log.opened') this.#findings.add('tampering', 'no-opening', 'the log does not begin with log.opened', at);
    } else if (record.origin !== this.#origin) {
      this.#findings.add('tampering', 'foreign-record', `the record is of another log: ${record.origin}`, at);
    }
    const jump = this.#jump;
    this.#jump = false;
    if (record.logSeq === this.#expected) return;
    if (record.logSeq < this.#expected) this.#findings.add('tampering', 'log-order', `record ${record.logSeq} stands after record ${this.#expected - 1}: moved or doubled`, at);
    else if (!jump) this.#findings.add('tampering', 'records-removed', `${record.logSeq - this.#expected} record(s) from ${this.#expected} to ${record.logSeq - 1} are missing before this one`, at);
  }

  /** Puts a leaf into the tree; gaps before it are filled from the list of leaves, so that later roots can still be checked. */
  #advance(seq: number, leaf: string): void {
    this.#fill(seq);
    this.#append(leaf);
    this.#expected = seq + 1;
  }

  #fill(upTo: number): void {
    while (this.#tree.size < upTo) {
      const leaf = this.#leaf(this.#tree.size);
      if (leaf === null) return;
      this.#append(leaf);
    }
  }

  #append(leaf: string): void {
    this.#checkRoots();
    this.#tree.append(leaf);
  }

  /** Compares a checkpoint that is due at this size. */
  #checkRoots(): void {
    const root = this.#roots.get(this.#tree.size);
    if (root === undefined) return;
    this.#roots.delete(this.#tree.size);
    const actual = this.#tree.size === 0 ? emptyRoot : this.#tree.root();
    if (root === actual) {
      this.#signedSize = Math.max(this.#signedSize, this.#tree.size);
    } else if (!this.#rootReported) {
      this.#rootReported = true;
      this.#findings.add('tampering', 'root-differs', `the checkpoint at size ${this.#tree.size} was signed over other records; the last one that holds is at size ${this.#signedSize}`, { file: `${this.#frame.path}/checkpoints.note` });
    }
  }

  #leaf(seq: number): string | null {
    const { leaves } = this.#frame;
    return leaves === null || (seq + 1) * 32 > leaves.length ? null : leaves.toString('hex', seq * 32, seq * 32 + 32);
  }

  #about(record: RecordView, place: Place): void {
    this.#firstMs ??= record.timeMs;
    if (this.#lastMs !== null && record.timeMs - this.#lastMs > silenceMs) {
      this.#findings.add('note', 'silence', `nothing was logged for ${Math.round((record.timeMs - this.#lastMs) / 1000)} s, heartbeats included: the process was stopped or its clock was set`, place);
    }
    this.#lastMs = record.timeMs;
    const log = objectAt(record.evidence, 'log');
    if (record.code === 'statement.intent' || closingCode(record.code) !== null) this.#totals.intents += 1;
    else if (record.code === 'statement.result' || closesOperation(record.code)) this.#totals.results += 1;
    else if (record.code === 'statement.denied' || isRefusal(record.code)) this.#totals.denied += 1;
    switch (record.code) {
      case 'session.start': this.#totals.sessions += 1; return;
      case 'log.opened': return this.#opened(log, place);
      case 'log.recovered': return this.#claim('recovered', log, place);
      case 'log.closed':
        this.#closedAt = record.logSeq;
        return this.#compareTotals(log, record, place);
      case 'heartbeat': return this.#compareTotals(log, record, place);
      default:
    }
  }

  #opened(log: Readonly<Record<string, unknown>>, place: Place): void {
    const vkey = textAt(log, 'vkey');
    if (this.#verifier !== null && vkey !== this.#verifier.vkey) this.#findings.add('key', 'key-differs', 'the key file and log.opened name different keys', place);
    const previous = log['previous'];
    if (previous !== null) this.#claim('previous', objectAt(log, 'previous'), place);
  }

  #claim(how: 'previous' | 'recovered', end: Readonly<Record<string, unknown>>, place: Place): void {
    this.#claims.push({ how, origin: textAt(end, 'origin') ?? '', size: countAt(end, 'size') ?? -1, root: textAt(end, 'root') ?? '', tornBytes: countAt(end, 'torn_bytes') ?? 0, place });
  }

  #compareTotals(log: Readonly<Record<string, unknown>>, record: RecordView, place: Place): void {
    if (this.#gap) return;
    const stated = objectAt(log, 'totals');
    const counted: Readonly<Record<string, number>> = { records: record.logSeq, ...this.#totals };
    const wrong = Object.entries(counted).filter(([name, count]) => countAt(stated, name) !== count);
    if (wrong.length > 0) {
      this.#findings.add('tampering', 'totals-differ', `the log counts otherwise than its records: ${wrong.map(([name, count]) => `${name} ${String(stated[name])}, found ${count}`).join('; ')}`, place);
    }
  }

  #readKeys(): void {
    const { vkey, trusted, path, logId } = this.#frame;
    const file = `log/keys/${logId}.vkey`;
    if (vkey === null) {
      this.#findings.add('key', 'key-missing', 'the public key of the log is missing', { file });
      return;
    }
    this.#verifier = parseVkey(vkey);
    if (this.#verifier === null) this.#findings.add('key', 'key-malformed', 'the public key is malformed', { file });
    else if (!this.#verifier.name.endsWith(`/${logId}`)) this.#findings.add('key', 'key-differs', 'the key is for another log', { file });
    else if (trusted !== null && !trusted.includes(this.#verifier.vkey)) this.#findings.add('key', 'key-unknown', 'the key is not among the trusted ones', { file: path });
  }

  #readNotes(): void {
    const { notes, path } = this.#frame;
    if (notes === null || this.#verifier === null) return;
    const file = `${path}/checkpoints.note`;
    const all = splitNotes(notes);
    let last = 0;
    all.forEach((note, index) => {
      const opened = openNote(note, this.#verifier === null ? [] : [this.#verifier]);
      const checkpoint = opened.outcome === 'valid' ? parseCheckpointBody(opened.body) : null;
      // The writer may have died within the last note.
      if (opened.outcome === 'malformed' && index === all.length - 1) return this.#findings.add('note', 'torn-checkpoint', 'the last checkpoint is cut off', { file });
      if (opened.outcome === 'unknown-key') return this.#findings.add('key', 'key-unknown', `checkpoint ${index + 1} is signed by an unknown key`, { file });
      if (checkpoint === null || checkpoint.origin !== this.#verifier?.name) return this.#findings.add('tampering', 'bad-signature', `checkpoint ${index + 1} does not bear a valid signature of this log`, { file });
      if (checkpoint.size <= last) return this.#findings.add('tampering', 'checkpoint-order', `checkpoint ${index + 1} is not larger than the one before it`, { file });
      last = checkpoint.size;
      this.#checkpoints += 1;
      this.#roots.set(checkpoint.size, checkpoint.root);
    });
  }
}

/** Compares what logs say about each other's ends. @param complete all logs of the directory are there, so a named one that is absent was lost. */
export function compareClaims(outcomes: readonly LogOutcome[], findings: Findings, complete: boolean): ReadonlySet<string> {
  const byOrigin = new Map(outcomes.map((o) => [o.origin, o]));
  const recovered = new Map(outcomes.flatMap((o) => o.claims).filter((c) => c.how === 'recovered').map((c) => [c.origin, c]));
  for (const claim of outcomes.flatMap((o) => o.claims)) {
    const log = byOrigin.get(claim.origin);
    const name = claim.origin;
    if (log === undefined) findings.add(complete ? 'incomplete' : 'note', 'log-missing', `the log ${name} (${claim.size} records) is named by its successor and is not here`, claim.place);
    else if (log.size < claim.size) findings.add('incomplete', 'log-shorter', `the log ${name} has ${log.size} records, its successor found ${claim.size}`, claim.place);
    else if (log.size > claim.size) findings.add('tampering', 'log-longer', `the log ${name} has ${log.size} records, its successor found ${claim.size}: records were added`, claim.place);
    else if (log.root !== claim.root) findings.add('tampering', 'log-differs', `the log ${name} is not the one that its successor found: the roots differ`, claim.place);
    if (claim.how === 'recovered' && log !== undefined && log.tornBytes !== claim.tornBytes) findings.add('tampering', 'torn-differs', `${log.tornBytes} bytes stand after the last record of ${name}, its successor dropped ${claim.tornBytes}`, claim.place);
  }
  const unfinished = new Set<string>();
  for (const log of outcomes) {
    if (log.origin === null || log.closed) continue;
    const end = recovered.get(log.origin);
    if (end !== undefined) {
      findings.add('note', 'log-recovered', `the process of this log was lost after record ${log.size - 1}; the next one closed its sessions${end.tornBytes > 0 ? ` and dropped ${end.tornBytes} bytes of a torn line` : ''}`, { file: `log/${log.logId}` });
      continue;
    }
    unfinished.add(log.origin);
    findings.add('note', 'log-open', `the log is not finished: a gateway is writing it, or it was lost and its successor has not started yet; ${log.size - log.signedSize} record(s) after the last checkpoint`, { file: `log/${log.logId}` });
  }
  return unfinished;
}
