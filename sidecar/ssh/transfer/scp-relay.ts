import type { SshItem } from '../../core/policy/decision.ts';
import { type ContentDigest, createContentDigest } from '../../core/ssh-files/content-digest.ts';
import { joinPath } from '../../core/ssh-files/paths.ts';
import { createScpReader, type ScpRecord } from '../../core/ssh-files/scp-records.ts';
import type { FileJudge } from '../sftp/judge-files.ts';
import type { TransferEnds, TransferRelay } from './run-transfer.ts';

/** One `scp` between its sending and its receiving side. */
export interface ScpRelayOptions extends TransferEnds {
  readonly judge: FileJudge;
  readonly digestKey: Uint8Array;
  /** `Write`: the user sends. */
  readonly direction: 'Read' | 'Write';
  /** Path of the command, resolved. */
  readonly base: string;
  readonly isDirectory: boolean;
  /** Where a path leads; null where that cannot be known. */
  readonly resolve: (path: string) => Promise<string | null>;
}

/** Deepest directory of one transfer. */
const maxDepth = 64;

interface CurrentFile {
  readonly operation: number | null;
  readonly digest: ContentDigest;
}

/**
 * Reads the sending side of scp's protocol and passes on what is permitted. A file or directory that is refused is answered in the receiving side's stead with a warning, so the sending
 * side goes on with the next one, and the user's scp prints why. The protocol is one step at a time: while a record waits for people nothing else can come.
 */
export function createScpRelay(options: ScpRelayOptions): TransferRelay {
  const reader = createScpReader();
  const isUpload = options.direction === 'Write';
  const toReceiver = isUpload ? options.toTarget : options.toUser;
  const toSender = isUpload ? options.toUser : options.toTarget;
  const directories: string[] = [];
  let file: CurrentFile | null = null;
  let problem: string | null = null;

  /** Where a record of this name lies: the first one is the command's own path, unless an upload goes into a directory. */
  const pathOf = (name: string): string => {
    const inside = directories.at(-1);
    if (inside !== undefined) return joinPath(inside, name);
    return isUpload && options.isDirectory ? joinPath(options.base, name) : options.base;
  };
  const judged = async (record: Extract<ScpRecord, { kind: 'file' | 'directory' }>): Promise<{ readonly path: string; readonly operation: number | null } | string> => {
    const path = await options.resolve(pathOf(record.name));
    if (path === null) return 'it cannot be known where this path leads [FILE_DENIED]';
    const operation: Extract<SshItem, { kind: 'file' }>['operation'] = record.kind === 'directory' && !isUpload ? 'List' : options.direction;
    const bytes = record.kind === 'file' ? record.size : null;
    const text = `scp ${record.kind === 'file' ? options.direction.toLowerCase() : isUpload ? 'mkdir' : 'list'} ${JSON.stringify(path)}${isUpload ? ` mode=${record.mode}` : ''}${bytes === null ? '' : ` size=${bytes}`}`;
    const answer = await options.judge.judge({ text, action: record.kind === 'file' ? options.direction : isUpload ? 'MKDIR' : 'LIST', items: [{ operation, path, bytes }], shownPaths: [path], intent: record.kind === 'file' || isUpload, held: () => undefined });
    if (answer.outcome === 'refused') return `${answer.denial.message} [${answer.denial.code}]`;
    // People may have taken their time.
    if (answer.wasHeld && (await options.resolve(pathOf(record.name))) !== path) {
      if (answer.operation !== null) options.judge.closed(answer.operation, { outcome: 'NotForwarded', code: 'APPROVAL_SUPERSEDED' });
      return 'the path leads elsewhere by now [APPROVAL_SUPERSEDED]';
    }
    return { path, operation: answer.operation };
  };
  const warn = async (record: Extract<ScpRecord, { kind: 'file' | 'directory' }>, why: string): Promise<void> => {
    const line = Buffer.concat([Uint8Array.of(1), Buffer.from(`sallyport: ${record.name}: ${why}\n`.replaceAll(/[\x00-\x09\x0b-\x1f\x7f]/g, '?'))]);
    reader.skip();
    if (!isUpload) await toReceiver(line);
    await toSender(line);
  };
  const take = async (record: ScpRecord): Promise<void> => {
    switch (record.kind) {
      case 'file': {
        const answer = await judged(record);
        if (typeof answer === 'string') return warn(record, answer);
        file = { operation: answer.operation, digest: createContentDigest(options.digestKey) };
        return toReceiver(record.line);
      }
      case 'directory': {
        if (directories.length >= maxDepth) {
          problem = 'directories too deep';
          return;
        }
        const answer = await judged(record);
        if (typeof answer === 'string') return warn(record, answer);
        if (answer.operation !== null) options.judge.closed(answer.operation, { outcome: 'Completed' });
        directories.push(answer.path);
        return toReceiver(record.line);
      }
      case 'leave':
        if (directories.pop() === undefined) problem = 'a directory ends that did not begin';
        return problem === null ? toReceiver(record.line) : undefined;
      case 'content':
        file?.digest.append(record.bytes);
        return toReceiver(record.bytes);
      case 'end':
        closeFile(record.isWhole ? 'Completed' : 'Failed');
        return toReceiver(record.line);
      case 'times':
      case 'message':
        return toReceiver(record.line);
      default:
        return record satisfies never;
    }
  };
  const closeFile = (outcome: 'Completed' | 'Failed' | 'Unknown'): void => {
    if (file !== null && file.operation !== null) options.judge.closed(file.operation, { outcome, [isUpload ? 'bytes_written' : 'bytes_read']: file.digest.bytes(), [isUpload ? 'digest_written' : 'digest_read']: file.digest.value() });
    file = null;
  };
  const fromSender = async (chunk: Uint8Array): Promise<void> => {
    let rest = chunk;
    for (;;) {
      const { records, problem: broken } = reader.push(rest);
      for (const record of records) if (problem === null) await take(record);
      problem ??= broken;
      // A record that was judged may have more behind it.
      if (problem !== null || records.length === 0) return;
      rest = new Uint8Array(0);
    }
  };
  return { fromUser: isUpload ? fromSender : options.toTarget, fromTarget: isUpload ? options.toUser : fromSender, problem: () => problem, end: () => closeFile('Unknown') };
}
