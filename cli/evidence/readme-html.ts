import type { PopulationTotals } from './derive.ts';
import type { PopulationName, Row } from './populations.ts';
import type { EvidenceQuery } from './query.ts';

/** One log of the pack. */
export interface LogSummary {
  readonly logId: string;
  readonly origin: string;
  readonly records: number;
  readonly firstMs: number;
  readonly lastMs: number;
}

/** What the summary is made from: nothing but the records, so that it can be made again and compared. */
export interface ReadmeFacts {
  readonly query: EvidenceQuery;
  readonly totals: Readonly<Record<PopulationName, PopulationTotals>>;
  readonly logs: readonly LogSummary[];
}

/** The summary of a pack: one HTML file without scripts or outside resources, made to be read and printed. */
export function renderReadme(facts: ReadmeFacts): string {
  const { query, totals } = facts;
  const title = `Access evidence, ${day(query.fromMs)} to ${day(query.toMs)}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${style}</style>
</head>
<body>
<header>
<h1>${escaped(title)}</h1>
<p>Who ran what, where and when, who approved it, and what was refused, from the records of the access gateway <b>sallyport</b>. Rows and texts are masked as the users saw them. This page shows the beginning of each listing; the files beside it hold all of it.</p>
</header>
${scope(facts)}
${numbers(totals)}
${listing('Sessions', 'Each connection of a person, job or agent to a target.', 'sessions', totals.sessions, [
    ['Started (UTC)', (r) => stamp(r['started'])], ['User', (r) => user(r)], ['Target', (r) => `${text(r['target'])}<br><small>${text(r['database'])}</small>`], ['Duration', (r) => elapsed(r['duration_ms'])],
    ['Statements', (r) => number(r['statements'])], ['Denied', (r) => number(r['denied'])], ['Rows', (r) => number(r['rows'])], ['End', (r) => text(r['end_reason'] ?? 'open')], ['Session', (r) => code(r['session'])],
  ], new Set([4, 5, 6]))}
${listing('Statements', 'One row per execution. "by" is the policy and rule that decided.', 'statements', totals.statements, [
    ['Time (UTC)', (r) => stamp(r['time'])], ['User', (r) => name(r['user'])], ['Target', (r) => text(r['target'])], ['Statement', (r) => `${code(cut(r['text']))}${r['parameters'] === null ? '' : `<br><small>parameters ${code(cut(r['parameters']))}</small>`}`],
    ['Decision', (r) => `${text(r['effect'])}<br><small>by ${text(r['policy'])}${r['rule'] === null ? '' : ` / ${text(r['rule'])}`}${r['approvers'] === null ? '' : `<br>approved by ${name(r['approvers'])}`}</small>`],
    ['Outcome', (r) => `${text(r['outcome'] ?? 'no result yet')}${r['sqlstate'] === null ? '' : ` <small>${text(r['sqlstate'])}</small>`}`], ['Rows', (r) => number(r['rows'])], ['Masked', (r) => number(r['masked_cells'])],
  ], new Set([6, 7]))}
${listing('Approvals', 'Requests and what became of them. Nobody can approve their own request; the digest binds the exact statement.', 'approvals', totals.approvals, [
    ['Time (UTC)', (r) => stamp(r['time'])], ['Event', (r) => text(r['event'])], ['Request', (r) => code(r['request'])], ['Requester', (r) => name(r['requester'])], ['For', (r) => `${text(r['scope'])} on ${text(r['target'])}<br><small>${text(r['kind'])} ${text(r['objects'])}</small>`],
    ['Decision', (r) => text(r['decision'])], ['Approver', (r) => name(r['approver'])], ['Reason', (r) => text(cut(r['reason']))],
  ], new Set())}
${listing('Denied attempts', 'Failed logins, denied statements, and statements cancelled while they waited for approval.', 'denied_attempts', totals.denied_attempts, [
    ['Time (UTC)', (r) => stamp(r['time'])], ['Event', (r) => text(r['event'])], ['User', (r) => `${name(r['user'])}${r['user_verified'] === true ? '' : '<br><small>as claimed, not verified</small>'}`], ['Target', (r) => text(r['target'])],
    ['Statement', (r) => (r['text'] === null ? '' : code(cut(r['text'])))], ['Code', (r) => text(r['code'])], ['Rule', (r) => `${text(r['policy'])}${r['rule'] === null ? '' : ` / ${text(r['rule'])}`}`], ['From', (r) => text(r['client_ip'])],
  ], new Set())}
${proofText(facts)}
</body>
</html>
`;
}

type Column = readonly [title: string, render: (row: Row) => string];

function scope({ query, logs }: ReadmeFacts): string {
  const filters = [['Namespace', query.namespace], ['Target', query.target], ['Subject', query.subject]].filter(([, value]) => value !== null);
  return `<section><h2>Scope</h2>
<table class="facts">
<tr><th>Period</th><td>${stampMs(query.fromMs)} to ${stampMs(query.toMs)} UTC, end excluded</td></tr>
<tr><th>Filters</th><td>${filters.length === 0 ? 'none' : filters.map(([name, value]) => `${name} ${text(value ?? '')}`).join(', ')} <small>(filters shorten the listings; the records are complete)</small></td></tr>
<tr><th>Sources</th><td>${logs.length} ${logs.length === 1 ? 'log' : 'logs'}, ${logs.reduce((sum, log) => sum + log.records, 0).toLocaleString('en-US')} records: every record of every log that touches the period</td></tr>
</table>
<table><thead><tr><th>Log</th><th class="n">Records</th><th>First (UTC)</th><th>Last (UTC)</th></tr></thead><tbody>
${logs.map((log) => `<tr><td>${code(log.origin)}</td><td class="n">${log.records.toLocaleString('en-US')}</td><td>${stampMs(log.firstMs)}</td><td>${stampMs(log.lastMs)}</td></tr>`).join('\n')}
</tbody></table></section>`;
}

function numbers(totals: Readonly<Record<PopulationName, PopulationTotals>>): string {
  const tile = (count: number, label: string): string => `<div><b>${count.toLocaleString('en-US')}</b><span>${label}</span></div>`;
  return `<section class="tiles">${tile(totals.sessions.rows, 'sessions')}${tile(totals.sessions.users, 'users')}${tile(totals.statements.rows, 'statements')}${tile(totals.statements.rowsReturned, 'rows returned')}${tile(totals.statements.maskedCells, 'values masked')}${tile(totals.approvals.rows, 'approval events')}${tile(totals.denied_attempts.rows, 'denied attempts')}</section>`;
}

function listing(title: string, about: string, file: PopulationName, totals: PopulationTotals, columns: readonly Column[], right: ReadonlySet<number>): string {
  const align = (index: number): string => (right.has(index) ? ' class="n"' : '');
  const rest = totals.rows - totals.sample.length;
  const body = totals.sample.map((row) => `<tr>${columns.map(([, render], index) => `<td${align(index)}>${render(row)}</td>`).join('')}</tr>`).join('\n');
  return `<section><h2>${title} <small>${totals.rows.toLocaleString('en-US')}</small></h2>
<p>${about} All of it, with every field: <code>02_populations/${file}.csv</code> and <code>.jsonl</code>.</p>
${totals.rows === 0 ? '<p class="none">None in this period.</p>' : `<table><thead><tr>${columns.map(([name], index) => `<th${align(index)}>${name}</th>`).join('')}</tr></thead><tbody>\n${body}\n</tbody></table>`}
${rest > 0 ? `<p class="none">${rest.toLocaleString('en-US')} more rows in the file.</p>` : ''}</section>`;
}

function proofText({ totals }: ReadmeFacts): string {
  return `<section><h2>How to verify</h2>
<p>On a machine of your own, without network and without the gateway:</p>
<pre>sallyport audit verify PACK.zip</pre>
<p>It checks that every record is the one that was logged (hash chains per session, a Merkle tree per log, checkpoints signed by the gateway process), that no number is missing, that every statement has its intent and its result, that approvals came before execution and from somebody else, that recordings are unchanged, and that the listings above follow from the records: it makes them again and compares. Exit 0 means all of that holds, 1 tampering, 2 something is missing, 3 a key is not the expected one, 4 wrong usage.</p>
<p>Without it: <code>sha256sum -c SHA256SUMS</code> checks that the files are those of this pack. Every row ends with <code>log_origin, log_seq, record_hash</code>: the SHA-256 of the line <code>log_seq</code> of that log under <code>log/</code>.</p>
<h3>Recordings</h3>
<p><code>recordings/SESSION.sqlrec.gz</code> is gzip over one JSON array per line: what each user saw. <code>recordings/SESSION.CHANNEL.cast.gz</code> is an asciicast v3, one for each channel of an SSH session. Play one with <code>sallyport replay SESSION --data UNPACKED</code>.</p>
<h3>What this cannot show</h3>
<ul>
<li>The key that signs a log is made by the gateway when it starts. Whoever could write the gateway's data directory could replace a whole log and its key. Keep the keys (<code>log/keys</code>) or checkpoints elsewhere and pass them with <code>--trust</code>.</li>
<li>A gateway that was compromised while it ran can leave out or falsify what it logs. Compare with the logs of the targets.</li>
<li>What does not go through the gateway is not here.</li>
</ul>
<h3>Control totals</h3>
<table><thead><tr><th>Listing</th><th class="n">Rows</th><th class="n">Users</th><th class="n">Rows returned</th><th class="n">Bytes</th><th class="n">Masked values</th></tr></thead><tbody>
${Object.entries(totals).map(([name, sums]) => `<tr><td>${code(`02_populations/${name}.csv`)}</td>${[sums.rows, sums.users, sums.rowsReturned, sums.bytes, sums.maskedCells].map((n) => `<td class="n">${n.toLocaleString('en-US')}</td>`).join('')}</tr>`).join('\n')}
</tbody></table></section>`;
}

function text(value: unknown): string {
  return value === null || value === undefined ? '' : escaped(String(value));
}

/** Names can be long and have no blank: they may break anywhere, other words may not. */
function name(value: unknown): string {
  return value === null || value === undefined ? '' : `<span class="who">${escaped(String(value))}</span>`;
}

function code(value: unknown): string {
  return value === null || value === undefined ? '' : `<code>${escaped(String(value))}</code>`;
}

function user(row: Row): string {
  return `${name(row['user'])}${row['agents'] === '' || row['agents'] === null ? '' : `<br><small>through agent ${text(row['agents'])}</small>`}<br><small>${text(row['client_ip'])}${row['application'] === null ? '' : `, ${text(row['application'])}`}</small>`;
}

function number(value: unknown): string {
  return typeof value === 'number' ? value.toLocaleString('en-US') : '';
}

function elapsed(value: unknown): string {
  if (typeof value !== 'number') return '';
  if (value < 1000) return `${value} ms`;
  return value < 120_000 ? `${(value / 1000).toFixed(1)} s` : `${Math.round(value / 60_000)} min`;
}

function cut(value: unknown): string {
  const whole = String(value ?? '');
  return whole.length > 400 ? `${whole.slice(0, 400)}…` : whole;
}

function stamp(value: unknown): string {
  return typeof value === 'string' ? text(value.slice(0, 19).replace('T', ' ')) : '';
}

function stampMs(ms: number): string {
  return stamp(new Date(ms).toISOString());
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** Also makes characters visible that would reorder or hide text on the page. */
function escaped(value: string): string {
  return value
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
    .replace(/[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, (c) => `\\u{${c.charCodeAt(0).toString(16)}}`)
    .replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;');
}

const style = `
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 14px/1.45 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: #1b1f24; margin: 0 auto; max-width: 1180px; padding: 32px 28px 64px; background: #fff; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 8px; }
h2 { font-size: 18px; margin: 36px 0 4px; padding-top: 12px; border-top: 2px solid #1b1f24; }
h2 small { color: #57606a; font-weight: 400; margin-left: 6px; }
h3 { font-size: 15px; margin: 20px 0 4px; }
p { margin: 4px 0 10px; max-width: 90ch; }
small { color: #57606a; font-size: 12px; }
code, pre { font: 12.5px/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
pre { background: #f6f8fa; border: 1px solid #d0d7de; padding: 8px 12px; }
table { border-collapse: collapse; width: 100%; margin: 8px 0 12px; }
th { text-align: left; font-weight: 600; font-size: 12px; color: #57606a; border-bottom: 1px solid #8c959f; padding: 4px 10px 4px 0; white-space: nowrap; }
td { vertical-align: top; border-bottom: 1px solid #e4e8ec; padding: 5px 10px 5px 0; overflow-wrap: break-word; }
.who { display: inline-block; min-width: 13em; overflow-wrap: anywhere; }
td:first-child { white-space: nowrap; }
table.facts { width: auto; } table.facts th { width: 90px; border: 0; padding-top: 5px; } table.facts td { border: 0; white-space: normal; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
.none { color: #57606a; }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin-top: 20px; }
.tiles div { border: 1px solid #d0d7de; padding: 8px 14px; min-width: 118px; }
.tiles b { display: block; font-size: 22px; font-variant-numeric: tabular-nums; } .tiles span { color: #57606a; font-size: 12px; }
@media print {
  @page { margin: 14mm; size: A4 landscape; }
  body { font-size: 10px; padding: 0; max-width: none; } h1 { font-size: 18px; } h2 { font-size: 13px; margin-top: 18px; } h3 { font-size: 11.5px; } th { font-size: 9.5px; }
  code, pre, small { font-size: 9px; } .who { min-width: 15em; } thead { display: table-header-group; } tr, .tiles div { break-inside: avoid; } h2, h3 { break-after: avoid; }
}
`;
