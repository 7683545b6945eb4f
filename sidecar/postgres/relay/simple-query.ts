import type { ApprovalRecord } from '../../../contract/audit.ts';
import type { Denial } from '../../core/errors.ts';
import type { Decision } from '../../core/policy/decision.ts';
import type { ApprovedRule } from '../../core/policy/review-command.ts';
import { readQueryText } from '../../core/sql/query-text.ts';
import type { InspectedQuery, StatementFacts } from '../../core/sql/statement-facts.ts';
import { bodyCursor } from '../wire/cursor.ts';
import type { RelayContext } from './context.ts';
import { waitForCopy } from './copy-in.ts';
import { sendEffect, undoSent } from './effects.ts';
import { type Execution, startExecution } from './execution.ts';
import { changedMeanwhile, type HeldStatement, holdStatement, type Reviewed } from './hold-statement.ts';
import { intentOf, type Origin, recordAttempt } from './intents.ts';
import { releaseKept } from './kept-messages.ts';
import { judge, judgeApproved, resolveIndirection, spendEquality } from './judge.ts';
import { freshSearchPath } from './own-question.ts';
import { endsSession, refuseQuery } from './refuse.ts';
import { meansTheSame, refreshNamed } from './refresh.ts';
import { startSegment } from './settle.ts';

type Held = Pick<HeldStatement, 'facts' | 'decision'>;

interface Judged {
  readonly facts: StatementFacts;
  readonly decision: Decision;
  readonly approvals: readonly ApprovalRecord[];
}

/**
 * One simple Query: read, judged whole, held if a rule says so, recorded, forwarded as it is. One refused statement refuses all.
 *
 * @returns a promise when something must be waited for (search path, long text, approval); later messages wait behind it.
 */
export function handleQuery(context: RelayContext, buffer: Buffer, start: number, end: number): void | Promise<void> {
  if (context.discarding !== 'no') return undefined;
  releaseKept(context);
  const read = readQueryText(buffer.subarray(bodyCursor(buffer, start, end).position, end));
  if (read.outcome === 'refused') return refuseUnread(context, { text: '', redactedText: '', denial: read.denial });
  const frame = { buffer, start, end };
  const path = freshSearchPath(context, 'query');
  if (path) return path.then(() => inspectQuery(context, read.text, frame));
  return inspectQuery(context, read.text, frame);
}

interface QueryFrame {
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
}

function inspectQuery(context: RelayContext, text: string, frame: QueryFrame): void | Promise<void> {
  const inspected = context.inspector.inspect(text);
  if (inspected instanceof Promise) return inspected.then((done) => judgeQuery(context, text, done, frame));
  return judgeQuery(context, text, inspected, frame);
}

function judgeQuery(context: RelayContext, text: string, inspected: InspectedQuery, frame: QueryFrame): void | Promise<void> {
  if (inspected.outcome === 'unreadable') return refuseUnread(context, { text, ...inspected });
  const stale = refreshNamed(context, inspected.statements);
  if (stale) return stale.then(() => judgeStatements(context, text, inspected.statements, frame));
  return judgeStatements(context, text, inspected.statements, frame);
}

function judgeStatements(context: RelayContext, text: string, statements: readonly StatementFacts[], frame: QueryFrame): void | Promise<void> {
  if (context.discarding !== 'no') return undefined;
  const judged: Judged[] = [];
  let hold: Held | null = null;
  for (const statement of statements) {
    const facts = resolveIndirection(context, statement);
    const unspent = judge(context, facts);
    const spent = unspent.outcome === 'refuse' ? null : spendEquality(context, facts);
    const verdict = spent ? { outcome: 'refuse', decision: null, denial: spent } as const : unspent;
    if (verdict.outcome === 'refuse') {
      undoSent(context);
      context.totals.denied++;
      return recordAttempt(context, 'statement.denied', facts, originOf(text), verdictOf(verdict)).then(() => refuseQuery(context, verdict.denial));
    }
    if (verdict.outcome === 'hold') hold ??= { decision: verdict.decision, facts };
    judged.push({ facts, decision: verdict.decision, approvals: [] });
    sendEffect(context, facts, text);
  }
  if (hold) {
    undoSent(context);
    return holdQuery(context, text, judged.map(({ facts }) => facts), hold, frame);
  }
  return forwardQuery(context, text, judged, frame);
}

function verdictOf(verdict: { readonly decision: Decision | null; readonly denial: Denial }): { readonly decision: Decision | null; readonly denial: Denial; readonly request: null } {
  return { decision: verdict.decision, denial: verdict.denial, request: null };
}

/** Every approval rule that matches any of the statements is satisfied before the first byte goes; whoever approves sees the whole query. */
async function holdQuery(context: RelayContext, text: string, shown: readonly StatementFacts[], hold: Held, frame: QueryFrame): Promise<void> {
  const outcome = await holdStatement(
    context, { ...hold, origin: originOf(text), exactText: Buffer.from(text), exactParameters: [], shownParameters: [], shownText: shown.map((facts) => facts.redactedText).join(';\n'), inTransaction: context.status === 'T' },
    (approved) => judgeAgain(context, text, shown, approved),
  );
  // While it waited, the server may have failed an earlier statement of the pipeline: it skips to Sync, and so do we.
  if (context.ended || context.discarding !== 'no') return;
  if (outcome.outcome === 'refused') return refuseQuery(context, outcome.denial);
  for (const { facts } of outcome.result) sendEffect(context, facts, text);
  await forwardQuery(context, text, outcome.result.map(({ facts, decision, wasHeld }) => ({ facts, decision, approvals: wasHeld ? outcome.approvals : [] })), frame);
}

interface Rejudged {
  readonly facts: StatementFacts;
  readonly decision: Decision;
  readonly wasHeld: boolean;
}

/** All statements of the query, under the catalog and policies of now: none may touch anything else than what the approver was shown. */
async function judgeAgain(context: RelayContext, text: string, shown: readonly StatementFacts[], approved: readonly ApprovedRule[]): Promise<Reviewed<readonly Rejudged[]>> {
  await context.inspector.refresh();
  const inspected = await context.inspector.inspect(text);
  const statements = inspected.outcome === 'read' ? inspected.statements : [];
  await refreshNamed(context, statements);
  const result: Rejudged[] = [];
  try {
    for (const [index, before] of shown.entries()) {
      const statement = statements[index];
      const facts = statement && resolveIndirection(context, statement);
      if (!facts || !meansTheSame(before, facts)) return { outcome: 'refuse', denial: changedMeanwhile() };
      const verdict = judgeApproved(context, facts, approved);
      if (verdict.outcome === 'refuse') return verdict;
      if (verdict.outcome === 'hold') return { ...verdict, facts };
      result.push({ facts, decision: verdict.decision, wasHeld: judge(context, facts).outcome === 'hold' });
      sendEffect(context, facts, text);
    }
    return { outcome: 'forward', result };
  } finally {
    undoSent(context);
  }
}

function forwardQuery(context: RelayContext, text: string, judged: readonly Judged[], frame: QueryFrame): void | Promise<void> {
  const executions: Execution[] = [];
  const now = context.clock.monotonicMs();
  for (const one of judged) {
    const execution = startExecution(one.facts, text, now);
    executions.push(execution);
    context.inspector.sent(one.facts);
    context.batch.addIntent(execution, intentOf(context, one.facts, { protocol: 'simple', statementName: '', portalName: '', text, parameters: [], continues: null }, one.decision, one.approvals));
  }
  // A simple Query ends the unnamed statement on the server, and with its first statement the unnamed portal: an empty text leaves that one alone.
  context.statements.send('', null);
  if (judged.length > 0) context.portals.send('', null);
  context.batch.bytes.keep(frame.buffer, frame.start, frame.end);
  context.queue.push({ kind: 'query', executions, current: 0, own: null });
  startSegment(context);
  return waitForCopy(context, executions);
}

function refuseUnread(context: RelayContext, unread: { readonly text: string; readonly redactedText: string; readonly denial: Denial; readonly position?: number | null }): Promise<void> {
  context.totals.denied++;
  return recordAttempt(context, 'statement.denied', { redactedText: unread.redactedText }, originOf(unread.text), { decision: null, denial: unread.denial, request: null }).then(() => {
    if (!endsSession(context, unread.denial)) refuseQuery(context, unread.denial, unread.position ?? null);
  });
}

function originOf(text: string): Origin {
  return { protocol: 'simple', statementName: '', portalName: '', text, parameters: [], continues: null };
}
