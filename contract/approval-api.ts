import { z } from 'zod';

const statementSchema = z.object({
  text: z.string(),
  parameters: z.array(z.string()),
  kind: z.string(),
  objects: z.array(z.string()),
  searchPath: z.string(),
  inTransaction: z.boolean(),
});

/** A request for approval as the gateway's HTTP API shows it: what the approver sees, redacted. Times are Unix ms. In lists `statement.text` is cut at 200 characters and `whole` is false. */
export const approvalRequestViewSchema = z.object({
  name: z.string(),
  uid: z.string(),
  phase: z.enum(['Pending', 'Approved', 'Denied', 'Expired', 'Withdrawn', 'Used', 'Superseded', 'Revoked']),
  approvals: z.int(),
  required: z.int(),
  createdAtMs: z.int(),
  decideByMs: z.int(),
  decidedAtMs: z.int().nullable(),
  expiresAtMs: z.int().nullable(),
  scope: z.enum(['Statement', 'Session', 'Window']),
  namespace: z.string(),
  target: z.string(),
  targetUid: z.string().nullable(),
  database: z.string(),
  sessionId: z.string(),
  requester: z.object({ key: z.string(), username: z.string(), actorKeys: z.array(z.string()) }),
  by: z.object({ policy: z.string(), policyUid: z.string(), policyGeneration: z.int(), policyDigest: z.string(), rule: z.string().nullable() }),
  approval: z.object({ groups: z.array(z.string()), required: z.int(), decideWithinSeconds: z.int(), grantTtlSeconds: z.int().nullable() }),
  statement: statementSchema.nullable(),
  whole: z.boolean(),
  digest: z.string(),
  statementHmac: z.string().nullable(),
  decisions: z.array(z.object({ by: z.string(), decision: z.enum(['Approve', 'Deny', 'Revoke']), reason: z.string(), decidedAtMs: z.int(), counted: z.boolean() })),
  /** Whether the caller asked for it, and whether the caller could decide on it now. */
  mine: z.boolean(),
  mayDecide: z.boolean(),
});

/** One request as the HTTP API shows it. */
export type ApprovalRequestView = z.infer<typeof approvalRequestViewSchema>;

/** Body of POST /v1/requests/NAME/decision. `digest` is the digest of the request as the approver saw it; the gateway refuses another one. */
export const decisionBodySchema = z.strictObject({
  decision: z.enum(['approve', 'deny']),
  reason: z.string().max(1024).default(''),
  digest: z.string().max(128).optional(),
});

/** Body of every answer above 399. */
export const apiErrorSchema = z.object({ code: z.string(), message: z.string(), hint: z.string(), detail: z.string().nullable().optional() });
/** An error as the HTTP API answers it. @public for clients of the API */
export type ApiError = z.infer<typeof apiErrorSchema>;
