import type { X11Info } from 'ssh2';
import type { SshItem } from '../../core/policy/decision.ts';
import type { SshContext } from '../context.ts';

/** Most forwarded connections of one SSH connection at a time, agent and X11 connections included. */
const maxForwards = 16;
/** Most that are being decided on or opened. */
const maxPending = 32;
/** Most addresses that one connection listens on. */
const maxListeners = 16;

/** What the target listens on for a client: the operation of its grant. */
export interface Listening {
  readonly operation: number;
  readonly channel: number;
  readonly item: SshItem;
}

/** The forwards of one connection. State, because their numbers are limited together. */
export interface ForwardState {
  pending: number;
  open: number;
  /** By address, as the target names it. */
  readonly listening: Map<string, Listening>;
  /** Listeners of the target's side are in place. */
  isWired: boolean;
  /** The client's display, once it was granted, and by which channels it was asked for. */
  x11Operation: number | null;
  readonly displays: Map<number, X11Info>;
  agentOperation: number | null;
}

const states = new WeakMap<SshContext, ForwardState>();

/** The forwards of a connection, made on first use. */
export function forwardsOf(context: SshContext): ForwardState {
  const known = states.get(context);
  if (known !== undefined) return known;
  const made: ForwardState = { pending: 0, open: 0, listening: new Map(), isWired: false, x11Operation: null, displays: new Map(), agentOperation: null };
  states.set(context, made);
  return made;
}

/** Takes a place among the forwards; null when there is none. The place is given back by the returned function, once. */
export function takePlace(context: SshContext): (() => void) | null {
  const state = forwardsOf(context);
  if (state.open >= maxForwards || state.pending >= maxPending) return null;
  state.open++;
  let isTaken = true;
  return () => {
    if (isTaken) state.open--;
    isTaken = false;
  };
}

/** Whether one more address may be listened on. */
export function mayListen(context: SshContext): boolean {
  return forwardsOf(context).listening.size < maxListeners;
}
