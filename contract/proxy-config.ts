import { z } from 'zod';

const resourceIdentity = {
  name: z.string().min(1),
  uid: z.string(),
  generation: z.int().min(0),
} as const;

const secretKeyRef = z.strictObject({ name: z.string().min(1), key: z.string().min(1) });

const identityProviderSchema = z.strictObject({
  ...resourceIdentity,
  type: z.enum(['OIDC', 'ServiceAccount']),
  issuer: z.string().min(1),
  audiences: z.array(z.string().min(1)).min(1),
  /** Dotted path of the claim that names the user; `sub` for ServiceAccount. */
  usernameClaim: z.string().min(1),
  usernamePrefix: z.string(),
  groupsClaim: z.string().min(1).nullable(),
  groupsPrefix: z.string(),
  uidClaim: z.string().min(1).nullable(),
  jwksUri: z.string().nullable(),
  /** PEM, trusted for this issuer only; null means the system's roots. */
  caBundle: z.string().nullable(),
  algorithms: z.array(z.enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'])).min(1),
  clockSkewSeconds: z.int().min(0).max(60),
  /** OAuth device grant for people whose SSH client knows no token; absent: not offered. */
  deviceLogin: z.strictObject({ clientId: z.string().min(1), scopes: z.array(z.string().min(1)) }).optional(),
});

const targetIdentity = { ...resourceIdentity, labels: z.record(z.string(), z.string()), listenPort: z.int().min(0).max(65535) } as const;

const postgresTargetSchema = z.strictObject({
  ...targetIdentity,
  postgres: z.strictObject({
    host: z.string().min(1),
    port: z.int().min(1).max(65535),
    tls: z.strictObject({
      mode: z.enum(['VerifyFull', 'VerifyCA', 'Disable']),
      serverName: z.string().nullable(),
      channelBinding: z.enum(['Prefer', 'Require']),
      caSecret: secretKeyRef.nullable(),
    }),
    credentialsSecret: z.string().min(1),
    databases: z.array(z.string().min(1)),
  }),
});

const sshTargetSchema = z.strictObject({
  ...targetIdentity,
  ssh: z.strictObject({
    host: z.string().min(1),
    port: z.int().min(1).max(65535),
    /** `TYPE BASE64`, without a comment. */
    hostKeys: z.array(z.string().min(1)),
    hostCertificateAuthorities: z.array(z.string().min(1)),
    accounts: z.array(z.string().min(1)).min(1),
    credentialsSecret: z.string().min(1),
    /** By account, where it is not `credentialsSecret`. */
    accountCredentials: z.record(z.string(), z.string().min(1)),
    loginShell: z.strictObject({ type: z.enum(['Bash', 'Posix']), wrap: z.boolean() }),
    /** The most that any session may open. */
    level: z.enum(['Exec', 'CommandMode', 'RawShell']),
  }),
});

/** Exactly one protocol each. */
const targetSchema = z.union([postgresTargetSchema, sshTargetSchema]);

const subjectSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('User'), name: z.string().min(1) }),
  z.strictObject({ kind: z.literal('Group'), name: z.string().min(1) }),
  z.strictObject({ kind: z.literal('ServiceAccount'), namespace: z.string().min(1), name: z.string().min(1) }),
  z.strictObject({ kind: z.literal('Claims'), expression: z.string().min(1) }),
]);

const approvalSchema = z.strictObject({
  groups: z.array(z.string().min(1)).min(1),
  required: z.int().min(1).max(5),
  decideWithinSeconds: z.int().min(1).max(86_400),
  scope: z.enum(['Statement', 'Session', 'Window']),
  /** How long a Session or Window grant lives after approval; null for Statement. */
  grantTtlSeconds: z.int().min(1).nullable(),
});

const statementClassSchema = z.enum([
  'Select', 'Insert', 'Update', 'Delete', 'Merge', 'CopyOut', 'CopyIn', 'Explain', 'Call', 'Do', 'FunctionCall', 'Truncate', 'Create', 'Alter',
  'Drop', 'Comment', 'Function', 'Extension', 'Grant', 'Role', 'Maintenance', 'Lock', 'Notify', 'Set', 'SetRole', 'Show', 'Transaction',
  'TwoPhase', 'ServerFile', 'System', 'Other',
]);

const ruleIdentity = {
  name: z.string().min(1),
  action: z.enum(['Allow', 'Deny', 'RequireApproval']),
  message: z.string().nullable(),
  approval: approvalSchema.nullable(),
} as const;

const postgresRuleSchema = z.strictObject({
  ...ruleIdentity,
  postgres: z.strictObject({
    /** Groups such as DDL are expanded by the compile step; null means every class. */
    statements: z.array(statementClassSchema).min(1).nullable(),
    databases: z.array(z.string().min(1)).min(1).nullable(),
    /** `schema.table`; either part may be `*`. */
    tables: z.array(z.strictObject({ schema: z.string().min(1), name: z.string().min(1) })).min(1).nullable(),
    where: z.enum(['Missing', 'Present']).nullable(),
  }),
});

const sshMatchSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('Commands'),
    /** Each pattern as its words: the program, then patterns of arguments (docs/policy.md). */
    patterns: z.array(z.array(z.string().min(1)).min(1)).min(1),
    /** Whether a terminal may be asked for. */
    pty: z.boolean(),
    stdin: z.enum(['Closed', 'Attach']),
    /** Globs of the files that output may be redirected to. */
    writes: z.array(z.string().min(1)),
    output: z.enum(['Text', 'Binary']),
  }),
  z.strictObject({ kind: z.literal('Unknown') }),
  z.strictObject({ kind: z.literal('Level'), level: z.enum(['CommandMode', 'RawShell']) }),
  z.strictObject({ kind: z.literal('Files'), operations: z.array(z.enum(['Read', 'Write', 'List'])).min(1), paths: z.array(z.string().min(1)).min(1), maxBytes: z.int().min(1).nullable() }),
  z.strictObject({ kind: z.literal('Forward'), to: z.array(z.string().min(1)), listen: z.array(z.string().min(1)) }),
  z.strictObject({ kind: z.literal('Agent') }),
  z.strictObject({ kind: z.literal('X11') }),
]);

const sshRuleSchema = z.strictObject({
  ...ruleIdentity,
  ssh: z.strictObject({
    /** Null: every account. */
    accounts: z.array(z.string().min(1)).min(1).nullable(),
    match: sshMatchSchema,
    /** Bytes that cannot be masked pass, knowingly. */
    unmasked: z.boolean(),
  }),
});

/** Exactly one protocol each. */
const ruleSchema = z.union([postgresRuleSchema, sshRuleSchema]);

const scheduleSchema = z.strictObject({
  /** 0 = Sunday, as in `Date.getUTCDay`. */
  days: z.array(z.int().min(0).max(6)),
  /** Minutes since local midnight; `toMinute` at or before `fromMinute` ends on the next day. */
  fromMinute: z.int().min(0).max(1439),
  toMinute: z.int().min(1).max(1440),
  timeZone: z.string().min(1),
});

const maskingSchema = z.strictObject({
  columns: z.array(z.strictObject({ schema: z.string().min(1), table: z.string().min(1), column: z.string().min(1) })).nullable(),
  detectors: z.array(z.string().min(1)).nullable(),
  style: z.enum(['Null', 'Redact', 'Hash', 'Partial']),
  keepFirst: z.int().min(0).max(32),
  keepLast: z.int().min(0).max(32),
  predicates: z.enum(['Deny', 'Equality']),
});

const policySchema = z.strictObject({
  ...resourceIdentity,
  /** `sha256:<hex>` over the canonical JSON of the resource's spec. */
  digest: z.string(),
  subjects: z.array(subjectSchema).min(1),
  /** Names of the Targets that the selector resolved to. */
  targets: z.array(z.string().min(1)),
  /** Ways to authenticate that the policy accepts over SSH; absent: all. */
  sshAuthMethods: z.array(z.enum(['Certificate', 'Ticket', 'Token', 'DeviceLogin'])).min(1).optional(),
  access: z.strictObject({ mode: z.enum(['Standing', 'OnRequest']), approval: approvalSchema.nullable() }),
  when: z.array(scheduleSchema),
  limits: z.strictObject({
    sessionSeconds: z.int().min(1).nullable(),
    idleSeconds: z.int().min(1).nullable(),
    concurrentSessions: z.int().min(1).nullable(),
    rowsPerStatement: z.int().min(1).nullable(),
    bytesPerStatement: z.int().min(1).nullable(),
  }),
  rules: z.array(ruleSchema),
  masking: z.array(maskingSchema),
  recording: z.strictObject({ content: z.enum(['Full', 'Metadata']), durability: z.enum(['Write', 'Fsync']) }),
});

/**
 * The compiled config of one namespace's proxy: plain, resolved data with no selector or reference left to resolve and no credential in it.
 *
 * Every object is strict: an unknown field may be a restriction that this proxy cannot enforce, so the whole config is refused.
 * Durations are integers with the unit in the name. Written by `operator/render/proxy-config.ts`, read by the proxy.
 */
export const proxyConfigSchema = z.strictObject({
  schemaVersion: z.literal(1),
  namespace: z.string().min(1),
  identityProviders: z.array(identityProviderSchema),
  targets: z.array(targetSchema),
  policies: z.array(policySchema),
});

/** All that one namespace's proxy knows: plain, resolved data. */
export type ProxyConfig = z.infer<typeof proxyConfigSchema>;
/** An issuer that the proxy trusts, compiled. */
export type IdentityProvider = ProxyConfig['identityProviders'][number];
/** A Target, compiled. */
export type Target = ProxyConfig['targets'][number];
/** A Target that is a PostgreSQL server. */
export type PostgresTarget = z.infer<typeof postgresTargetSchema>;
/** A Target that is an SSH host. */
export type SshTarget = z.infer<typeof sshTargetSchema>;
/** How an SSH Target can be used: single commands, a shell read command by command, a raw shell. */
export type SshLevel = SshTarget['ssh']['level'];
/** An AccessPolicy, compiled. */
export type Policy = ProxyConfig['policies'][number];
/** One entry of a policy's subjects. */
export type Subject = Policy['subjects'][number];
/** One rule of a policy, its approval resolved. */
export type Rule = Policy['rules'][number];
/** A rule about PostgreSQL statements. */
export type PostgresRule = z.infer<typeof postgresRuleSchema>;
/** A rule about SSH commands, shells, files and forwards. */
export type SshRule = z.infer<typeof sshRuleSchema>;
/** What an SSH rule speaks about. */
export type SshMatch = SshRule['ssh']['match'];
/** Who approves, how many, within how long and for what. */
export type Approval = NonNullable<Rule['approval']>;
/** One weekly time window of a policy, in its own time zone. */
export type Schedule = Policy['when'][number];
/** What a policy masks, and how. */
export type MaskingRule = Policy['masking'][number];
/** The closed list of statement classes (docs/policy.md explains each). */
export type StatementClass = z.infer<typeof statementClassSchema>;
/** All statement classes. */
export const statementClasses: readonly StatementClass[] = statementClassSchema.options;

/** The server behind a Target: address, how it is known, and as whom it is logged in to. */
export function endpointOf(target: Target): PostgresTarget['postgres'] | SshTarget['ssh'] {
  return 'postgres' in target ? target.postgres : target.ssh;
}

const objectSchemas = { identityProviders: identityProviderSchema, targets: targetSchema, policies: policySchema } as const;

/**
 * What a proxy refuses in one object of a config, as `path: message`; empty when it takes it. A single object that it refuses would cost the namespace the whole config,
 * and with it every later revocation: the compile step asks for each one.
 */
export function objectProblems(list: keyof typeof objectSchemas, object: unknown): readonly string[] {
  return problemsOf(objectSchemas[list].safeParse(object).error);
}

/** A config, or why it is rejected as a whole. */
export type ParseOutcome = { readonly outcome: 'parsed'; readonly config: ProxyConfig } | { readonly outcome: 'rejected'; readonly problems: readonly string[] };

/**
 * Reads an untrusted value as a ProxyConfig.
 *
 * @returns the config, or every problem as `path: message`. Nothing is defaulted and nothing unknown is ignored.
 */
export function parseProxyConfig(value: unknown): ParseOutcome {
  const parsed = proxyConfigSchema.safeParse(value);
  if (parsed.success) return { outcome: 'parsed', config: parsed.data };
  return { outcome: 'rejected', problems: problemsOf(parsed.error) };
}

function problemsOf(error: z.ZodError | undefined): readonly string[] {
  return (error?.issues ?? []).map((issue) => `${issue.path.join('.') || '(root)'}: ${issue.message}`);
}
