import fs from 'node:fs';
import { type EvidenceSource, openDirectory } from '../../sidecar/adapters/evidence-source.ts';
import { verifyEvidence, type VerifyReport } from '../../sidecar/adapters/evidence-verify.ts';
import { openPack } from '../../sidecar/adapters/zip-file.ts';
import { exitCode, type Finding } from '../../sidecar/core/recording/findings.ts';
import { verifyPack } from '../evidence/verify-pack.ts';
import type { CommandIo } from '../gateway-client.ts';
import { readOptions, UsageError } from '../options.ts';
import { shownValue } from '../terminal-text.ts';

export const summary: string = 'verify records, recordings or an exported pack, offline';

const usage = `usage: sallyport audit verify (--data DIR | DIR | PACK.zip) [--trust FILE] [--json]

Needs no network and no gateway. Exit 0 ok, 1 tampering, 2 something is missing, 3 unknown or wrong key, 4 wrong usage or unreadable input.
  --trust FILE   keys that you hold yourself, one vkey a line; without it the keys beside the logs are believed
`;

const maxTrustBytes = 1_048_576;

/** `sallyport audit verify`. */
export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  let source: EvidenceSource | null = null;
  try {
    const { values, flags, rest } = readOptions(argv, { data: 'text', trust: 'text', json: 'flag', help: 'flag' }, { min: 0, max: 1 });
    if (flags.has('help')) {
      io.stdout.write(usage);
      return 0;
    }
    const trusted = values.trust === undefined ? null : readTrust(values.trust);
    source = openSource(values.data ?? (rest[0] === undefined ? io.env['SALLYPORT_DATA'] : undefined), rest[0]);
    const started = performance.now();
    const report = await verifyEvidence(source, trusted);
    if (source.kind === 'pack') await verifyPack(source, report.findings);
    const code = exitCode(report.findings.counts);
    const seconds = (performance.now() - started) / 1000;
    io.stdout.write(flags.has('json') ? renderJson(report, code) : render(report, code, seconds, trusted !== null));
    return code;
  } catch (error) {
    if (error instanceof UsageError) {
      io.stderr.write(`error: ${error.message}\n${usage}`);
      return 4;
    }
    // A damaged zip or an unreadable file: nothing can be said about its content.
    io.stderr.write(`error: cannot be read: ${error instanceof Error ? shownValue(error.message) : 'unknown'}\n`);
    return 4;
  } finally {
    source?.close();
  }
}

function openSource(data: string | undefined, pack: string | undefined): EvidenceSource {
  if ((data === undefined) === (pack === undefined)) throw new UsageError('name either --data DIR or a pack');
  const path = data ?? pack ?? '';
  if (!fs.existsSync(path)) throw new UsageError(`there is no ${path}`);
  const directory = fs.statSync(path).isDirectory();
  if (data !== undefined && !directory) throw new UsageError(`${path} is not a directory; name a pack without --data`);
  const source = directory ? openDirectory(path) : openPack(path);
  // An empty place must not pass for a verified one.
  if (!source.paths.some((name) => name.startsWith('log/'))) throw new UsageError(`${path} holds no records`);
  return source;
}

function readTrust(path: string): readonly string[] {
  if (!fs.existsSync(path) || fs.statSync(path).size > maxTrustBytes) throw new UsageError(`--trust ${path}: no such file, or larger than 1 MiB`);
  return fs.readFileSync(path, 'utf8').split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
}

function render(report: VerifyReport, code: number, seconds: number, trusted: boolean): string {
  const { findings, ledger, logs } = report;
  const { counts } = ledger;
  const lines = logs.map((log) => `log ${log.origin ?? log.logId}: ${log.size} records, ${log.checkpoints} checkpoints, signed to ${log.signedSize}${log.closed ? ', closed' : ''}`);
  lines.push('', ...findings.list.map(findingLine));
  const more = Object.values(findings.counts).reduce((sum, n) => sum + n, 0) - findings.list.length;
  if (more > 0) lines.push(`… and ${more} more`);
  if (findings.list.length > 0) lines.push('');
  lines.push(`${report.records} records, ${counts.sessions} sessions (${counts.ended} ended), ${counts.intents} intents, ${counts.results} results, ${counts.denied} denied, ${counts.approvals} approvals, ${report.recordings.checked} recordings; ${seconds.toFixed(1)} s`);
  lines.push(trusted ? 'keys: all checked against --trust' : 'keys: taken from beside the logs; who could write there could have replaced whole logs (use --trust)');
  lines.push(verdicts[code] ?? '');
  return `${lines.join('\n')}\n`;
}

const verdicts: readonly string[] = ['OK: nothing was changed, added or removed', 'TAMPERING: what is here is not what was recorded', 'INCOMPLETE: something is missing', 'KEY: signed by a key that is not known'];

function findingLine(finding: Finding): string {
  const place = finding.file === null ? '' : ` ${shownValue(finding.file)}${finding.line === null ? '' : `:${finding.line}`}`;
  return `${finding.kind === 'note' ? 'note' : finding.kind.toUpperCase()}  ${finding.code}${place}${finding.session === null ? '' : `  session ${shownValue(finding.session)}`}\n      ${shownValue(finding.text)}`;
}

function renderJson(report: VerifyReport, code: number): string {
  const { findings, ledger, logs, recordings, records } = report;
  return `${JSON.stringify({ exit: code, verdict: ['ok', 'tampering', 'incomplete', 'key'][code], records, counts: ledger.counts, recordings: recordings.checked, findings: findings.list, totals: findings.counts, logs: logs.map(({ claims: _claims, ...log }) => log) }, null, 2)}\n`;
}
