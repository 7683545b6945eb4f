import { decideRequest } from '../decide-request.ts';
import type { CommandIo } from '../gateway-client.ts';

export const summary: string = 'end what an approved request grants';

/** `sallyport revoke`. Exit 0 done, 1 refused or unreachable, 2 wrong usage. */
export function run(argv: readonly string[], io: CommandIo): Promise<number> {
  return decideRequest('revoke', argv, io);
}
