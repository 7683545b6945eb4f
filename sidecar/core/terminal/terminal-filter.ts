import { type VtKind, VtTokenizer } from './vt-tokenizer.ts';

/** Takes from a stream what must not reach the terminal of a person; state and chunk in, chunk out. */
export interface TerminalFilter {
  push(chunk: Uint8Array): Uint8Array;
  /** Nothing more comes. A sequence that never ended is dropped: it would take in what is shown next. */
  end(): Uint8Array;
  /** Sequences taken out so far. */
  readonly removed: number;
}

/**
 * Makes the filter for what a target sends to a terminal. A hostile target can make terminals act for it: type for the user by answering with a text that the target chose,
 * read or write the clipboard, print, read files, define keys. Such sequences are taken out; colours, cursor, modes, titles, links to web pages and the questions
 * that editors ask (attributes, cursor position, colours, size), whose answers hold nothing of the target's choice, pass. Control strings are passed by an allow-list.
 *
 * @param options.questions false for a recording that is played: nobody waits for an answer, and the terminal would type it into the viewer's own shell.
 */
export function createTerminalFilter(options: { readonly questions: boolean } = { questions: true }): TerminalFilter {
  let out: string[] = [];
  let removed = 0;
  const tokenizer = new VtTokenizer({
    text: (bytes) => void out.push(bytes),
    sequence: (bytes, kind) => {
      if (isHarmless(bytes, kind) && (options.questions || !asks(bytes, kind))) out.push(bytes);
      else removed += 1;
    },
  });
  const take = (): Uint8Array => {
    const bytes = Buffer.from(out.join(''), 'latin1');
    out = [];
    return bytes;
  };
  return {
    push: (chunk) => {
      tokenizer.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1'));
      return take();
    },
    end: () => {
      tokenizer.end();
      return take();
    },
    get removed() {
      return removed;
    },
  };
}

/** Whether a control sequence may reach a terminal. */
function isHarmless(bytes: string, kind: VtKind): boolean {
  switch (kind) {
    // ENQ makes a terminal type its answerback text.
    case 'control': return bytes !== '\x05';
    case 'escape': return /^\x1b(?:[ #%()*+\-./][ -~]|[78=>DEHMNOcn|}~\\FGlmZ69])$/.test(bytes);
    case 'csi': return isHarmlessCsi(bytes);
    case 'osc': return isHarmlessOsc(bytes);
    // Sixel pictures only: DECRQSS and XTGETTCAP answer with a text, DECUDK defines keys, and tmux passes anything on.
    case 'dcs': return /^(?:\x1bP|\xc2\x90)[0-9;]{0,16}q[^\x00-\x1f\x7f]*(?:\x1b\\|\xc2\x9c)$/.test(bytes);
    // APC (kitty reads files by it), PM, SOS, the title of screen.
    case 'string': return false;
    default: return kind satisfies never;
  }
}

/** Whether a terminal answers a harmless sequence: attributes, status, parameters, modes, sizes, keyboard, colours. */
function asks(bytes: string, kind: VtKind): boolean {
  if (kind === 'csi') return /(?:[cnx]|\$p|\?[0-9;]*u|(?:14|15|16|18|19)(?:;[0-9]*)*t)$/.test(bytes);
  if (kind === 'osc') return bytes.includes('?');
  return kind === 'escape' && bytes === '\x1bZ';
}

/** Everything but: printing (`i`), reports of the title (`20 t`, `21 t`) and other window operations than sizes and the title's stack, checksums of the screen (`* y`), rewriting of keys (`p`). */
function isHarmlessCsi(bytes: string): boolean {
  const match = /^(?:\x1b\[|\xc2\x9b)([0-?]*)([ -/]*)([@-~])$/.exec(bytes);
  if (match === null) return false;
  const [, parameters = '', between = '', final = ''] = match;
  if (final === 'i') return false;
  if (final === 'y' && between === '*') return false;
  if (final === 'p' && between === '' && parameters !== '') return parameters.startsWith('>');
  if (final === 't' && between === '') return /^(?:14|15|16|18|19|22|23)(?:;[0-9]{0,4})*$/.test(parameters);
  return true;
}

/** Titles, the palette and its questions, the working directory, links to web pages, marks of the prompt. Not the clipboard (52), fonts (50), files and macros of single terminals (9, 777, 1337, …). */
function isHarmlessOsc(bytes: string): boolean {
  const match = /^(?:\x1b\]|\xc2\x9d)([0-9]{1,5})(?:;([^\x00-\x1f\x7f]*))?(?:\x07|\x1b\\|\xc2\x9c)$/.exec(bytes);
  if (match === null) return false;
  const [, number = '', text = ''] = match;
  const code = Number(number);
  if (code === 8) return /^[^;]*;(?:https?:\/\/[!-~]*)?$/.test(text);
  return code <= 2 || code === 4 || code === 5 || code === 7 || (code >= 10 && code <= 19) || code === 104 || code === 105 || (code >= 110 && code <= 119) || code === 133;
}
