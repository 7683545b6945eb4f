import { spawn } from 'node:child_process';
import type { Writable } from 'node:stream';
import headless from '@xterm/headless';

/** A program on a terminal of its own, driven as a person would. */
export interface TerminalSession extends AsyncDisposable {
  /** Types a text; `\r` is Enter. */
  type(text: string): void;
  /** Waits until the output behind the last match holds this; returns what came up to its end. */
  expect(wanted: string | RegExp, limitMs?: number): Promise<string>;
  resize(columns: number, rows: number): void;
  /** What stands on the screen, rows without trailing blanks. */
  screen(): Promise<string>;
  /** Everything that the program wrote. */
  output(): string;
  readonly exit: Promise<number>;
}

// Python's pty module gives the child a controlling terminal; Node has none. Descriptor 3 takes "COLUMNS ROWS" lines.
const program = `
import fcntl, os, pty, select, signal, struct, sys, termios
def size(fd, columns, rows): fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[3], sys.argv[3:])
size(fd, int(sys.argv[1]), int(sys.argv[2]))
open_fds = [0, 3, fd]
sizes = b''
while True:
    ready, _, _ = select.select(open_fds, [], [])
    if fd in ready:
        try: data = os.read(fd, 65536)
        except OSError: data = b''
        if not data: break
        os.write(1, data)
    if 0 in ready:
        data = os.read(0, 65536)
        if not data: open_fds.remove(0)
        else: os.write(fd, data)
    if 3 in ready:
        data = os.read(3, 1024)
        if not data: open_fds.remove(3)
        sizes += data
        while b'\\n' in sizes:
            line, sizes = sizes.split(b'\\n', 1)
            columns, rows = line.split()
            size(fd, int(columns), int(rows))
            os.kill(pid, signal.SIGWINCH)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status) % 256)
`;

/** Starts a program on a terminal. */
export function startTerminal(command: readonly string[], options: { readonly columns?: number; readonly rows?: number; readonly environment?: Readonly<Record<string, string>> } = {}): TerminalSession {
  const { columns = 100, rows = 30 } = options;
  const child = spawn('/usr/bin/python3', ['-c', program, String(columns), String(rows), ...command], { stdio: ['pipe', 'pipe', 'pipe', 'pipe'], env: { ...process.env, TERM: 'xterm-256color', SSH_AUTH_SOCK: '', ...options.environment } });
  const screen = new headless.Terminal({ cols: columns, rows, scrollback: 1000, allowProposedApi: true });
  const sizes = child.stdio[3] as Writable;
  let output = '';
  let matched = 0;
  let wake = (): void => undefined;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    screen.write(text);
    wake();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (output += text));
  for (const stream of [child.stdin, sizes]) stream.on('error', () => undefined);
  const exit = new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? -1)));
  void exit.then(() => wake());
  const find = (wanted: string | RegExp): number => {
    const rest = output.slice(matched);
    if (typeof wanted === 'string') return rest.includes(wanted) ? matched + rest.indexOf(wanted) + wanted.length : -1;
    const match = wanted.exec(rest);
    return match === null ? -1 : matched + match.index + match[0].length;
  };
  return {
    type: (text) => void child.stdin.write(text),
    expect: async (wanted, limitMs = 15_000) => {
      const end = Date.now() + limitMs;
      for (;;) {
        const at = find(wanted);
        if (at !== -1) {
          const text = output.slice(matched, at);
          matched = at;
          return text;
        }
        if (Date.now() > end || child.exitCode !== null) throw new Error(`${String(wanted)} did not come; since the last match: ${JSON.stringify(output.slice(matched).slice(-600))}`);
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, 200);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    },
    resize: (width, height) => {
      screen.resize(width, height);
      sizes.write(`${width} ${height}\n`);
    },
    screen: async () => {
      await new Promise<void>((resolve) => screen.write('', resolve));
      const { active } = screen.buffer;
      return Array.from({ length: screen.rows }, (_, row) => active.getLine(active.baseY + row)?.translateToString(true) ?? '').join('\n').trimEnd();
    },
    output: () => output,
    exit,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exit;
      screen.dispose();
    },
  };
}
