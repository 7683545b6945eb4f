import { mkdir, open, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { RequestEnding } from '../../../contract/access-request-status.ts';
import type { ApprovalAsk, Logger } from '../../core/ports.ts';
import { createOnlyFile } from './create-only-file.ts';

/** A request as it was asked; its file never changes. */
export interface StoredRequest {
  readonly name: string;
  readonly uid: string;
  readonly createdAtMs: number;
  readonly decideByMs: number;
  readonly ask: ApprovalAsk;
}

/** One answer of one person; its file never changes. */
export interface StoredDecision {
  readonly uid: string;
  readonly request: string;
  readonly requestUid: string;
  readonly digest: string;
  readonly decision: 'Approve' | 'Deny' | 'Revoke';
  readonly by: { readonly key: string; readonly username: string; readonly actorKeys: readonly string[]; readonly acr: string | null; readonly amr: readonly string[] };
  readonly groups: readonly string[];
  readonly reason: string;
  readonly method: string;
  readonly decidedAtMs: number;
}

/** How a request ended without a decision; the first file written stands. */
export interface StoredEnding extends RequestEnding {
  readonly request: string;
  readonly requestUid: string;
  readonly reason: string;
}

export interface StoredHistory {
  readonly request: StoredRequest;
  readonly decisions: readonly StoredDecision[];
  readonly ending: StoredEnding | null;
  /** A decision or ending of this request cannot be read: it may have been a denial, so nothing may rest on the request. */
  readonly damaged: boolean;
}

/** The files of all requests below one data directory: `requests/<name>.json`, `decisions/<name>.<uid>.json`, `decisions/<name>.ending.json`. */
export interface RequestFiles {
  /** Reads everything; unreadable files are logged, left where they are, and give nothing. */
  readAll(): Promise<readonly StoredHistory[]>;
  addRequest(request: StoredRequest): Promise<'created' | 'exists'>;
  addDecision(decision: StoredDecision): Promise<void>;
  addEnding(ending: StoredEnding): Promise<'created' | 'exists'>;
  /** Removes a finished request: its ending and decisions last, so that a crash in between never revives it. */
  remove(history: { readonly request: { readonly name: string }; readonly decisions: readonly { readonly uid: string }[] }): Promise<void>;
}

/** Opens (and makes, mode 0700) the directories. */
export async function openRequestFiles(dataDirectory: string, log: Logger): Promise<RequestFiles> {
  const requests = join(dataDirectory, 'requests');
  const decisions = join(dataDirectory, 'decisions');
  for (const path of [requests, decisions]) await mkdir(path, { recursive: true, mode: 0o700 });
  await removeDrafts([requests, decisions]);

  return {
    readAll: () => readHistories(requests, decisions, log),
    addRequest: (request) => createOnlyFile(join(requests, `${request.name}.json`), JSON.stringify(request)),
    async addDecision(decision) {
      await createOnlyFile(join(decisions, `${decision.request}.${decision.uid}.json`), JSON.stringify(decision));
    },
    addEnding: (ending) => createOnlyFile(join(decisions, `${ending.request}.ending.json`), JSON.stringify(ending)),
    async remove(history) {
      const { name } = history.request;
      await removeFile(join(requests, `${name}.json`));
      for (const decision of history.decisions) await removeFile(join(decisions, `${name}.${decision.uid}.json`));
      await removeFile(join(decisions, `${name}.ending.json`));
    },
  };
}

/** Above what `ask` can produce; a larger file is not ours. */
const largestFileBytes = 512 * 1024;
const namePattern = /^areq-[a-z2-7]{6}$/;

const time = z.int().min(0);
const requestSchema = z.strictObject({
  name: z.string().regex(namePattern),
  uid: z.uuid(),
  createdAtMs: time,
  decideByMs: time,
  ask: z.strictObject({
    scope: z.enum(['Statement', 'Session', 'Window']),
    target: z.string(),
    namespace: z.string(),
    database: z.string(),
    sessionId: z.string(),
    requester: z.strictObject({ key: z.string().min(1), username: z.string(), actorKeys: z.array(z.string()) }),
    by: z.strictObject({ policy: z.string(), policyUid: z.string(), policyGeneration: z.int(), policyDigest: z.string(), rule: z.string().nullable() }),
    approval: z.strictObject({ groups: z.array(z.string()).min(1), required: z.int().min(1), decideWithinSeconds: z.int().min(1), grantTtlSeconds: z.int().min(1).nullable() }),
    statement: z
      .strictObject({ text: z.string(), parameters: z.array(z.string()), kind: z.string(), objects: z.array(z.string()), searchPath: z.string(), inTransaction: z.boolean() })
      .nullable(),
    digest: z.string(),
    targetUid: z.string().exactOptional(),
    statementHmac: z.string().nullable().exactOptional(),
  }),
});
const decisionSchema = z.strictObject({
  uid: z.uuid(),
  request: z.string().regex(namePattern),
  requestUid: z.uuid(),
  digest: z.string(),
  decision: z.enum(['Approve', 'Deny', 'Revoke']),
  by: z.strictObject({ key: z.string().min(1), username: z.string(), actorKeys: z.array(z.string()), acr: z.string().nullable(), amr: z.array(z.string()) }),
  groups: z.array(z.string()),
  reason: z.string(),
  method: z.string(),
  decidedAtMs: time,
});
const endingSchema = z.strictObject({
  request: z.string().regex(namePattern),
  requestUid: z.uuid(),
  kind: z.enum(['Used', 'Withdrawn', 'Superseded', 'Expired']),
  atMs: time,
  reason: z.string(),
});

async function readHistories(requests: string, decisions: string, log: Logger): Promise<readonly StoredHistory[]> {
  const answers = new Map<string, { decisions: StoredDecision[]; ending: StoredEnding | null; damaged: boolean }>();
  for (const file of await readdir(decisions)) {
    const [name = '', part = ''] = file.split('.');
    if (!namePattern.test(name)) continue;
    const known = answers.get(name) ?? { decisions: [], ending: null, damaged: false };
    answers.set(name, known);
    const value = await readJson(join(decisions, file));
    const ending = part === 'ending' ? endingSchema.safeParse(value) : null;
    const decision = part === 'ending' ? null : decisionSchema.safeParse(value);
    if (ending?.success === true && ending.data.request === name) known.ending = ending.data;
    else if (decision?.success === true && decision.data.request === name) known.decisions.push(decision.data);
    else {
      known.damaged = true;
      log.error('decision file is not readable', { file });
    }
  }
  const histories: StoredHistory[] = [];
  const named = new Set<string>();
  for (const file of await readdir(requests)) {
    if (!file.endsWith('.json')) continue;
    named.add(file.slice(0, -'.json'.length));
    const parsed = requestSchema.safeParse(await readJson(join(requests, file)));
    if (!parsed.success || `${parsed.data.name}.json` !== file) {
      log.error('request file is not readable', { file });
      continue;
    }
    const answer = answers.get(parsed.data.name) ?? { decisions: [], ending: null, damaged: false };
    histories.push({ request: parsed.data, ...answer, decisions: answer.decisions.sort((a, b) => a.decidedAtMs - b.decidedAtMs) });
  }
  for (const file of await readdir(decisions)) {
    // Left by a removal that did not finish; kept, they would stand in the way of a later request of that name.
    if (!named.has(file.split('.')[0] ?? '')) await removeFile(join(decisions, file));
  }
  return histories;
}

async function readJson(path: string): Promise<unknown> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    return size > largestFileBytes ? null : (JSON.parse(await file.readFile('utf8')) as unknown);
  } catch {
    return null;
  } finally {
    await file.close();
  }
}

async function removeDrafts(directories: readonly string[]): Promise<void> {
  for (const directory of directories) {
    for (const file of await readdir(directory)) if (file.endsWith('.tmp')) await removeFile(join(directory, file));
  }
}

async function removeFile(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  });
}
