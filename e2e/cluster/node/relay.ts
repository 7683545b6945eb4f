import { createServer, connect, type Socket } from 'node:net';

// Runs inside the node: the way in for programs outside, which cannot reach the node's private network.
// A connection to the Unix socket begins with a line `HOST PORT` and goes on as a connection to there.
const [path = ''] = process.argv.slice(2);
const longestLine = 300;

createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
  let line = Buffer.alloc(0);
  const collect = (): void => {
    for (let byte = socket.read(1) as Buffer | null; byte !== null; byte = socket.read(1) as Buffer | null) {
      if (byte[0] === 10) {
        socket.removeListener('readable', collect);
        return join(socket, line.toString());
      }
      line = Buffer.concat([line, byte]);
      if (line.length > longestLine) return void socket.destroy();
    }
  };
  socket.on('readable', collect);
  socket.on('error', () => socket.destroy());
}).listen(path);

function join(socket: Socket, line: string): void {
  const [host = '', port = '0'] = line.split(' ');
  const far = connect({ host, port: Number(port), allowHalfOpen: true });
  for (const [one, other] of [[socket, far], [far, socket]] as const) one.on('error', () => other.destroy()).on('close', () => other.destroy());
  socket.pipe(far).pipe(socket);
}
