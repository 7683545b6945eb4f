import { isObject, objectAt, textAt } from '../../sidecar/core/recording/record-view.ts';
import { createTerminalFilter, type TerminalFilter } from '../../sidecar/core/terminal/terminal-filter.ts';
import { VtTokenizer } from '../../sidecar/core/terminal/vt-tokenizer.ts';
import { shownText, shownValue } from '../terminal-text.ts';

/** One event of an asciicast v3. */
export interface CastEvent {
  /** Since the event before, ms. */
  readonly waitMs: number;
  readonly code: string;
  readonly data: string;
}

/** The header of an asciicast v3, or null for another line. */
export function castHeaderOf(line: string): Readonly<Record<string, unknown>> | null {
  const header = parsed(line);
  return isObject(header) && header['version'] === 3 ? header : null;
}

/** Reads an event line; null when it is damaged. Unknown codes are kept, for the reader to skip. */
export function parseCastEvent(line: string): CastEvent | null {
  const value = parsed(line);
  if (!Array.isArray(value)) return null;
  const [seconds, code, data] = value as unknown[];
  if (typeof seconds !== 'number' || typeof code !== 'string' || typeof data !== 'string') return null;
  return { waitMs: Math.max(0, seconds * 1000), code, data };
}

/** Shows the events of one channel. */
export interface CastView {
  header(header: Readonly<Record<string, unknown>>): string;
  render(event: CastEvent): string;
  /** What is left at the end, and whatever puts the terminal right. */
  end(): string;
}

/** As on the user's screen; sequences that could drive the viewer's terminal, or that it would answer, are taken out. */
export function screenView(): CastView {
  const filter: TerminalFilter = createTerminalFilter({ questions: false });
  return {
    header: (header) => `${castTitle(header)}\r\n`,
    render: ({ code, data }) => (code === 'o' ? Buffer.from(filter.push(Buffer.from(data, 'utf8'))).toString('utf8') : ''),
    // Colours off, the main screen, a visible cursor, no reports of mouse and paste.
    end: () => '\x1b[0m\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?2004l\x1b[?1l\x1b>\r\n',
  };
}

/** As plain text: no control sequence, every other control as `\xNN`, markers and the exit status on lines of their own. */
export function textView(): CastView {
  let line = '';
  const tokenizer = new VtTokenizer({ text: (bytes) => { line += bytes; }, sequence: () => undefined });
  const take = (all: boolean): string => {
    const end = all ? line.length : line.lastIndexOf('\n') + 1;
    const text = line.slice(0, end);
    line = line.slice(end);
    return text === '' ? '' : shownText(Buffer.from(text, 'latin1').toString('utf8').replaceAll(/\r+\n/g, '\n').replaceAll('\r', '\n'));
  };
  const ownLine = (text: string): string => {
    const before = take(true);
    return `${before}${before === '' || before.endsWith('\n') ? '' : '\n'}${text}\n`;
  };
  return {
    header: (header) => `${castTitle(header)}\n\n`,
    render: ({ code, data }) => {
      switch (code) {
        case 'o':
          tokenizer.push(Buffer.from(data, 'utf8').toString('latin1'));
          return take(false);
        case 'm': return ownLine(`-- ${shownValue(data)}`);
        case 'x': return ownLine(`-- exit status ${shownValue(data)}`);
        default: return '';
      }
    },
    end: () => {
      const rest = take(true);
      return rest === '' || rest.endsWith('\n') ? `${rest}\n` : `${rest}\n\n`;
    },
  };
}

function castTitle(header: Readonly<Record<string, unknown>>): string {
  const own = objectAt(header, 'sallyport');
  const show = (key: string): string => shownValue(textAt(own, key) ?? '?');
  const started = typeof header['timestamp'] === 'number' ? new Date(header['timestamp'] * 1000).toISOString() : '?';
  const command = textAt(header, 'command');
  return `session ${show('session')} of ${show('user')} as ${show('account')} on ${show('target')}, channel ${String(own['channel'] ?? '?')}, started ${started}${command === null ? '' : `\n$ ${shownValue(command)}`}`;
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return null;
  }
}
