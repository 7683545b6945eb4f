import { decideRequest } from '../decide-request.ts';
import type { CommandIo } from '../gateway-client.ts';

export const summary: string = 'show a request for approval and approve exactly what it shows';

/** `sallyport approve`. Exit 0 decided, 1 refused or unreachable, 2 wrong usage, 3 not confirmed. */
export function run(argv: readonly string[], io: CommandIo): Promise<number> {
  return decideRequest('approve', argv, io);
}
