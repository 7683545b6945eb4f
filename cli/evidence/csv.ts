/** A cell of a listing. */
export type Cell = string | number | boolean | null;

/**
 * One CSV line by RFC 4180, CRLF included. A text that a spreadsheet would take for a formula (it starts with = + - @, tab or CR)
 * gets a leading apostrophe; the JSON lines beside the CSV hold the exact value.
 */
export function csvLine(cells: readonly Cell[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`;
}

function csvCell(cell: Cell): string {
  if (cell === null) return '';
  if (typeof cell !== 'string') return String(cell);
  const text = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
