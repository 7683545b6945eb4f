import { Duplex } from 'node:stream';
import type { ServerChannel } from 'ssh2';
import { agentFailure, isSignature, maxAgentPacketBytes, readAgentRequest } from '../../core/ssh-files/agent-packets.ts';
import { createPacketSplitter } from '../../core/ssh-files/packet-splitter.ts';
import { endOutput, pump, writeTo } from '../channel-pump.ts';
import type { SshCommand } from '../../core/policy/decision.ts';
import type { SshContext } from '../context.ts';
import { admitForward, noteClosed, refuseForward } from './admit-forward.ts';
import { takePlace, forwardsOf } from './forward-state.ts';
import { openAtClient } from './relay-back.ts';
import { closeStream, isDenied } from './relay-streams.ts';

/**
 * Whether the user's agent may be lent to the target: an own grant, recorded either way. From then on the target's requests for an agent are answered, each connection by itself.
 *
 * @throws SallyportError when the record cannot be written: then the session ends.
 */
export async function grantsAgent(context: SshContext, channel: number): Promise<boolean> {
  const state = forwardsOf(context);
  if (state.agentOperation !== null) return true;
  const admitted = await admitForward(context, { kind: 'Agent', channel, type: 'auth-agent-req', destination: 'agent', items: [{ kind: 'agent' }], text: 'forward the agent', from: null });
  if (admitted.outcome === 'refused') return false;
  state.agentOperation = admitted.operation;
  context.ended.addEventListener('abort', () => noteClosed(context, channel, admitted.operation, { outcome: 'Completed' }), { once: true });
  // ssh2 knows agents only from its configuration: this is the one that it asks for each connection that the target opens.
  (context.target as unknown as { _agent: { getStream(done: (error: Error | null, stream?: Duplex) => void): void } })._agent = { getStream: (done) => lendAgent(context, admitted.operation, done) };
  return true;
}

function lendAgent(context: SshContext, grant: number, done: (error: Error | null, stream?: Duplex) => void): void {
  const release = takePlace(context);
  const channel = context.nextChannel();
  if (release === null) {
    done(new Error('too many forwards'));
    refuseForward(context, { channel, type: 'auth-agent', destination: 'agent', code: 'CHANNEL_LIMIT_REACHED' }).catch(context.fail);
    return;
  }
  serve(context, channel, grant, done).catch((error: unknown) => {
    done(new Error('the agent cannot be reached'));
    context.fail(error);
  }).finally(release);
}

async function serve(context: SshContext, channel: number, grant: number, done: (error: Error | null, stream?: Duplex) => void): Promise<void> {
  if (isDenied(context, agentCommand(context))) {
    done(new Error('the agent is not lent any more'));
    await refuseForward(context, { channel, type: 'auth-agent', destination: 'agent', code: 'FORWARD_DENIED' });
    return;
  }
  const operation = await context.recorder.record({ code: 'forward.open', channel, operation: null, decision: null, approvals: [], request: null, reason: null, facts: { type: 'auth-agent', to: 'agent', granted_by_operation: grant } });
  const user = await openAtClient(context, (opened) => openAgentChannel(context, opened));
  if (user === null) {
    done(new Error('the client refused'));
    return noteClosed(context, channel, operation, { outcome: 'Failed', signatures: 0 });
  }
  const { near, far } = streamPair();
  done(null, far);
  const counts = await relayAgent(context, channel, user, near);
  noteClosed(context, channel, operation, { outcome: 'Completed', ...counts });
}

function agentCommand(context: SshContext): SshCommand {
  return { kind: 'Agent', account: context.account, items: [{ kind: 'agent' }] };
}

/** ssh2's server has the message, and no method for it. */
function openAgentChannel(context: SshContext, opened: (error: Error | undefined, channel: ServerChannel) => void): void {
  const connection = context.connection as unknown as {
    readonly _chanMgr: { add(callback: unknown): number };
    readonly _protocol: { openssh_authAgent(channel: number, window: number, packetBytes: number): void };
  };
  const callback = Object.assign((error: Error | undefined, channel: ServerChannel): void => opened(error, channel), { type: 'auth-agent@openssh.com' });
  const channel = connection._chanMgr.add(callback);
  if (channel === -1) return opened(new Error('no free channel'), undefined as never);
  connection._protocol.openssh_authAgent(channel, windowBytes, packetBytes);
}

/** What ssh2 gives every channel. */
const windowBytes = 2 * 1024 * 1024;
const packetBytes = 32 * 1024;

/**
 * One conversation with the user's agent, request by request: each signature is on record before the agent is asked for it, and nothing that would change the agent passes. The
 * protocol has one request at a time, so the next one waits for the answer.
 */
async function relayAgent(context: SshContext, channel: number, user: ServerChannel, target: Duplex): Promise<Readonly<Record<string, number>>> {
  const requests = createPacketSplitter(maxAgentPacketBytes);
  const answers = createPacketSplitter(maxAgentPacketBytes);
  const gone = new AbortController();
  const stop = AbortSignal.any([gone.signal, context.ended]);
  let [signatures, refused] = [0, 0];
  let waiting: PromiseWithResolvers<Uint8Array | null> | null = null;
  const ask = async (packet: Uint8Array): Promise<Uint8Array | null> => {
    waiting = Promise.withResolvers();
    const answer = waiting.promise;
    await writeTo(user, packet);
    return answer;
  };
  const take = async (packet: Uint8Array): Promise<void> => {
    const request = readAgentRequest(packet);
    context.session.lastActivityMs = context.clock.monotonicMs();
    if (request.kind === 'malformed' || request.kind === 'other' || isDenied(context, agentCommand(context))) {
      refused++;
      if (refused <= maxRecordedRefusals) await refuseForward(context, { channel, type: request.kind === 'other' ? `agent request ${request.type}` : `agent request: ${request.kind}`, destination: 'agent', code: 'FORWARD_DENIED' });
      return writeTo(target, agentFailure);
    }
    const operation = request.kind !== 'sign' ? null : await context.recorder.record({
      code: 'forward.open', channel, operation: null, decision: null, approvals: [], request: null, reason: null,
      facts: { type: 'agent-signature', to: 'agent', key: request.key, signed_sha256: request.data, login_user: request.user, login_service: request.service },
    });
    const answer = await ask(packet);
    if (operation !== null) {
      const isSigned = answer !== null && isSignature(answer);
      if (isSigned) signatures++;
      noteClosed(context, channel, operation, { outcome: isSigned ? 'Completed' : 'Failed' });
    }
    if (answer === null) gone.abort();
    else await writeTo(target, answer);
  };
  const upward = pump(target, stop, async (chunk) => {
    const { packets, problem } = requests.push(chunk);
    for (const packet of packets) await take(packet);
    if (problem !== null) gone.abort();
  });
  const downward = pump(user, stop, (chunk) => {
    const { packets, problem } = answers.push(chunk);
    for (const packet of packets) {
      // An answer to nothing that was asked ends the conversation.
      if (waiting === null) gone.abort();
      waiting?.resolve(packet);
      waiting = null;
    }
    if (problem !== null) gone.abort();
  });
  const isOver = Promise.all([upward.finally(() => gone.abort()), downward.finally(() => {
    gone.abort();
    waiting?.resolve(null);
  })]);
  try {
    await isOver;
  } finally {
    await endOutput(target);
    closeStream(user);
    closeStream(target);
  }
  return { signatures, refused };
}

/** Refusals of one conversation that get a record of their own; the rest is counted. */
const maxRecordedRefusals = 16;

/** Two ends of one pipe: what is written to one is read from the other, with room for one window. */
function streamPair(): { readonly near: Duplex; readonly far: Duplex } {
  let nearTake = (): void => undefined;
  let farTake = (): void => undefined;
  const near: Duplex = new Duplex({
    read: () => nearTake(),
    write(chunk: Uint8Array, _encoding, done) {
      if (far.push(chunk)) return done();
      farTake = (): void => { farTake = (): void => undefined; done(); };
    },
    final(done) {
      far.push(null);
      done();
    },
  });
  const far: Duplex = new Duplex({
    read: () => farTake(),
    write(chunk: Uint8Array, _encoding, done) {
      if (near.push(chunk)) return done();
      nearTake = (): void => { nearTake = (): void => undefined; done(); };
    },
    final(done) {
      near.push(null);
      done();
    },
  });
  return { near, far };
}
