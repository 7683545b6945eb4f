import { apiErrorSchema, type ApprovalRequestView, approvalRequestViewSchema } from '../../contract/approval-api.ts';
import { eventually } from './clients.ts';
import type { World } from './gateway.ts';

/** A token of a person that the test makes up; `agents` act for them, the nearest first. */
export function tokenOf(world: Pick<World, 'issuer' | 'gateway'>, name: string, groups: readonly string[], more: { readonly agents?: readonly string[]; readonly expiresInSeconds?: number } = {}): Promise<string> {
  const act = (more.agents ?? []).reduceRight<object | null>((inner, sub) => ({ sub, ...(inner ? { act: inner } : {}) }), null);
  return world.issuer.sign({ sub: name, email: `${name}@bank.example`, groups, ...(act ? { act } : {}) }, more.expiresInSeconds === undefined ? {} : { expiresInSeconds: more.expiresInSeconds });
}

/** Answers a request as whoever's token is given: `PHASE n/m`, or the code of the refusal. Without `digest` it says the one that is shown now. */
export async function answer(world: Pick<World, 'issuer' | 'gateway'>, token: string, request: string, decision: 'approve' | 'deny', more: { readonly reason?: string; readonly digest?: string } = {}): Promise<string> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const digest = more.digest ?? (await shown(world, token, request))?.digest;
  const response = await fetch(`${world.gateway.httpUrl}/v1/requests/${request}/decision`, { method: 'POST', headers, body: JSON.stringify({ decision, reason: more.reason ?? '', digest }) });
  return phaseOrCode(response);
}

/** Revokes, withdraws or gives back. */
export async function endRequest(world: Pick<World, 'issuer' | 'gateway'>, token: string, request: string): Promise<string> {
  return phaseOrCode(await fetch(`${world.gateway.httpUrl}/v1/requests/${request}`, { method: 'DELETE', headers: { authorization: `Bearer ${token}` } }));
}

async function phaseOrCode(response: Response): Promise<string> {
  const body: unknown = await response.json();
  if (!response.ok) return apiErrorSchema.parse(body).code;
  const { phase, approvals, required } = approvalRequestViewSchema.parse(body);
  return `${phase} ${approvals}/${required}`;
}

/** A request as it is shown to somebody; null when it is not theirs to see. */
export async function shown(world: Pick<World, 'issuer' | 'gateway'>, token: string, request: string): Promise<ApprovalRequestView | null> {
  const response = await fetch(`${world.gateway.httpUrl}/v1/requests/${request}`, { headers: { authorization: `Bearer ${token}` } });
  return response.ok ? approvalRequestViewSchema.parse(await response.json()) : null;
}

/** Waits until an approver sees a pending request that is not among `known`, and names it. */
export function nextRequest(world: Pick<World, 'issuer' | 'gateway'>, token: string, known: Set<string>): Promise<string> {
  return eventually('a request is pending', async () => {
    const response = await fetch(`${world.gateway.httpUrl}/v1/requests?phase=Pending`, { headers: { authorization: `Bearer ${token}` } });
    const { requests } = (await response.json()) as { readonly requests: readonly { readonly name: string }[] };
    const found = requests.find(({ name }) => !known.has(name));
    if (found) known.add(found.name);
    return found?.name;
  });
}
