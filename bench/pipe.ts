import { connect, createServer } from 'node:net';

// The measure of what Node itself costs: every byte goes through, none is looked at.
const [listenPort, targetPort] = process.argv.slice(2).map(Number);

createServer({ noDelay: true }, (client) => {
  const target = connect({ host: '127.0.0.1', port: targetPort ?? 0, noDelay: true });
  client.pipe(target).pipe(client);
  for (const socket of [client, target]) socket.on('error', () => { client.destroy(); target.destroy(); });
}).listen(listenPort, '127.0.0.1', () => process.stderr.write('"ready"\n'));
