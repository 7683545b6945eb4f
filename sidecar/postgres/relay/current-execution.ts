import { SallyportError } from '../../core/errors.ts';
import type { RelayContext } from './context.ts';
import type { Execution } from './execution.ts';

/** The execution that rows, COPY data and completions belong to now. */
export function currentExecution(context: RelayContext): Execution {
  const reply = context.queue.head;
  const execution = reply?.kind === 'query' ? reply.executions[reply.current] : reply?.kind === 'execute' || reply?.kind === 'function' ? reply.execution : null;
  if (!execution) throw violation('an answer that belongs to no statement');
  return execution;
}

/** What a server did that no rule allows. */
export function violation(reason: string): SallyportError {
  return new SallyportError('TARGET_PROTOCOL_VIOLATION', { reason });
}
