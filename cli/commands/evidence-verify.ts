import type { CommandIo } from '../gateway-client.ts';
import { run as verify } from './audit-verify.ts';

export const summary: string = 'the same as audit verify';

/** `sallyport evidence verify`: `sallyport audit verify` under the name of the evidence commands; takes a directory or a pack. */
export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  return await verify(argv, io);
}
