import { checkCommandText, findDeceptiveCharacter } from './check-text.ts';
import { scanWord } from './scan-word.ts';

/** A file transfer program that a client starts on the target by itself. */
export interface TransferCommand {
  readonly kind: 'scp' | 'rsync' | 'git';
  /** As the target sees it: `Read` sends its files to the client. */
  readonly direction: 'Read' | 'Write';
  /** As written, quotes removed; at least one. */
  readonly paths: readonly string[];
}

/**
 * Recognises what `scp -O`, `rsync` and `git` of OpenSSH clients send: `scp -t|-f`, `rsync --server`, `git-upload-pack`, `git-receive-pack`,
 * by an exact grammar (one command, static words, a closed list of options). Null for everything else, which is an ordinary command.
 */
export function readTransferCommand(text: string): TransferCommand | null {
  if (checkCommandText(text) !== null || findDeceptiveCharacter(text) !== null) return null;
  const [program, ...words] = splitStatic(text) ?? [];
  switch (program) {
    case 'scp':
      return readScp(words);
    case 'rsync':
      return readRsync(words);
    case 'git-upload-pack':
    case 'git-receive-pack':
      return words.length === 1 && isPath(words[0]) ? { kind: 'git', direction: program === 'git-upload-pack' ? 'Read' : 'Write', paths: words } : null;
    default:
      return null;
  }
}

/** The words of one simple command without expansions, comments, redirections or line breaks; null for any other text. */
function splitStatic(text: string): readonly string[] | null {
  const pieces = text.match(/(?:[^\s'"\\]|'[^']*'|"(?:[^"\\]|\\[^])*"|\\[^])+|\s+/gu) ?? [];
  if (pieces.join('') !== text) return null;
  const words: string[] = [];
  for (const piece of pieces) {
    if (/^ +$/u.test(piece)) continue;
    const scan = scanWord(piece);
    // Only bash reads `$'...'` as a quote.
    if (scan.text === null || scan.odd || scan.brace || piece.includes("$'") || piece.startsWith('#') || /^\s/u.test(piece) || piece.includes('\n')) return null;
    words.push(scan.text);
  }
  return words;
}

function isPath(word: string | undefined): word is string {
  return word !== undefined && word !== '' && !word.startsWith('-');
}

/** `scp [-v] [-r] [-p] [-d] -t|-f [--] PATH`. */
function readScp(words: readonly string[]): TransferCommand | null {
  const mode = words.findIndex((word) => word === '-t' || word === '-f');
  if (mode < 0 || !words.slice(0, mode).every((word) => /^-[vrpd]$/u.test(word))) return null;
  const dashes = words[mode + 1] === '--';
  const paths = words.slice(mode + (dashes ? 2 : 1));
  const valid = paths.length === 1 && paths.every((path) => path !== '' && (dashes || !path.startsWith('-')));
  return valid ? { kind: 'scp', direction: words[mode] === '-f' ? 'Read' : 'Write', paths } : null;
}

/**
 * Letters of a first cluster, then what the client's version can do: `-vlogDtpre.iLsfxCIvu`. Without `s`, with which the paths would come later, `L`, `k` and `K`, which follow symbolic links out of
 * the directory that is judged, and `R`, with which names may begin at the root.
 */
const rsyncCluster = /^-[vlogDtprHAXSWxncuzmdIqhOJUN]*(?:e\d*\.\d*[iLsfxCIvu]*)?$/u;
const rsyncLong = /^--(?:delete(?:-before|-during|-delay|-after|-excluded)?|force|ignore-errors|partial|inplace|append|append-verify|numeric-ids|existing|ignore-existing|size-only|safe-links|munge-links|stats|log-format=%?[iIo]|(?:timeout|bwlimit|max-size|min-size|modify-window|compress-level|max-delete|block-size|checksum-seed)=[0-9.]+[A-Za-z]?|compress-choice=[a-z0-9]+|checksum-choice=[a-z0-9,]+|no-[a-z-]+|super|fake-super|open-noatime|specials|preallocate|fuzzy|no-msgs2stderr|new-compress|old-compress|mkpath)$/u;

/** `rsync --server [--sender] OPTIONS . PATH...`. */
function readRsync([server, ...words]: readonly string[]): TransferCommand | null {
  if (server !== '--server') return null;
  const sender = words[0] === '--sender';
  const options = sender ? words.slice(1) : words;
  const dot = options.indexOf('.');
  if (dot < 0 || !options.slice(0, dot).every((option) => rsyncCluster.test(option) || rsyncLong.test(option))) return null;
  const paths = options.slice(dot + 1);
  return paths.length > 0 && paths.every(isPath) ? { kind: 'rsync', direction: sender ? 'Read' : 'Write', paths } : null;
}
