/** A file transfer program that a client starts on the target by itself. */
export interface TransferCommand {
  readonly kind: 'scp' | 'rsync' | 'git';
  /** As the target sees it: `Read` sends its files to the client. */
  readonly direction: 'Read' | 'Write';
  readonly paths: readonly string[];
}

/** Recognises `scp -t|-f`, `rsync --server`, `git-upload-pack`, `git-receive-pack` by an exact grammar; null for everything else, which is an ordinary command. */
export function readTransferCommand(_text: string): TransferCommand | null {
  return null;
}
