import type { CommandIo } from '../gateway-client.ts';
import { run as replay } from './replay.ts';

export const summary: string = 'the same as replay';

/** `sallyport audit play`: `sallyport replay` under the name of the audit commands. */
export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  return await replay(argv, io);
}
