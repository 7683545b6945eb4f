import { deny } from '../../core/errors.ts';
import type { RelayContext } from './context.ts';
import { recordAttempt } from './intents.ts';
import { releaseKept } from './kept-messages.ts';
import { refuseExtended, refuseQuery } from './refuse.ts';

/** A Query or Parse over the statement limit: refused (54000) and recorded without its text, of which nothing was read; the session goes on. */
export function refuseTooLong(context: RelayContext, protocol: 'simple' | 'extended'): void | Promise<void> {
  if (context.discarding !== 'no') return undefined;
  releaseKept(context);
  context.totals.denied++;
  const denial = deny('STATEMENT_TOO_LONG', { detail: `a statement may have ${context.limits.statementBytes} bytes` });
  const origin = { protocol, statementName: '', portalName: '', text: '', parameters: [], continues: null };
  return recordAttempt(context, 'statement.denied', { redactedText: '' }, origin, { decision: null, denial, request: null }).then(() => (protocol === 'simple' ? refuseQuery(context, denial) : refuseExtended(context, denial)));
}
