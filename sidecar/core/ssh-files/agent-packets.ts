import { createHash } from 'node:crypto';
import { readFields } from './packet-fields.ts';

/** Longest packet of the agent protocol, as OpenSSH's agent takes it. */
export const maxAgentPacketBytes: number = 256 * 1024;

/** What the target asks of the user's agent. */
export type AgentRequest =
  | { readonly kind: 'list' }
  /** `key` as `ssh-keygen -l` shows it; `data` is the SHA-256 of what is signed. `user`: the account, where it is a login that is signed. */
  | { readonly kind: 'sign'; readonly key: string; readonly data: string; readonly user: string | null; readonly service: string | null }
  /** Adds, removes or locks keys, or is unknown: never passed on. */
  | { readonly kind: 'other'; readonly type: number }
  | { readonly kind: 'malformed' };

/** The answer to what is not passed on: SSH_AGENT_FAILURE. */
export const agentFailure: Uint8Array = Uint8Array.of(0, 0, 0, 1, 5);

/** True when an answer of the agent carries a signature. */
export function isSignature(packet: Uint8Array): boolean {
  return packet[4] === 14;
}

/** Reads one request of the agent protocol, its length field included (draft-ietf-sshm-ssh-agent). */
export function readAgentRequest(packet: Uint8Array): AgentRequest {
  const type = packet[4] ?? 0;
  if (type === 11) return packet.length === 5 ? { kind: 'list' } : { kind: 'malformed' };
  if (type !== 13) return { kind: 'other', type };
  try {
    const reader = readFields(packet, 5);
    const key = reader.bytes();
    const data = reader.bytes();
    reader.uint32();
    reader.end();
    return { kind: 'sign', key: `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`, data: createHash('sha256').update(data).digest('hex'), ...loginOf(data) };
  } catch {
    return { kind: 'malformed' };
  }
}

/** A login that is signed (RFC 4252, 7): session identifier, USERAUTH_REQUEST, user, service. */
function loginOf(data: Uint8Array): { readonly user: string | null; readonly service: string | null } {
  try {
    const reader = readFields(data, 0);
    reader.bytes();
    if (reader.byte() !== 50) return { user: null, service: null };
    return { user: reader.text(), service: reader.text() };
  } catch {
    return { user: null, service: null };
  }
}
