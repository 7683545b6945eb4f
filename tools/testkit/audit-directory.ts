import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { openDirectory } from '../../sidecar/adapters/evidence-source.ts';
import { verifyEvidence, type VerifyReport } from '../../sidecar/adapters/evidence-verify.ts';
import { type FileLayer, nodeFiles } from '../../sidecar/adapters/file-layer.ts';
import { openRecorder, type Recorder, type RecorderOptions } from '../../sidecar/adapters/session-recorder.ts';
import { aBackend, anIntent, aResult, aSubject, aWholeSession, FakeClock, FakeTimers } from './audit.ts';

/** The head of a record, as tests read it. */
export interface RecordLine {
  readonly metadata: { readonly event_code: string; readonly correlation_uid?: string; readonly sequence?: number };
}

/** A data directory of its own, with a recorder whose clock and timers the test moves. */
export class AuditDirectory {
  readonly data: string = fs.mkdtempSync(join(os.tmpdir(), 'sallyport-audit-'));
  readonly clock: FakeClock = new FakeClock();
  timers: FakeTimers = new FakeTimers();

  remove(): void {
    fs.rmSync(this.data, { recursive: true, force: true });
  }

  async open(changes: Partial<RecorderOptions> = {}): Promise<Recorder> {
    const recorder = await openRecorder({ dataDirectory: this.data, namespace: 'payments', clock: this.clock, timers: this.timers, reserveBytes: 65_536, minFreeBytes: 0, minFreeShare: 0, ...changes });
    this.clock.nowMs += 1;
    return recorder;
  }

  async twoSessions(prefix: string = '01'): Promise<void> {
    const recorder = await this.open();
    await aWholeSession(recorder, `${prefix}A`);
    await aWholeSession(recorder, `${prefix}B`);
    await recorder.close();
  }

  /** A process that dies after that many steps of session 01A: nothing of it runs on, its files stay. */
  async crashedSession(steps: number): Promise<void> {
    const recorder = await this.open();
    const session = recorder.open('01A');
    await session.start(aSubject('01A'), aBackend());
    if (steps > 1) await session.recordIntents([anIntent()]);
    if (steps > 2) session.recordResult(aResult(1));
    if (steps > 2) this.timers.run(50);
    if (steps > 3) await session.end('ClientClosed', { rows: 50, bytes: 0, denied: 0 });
    this.forget();
  }

  /** Lets go of a recorder as SIGKILL would. */
  forget(): void {
    this.timers = new FakeTimers();
    for (const name of fs.readdirSync(join(this.data, 'log'))) fs.rmSync(join(this.data, 'log', name, 'owner.json'), { force: true });
  }

  /** Runs the retry timer until the recorder takes sessions again, at most 10 s. */
  async restored(recorder: Recorder): Promise<void> {
    for (const deadline = Date.now() + 10_000; recorder.unavailable() !== null;) {
      if (Date.now() > deadline) throw new Error('the recorder did not recover');
      this.timers.run(60_000);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  verify(): Promise<VerifyReport> {
    return verifyEvidence(openDirectory(this.data), null);
  }

  segments(): readonly string[] {
    return openDirectory(this.data).paths.filter((path) => path.endsWith('.ndjson')).map((path) => join(this.data, path));
  }

  rawLog(): string {
    return this.segments().map((path) => fs.readFileSync(path, 'utf8')).join('');
  }

  records(): readonly RecordLine[] {
    return this.rawLog().split('\n').filter((line) => line.startsWith('{"metadata":{"version":"1.8.0"') && line.endsWith('}')).map((line) => JSON.parse(line) as RecordLine);
  }

  recording(session: string): readonly string[] {
    return gunzipSync(fs.readFileSync(join(this.data, 'recordings', `${session}.sqlrec.gz`))).toString('utf8').split('\n').slice(0, -1);
  }

  /** Everything that was stored, recordings unpacked. */
  allBytes(): Buffer {
    return Buffer.concat([Buffer.from(this.rawLog()), ...fs.readdirSync(join(this.data, 'recordings')).map((name) => gunzipSync(fs.readFileSync(join(this.data, 'recordings', name))))]);
  }
}

/** Start time of a process, as the log's claim has it. */
export function startOf(pid: number): string {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

/** A file system whose writes fail as told. */
export class FaultyFiles {
  shortWrites = false;
  syncError: string | null = null;
  syncs = 0;
  #error: string | null = null;
  #reserve: string | null = null;

  readonly layer: FileLayer = {
    ...nodeFiles,
    write: (fd, bytes) => {
      const error = this.#error ?? (this.#reserve !== null && fs.existsSync(this.#reserve) ? 'ENOSPC' : null);
      if (error !== null) throw Object.assign(new Error(error), { code: error });
      const data = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
      return nodeFiles.write(fd, this.shortWrites && data.length > 1 ? data.subarray(0, Math.ceil(data.length / 2)) : data);
    },
    datasync: async (fd) => {
      this.syncs += 1;
      if (this.syncError !== null) throw Object.assign(new Error(this.syncError), { code: this.syncError });
      await nodeFiles.datasync(fd);
    },
    remove: (path) => {
      if (path === this.#reserve) this.#reserve = null;
      nodeFiles.remove(path);
    },
  };

  failWrites(code: string | null): void {
    this.#error = code;
  }

  /** The disk is full until the file is given up. */
  fillUntilRemoved(path: string): void {
    this.#reserve = path;
  }
}
