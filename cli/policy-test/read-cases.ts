import { z } from 'zod';
import type { FileProblem } from '../file-problem.ts';
import { readYaml } from '../read-yaml.ts';

/** Who asks, as policies name them: prefixes included. */
export interface CaseSubject {
  readonly user?: string | undefined;
  readonly groups?: readonly string[] | undefined;
  /** `NAMESPACE/NAME`. */
  readonly serviceAccount?: string | undefined;
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
  /** The first of its type if left out. */
  readonly provider?: string | undefined;
  /** Over SSH; `Token` if left out. */
  readonly by?: 'Token' | 'DeviceLogin' | 'Ticket' | 'Certificate' | undefined;
}

interface CaseDefaults {
  readonly as?: CaseSubject | undefined;
  readonly target?: string | undefined;
  /** Of an SSH Target. */
  readonly account?: string | undefined;
  /** Of a PostgreSQL Target. */
  readonly database?: string | undefined;
  /** RFC 3339; now if left out. */
  readonly at?: string | undefined;
  /** OnRequest policies that an approval has opened. */
  readonly opened?: readonly string[] | undefined;
  /** `POLICY/RULE` that an approval of this very command has answered. */
  readonly approved?: readonly string[] | undefined;
}

/** One question to the policies (at most one of `command` to `x11`; without one the session itself) and what its author expects. */
export interface PolicyCase extends CaseDefaults {
  readonly name?: string | undefined;
  readonly command?: string | undefined;
  readonly shell?: 'CommandMode' | 'RawShell' | undefined;
  readonly file?: { readonly operation: 'Read' | 'Write' | 'List'; readonly path: string; readonly bytes?: number | undefined } | undefined;
  readonly forward?: { readonly to?: string | undefined; readonly listen?: string | undefined } | undefined;
  readonly agent?: true | undefined;
  readonly x11?: true | undefined;
  readonly expect?: 'Allow' | 'Deny' | 'RequireApproval' | undefined;
  /** The code of a denial. */
  readonly code?: string | undefined;
  /** `POLICY/RULE` (or `POLICY`, for a session) that decides. */
  readonly rule?: string | undefined;
}

const caseFields = {
  as: z.strictObject({
    user: z.string().min(1).optional(), groups: z.array(z.string().min(1)).optional(), serviceAccount: z.string().regex(/^[^/]+\/[^/]+$/).optional(), claims: z.record(z.string(), z.unknown()).optional(),
    provider: z.string().min(1).optional(), by: z.enum(['Token', 'DeviceLogin', 'Ticket', 'Certificate']).optional(),
  }).optional(),
  target: z.string().min(1).optional(), account: z.string().optional(), database: z.string().optional(), at: z.iso.datetime({ offset: true }).optional(),
  opened: z.array(z.string().min(1)).optional(), approved: z.array(z.string().regex(/^[^/]+\/[^/]+$/)).optional(),
} as const;

const caseSchema = z.strictObject({
  ...caseFields,
  name: z.string().min(1).optional(), command: z.string().optional(), shell: z.enum(['CommandMode', 'RawShell']).optional(),
  file: z.strictObject({ operation: z.enum(['Read', 'Write', 'List']), path: z.string().min(1), bytes: z.int().min(0).optional() }).optional(),
  forward: z.strictObject({ to: z.string().min(1).optional(), listen: z.string().min(1).optional() }).optional(), agent: z.literal(true).optional(), x11: z.literal(true).optional(),
  expect: z.enum(['Allow', 'Deny', 'RequireApproval']).optional(), code: z.string().min(1).optional(), rule: z.string().min(1).optional(),
});

const fileSchema = z.strictObject({ defaults: z.strictObject(caseFields).optional(), cases: z.array(caseSchema).min(1).max(10_000) });

/** Reads a YAML file of cases, fields of `defaults` filled in. Problems name fields, not values. */
export function readCases(text: string, file: string): { readonly cases: readonly PolicyCase[]; readonly problems: readonly FileProblem[] } {
  const { documents, problems } = readYaml(text, file);
  const cases: PolicyCase[] = [];
  const found = [...problems];
  for (const { value, locate } of documents) {
    const parsed = fileSchema.safeParse(value);
    if (parsed.success) cases.push(...parsed.data.cases.map((each) => ({ ...parsed.data.defaults, ...each })));
    else found.push(...parsed.error.issues.map((issue): FileProblem => ({ severity: 'rejected', file, ...locate(issue.path.filter((part) => typeof part !== 'symbol')), field: issue.path.join('.'), message: issue.message })));
  }
  return { cases, problems: found };
}
