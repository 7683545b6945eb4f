import { Findings, type Place } from '../core/recording/findings.ts';
import { compareClaims, LogCheck, type LogOutcome } from '../core/recording/verify-log.ts';
import { SessionLedger } from '../core/recording/verify-session.ts';
import { digestOf, type EvidenceSource, logsIn } from './evidence-source.ts';
import { readLines } from './line-reader.ts';

/** The result of a verification, before it is worded. */
export interface VerifyReport {
  readonly findings: Findings;
  readonly logs: readonly LogOutcome[];
  readonly ledger: SessionLedger;
  readonly recordings: { readonly checked: number };
  /** Records read. */
  readonly records: number;
}

/** Files that are read whole: 16 million leaves, or as many checkpoints as belong to them. */
const maxWholeBytes = 536_870_912;

/**
 * Checks everything that can be checked without network and without the gateway: records against leaves, leaves against signed checkpoints, chains,
 * pairs, approvals, the ends that logs state of each other, recordings.
 *
 * @param trusted vkeys from outside; null believes the keys that lie beside the logs.
 */
export async function verifyEvidence(source: EvidenceSource, trusted: readonly string[] | null): Promise<VerifyReport> {
  const findings = new Findings();
  const ledger = new SessionLedger(findings);
  const logs: LogOutcome[] = [];
  const known = new Set<string>();
  for (const logId of logsIn(source)) {
    const outcome = await verifyLog(source, logId, { ledger, findings, trusted, known });
    logs.push(outcome);
    if (outcome.origin !== null) known.add(outcome.origin);
  }
  const unfinished = compareClaims(logs, findings, source.kind === 'directory');
  ledger.finish(unfinished);
  const checked = await verifyRecordings(source, ledger, findings);
  return { findings, logs, ledger, recordings: { checked }, records: logs.reduce((sum, log) => sum + log.size, 0) };
}

async function verifyLog(source: EvidenceSource, logId: string, run: {
  readonly ledger: SessionLedger; readonly findings: Findings; readonly trusted: readonly string[] | null; readonly known: ReadonlySet<string>;
}): Promise<LogOutcome> {
  const path = `log/${logId}`;
  const text = async (file: string): Promise<string | null> => (await source.read(file, maxWholeBytes))?.toString('utf8') ?? null;
  // Notes and leaves first: while a gateway writes, the records read later then hold at least what these two say.
  const notes = await text(`${path}/checkpoints.note`);
  const leaves = await source.read(`${path}/leaves.bin`, maxWholeBytes);
  const vkey = (await text(`log/keys/${logId}.vkey`))?.trim() ?? null;
  // In a pack the log before the first one may lie outside the range.
  const check = new LogCheck({ path, logId, notes, leaves, vkey, trusted: run.trusted }, run.ledger, run.findings, source.kind === 'pack' && run.known.size === 0);
  let next = 0;
  for (const file of source.paths.filter((p) => p.startsWith(`${path}/`) && p.endsWith('.ndjson'))) {
    const number = Number(file.slice(path.length + 1, -'.ndjson'.length));
    for (; next < number; next += 1) check.missingFile(`${path}/${String(next).padStart(8, '0')}.ndjson`);
    next = number + 1;
    let line = 0;
    for await (const batch of readLines(source.stream(file))) {
      for (const bytes of batch.lines) {
        line += 1;
        check.line(bytes, { file, line });
      }
      const place: Place = { file, line: line + 1 };
      if (batch.torn !== null) check.torn(batch.torn.length, place);
    }
  }
  return check.finish();
}

async function verifyRecordings(source: EvidenceSource, ledger: SessionLedger, findings: Findings): Promise<number> {
  const present = new Set(source.paths.filter((path) => path.startsWith('recordings/')));
  let checked = 0;
  for (const named of ledger.recordings) {
    const at = { file: named.uri, session: named.session };
    if (!present.has(named.uri)) {
      findings.add('incomplete', 'recording-missing', 'the recording that the session names is missing', at);
      continue;
    }
    checked += 1;
    present.delete(named.uri);
    const { sha256 } = await digestOf(source, named.uri);
    if (sha256 !== named.sha256) findings.add('tampering', 'recording-changed', 'the recording is not the one that the session was closed with', at);
  }
  for (const file of present) findings.add('note', 'recording-open', 'the recording belongs to no ended session: still open, or not of these logs', { file });
  return checked;
}
