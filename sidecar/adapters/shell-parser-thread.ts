import { type MessagePort, parentPort } from 'node:worker_threads';
import type { ParseJob } from './parser-thread.ts';
import { readShellTree } from './shell-tree.ts';

/** What the thread posts: first `ready`, then one answer per job. `json` is not decoded here: a string crosses threads faster than a tree. */
export type ShellParseAnswer =
  | { readonly id: 0; readonly outcome: 'ready' }
  | { readonly id: number; readonly outcome: 'parsed'; readonly json: string }
  | { readonly id: number; readonly outcome: 'refused' };

if (parentPort !== null) serve(parentPort);

function serve(port: MessagePort): void {
  port.on('message', ({ id, text }: ParseJob) => {
    const json = readShellTree(text);
    port.postMessage((json === null ? { id, outcome: 'refused' } : { id, outcome: 'parsed', json }) satisfies ShellParseAnswer);
  });
  port.postMessage({ id: 0, outcome: 'ready' } satisfies ShellParseAnswer);
}
