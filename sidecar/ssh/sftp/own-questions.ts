import type { PathAnswer, PathQuestions } from '../../core/ssh-files/resolve-path.ts';
import { type SftpReply, sftpStatus, writePathQuestion } from '../../core/ssh-files/sftp-reply.ts';
import { ChannelProblem } from './channel-problem.ts';

/** Questions of our own in a client's SFTP channel. */
export interface OwnQuestions extends PathQuestions {
  /** Whether a path leads to a directory. */
  isDirectory(path: string): Promise<boolean>;
  /** Resolves when no question of ours bears this id. */
  freed(id: number): Promise<void>;
  /** True when the answer is to a question of ours. Throws ChannelProblem for an answer that fits no such question. */
  takeReply(reply: Exclude<SftpReply, { kind: 'VERSION' }>): boolean;
  /** The channel is over: what waits is told so. */
  end(): void;
}

/**
 * Asks the target about paths under ids that no request of the client bears: searched from the top, where no client counts, and a client that comes up with one waits until it
 * is free. State: the questions without an answer; each is awaited, so they are as few as the requests that are being judged.
 */
export function createPathQuestions(deps: { readonly send: (packet: Uint8Array) => Promise<void>; readonly isTaken: (id: number) => boolean }): OwnQuestions {
  const open = new Map<number, PromiseWithResolvers<Exclude<SftpReply, { kind: 'VERSION' }>>>();
  let isOver = false;
  const nextId = (): number => {
    let id = 0xffff_ffff;
    while (deps.isTaken(id) || open.has(id)) id--;
    return id;
  };
  const ask = async (kind: 'REALPATH' | 'LSTAT' | 'STAT', path: string): Promise<Exclude<SftpReply, { kind: 'VERSION' }>> => {
    if (isOver) throw new ChannelProblem('target', 'the channel is over');
    const id = nextId();
    const asked = Promise.withResolvers<Exclude<SftpReply, { kind: 'VERSION' }>>();
    open.set(id, asked);
    // Before the answer can come: a rejection must always have somebody who hears it.
    asked.promise.catch(() => undefined);
    await deps.send(writePathQuestion(kind, id, path));
    return asked.promise;
  };
  return {
    async realpath(path): Promise<PathAnswer> {
      const reply = await ask('REALPATH', path);
      if (reply.kind === 'NAME' && reply.count === 1 && reply.first !== null) return { path: reply.first };
      return { status: reply.kind === 'STATUS' && reply.code !== sftpStatus.ok ? reply.code : sftpStatus.failure };
    },
    async exists(path) {
      const reply = await ask('LSTAT', path);
      return reply.kind !== 'STATUS' || reply.code !== sftpStatus.noSuchFile;
    },
    async isDirectory(path) {
      const reply = await ask('STAT', path);
      return reply.kind === 'ATTRS' && reply.isDirectory;
    },
    async freed(id) {
      while (open.has(id)) await open.get(id)?.promise;
    },
    takeReply(reply) {
      const asked = open.get(reply.id);
      if (asked === undefined) return false;
      open.delete(reply.id);
      asked.resolve(reply);
      return true;
    },
    end() {
      isOver = true;
      for (const asked of open.values()) asked.reject(new ChannelProblem('target', 'the channel is over'));
      open.clear();
    },
  };
}
