import type { Duplex } from 'node:stream';
import type { ServerChannel, X11Info } from 'ssh2';
import type { SshContext } from '../context.ts';
import { admitForward, noteClosed } from './admit-forward.ts';
import { forwardsOf } from './forward-state.ts';
import { relayBack } from './relay-back.ts';

/**
 * Whether the user's display may be lent to the target: an own grant, recorded either way. From then on each connection to the display is recorded and handed to the client.
 *
 * @throws SallyportError when the record cannot be written: then the session ends.
 */
export async function grantsX11(context: SshContext, channel: number, display: X11Info): Promise<boolean> {
  const state = forwardsOf(context);
  if (state.x11Operation === null && !(await isGranted(context, channel))) return false;
  state.displays.set(channel, display);
  return true;
}

async function isGranted(context: SshContext, channel: number): Promise<boolean> {
  const state = forwardsOf(context);
  const admitted = await admitForward(context, { kind: 'X11', channel, type: 'x11-req', destination: 'x11', items: [{ kind: 'x11' }], text: 'forward the display', from: null });
  if (admitted.outcome === 'refused') return false;
  const { operation } = admitted;
  state.x11Operation = operation;
  context.ended.addEventListener('abort', () => noteClosed(context, channel, operation, { outcome: 'Completed' }), { once: true });
  context.target.on('x11', (details: { readonly srcIP: string; readonly srcPort: number }, accept: () => Duplex, reject: () => void) => {
    relayBack(context, { type: 'x11', destination: 'x11', of: { operation }, item: { kind: 'x11' }, from: null }, { accept, reject, open: (done: (error: Error | undefined, channel: ServerChannel) => void) => context.connection.x11(details.srcIP, details.srcPort, done as never) });
  });
  return true;
}
