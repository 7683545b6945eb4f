import { countAt, isObject, listAt, objectAt, textAt } from '../../sidecar/core/recording/record-view.ts';
import { padded, shownText, shownValue, widthOf } from '../terminal-text.ts';
import type { RecordedEvent } from './recorded-event.ts';

/** Renders events as a person reads them: statement, decision, grid as psql draws it, outcome. Keeps the columns of running statements. */
export class EventRenderer {
  readonly #columns: Map<number, readonly string[]> = new Map();
  readonly #headed: Set<number> = new Set();

  /** The header line of a recording. */
  header(header: Readonly<Record<string, unknown>>): string {
    const show = (key: string): string => shownValue(textAt(header, key) ?? '?');
    return `session ${show('session')} of ${show('user')} on ${show('target')}, database ${show('database')}, started ${show('started_at')}\n\n`;
  }

  /** Text of one event; empty for what has nothing to show. */
  render(event: RecordedEvent): string {
    const { data, statement } = event;
    switch (event.code) {
      case 'q': return `\n[${statement}] ${shownText(textAt(data, 'text') ?? '')}${data['redacted'] === true ? '   -- values hidden' : ''}\n`;
      case 'p': return listAt(data, 'params').filter(isObject).map((p, n) => `    $${n + 1} = ${parameter(p)}\n`).join('');
      case 'a': return decision(data);
      case 'd':
        this.#columns.set(statement, listAt(data, 'columns').filter(isObject).map((c) => shownValue(textAt(c, 'name') ?? '') + (c['style'] === undefined ? '' : '*')));
        return '';
      case 'r': return this.#grid(statement, listAt(data, 'rows'));
      case 'c': return this.#outcome(statement, data);
      case 'e': case 'n': return `${shownValue(textAt(data, 'severity') ?? 'NOTICE')}:  ${shownText(textAt(data, 'message') ?? '')} (SQLSTATE ${shownValue(textAt(data, 'sqlstate') ?? '?')})\n`;
      case 'y': return `COPY ${data['direction'] === 'in' ? 'from the client' : 'to the client'}: ${countAt(data, 'bytes') ?? 0} bytes in ${countAt(data, 'chunks') ?? 0} chunks\n${listAt(data, 'sample').map((chunk) => `  ${cell(chunk)}\n`).join('')}`;
      case 't': return `-- not stored further: ${shownValue(textAt(data, 'reason') ?? textAt(data, 'what') ?? '')} (${shownValue(textAt(data, 'what') ?? '')} ${countAt(data, 'limit') ?? '?'}, stored ${countAt(data, 'stored') ?? '?'})\n`;
      case 'm': return `    ${shownValue(textAt(data, 'label') ?? '')}${textAt(data, 'code') === null ? '' : ` ${shownValue(textAt(data, 'code') ?? '')}`}\n`;
      case 'x': return `\nend: ${shownValue(textAt(data, 'reason') ?? '')}, ${countAt(data, 'statements') ?? '?'} statements, ${countAt(data, 'rows') ?? '?'} rows\n`;
      default: return '';
    }
  }

  #grid(statement: number, rows: readonly unknown[]): string {
    const cells = rows.filter(Array.isArray).map((row) => (row as unknown[]).map(cell));
    const names = this.#columns.get(statement) ?? (cells[0] ?? []).map((_, n) => `column ${n + 1}`);
    const widths = names.map((name, column) => Math.max(widthOf(name), ...cells.map((row) => widthOf(row[column] ?? ''))));
    const line = (row: readonly string[], pad: (text: string, width: number) => string): string => `${row.map((text, column) => ` ${pad(text, widths[column] ?? 0)} `).join('|').trimEnd()}\n`;
    const head = this.#headed.has(statement) ? '' : `${line(names, centred)}${widths.map((width) => '-'.repeat(width + 2)).join('+')}\n`;
    this.#headed.add(statement);
    return head + cells.map((row) => line(row, padded)).join('');
  }

  #outcome(statement: number, data: Readonly<Record<string, unknown>>): string {
    const rows = countAt(data, 'rows') ?? 0;
    const stored = countAt(data, 'rows_stored') ?? 0;
    const masked = countAt(data, 'masked_cells') ?? 0;
    const count = this.#headed.has(statement) || this.#columns.has(statement) ? `(${rows} ${rows === 1 ? 'row' : 'rows'}${stored < rows ? `, ${stored} stored` : ''}) ` : '';
    this.#columns.delete(statement);
    this.#headed.delete(statement);
    const outcome = textAt(data, 'outcome') ?? '?';
    const parts = [outcome === 'Completed' ? textAt(data, 'tag') : `${outcome}${textAt(data, 'sqlstate') === null ? '' : ` ${textAt(data, 'sqlstate') ?? ''}`}`, masked > 0 ? `${masked} masked` : null, `${Number(data['duration_ms'] ?? 0)} ms`];
    return `${count}${shownValue(parts.filter((part) => part !== null).join(', '))}\n`;
  }
}

function cell(value: unknown): string {
  if (value === null) return '';
  if (typeof value === 'string') return shownValue(value);
  return isObject(value) ? `\\x${shownValue(textAt(value, 'hex') ?? '')}` : '?';
}

function parameter(data: Readonly<Record<string, unknown>>): string {
  const value = textAt(data, 'value');
  if (value !== null) return shownValue(value);
  return textAt(data, 'hmac') === null ? 'NULL' : `hidden ${shownValue(textAt(data, 'hmac') ?? '')}`;
}

function decision(data: Readonly<Record<string, unknown>>): string {
  const effect = textAt(data, 'effect') ?? '?';
  const request = textAt(data, 'request');
  const decisions = listAt(data, 'decisions').length;
  const how = request === null ? '' : `, request ${shownValue(request)}${decisions > 0 ? `, ${decisions} ${decisions === 1 ? 'approval' : 'approvals'}` : ''}`;
  const by = textAt(data, 'policy') === null ? 'no policy' : `policy ${shownValue(textAt(data, 'policy') ?? '')}${textAt(data, 'rule') === null ? '' : `, rule ${shownValue(textAt(data, 'rule') ?? '')}`}`;
  return `    ${shownValue(effect)} by ${by}${how}\n`;
}

function centred(text: string, width: number): string {
  const left = Math.floor((width - widthOf(text)) / 2);
  return padded(' '.repeat(Math.max(0, left)) + text, width);
}

/** The object under a key; exported for the JSON dump's header check. */
export function headerOf(line: string): Readonly<Record<string, unknown>> | null {
  try {
    const header: unknown = JSON.parse(line);
    return isObject(header) && header['kind'] === 'sqlrec' ? objectAt({ header }, 'header') : null;
  } catch {
    return null;
  }
}
