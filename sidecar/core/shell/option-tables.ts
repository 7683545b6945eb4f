/** The options of one program, as far as deny rules need them: which spellings mean the same, and which take an argument. */
export interface OptionTable {
  /** Short letters, each with the long name that means the same, or itself. */
  readonly shorts: Readonly<Record<string, string>>;
  /** Every long name that the program knows, so that a prefix can be told to be unique. */
  readonly longs: readonly string[];
  /** Short letters and long names whose argument may stand in the next word. */
  readonly withArgument: ReadonlySet<string>;
}

/** The table of a program, undefined where there is none: then a rule with flags can only answer Maybe. */
export function optionTableOf(program: string): OptionTable | undefined {
  return Object.hasOwn(tables, program) ? tables[program] : undefined;
}

/** `f=force` maps a short letter, `size:` marks an argument, `s:=size` both. GNU coreutils 9, grep 3, procps, systemd 252. */
function table(shorts: string, longs: string): OptionTable {
  const withArgument = new Set<string>();
  const letters: Record<string, string> = {};
  for (const entry of shorts.split(' ')) {
    const letter = entry.slice(0, 1);
    const name = /=(.+)$/u.exec(entry)?.[1] ?? letter;
    letters[letter] = name;
    if (entry.includes(':')) withArgument.add(letter).add(name);
  }
  const names = longs.split(' ').map((name) => {
    if (name.endsWith(':')) withArgument.add(name.slice(0, -1));
    return name.replace(/:$/u, '');
  });
  return { shorts: letters, longs: [...names, 'help', 'version'], withArgument };
}

const ownership = table('c=changes f=silent v=verbose h=no-dereference R=recursive H L P', 'changes silent quiet verbose dereference no-dereference from: no-preserve-root preserve-root reference: recursive');
const power = table('H=halt p=poweroff P=poweroff r=reboot h k c f=force w=wtmp-only d=no-wtmp n=no-sync i t: a', 'halt poweroff reboot force wtmp-only no-wtmp no-sync no-wall show');
const tables: Readonly<Record<string, OptionTable>> = {
  rm: table('f=force i I r=recursive R=recursive d=dir v=verbose', 'force interactive one-file-system no-preserve-root preserve-root recursive dir verbose'),
  cp: table('a=archive b d f=force i=interactive H l=link L=dereference n=no-clobber P=no-dereference p r=recursive R=recursive s=symbolic-link S:=suffix t:=target-directory T=no-target-directory u=update v=verbose x=one-file-system Z',
    'archive attributes-only backup copy-contents debug force interactive link dereference no-clobber no-dereference preserve no-preserve parents recursive reflink remove-destination sparse: strip-trailing-slashes symbolic-link suffix: target-directory: no-target-directory update verbose one-file-system context keep-directory-symlink'),
  mv: table('b f=force i=interactive n=no-clobber S:=suffix t:=target-directory T=no-target-directory u=update v=verbose Z=context', 'backup debug exchange force interactive no-clobber no-copy strip-trailing-slashes suffix: target-directory: no-target-directory update verbose context'),
  ln: table('b d=directory F=directory f=force i=interactive L=logical n=no-dereference P=physical r=relative s=symbolic S:=suffix t:=target-directory T=no-target-directory v=verbose', 'backup directory force interactive logical no-dereference physical relative symbolic suffix: target-directory: no-target-directory verbose'),
  mkdir: table('m:=mode p=parents v=verbose Z', 'mode: parents verbose context'),
  rmdir: table('p=parents v=verbose', 'ignore-fail-on-non-empty parents verbose'),
  chmod: table('c=changes f=silent v=verbose R=recursive H L P h=no-dereference', 'changes silent quiet verbose no-preserve-root preserve-root reference: recursive dereference no-dereference'),
  chown: ownership,
  chgrp: ownership,
  shred: table('f=force n:=iterations s:=size u=remove v=verbose x=exact z=zero', 'force iterations: random-source: size: remove verbose exact zero'),
  truncate: table('c=no-create o=io-blocks r:=reference s:=size', 'no-create io-blocks reference: size:'),
  tee: table('a=append i=ignore-interrupts p', 'append ignore-interrupts output-error'),
  shutdown: power,
  reboot: power,
  poweroff: power,
  halt: power,
};
