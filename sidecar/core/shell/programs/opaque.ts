import { type ProgramReader, unclear } from './program.ts';

/** Programs that run a language of their own, editors and pagers with an escape to the shell, and tools that start what their files say. */
const interpreters =
  /^(?:python|pypy|perl|ruby|irb|erb|lua|luajit|php|node|tclsh|wish|guile|julia)[\d.]*(?:-config)?(?:\.[a-z]+)?$|^(?:[gmn]?awk|original-awk|bwk|g?sed|psed|vim?(?:\.[a-z]+)?|nvim|view|vimdiff|rvim|rview|ex|ed|red|emacs.*|nano|rnano|pico|joe|mcedit|less|lesspipe|more|most|pg|man|info|expect|gdb.*|lldb.*|psql|mysql|mariadb|sqlite3?|sqlplus|mongo|mongosh|clickhouse-client|dc|m4|sftp|ftp|lftp|telnet|mailx?|mutt|tmux|screen|mc|nodejs|deno|bun|Rscript|R|ghci|runghc|erl|iex|elixir|scala|groovy|jshell|jrunscript|pwsh|powershell|fish|csh|tcsh|mksh|rbash|yash|rc|es|elvish|nu|xonsh|busybox\.static|g?make|scheme|racket|sbcl|clisp|ocaml|swipl|octave|gnuplot|visudo|vipw|vigr|sudoedit|sensible-editor|sensible-pager|editor|pager)$/u;

/** Programs that start the one in their words, with options that are not read here. */
const starters: ReadonlySet<string> = new Set(
  ('ltrace perf valgrind numactl cgexec prlimit unbuffer rlwrap setpriv capsh setarch linux32 linux64 i386 x86_64 uname26 fakeroot proot bwrap firejail gosu su-exec tini dumb-init catchsegv chpst setuidgid softlimit envdir '
    + 'envuidgid setlock daemonize daemon start-stop-daemon run-parts entr pssh parallel-ssh pdsh clush dsh mosh autossh rsh rlogin rexec remsh socat pkexec lxc-attach lxc-execute ctr runc flatpak snap toolbox distrobox vagrant multipass '
    + 'xvfb-run dbus-run-session dbus-launch ssh-agent sshpass torsocks torify tsocks proxychains proxychains4 trickle cpulimit schedtool eatmydata xterm x-terminal-emulator konsole byobu reptyr dtach abduco ttyrec asciinema hyperfine '
    + 'multitime lockf choom uclampset chronic ifne mispipe lckdo combine batch newgrp sg setsebool runcon newrole logger-exec at.allow faketime nsjail minijail0 cset wasmtime qemu-user with-contenv s6-setuidgid sem sql niceload xargs.exe '
    + 'command_not_found_handle command_not_found_handler').split(' '),
);
const loaders = /^(?:ld(?:-.*)?\.so(?:\.\d+)?|qemu-.*|s6-.*|execline.*)$/u;
const versionPrinters = /^(?:python|perl|ruby|php|node|sed|gawk|gdb|make|vim|psql|mysql|sqlite3|bash|nano|less|emacs)[\d.]*$/u;

/** The reader of a program into which nobody can look, undefined for others. */
export function opaqueReader(program: string): ProgramReader | undefined {
  const interprets = interpreters.test(program);
  if (!interprets && !starters.has(program) && !loaders.test(program)) return undefined;
  return (words) => {
    const [only] = words;
    if (words.length === 1 && only?.kind === 'static' && only.text === '--version' && versionPrinters.test(program)) return {};
    return unclear(interprets ? `${program} runs code of its own, or starts programs` : `${program} starts a program in a way that is not read`);
  };
}
