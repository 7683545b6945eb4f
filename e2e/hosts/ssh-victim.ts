import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';
import type ssh2Types from 'ssh2';
import type { ServerChannel, Session } from 'ssh2';

/**
 * A bare ssh2 in a process of its own, for tests that compare it with and without our patch, or that must be able to kill it: `node ssh-victim.ts SSH2_FOLDER server HOST_KEY` prints its port,
 * `... client PORT` connects, runs a command and reads nothing. Prints `closed` when the other side is gone.
 */
function main([folder = '', role = '', argument = '']: readonly string[]): void {
  const ssh2 = createRequire(import.meta.url)(folder) as typeof ssh2Types;
  if (role === 'server') serve(ssh2, argument);
  else connect(ssh2, Number(argument));
}

function serve(ssh2: typeof ssh2Types, hostKey: string): void {
  const server = new ssh2.Server({ hostKeys: [readFileSync(hostKey)] }, (connection) => {
    connection.on('error', () => undefined).on('close', () => process.stdout.write('closed\n'));
    connection.on('authentication', (context) => context.accept());
    connection.on('session', (accept) => onSession(accept()));
  });
  server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as { readonly port: number }).port}\n`));
}

function onSession(session: Session): void {
  session.on('exec', (accept, _reject, { command }) => {
    const channel = accept();
    // `swallow` does nothing: the channel's data waits unread.
    if (command === 'flood') endless().pipe(channel);
    else if (command.startsWith('both ')) void writeBoth(channel, Number(command.slice(5)));
  });
}

/** First all of stdout, then all of stderr: the same bytes on each, known by their digest. */
async function writeBoth(channel: ServerChannel, bytes: number): Promise<void> {
  for (const stream of [channel, channel.stderr as NodeJS.WritableStream]) {
    for (let sent = 0; sent < bytes; sent += block) await new Promise<void>((resolve) => void stream.write(numbered(sent), () => resolve()));
  }
  channel.exit(0);
  channel.stderr.end(() => channel.end());
}

const block = 32_768;

/** 32 KiB that differ from place to place. */
export function numbered(at: number): Buffer {
  return Buffer.from(createHash('sha256').update(String(at)).digest('hex').repeat(block / 64));
}

function endless(): Readable {
  return new Readable({ read() { this.push(Buffer.alloc(65_536)); } });
}

function connect(ssh2: typeof ssh2Types, port: number): void {
  const client = new ssh2.Client();
  client.on('error', () => undefined).on('close', () => process.stdout.write('closed\n'));
  client.on('ready', () => client.exec('anything', (_error, stream) => {
    // Listened to, and never read.
    stream.pause();
    stream.stderr.pause();
    process.stdout.write('running\n');
  }));
  client.connect({ host: '127.0.0.1', port, username: 'x', hostVerifier: () => true });
  // Stays until it is killed: the test looks at its memory.
  setInterval(() => undefined, 60_000);
}

if (import.meta.main) main(process.argv.slice(2));
