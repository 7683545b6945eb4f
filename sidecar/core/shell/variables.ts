/** Variables whose value makes the shell or a common program run something, or look for programs, libraries or settings elsewhere. */
export function isSensitiveVariable(name: string): boolean {
  return exact.has(name) || patterns.test(name);
}

const exact: ReadonlySet<string> = new Set([
  'PATH', 'IFS', 'ENV', 'HOME', 'SHELL', 'SHELLOPTS', 'BASHOPTS', 'PS0', 'PS1', 'PS2', 'PS4', 'PROMPT_COMMAND', 'LESSOPEN', 'LESSCLOSE', 'LESS', 'MORE', 'VISUAL', 'BROWSER', 'TERMINFO', 'TERMINFO_DIRS',
  'TERMCAP', 'TAPE', 'POSIXLY_CORRECT', 'GLIBC_TUNABLES', 'KUBECONFIG', 'RUBYLIB', 'GLOBIGNORE', 'EXECIGNORE', 'FIGNORE', 'HISTFILE', 'INPUTRC', 'CC', 'CXX', 'LOCALDOMAIN', 'HOSTALIASES', 'RES_OPTIONS', 'TZDIR', 'NLSPATH',
  // Integers from the start: bash evaluates what is assigned, so `RANDOM='a[$(id)]'` runs `id` (measured: RANDOM, SRANDOM, HISTCMD, OPTIND).
  'RANDOM', 'SRANDOM', 'HISTCMD', 'OPTIND', 'LINENO', 'SECONDS', 'BASHPID', 'EPOCHSECONDS', 'EPOCHREALTIME', 'UID', 'EUID', 'PPID',
]);
const patterns = /^(?:BASH_.*|LD_.*|DYLD_.*|GIT_.*|PERL5.*|PYTHON.*|RSYNC_.*|SYSTEMD_.*|SUDO_.*|ZDOTDIR|NODE_.*|JAVA_.*|_JAVA_.*|MAKE.*|LC_ALL_.*|.*PATH|.*OPT|.*OPTS|.*OPTIONS|.*EDITOR|.*PAGER|.*_ASKPASS|.*_RSH|.*_SHELL|.*_COMMAND|.*_CMD|.*_PROG|.*_CONNECT|.*FLAGS|.*CONFIG.*|.*_CONF|.*RC|.*_HOME|.*_PRELOAD)$/u;
