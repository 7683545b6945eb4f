import type { ServerChannel, TcpConnectionDetails, UNIXConnectionDetails } from 'ssh2';
import type { SshItem } from '../../core/policy/decision.ts';
import { destinationOf, socketOf } from '../../core/ssh-files/destination.ts';
import type { ForwardListen } from '../channel-servers.ts';
import type { SshContext } from '../context.ts';
import { answerOrEnd } from '../target-channel.ts';
import { admitForward, noteClosed, refuseForward } from './admit-forward.ts';
import { forwardsOf, type Listening, mayListen } from './forward-state.ts';
import { relayBack } from './relay-back.ts';

/**
 * Serves a request to listen on the target (`-R`), or to stop it: on an address that a rule's `listen` names by its exact text. Each connection that comes in is recorded before the client
 * hears of it.
 *
 * @throws SallyportError when the record cannot be written: then the session ends.
 */
export async function serveListen(context: SshContext, asked: ForwardListen, accept: (chosenPort?: number) => void, refuse: () => void): Promise<void> {
  if (asked.name === 'cancel-tcpip-forward' || asked.name === 'cancel-streamlocal-forward@openssh.com') return stopListening(context, asked, accept, refuse);
  const channel = context.nextChannel();
  const address = addressOf(asked);
  const type = asked.name.replace('@openssh.com', '');
  const state = forwardsOf(context);
  const code = address === null ? 'FORWARD_DENIED' : !mayListen(context) || state.listening.has(address) ? 'CHANNEL_LIMIT_REACHED' : null;
  if (address === null || code !== null) {
    await refuseForward(context, { channel, type, destination: address ?? '', code: code ?? 'FORWARD_DENIED' });
    return refuse();
  }
  const item: SshItem = { kind: 'forward', direction: 'listen', destination: address };
  const admitted = await admitForward(context, { channel, type, destination: address, items: [item], kind: 'Forward', text: `listen at ${address}`, from: null });
  if (admitted.outcome === 'refused') return refuse();
  wire(context);
  const port = await listenOnTarget(context, asked);
  if (port === null) {
    noteClosed(context, channel, admitted.operation, { outcome: 'Failed' });
    return refuse();
  }
  const chosen = asked.name === 'tcpip-forward' ? (destinationOf(asked.info.bindAddr, port) ?? address) : address;
  state.listening.set(chosen, { operation: admitted.operation, channel, item });
  context.ended.addEventListener('abort', () => forget(context, chosen), { once: true });
  accept(asked.name === 'tcpip-forward' && asked.info.bindPort === 0 ? port : undefined);
}

function addressOf(asked: ForwardListen): string | null {
  return 'bindAddr' in asked.info ? destinationOf(asked.info.bindAddr, asked.info.bindPort) : socketOf(asked.info.socketPath);
}

/** The port that the target listens on, 0 for a Unix socket; null when it does not. */
function listenOnTarget(context: SshContext, asked: ForwardListen): Promise<number | null> {
  return answerOrEnd<number>(context, (resolve) => {
    if ('bindAddr' in asked.info) context.target.forwardIn(asked.info.bindAddr, asked.info.bindPort, (error, port) => resolve(error ? null : port));
    else context.target.openssh_forwardInStreamLocal(asked.info.socketPath, (error) => resolve(error ? null : 0));
  });
}

async function stopListening(context: SshContext, asked: ForwardListen, accept: () => void, refuse: () => void): Promise<void> {
  const address = addressOf(asked);
  if (address === null || !forwardsOf(context).listening.has(address)) return refuse();
  const stopped = await answerOrEnd<true>(context, (resolve) => {
    if ('bindAddr' in asked.info) context.target.unforwardIn(asked.info.bindAddr, asked.info.bindPort, (error) => resolve(error ? null : true));
    else context.target.openssh_unforwardInStreamLocal(asked.info.socketPath, (error) => resolve(error ? null : true));
  });
  if (stopped === null) return refuse();
  forget(context, address);
  accept();
}

function forget(context: SshContext, address: string): void {
  const state = forwardsOf(context);
  const listening = state.listening.get(address);
  if (listening === undefined) return;
  state.listening.delete(address);
  noteClosed(context, listening.channel, listening.operation, { outcome: 'Completed' });
}

/** Hears of the connections that the target takes, once per session. */
function wire(context: SshContext): void {
  const state = forwardsOf(context);
  if (state.isWired) return;
  state.isWired = true;
  context.target.on('tcp connection', (details: TcpConnectionDetails, accept, reject) => {
    const address = destinationOf(details.destIP, details.destPort);
    const listening = address === null ? undefined : state.listening.get(address);
    if (listening === undefined || address === null) return reject();
    relayBack(context, { type: 'forwarded-tcpip', destination: address, of: listening, item: listening.item, from: destinationOf(details.srcIP, details.srcPort) }, { accept, reject, open: (done) => context.connection.forwardOut(details.destIP, details.destPort, details.srcIP, details.srcPort, done) });
  });
  context.target.on('unix connection', (details: UNIXConnectionDetails, accept, reject) => {
    const listening: Listening | undefined = state.listening.get(details.socketPath);
    if (listening === undefined) return reject();
    relayBack(context, { type: 'forwarded-streamlocal', destination: details.socketPath, of: listening, item: listening.item, from: null }, { accept, reject, open: (done: (error: Error | undefined, channel: ServerChannel) => void) => context.connection.openssh_forwardOutStreamLocal(details.socketPath, done) });
  });
}
