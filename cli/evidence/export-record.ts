import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { AuditLog } from '../../sidecar/adapters/audit-log.ts';
import { nodeFiles } from '../../sidecar/adapters/file-layer.ts';
import { GuardedStorage } from '../../sidecar/adapters/guarded-storage.ts';
import { claimLog, releaseLog } from '../../sidecar/adapters/log-owner.ts';
import { settledMark } from '../../sidecar/adapters/log-recovery.ts';
import { factsBody } from '../../sidecar/core/recording/ocsf-process.ts';
import { ulid } from '../../sidecar/core/recording/ulid.ts';

/**
 * Records an export in a small log of its own, `<data>/log/cli-<ulid>`: the gateway's log has one writer, the gateway.
 * The next start of the gateway names this log's end in its own, so that it cannot vanish unseen.
 *
 * @returns the log's origin, or null when the data directory cannot be written; the caller says so.
 */
export async function recordExport(dataDirectory: string, namespace: string, facts: Readonly<Record<string, unknown>>): Promise<string | null> {
  const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
  const logsDirectory = join(dataDirectory, 'log');
  try {
    fs.accessSync(logsDirectory, fs.constants.W_OK);
    const storage = new GuardedStorage(nodeFiles, join(logsDirectory, 'no-reserve'), 0);
    const log = new AuditLog({ files: nodeFiles, storage, clock, logsDirectory, installation: 'local', namespace, logId: `cli-${ulid(clock.now(), randomBytes(10))}`, version: '0.1.0', segmentBytes: 67_108_864, echo: () => undefined }, null);
    claimLog(log.directory);
    log.add('evidence.exported', factsBody('evidence.exported', clock.now(), { actor: osUser(), host: os.hostname(), ...facts }), null);
    await log.close();
    if (log.failed) return null;
    releaseLog(log.directory);
    fs.writeFileSync(join(log.directory, settledMark), '');
    return log.origin;
  } catch {
    return null;
  }
}

function osUser(): string {
  try {
    return os.userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}
