import { hash } from 'node:crypto';
import type { EventCode } from '../../../contract/audit.ts';
import { SallyportError } from '../errors.ts';
import { type HexHash, MerkleTree } from './merkle.ts';

/** Longest line, LF excluded. */
export const maxLineBytes: number = 65_536;

/** `prev_hash` of a session's first line. */
export const zeroHash: HexHash = '0'.repeat(64);

/** Place of a session in its chain. Encoding a line advances it. */
export interface SessionChain {
  readonly sessionId: string;
  /** `session_seq` of the next line. */
  nextSeq: number;
  /** Hash of the session's last line. */
  prevHash: HexHash;
}

/** What an event says, without what the log adds. */
export interface EventBody {
  /** Members of the OCSF object but `metadata`, comma-separated; the last one is `evidence`, its closing brace left out. */
  readonly json: string;
  /** A text was cut to fit. */
  readonly truncated: boolean;
}

/** Starts a session's chain. */
export function newChain(sessionId: string): SessionChain {
  return { sessionId, nextSeq: 0, prevHash: zeroHash };
}

/**
 * Turns events into the lines of one log. A line holds the hash of the session's line before it; its own SHA-256 (of exactly the bytes
 * that are stored, LF excluded) is the next leaf of the log's Merkle tree. Nothing is ever serialised twice.
 */
export class LogEncoder {
  readonly origin: string;
  readonly tree: MerkleTree = new MerkleTree();
  readonly #uidPrefix: string;
  readonly #metadataTail: string;
  readonly #integrityHead: string;
  #lastHash: HexHash = zeroHash;

  /** @param options.logId unique name of the log, part of every record's `metadata.uid`. */
  constructor(options: { readonly origin: string; readonly logId: string; readonly namespace: string; readonly version: string }) {
    this.origin = options.origin;
    this.#uidPrefix = `{"metadata":{"version":"1.8.0","uid":"${options.logId}-`;
    const product = { name: 'sallyport', vendor_name: 'Sallyport', version: options.version, feature: { name: 'sallyport-proxy' } };
    this.#metadataTail = `"product":${JSON.stringify(product)},"profiles":["security_control","datetime"],"log_name":"evidence","tenant_uid":${JSON.stringify(options.namespace)}`;
    this.#integrityHead = `,"integrity":{"alg":"sha256-line/1","log_origin":${JSON.stringify(options.origin)},"log_seq":"`;
  }

  /** `log_seq` of the next line. */
  get size(): number {
    return this.tree.size;
  }

  /** Hash of the line made last. */
  get lastHash(): HexHash {
    return this.#lastHash;
  }

  /**
   * Makes the next line, LF excluded, and advances the log and the chain.
   *
   * @param correlationUid session of an event that is outside a chain, if any.
   * @throws SallyportError `RECORDER_FAILED` when the line would be longer than a record may be; nothing has advanced then.
   */
  next(code: EventCode, body: EventBody, chain: SessionChain | null, correlationUid: string | null = null): string {
    const seq = this.tree.size;
    const session = chain === null ? correlationUid : chain.sessionId;
    const line = this.#uidPrefix + seq + '","event_code":"' + code + '",'
      + (session === null ? '' : '"correlation_uid":' + JSON.stringify(session) + ',')
      + (chain === null ? '' : '"sequence":' + chain.nextSeq + ',')
      + (body.truncated ? '"is_truncated":true,' : '')
      + this.#metadataTail + '},' + body.json + this.#integrityHead + seq + '"'
      + (chain === null ? '' : ',"session_seq":"' + chain.nextSeq + '","prev_hash":"sha256:' + chain.prevHash + '"')
      + '}}}';
    // Three bytes are the most that one UTF-16 unit takes, so the exact count is needed for long lines only.
    if (line.length * 3 > maxLineBytes && Buffer.byteLength(line) > maxLineBytes) throw new SallyportError('RECORDER_FAILED', { reason: 'record too long', event: code });
    const lineHash = hash('sha256', line, 'hex');
    this.tree.append(lineHash);
    this.#lastHash = lineHash;
    if (chain !== null) {
      chain.nextSeq += 1;
      chain.prevHash = lineHash;
    }
    return line;
  }
}
