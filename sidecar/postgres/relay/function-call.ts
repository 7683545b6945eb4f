import { deny } from '../../core/errors.ts';
import type { StatementFacts } from '../../core/sql/statement-facts.ts';
import { bodyCursor, readUInt32 } from '../wire/cursor.ts';
import type { RelayContext } from './context.ts';
import { startExecution } from './execution.ts';
import { intentOf, type Origin, recordAttempt } from './intents.ts';
import { releaseKept } from './kept-messages.ts';
import { judge } from './judge.ts';
import { refuseQuery } from './refuse.ts';
import { startSegment } from './settle.ts';

/**
 * FunctionCall, the fast path: refused unless a rule names FunctionCall, always refused in a masked session, recorded either way (G11).
 */
export function handleFunctionCall(context: RelayContext, buffer: Buffer, start: number, end: number): void | Promise<void> {
  if (context.discarding !== 'no') return undefined;
  releaseKept(context);
  const oid = readUInt32(bodyCursor(buffer, start, end));
  const facts = functionFacts(oid, context.inspector.masked);
  const origin: Origin = { protocol: 'function', statementName: '', portalName: '', text: facts.redactedText, parameters: [], continues: null };
  const verdict = judge(context, facts);
  if (verdict.outcome !== 'forward') {
    const denial = verdict.outcome === 'refuse' ? verdict.denial : deny('FUNCTION_CALL_REFUSED', { detail: 'a fast-path function call cannot be held for approval' });
    context.totals.denied++;
    return recordAttempt(context, 'statement.denied', facts, origin, { decision: verdict.decision, denial, request: null }).then(() => refuseQuery(context, denial));
  }
  const execution = startExecution(facts, origin.text, context.clock.monotonicMs());
  context.batch.addIntent(execution, intentOf(context, facts, origin, verdict.decision, []));
  context.batch.bytes.keep(buffer, start, end);
  context.inspector.sent(facts);
  context.queue.push({ kind: 'function', execution, own: null });
  startSegment(context);
  return undefined;
}

function functionFacts(oid: number, masked: boolean): StatementFacts {
  const name = String(oid);
  return {
    kind: 'FunctionCall', pairs: [{ class: 'FunctionCall', object: '*', where: null }], objects: [], calls: [name], redactedText: `function call of oid ${name}`, fingerprint: '', range: { start: 0, end: 0 },
    effect: null, copy: null, returnsRows: false, refusal: masked ? deny('FUNCTION_CALL_REFUSED') : null, masking: { outcome: 'clear' }, maskedParameters: [],
  };
}
