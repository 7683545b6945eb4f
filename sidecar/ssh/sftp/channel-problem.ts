/** A peer broke the protocol of a channel: that channel ends, the session goes on. */
export class ChannelProblem extends Error {
  readonly peer: 'client' | 'target';

  constructor(peer: 'client' | 'target', problem: string) {
    super(problem);
    this.name = 'ChannelProblem';
    this.peer = peer;
  }
}
