import type { ShellWord } from '../shell-facts.ts';
import { mayBeOption, type ProgramReader, type ProgramReading, unclear, writtenText } from './program.ts';

/** Options of otherwise plain programs that start another one. An expansion in place of an option may be one of them. */
interface Escape { readonly options: RegExp; readonly anywhere?: RegExp }

const escapes: Readonly<Record<string, Escape>> = {
  // Single letters stand in clusters in front of the first that takes an argument; long options may be cut short.
  tar: { options: /^-(?!-)[^bCfFgHIKLNTVX]*[IFT]|^--(?:to-c|ch.*-a|checkpoint-a|us|i(?:n(?:f|$)|$)|new-v|rs|rm|fil|ow-c)/u, anywhere: /^--(?:to|ch|u|r|inf|new|fil)[a-z-]*(?:command|action|prog|script|from)/u },
  rsync: { options: /^-(?!-)[^fBT@]*[eM]|^--(?:rsh|rsync-path|remote-option|config|daemon|dparam)/u },
  sort: { options: /^--co/u },
  scp: { options: /^-(?!-)[^cFiJlPX]*[SoFD]/u },
  split: { options: /^--fi/u },
  rg: { options: /^--pre/u },
  fd: { options: /^-(?!-)[A-Za-z]*[xX]|^--exec/u },
  zip: { options: /^-(?!-)[A-Za-z0-9]*T|^--(?:te|unz)/u },
  tcpdump: { options: /^-(?!-)[A-Za-z#]*z|^--z/u },
  iptables: { options: /^-M|^--mo/u },
  ip6tables: { options: /^-M|^--mo/u },
  ip: { options: /^-(?:b|fo)/u, anywhere: /^e(?:x(?:ec?)?)?$/u },
  wget: { options: /^-(?!-)[A-Za-z]*e|^--(?:ex|use-a|co[a-z]*fig)/u },
  apt: { options: /^-(?!-)[a-z]*[oc]|^--(?:op|co)/u },
  'apt-get': { options: /^-(?!-)[a-z]*[oc]|^--(?:op|co)/u },
  dpkg: { options: /^--(?:pre-i|post-i|status-l)/u },
  nmap: { options: /^--(?:s|int)/u },
  openssl: { options: /^-(?:engine|provider|provider-path)/u },
  'ssh-keygen': { options: /^-D|^-\w*w/u },
  gpg: { options: /^--?[a-z-]*prog|^--exec/u },
  nc: { options: /^-(?!-)[A-Za-z0-9]*[ec]|^--(?:e|sh|lu)/u },
  ncat: { options: /^-(?!-)[A-Za-z0-9]*[ec]|^--(?:e|sh|lu)/u },
  netcat: { options: /^-(?!-)[A-Za-z0-9]*[ec]|^--(?:e|sh|lu)/u },
  logrotate: { options: /^-(?!-)[A-Za-z]*m|^--m/u },
  machinectl: { options: /^$/u, anywhere: /^(?:shell|login)$/u },
  lxc: { options: /^$/u, anywhere: /^exec$/u },
  incus: { options: /^$/u, anywhere: /^exec$/u },
  systemctl: { options: /^$/u, anywhere: /^edit$/u },
};

/** The reader of a program with such options, undefined for others. */
export function escapeReader(program: string): ProgramReader | undefined {
  if (program === 'git') return readGit;
  const escape = Object.hasOwn(escapes, program) ? escapes[program] : undefined;
  if (escape === undefined) return undefined;
  return (words) => {
    const found = words.find((word) => isEscape(word, escape)) ?? (program === 'tar' ? oldStyleEscape(words[0]) : undefined);
    if (found !== undefined) return unclear(`${program} may start a program by ${writtenText(found)}`);
    return escape.options.source === '^$' ? {} : expansionProblem(words);
  };
}

function isEscape(word: ShellWord, escape: Escape): boolean {
  const text = word.kind === 'static' ? word.text : word.prefix ?? '';
  return escape.options.test(text) || (word.kind === 'static' && escape.anywhere?.test(text) === true);
}

/** `tar xIf PROGRAM FILE`. */
function oldStyleEscape(word: ShellWord | undefined): ShellWord | undefined {
  return word?.kind === 'static' && /^[A-Za-z]+$/u.test(word.text) && /[IFT]/u.test(word.text) ? word : undefined;
}

/** An expansion before `--` that may be an option. */
function expansionProblem(words: readonly ShellWord[]): ProgramReading {
  const end = words.findIndex((word) => word.kind === 'static' && word.text === '--');
  return (end < 0 ? words : words.slice(0, end)).some((word) => word.kind === 'dynamic' && mayBeOption(word)) ? unclear('an expansion may be an option that starts a program') : {};
}

/** Subcommands that git itself has, so that no alias takes their place, and that start nothing but git's own parts. */
const gitCommands: ReadonlySet<string> = new Set(
  ('add am annotate apply archive blame branch bundle cat-file check-attr check-ignore check-mailmap check-ref-format checkout checkout-index cherry cherry-pick clean clone column commit commit-graph commit-tree count-objects describe diff '
    + 'diff-files diff-index diff-tree fast-export fast-import fetch fetch-pack for-each-ref format-patch fsck gc get-tar-commit-id grep hash-object index-pack init log ls-files ls-remote ls-tree mailinfo merge merge-base merge-file '
    + 'merge-tree mktag mktree multi-pack-index mv name-rev notes pack-objects pack-refs patch-id prune pull push range-diff read-tree rebase reflog remote repack replace rerere reset restore rev-list rev-parse revert rm '
    + 'send-pack shortlog show show-branch show-index show-ref sparse-checkout stage stash status stripspace switch symbolic-ref tag update-index update-ref upload-archive verify-commit verify-pack verify-tag version whatchanged worktree write-tree').split(' '),
);
/** Options of single subcommands that start a program, cut short or not. */
const gitEscapes: Readonly<Record<string, RegExp>> = {
  clone: /^-(?!-)[a-z]*[uc]|^--(?:up|conf|temp)/u, fetch: /^--(?:up|ser)/u, pull: /^--(?:up|ser)|^-(?!-)[a-z]*s/u, 'fetch-pack': /^--(?:up|ex)/u, 'ls-remote': /^--(?:up|ex)/u, push: /^--(?:rec|ex)/u, 'send-pack': /^--(?:rec|ex)/u,
  archive: /^--ex/u, grep: /^-(?!-)[A-Za-z]*O|^--op/u, rebase: /^-(?!-)[a-z]*[xis]|^--(?:ex|int|strat)/u, merge: /^-(?!-)[a-z]*s|^--strat/u, 'cherry-pick': /^--strat/u, revert: /^--strat/u, init: /^--temp/u,
  diff: /^--(?:ext|textc)/u, log: /^--(?:ext|textc)/u, show: /^--(?:ext|textc)/u, 'cat-file': /^--(?:textc|filters)/u, 'format-patch': /^--ext/u,
};

const readGit: ProgramReader = (words) => {
  let at = 0;
  for (; at < words.length; at += 1) {
    const word = words[at] as ShellWord;
    if (word.kind === 'dynamic') return unclear('the subcommand is an expansion');
    if (!word.text.startsWith('-')) break;
    if (word.text === '-C' || word.text === '--git-dir' || word.text === '--work-tree') {
      const value = words[at + 1];
      if (value?.kind === 'dynamic' && value.single !== true) return unclear('an expansion may be several words');
      at += 1;
    } else if (!/^(?:--git-dir=.*|--work-tree=.*|--no-pager|-P|--bare|--no-replace-objects|--literal-pathspecs|--glob-pathspecs|--no-optional-locks|--version|-v)$/su.test(word.text)) {
      return unclear(`the option ${word.text} of git may start a program`);
    }
  }
  const command = words[at];
  if (command?.kind !== 'static') return {};
  const rest = words.slice(at + 1);
  if (command.text === 'config') return readGitConfig(rest);
  if (!gitCommands.has(command.text)) return unclear(`git ${command.text} may be an alias, or starts other programs`);
  const escape = gitEscapes[command.text];
  if (rest.some((word) => writtenText(word).includes('::'))) return unclear('the address may start a program');
  if (escape === undefined) return {};
  const found = rest.find((word) => isEscape(word, { options: escape }));
  return found === undefined ? expansionProblem(rest) : unclear(`git ${command.text} may start a program by ${writtenText(found)}`);
};

/** Reading settings is plain; writing them can name programs. */
function readGitConfig(words: readonly ShellWord[]): ProgramReading {
  const [first] = words.filter((word) => word.kind === 'dynamic' || !/^--(?:global|system|local|worktree|null|name-only|show-origin|show-scope)$/u.test(word.text));
  return first?.kind === 'static' && /^(?:--get|--get-all|--get-regexp|--list|-l)$/u.test(first.text) ? {} : unclear('a setting of git can name a program');
}
