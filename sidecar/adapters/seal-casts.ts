import fs from 'node:fs';
import { castChannel, castName, type SealedCast, sealedCast } from '../core/recording/cast-list.ts';
import { sealRecordingFile } from './recording-file.ts';

/**
 * Seals what a lost process left of the recordings of an SSH session, a marker with the reason at the end of each.
 *
 * @param named uris that the log names already; they are left as they are.
 */
export async function sealCasts(recordings: string, sessionId: string, reason: string, named: ReadonlySet<string>): Promise<readonly SealedCast[]> {
  const files = await fs.promises.readdir(recordings);
  const channels = new Set(files.map((name) => castChannel(sessionId, name)).filter((channel) => channel !== null));
  const sealed: SealedCast[] = [];
  for (const channel of [...channels].sort((a, b) => a - b)) {
    const name = castName(sessionId, channel);
    if (named.has(`recordings/${name}.gz`) || named.has(`recordings/${name}`)) continue;
    const seal = await sealRecordingFile(recordings, name, { sync: false, closing: JSON.stringify([0, 'm', `sallyport: recording ended: ${reason}`]) });
    if (seal !== null) sealed.push(sealedCast(channel, seal, null));
  }
  return sealed;
}
