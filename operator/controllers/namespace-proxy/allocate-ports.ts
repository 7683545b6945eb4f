import { createHash } from 'node:crypto';

/** A listener as the ProxyConfig keeps it: in use, or at rest since `releasedAt`. */
export interface Listener {
  readonly port: number;
  readonly target: string;
  readonly targetUID: string;
  /** RFC 3339. */
  readonly releasedAt?: string;
}

/** A Target that wants a port. */
export interface PortClaim {
  readonly target: string;
  readonly uid: string;
  /** Where else its port may be written, in case the ProxyConfig was lost: its Service first, then its own status. */
  readonly hints: readonly number[];
}

/** Who has which port. */
export interface PortPlan {
  /** By port. */
  readonly listeners: readonly Listener[];
  /** By Target name; a Target that is missing here gets none. */
  readonly ports: ReadonlyMap<string, number>;
  /** When the first port at rest is free again; null: none rests. */
  readonly nextFreeAtMs: number | null;
}

/** Endpoints lag: a client of a Target that is gone must not land on another one's listener. */
export const restMs = 86_400_000;
/** As the schema of ProxyConfig says. */
const maxListeners = 1_024;

/**
 * Gives each Target its port and lets the ports of gone ones rest for 24 h. Pure; a Target keeps its port for as long as it (its uid) exists.
 *
 * @param before what the ProxyConfig says; empty when it was lost.
 * @param claims oldest first: on a clash of hints the older one keeps the port.
 */
export function allocatePorts(before: readonly Listener[], claims: readonly PortClaim[], range: { readonly first: number; readonly last: number }, nowMs: number): PortPlan {
  const byUid = new Map(claims.map((claim) => [claim.uid, claim]));
  const inRange = (port: number): boolean => Number.isInteger(port) && port >= range.first && port <= range.last;
  const listeners = new Map<number, Listener>();
  const ports = new Map<string, number>();
  for (const listener of before) {
    const claim = byUid.get(listener.targetUID);
    const isOurs = claim !== undefined && inRange(listener.port) && !ports.has(claim.target);
    if (isOurs) ports.set(claim.target, listener.port);
    const next = isOurs ? { port: listener.port, target: claim.target, targetUID: claim.uid } : resting(listener, nowMs);
    if (next !== null) listeners.set(listener.port, next);
  }
  const give = (claim: PortClaim, port: number): void => {
    ports.set(claim.target, port);
    listeners.set(port, { port, target: claim.target, targetUID: claim.uid });
  };
  const isFree = (port: number): boolean => inRange(port) && !listeners.has(port);
  for (const claim of claims) {
    const hint = claim.hints.find(isFree);
    if (!ports.has(claim.target) && hint !== undefined && listeners.size < maxListeners) give(claim, hint);
  }
  for (const claim of claims) {
    const port = ports.has(claim.target) || listeners.size >= maxListeners ? null : firstFree(claim.uid, range, isFree);
    if (port !== null) give(claim, port);
  }
  const sorted = [...listeners.values()].sort((a, b) => a.port - b.port);
  const ends = sorted.flatMap(({ releasedAt }) => (releasedAt === undefined ? [] : [Date.parse(releasedAt) + restMs]));
  return { listeners: sorted, ports, nextFreeAtMs: ends.length === 0 ? null : Math.min(...ends) };
}

function resting(listener: Listener, nowMs: number): Listener | null {
  const releasedAt = listener.releasedAt ?? `${new Date(nowMs).toISOString().slice(0, 19)}Z`;
  return nowMs - Date.parse(releasedAt) < restMs ? { ...listener, releasedAt } : null;
}

/** The choice depends on the Target alone, so most of them get their port back even when every record of it is lost. */
function firstFree(uid: string, { first, last }: { readonly first: number; readonly last: number }, isFree: (port: number) => boolean): number | null {
  const size = last - first + 1;
  const start = createHash('sha256').update(uid).digest().readUInt32BE(0) % size;
  for (let step = 0; step < size; step++) {
    const port = first + ((start + step) % size);
    if (isFree(port)) return port;
  }
  return null;
}
