import { connect, createServer, type Socket } from 'node:net';

/** What a hostile target says instead of an answer, once its marker was asked for. */
export type Hostility = (socket: Socket) => void;

/**
 * A target that is PostgreSQL until a client sends `hostile:NAME`: then the real server hears nothing more, and `hostilities[NAME]` answers.
 *
 * @param port of the real server, without TLS on this way.
 */
export async function startManInTheMiddle(port: number, hostilities: Readonly<Record<string, Hostility>>): Promise<{ readonly port: number; /** Connections that have turned hostile and are open. */ hostile(): number; close(): void }> {
  const sockets = new Set<Socket>();
  const turned = new Set<Socket>();
  const server = createServer((fromGateway) => {
    const toServer = connect(port, '127.0.0.1');
    for (const socket of [fromGateway, toServer]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        sockets.delete(socket);
        turned.delete(socket);
      });
    }
    const answers = (chunk: Buffer): void => { fromGateway.write(chunk); };
    fromGateway.on('data', (chunk: Buffer) => {
      const name = /hostile:([a-z0-9-]+)/.exec(chunk.toString('latin1'))?.[1];
      const hostility = name === undefined ? undefined : hostilities[name];
      if (turned.has(fromGateway)) return;
      if (!hostility) return void toServer.write(chunk);
      toServer.off('data', answers);
      toServer.destroy();
      turned.add(fromGateway);
      hostility(fromGateway);
    });
    toServer.on('data', answers);
    toServer.once('close', () => { if (!turned.has(fromGateway)) fromGateway.end(); });
    fromGateway.once('close', () => toServer.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    hostile: () => turned.size,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Writes the same bytes until so many were taken, as fast as the peer reads. */
export function flood(socket: Socket, bytes: Buffer, total: number, then: () => void = () => undefined): void {
  let left = total;
  const write = (): void => {
    while (left > 0 && !socket.destroyed) {
      left -= bytes.length;
      if (!socket.write(bytes)) return;
    }
    if (left <= 0) {
      socket.off('drain', write);
      then();
    }
  };
  socket.on('drain', write);
  write();
}
