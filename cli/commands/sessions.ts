import fs from 'node:fs';
import { openDirectory } from '../../sidecar/adapters/evidence-source.ts';
import type { CommandIo } from '../gateway-client.ts';
import { readOptions, UsageError } from '../options.ts';
import { listSessions, type SessionRow } from '../session-list.ts';
import { shownValue, table } from '../terminal-text.ts';

export const summary: string = 'list recorded sessions: who, target, when, statements, denials, rows, end';

const usage = 'usage: sallyport sessions --data DIR [--user NAME] [--target NAME] [--json]\n';

/** `sallyport sessions`: reads the records of a data directory, also of a running gateway. Exit 0, 4 on wrong usage. */
export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  try {
    const { values, flags } = readOptions(argv, { data: 'text', user: 'text', target: 'text', json: 'flag', help: 'flag' }, { min: 0, max: 0 });
    if (flags.has('help')) {
      io.stdout.write(usage);
      return 0;
    }
    const data = values.data ?? io.env['SALLYPORT_DATA'];
    if (data === undefined || !fs.existsSync(data)) throw new UsageError(data === undefined ? '--data DIR is needed' : `there is no directory ${data}`);
    const rows = (await listSessions(openDirectory(data))).filter((row) => (values.user ?? row.user) === row.user && (values.target ?? row.target) === row.target);
    io.stdout.write(flags.has('json') ? `${JSON.stringify({ sessions: rows, totals: totalsOf(rows) }, null, 2)}\n` : render(rows));
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    io.stderr.write(`error: ${error.message}\n${usage}`);
    return 4;
  }
}

function render(rows: readonly SessionRow[]): string {
  const totals = totalsOf(rows);
  const head = ['SESSION', 'STARTED (UTC)', 'USER', 'TARGET', 'DURATION', 'STATEMENTS', 'DENIED', 'ROWS', 'END'];
  const body = rows.map((row) => [
    row.session, new Date(row.startedMs).toISOString().slice(0, 19).replace('T', ' '), shownValue(row.user) + (row.agent === null ? '' : ` (agent ${shownValue(row.agent)})`),
    shownValue(`${row.target}/${row.database}`), row.durationMs === null ? '' : duration(row.durationMs), String(row.statements), String(row.denied), String(row.rows), row.endReason ?? 'open',
  ]);
  const list = rows.length === 0 ? '' : `${table([head, ...body], new Set([4, 5, 6, 7]))}\n`;
  return `${list}${totals.sessions} sessions, ${totals.users} users, ${totals.statements} statements, ${totals.denied} denied, ${totals.rows} rows\n`;
}

function totalsOf(rows: readonly SessionRow[]): Readonly<Record<'sessions' | 'users' | 'statements' | 'denied' | 'rows', number>> {
  const sum = (of: (row: SessionRow) => number): number => rows.reduce((all, row) => all + of(row), 0);
  return { sessions: rows.length, users: new Set(rows.map((row) => row.user)).size, statements: sum((r) => r.statements), denied: sum((r) => r.denied), rows: sum((r) => r.rows) };
}

function duration(ms: number): string {
  if (ms < 1000) return `${ms} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
