import { createPacketSplitter, maxSftpPacketBytes } from '../../core/ssh-files/packet-splitter.ts';
import { type ResolvedPath, resolvePath } from '../../core/ssh-files/resolve-path.ts';
import { readSftpReply, sftpStatus, writeInit } from '../../core/ssh-files/sftp-reply.ts';
import { pump, writeTo } from '../channel-pump.ts';
import type { SshContext } from '../context.ts';
import { openOnTarget } from '../target-channel.ts';
import { ChannelProblem } from './channel-problem.ts';
import { createPathQuestions } from './own-questions.ts';

/** Asks the target where paths lead, over an SFTP channel of our own. */
export interface PathResolver extends Disposable {
  /** Symbolic links followed. */
  resolve(path: string): Promise<ResolvedPath>;
  /** False for what does not exist. */
  isDirectory(path: string): Promise<boolean>;
}

const deadlineMs = 10_000;

/** Opens a channel for questions about paths; null when the target has no SFTP. Closed by whoever opened it. */
export async function openPathResolver(context: SshContext): Promise<PathResolver | null> {
  const opened = await openOnTarget(context, (done) => context.target.subsys('sftp', done));
  if (opened.outcome === 'failed') return null;
  const { channel } = opened;
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, context.ended]);
  const questions = createPathQuestions({ send: (packet) => writeTo(channel, packet), isTaken: () => false });
  const greeted = Promise.withResolvers<boolean>();
  const splitter = createPacketSplitter(maxSftpPacketBytes);
  const end = (): void => {
    clearTimeout(timer);
    greeted.resolve(false);
    questions.end();
    stop.abort();
    channel.close();
  };
  const timer = setTimeout(end, deadlineMs);
  pump(channel, signal, (chunk) => {
    const { packets, problem } = splitter.push(chunk);
    for (const packet of packets) {
      const read = readSftpReply(packet);
      if (read.outcome === 'malformed') return end();
      if (read.reply.kind === 'VERSION') greeted.resolve(read.reply.version === 3);
      else questions.takeReply(read.reply);
    }
    if (problem !== null) end();
  }).then(end, end);
  channel.stderr.resume();
  await writeTo(channel, writeInit());
  if (!(await greeted.promise)) {
    end();
    return null;
  }
  clearTimeout(timer);
  /** A target that does not answer in time, or ends the channel, has said nothing about the path. */
  const ask = async <T>(question: Promise<T>, otherwise: T): Promise<T> => {
    const patience = setTimeout(end, deadlineMs);
    try {
      return await question;
    } catch (error) {
      if (error instanceof ChannelProblem) return otherwise;
      throw error;
    } finally {
      clearTimeout(patience);
    }
  };
  return {
    resolve: (path) => ask<ResolvedPath>(resolvePath(path, true, questions), { outcome: 'unresolved', path, status: sftpStatus.failure }), isDirectory: (path) => ask(questions.isDirectory(path), false), [Symbol.dispose]: end,
  };
}
