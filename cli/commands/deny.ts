import { decideRequest } from '../decide-request.ts';
import type { CommandIo } from '../gateway-client.ts';

export const summary: string = 'deny a request for approval, with a reason';

/** `sallyport deny`. Exit 0 decided, 1 refused or unreachable, 2 wrong usage, 3 not confirmed. */
export function run(argv: readonly string[], io: CommandIo): Promise<number> {
  return decideRequest('deny', argv, io);
}
