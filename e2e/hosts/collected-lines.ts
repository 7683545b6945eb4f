import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sallyport } from './sallyport.ts';

/** Writes the audit lines that a collector took from standard output as logs, the way docs/operations.md says, and verifies them. */
export async function verifyCollected(lines: string): Promise<{ readonly exit: number | null; readonly text: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'sp-collected-'));
  try {
    const logs = new Map<string, string[]>();
    for (const line of lines.split('\n')) {
      const log = /"uid":"([0-9A-Z]{26})-\d+"/.exec(line)?.[1];
      if (log !== undefined && line.startsWith('{"metadata"')) logs.set(log, [...(logs.get(log) ?? []), line]);
    }
    for (const [log, of] of logs) {
      mkdirSync(join(directory, 'log', log), { recursive: true });
      writeFileSync(join(directory, 'log', log, '00000000.ndjson'), `${of.join('\n')}\n`);
    }
    return await sallyport(['audit', 'verify', '--data', directory]);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
