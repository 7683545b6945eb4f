import headless from '@xterm/headless';

/** Reads commands off the screen of a raw shell. */
export interface CommandObserver {
  /** What the user typed: only that Enter was pressed is used, never which keys. */
  typed(bytes: Uint8Array): void;
  /** What the user was shown, after masking. */
  shown(bytes: Uint8Array): void;
  resize(columns: number, rows: number): void;
  /** Resolves when what was shown is worked through. */
  close(): Promise<void>;
}

/** Longest text of one command that is noted. */
const maxText = 4096;
/** Bytes that may wait for the screen; more is skipped, and the next prompt is read afresh. */
const maxWaiting = 1024 * 1024;
/** Most commands noted per shell. */
const maxCommands = 10_000;

/**
 * Follows a terminal's screen and says which commands were probably typed at its prompt: reconstructed, not enforced. It decides nothing. History, completion and edits come out as they stood on the
 * screen when Enter was pressed; what a program with the alternate screen shows is left out; what is not echoed (a password) is not on the screen and so never noted.
 *
 * @param note called with the text between the place where typing began and the end of that line.
 */
export function observeCommands(size: { readonly columns: number; readonly rows: number }, note: (text: string) => void): CommandObserver {
  const screen = new headless.Terminal({ cols: Math.max(2, size.columns), rows: Math.max(2, size.rows), scrollback: 100, allowProposedApi: true });
  let waiting = 0;
  let noted = 0;
  /** Where typing began: a marker moves with its row. */
  let began: { readonly marker: { readonly line: number; dispose(): void }; readonly column: number } | null = null;
  let isEntered = false;

  const forget = (): void => {
    began?.marker.dispose();
    began = null;
    isEntered = false;
  };
  const read = (): void => {
    const { active } = screen.buffer;
    if (began === null || active.type === 'alternate' || began.marker.line < 0) return forget();
    let text = '';
    for (let row = began.marker.line; row < active.length && text.length < maxText; row++) {
      const line = active.getLine(row);
      if (line === undefined || (row > began.marker.line && !line.isWrapped)) break;
      text += line.translateToString(false, row === began.marker.line ? began.column : 0);
    }
    forget();
    const command = text.trim().slice(0, maxText);
    if (command === '' || noted >= maxCommands) return;
    noted += 1;
    note(command);
  };
  screen.onLineFeed(() => {
    if (isEntered) read();
  });

  return {
    typed: (bytes) => {
      const isGivenUp = bytes.includes(0x03) || bytes.includes(0x04);
      const isEnter = bytes.includes(0x0d) || bytes.includes(0x0a);
      // In its turn: behind what was shown before the key, and ahead of its echo.
      screen.write('', () => {
        if (isGivenUp) return forget();
        if (began === null && screen.buffer.active.type === 'normal') {
          const marker = screen.registerMarker(0);
          if (marker !== undefined) began = { marker, column: screen.buffer.active.cursorX };
        }
        isEntered ||= isEnter && began !== null;
      });
    },
    shown: (bytes) => {
      if (waiting + bytes.length > maxWaiting) return forget();
      waiting += bytes.length;
      screen.write(bytes, () => {
        waiting -= bytes.length;
      });
    },
    resize: (columns, rows) => screen.resize(Math.max(2, columns), Math.max(2, rows)),
    close: async () => {
      await new Promise<void>((resolve) => screen.write('', resolve));
      forget();
      screen.dispose();
    },
  };
}
