// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are shell texts
import fc from 'fast-check';

/** One random command line. `runnable` is false where a mutation may have made something that should only be parsed. */
export interface CommandLine {
  readonly text: string;
  readonly runnable: boolean;
}

/**
 * Random command lines: most of bash's grammar over programs that exist in the sandbox only, a third of them with random edits.
 * No slash ever stands in a line, so that nothing outside the sandbox has a name, and no function calls itself.
 */
export function commandLines(): fc.Arbitrary<CommandLine> {
  return fc.oneof(
    { weight: 2, arbitrary: grammar().map((text) => ({ text, runnable: true })) },
    { weight: 1, arbitrary: fc.tuple(grammar(), fc.array(edit(), { minLength: 1, maxLength: 3 })).map(([text, edits]) => mutate(text, edits)) },
    { weight: 1, arbitrary: soup() },
  );
}

/** The programs of the sandbox: each logs how it was started, nothing else. */
export const stubPrograms = ['rm', 'ls', 'cat', 'tool', 'p'] as const;
/** Stubs that also print words, which then come from a substitution or a pipe. */
export const wordPrograms = ['words'] as const;
/** Real programs that only start what stands in their words. */
export const realWrappers = ['env', 'nice', 'nohup', 'timeout', 'setsid', 'stdbuf', 'ionice', 'xargs', 'find', 'taskset', 'flock', 'sh', 'bash', 'time'] as const;
/** Stubs that start what stands in their words as the real ones do: the shell text of one and the words of another. */
export const startingStubs = { sudo: 'words', doas: 'words', busybox: 'words', strace: 'words', kubectl: 'dashes', docker: 'docker', ssh: 'host', su: 'text', watch: 'joined' } as const;

const one = <T extends string>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const joined = (...parts: readonly (fc.Arbitrary<string> | string)[]): fc.Arbitrary<string> => fc.tuple(...parts.map((part) => (typeof part === 'string' ? fc.constant(part) : part))).map((pieces) => pieces.join(''));
const many = (part: fc.Arbitrary<string>, separator: fc.Arbitrary<string> | string, minLength: number, maxLength: number): fc.Arbitrary<string> =>
  fc.tuple(fc.array(part, { minLength, maxLength }), typeof separator === 'string' ? fc.constant(separator) : separator).map(([parts, between]) => parts.join(between));

const variables = ['$x', '${x}', '$y', '$e', '$z', '${n}', '$1', '$#', '$?', '$@', '$*', '${x:-d}', '${e:-d e}', '${x%c}', '${x#-}', '${#x}', '$u', '${u-w}', '${e:+z}', '$n$n', '${u:-"d e"}', '${x/c/d}', '${y^^}', '${x:1}', '${x:1:2}', '${a[0]}', '${a[@]}', '${u:-$(p in)}', '"${u:-`p in`}"'] as const;
/** Forms that are Unknown, or nearly. */
const hazards = ['${!x}', '${x@Q}', '$((n))', '$((x))', '${a[n]}', '${x:n}', '{a,b}', '{a,-b}', '{1..3}', '@(a|b)', '!(a)', '?(a)', 'a{,}b', '"${u:-\'$(p q)\'}"', '${u:-\'$(p q)\'}', '"${u-\'`p q`\'}"', '$[1+2]', '"${x#\'$(p)\'}"', '$(words', '"', "'", '`', '${', '${x:-"}', '(', ')', '${u:-\\$(p)}'] as const;

function grammar(): fc.Arbitrary<string> {
  const depth = { depthSize: 'small', withCrossShrink: true } as const;
  return fc.letrec<Record<'line' | 'list' | 'pipeline' | 'command' | 'simple' | 'plain' | 'wrapped' | 'compound' | 'word' | 'quoted' | 'substitution', string>>((tie) => ({
    line: fc.oneof({ weight: 5, arbitrary: tie('list') }, { weight: 1, arbitrary: joined(tie('list'), one('\n', ' # comment\n', '; ', '\n# x\n'), tie('list')) }),
    list: fc.oneof(depth, tie('pipeline'), joined(tie('pipeline'), one(' && ', ' || ', '; ', ' & ', '\n', ' ;', '&&', '||', '\\\n && '), tie('pipeline')), joined(tie('pipeline'), one('', ';', ' &', ' # c', '\n'))),
    pipeline: fc.oneof(depth, { weight: 5, arbitrary: tie('command') }, { weight: 1, arbitrary: joined(tie('command'), one(' | ', '|', ' |& ', ' |\n'), tie('command')) }, { weight: 1, arbitrary: joined(one('! ', 'time ', 'time -p ', '! ! '), tie('command')) }),
    command: fc.oneof(depth, { weight: 4, arbitrary: tie('simple') }, { weight: 2, arbitrary: tie('compound') }, { weight: 2, arbitrary: tie('wrapped') }),
    simple: fc.oneof(depth, { weight: 4, arbitrary: tie('plain') }, { weight: 1, arbitrary: joined(tie('plain'), redirection(tie('word'))) }, { weight: 1, arbitrary: joined(redirection(tie('word')), ' ', tie('plain')) },
      { weight: 1, arbitrary: joined(assignment(tie('word')), ' ', tie('plain')) }, { weight: 1, arbitrary: assignment(tie('word')) }, { weight: 1, arbitrary: builtin(tie('word')) }, { weight: 1, arbitrary: hereDocument(tie('line')) }),
    plain: joined(program(), many(joined(one(' ', ' ', '  ', '\t', ' \\\n'), tie('word')), '', 0, 4)),
    wrapped: fc.oneof(depth, joined(wrapper(), ' ', tie('plain')), joined(wrapper(), ' ', wrapper(), ' ', tie('plain')), joined(one('bash -c ', 'sh -c ', 'bash -ec ', 'sh -xec ', 'eval ', 'su -c ', 'ssh h ', 'watch ', 'eval -- ', 'bash -o pipefail -c ', 'env sh -c '), tie('line').map(quoteSingle)),
      joined('eval ', tie('plain')), joined('ssh h ', tie('plain')), joined('watch ', tie('plain')), joined('words | xargs ', one('', '-n1 ', '-r ', '-0 ', '-I{} ', '-t -n 2 '), tie('plain'), one('', ' {}', ' a{}b')),
      joined('find . -name ', one('"*.log"', 'f1.log', "'*'"), one(' -exec ', ' -execdir '), tie('plain'), one(' \\;', ' {} \\;', ' {} +', " ';'", ' a{} \\;', ' {} ";"')), joined(one('bash <<< ', 'sh <<< '), tie('plain').map(quoteSingle))),
    compound: fc.oneof(depth, joined('( ', tie('list'), ' )'), joined('(', tie('list'), ')'), joined('{ ', tie('pipeline'), '; }'), joined('if ', tie('pipeline'), '; then ', tie('list'), '\nfi'), joined('if ', tie('pipeline'), '\nthen ', tie('pipeline'), '; else ', tie('pipeline'), '; fi'),
      joined('for i in ', many(tie('word'), ' ', 0, 3), '; do ', tie('pipeline'), '; done'), joined('while false; do ', tie('pipeline'), '; done'), joined('until ', tie('plain'), '; do ', tie('pipeline'), '; break; done'),
      joined('case ', tie('word'), ' in ', tie('word'), ') ', tie('pipeline'), one(' ;;', ' ;&', ';;'), ' *) ', tie('pipeline'), ' ;; esac'), joined('[[ ', tie('word'), one(' == ', ' != ', ' -eq ', ' =~ '), tie('word'), ' ]]'), joined('[[ ', one('-n ', '-z ', '-v ', '-f ', '! -e '), tie('word'), ' ]]'),
      joined('(( ', one('1+2', '2 > 1', '1 ? 2 : 3', '1 ? 2 : 3', 'n > 1', 'b=2'), ' ))'), joined('fn() { ', tie('plain'), '; }; fn', many(joined(' ', tie('word')), '', 0, 2)), joined('function fn { ', tie('plain'), '; }; fn'), joined('{ ', tie('pipeline'), '; }', redirection(tie('word'))), joined('for ((i=0;i<2;i++)); do ', tie('plain'), '; done'),
      joined('select s in a; do ', tie('plain'), '; done'), joined('if [ ', tie('quoted'), ' = a ]; then ', tie('plain'), '; fi')),
    word: fc.oneof(depth, { weight: 6, arbitrary: one('a', 'b', '-x', '-rf', '-f', '--force', '--', '-', 'a=b', '=', '{}', 'x,y', '%', '@', '!', ']', '[', '5$', '$', '^', ':', '+', 'a#b', '#b', 'in', 'do', 'if', '}', '{', 'f1.log', '-', '==', 'a:b', '1', '-1') },
      { weight: 2, arbitrary: tie('quoted') }, { weight: 2, arbitrary: one(...variables) }, { weight: 2, arbitrary: one(...variables).map((text) => `"${text}"`) }, { weight: 1, arbitrary: one(...variables).map((text) => `"a ${text}"`) },
      { weight: 1, arbitrary: one('*', '*.log', 'f?.log', '[ab]*', '~', '~a', 'a~', '*a', 'f[1-9].log', '[!a]*', '[^a]*', '*[', 'a=~', '{a}', '{a..b', 'x{y') }, { weight: 1, arbitrary: fc.oneof({ weight: 1, arbitrary: one(...hazards) }, { weight: 4, arbitrary: one('a', '-x') }) },
      { weight: 2, arbitrary: tie('substitution') }, { weight: 1, arbitrary: fc.tuple(tie('word'), tie('word')).map((words) => words.join('')) }),
    quoted: fc.oneof(depth, one("''", '""', "'a b'", '"a b"', '\\ ', 'a\\ b', '\\-rf', '\\$x', '"\\$x"', "'$x'", '"\\\\"', "'\\'", '"a\\b"', '"\'"', "'\"'", "$'a\\x62'", "$'\\101\\n'", "$'it\\'s'", '"a\\\nb"', 'a\\\nb', "'a\nb'", '"`"\\""', '\\\\', '\\\'', '\\"', '"$"', "$'\\u0041'", "$'\\e[m'", '"a"\'b\'c', "'-'rf", '-"r"f', "'*'", '\\*', '"~"', '\\~', "'{'a,b}"),
      tie('substitution').map((text) => `"${text}"`)),
    substitution: fc.oneof(depth, joined('$(', tie('list'), ')'), joined('$( ', tie('list'), '\n)'), joined('`', tie('plain').map((text) => text.replaceAll(/[`\\]/gu, '\\$&')), '`'), joined('<(', tie('list'), ')'), joined('$((', one('1+2', '1', '-3', '(1)*2', '1<<2'), '))'), joined('${u:-$(', tie('plain'), ')}'),
      joined('"${u:-$(', tie('plain'), ')}"'), joined('"${x%$(', tie('plain'), ')}"'), one('$(< f1.log)', '$(<f1.log)'), joined('"${x/$(', tie('plain'), ')/`p`}"')),
  })).line;
}

function program(): fc.Arbitrary<string> {
  return fc.oneof({ weight: 8, arbitrary: one(...stubPrograms, ...wordPrograms) }, { weight: 1, arbitrary: one('\\rm', "'rm'", '"ls"', "r''m", '"r"m', "$'rm'", "$'\\x72m'", 'r\\m', 'r\\\nm', 'nothere', '""', "''", 'rm', 'ls', '$p', '"$p"', 'r?') });
}

function wrapper(): fc.Arbitrary<string> {
  return one('sudo', 'sudo -u x', 'sudo -n --', 'sudo A=b', 'sudo -nu x', 'sudo -i', 'doas -u x', 'env', 'env -i', 'env A=b', 'env -u A B=c', 'env -- ', 'env -', 'env -C . ', 'env -S', 'nice', 'nice -n 5', 'nice -5', 'nice -n5', 'nice --adjustment=5', 'nohup', 'timeout 5', 'timeout -k 5 10',
    'timeout -s INT 5', 'timeout --signal=INT 5', 'timeout --kill=3 5', 'setsid -w', 'setsid --wait', 'stdbuf -oL', 'stdbuf -o L -eL', 'ionice -c3', 'ionice -c 3 -t', 'taskset 1', 'taskset -c 0', 'flock f1.log', 'flock -n f1.log', 'command', 'command -p', 'command -v', 'command --', 'builtin', 'exec', 'exec -c', 'exec -a z', 'busybox',
    'strace -f', 'strace -e trace=open', 'kubectl exec pod --', 'kubectl -n a exec pod -it --', 'docker exec -it web --', 'docker exec -u x web --', 'ssh -p 22 h', 'ssh h', 'ssh -o BatchMode=yes h', 'watch -n 1', 'eval', 'time', '\\time', 'nice', 'sudo', 'timeout 5', '$w', 'env $y');
}

function assignment(word: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.oneof(joined(one('v=', 'v+=', 'a[0]=', 'v=', 'b[n]='), word), joined('a=(', many(word, ' ', 0, 3), ')'), joined('a=([1]=', word, ')'), joined(one('export ', 'local ', 'declare ', 'readonly ', 'typeset -i '), 'v=', word), one('v=', 'v=a', 'IFS=a', 'PATH=x', 'v=~'));
}

function builtin(word: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.oneof(joined(one('echo ', 'printf ', 'printf %s ', ': ', 'true ', 'shift ', 'test ', 'type ', 'read ', 'unset ', 'set -- ', 'printf -v ', 'let ', 'test -v ', '[ -v '), many(word, ' ', 0, 3)), joined('[ ', many(word, ' ', 0, 3), ' ]'), joined('[ ', word, one(' = ', ' -eq ', ' != '), word, ' ]'), joined('[ ', one('-n ', '-f ', '-z ', '! -e '), word, ' ]'));
}

function redirection(word: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.oneof(joined(one(' > ', ' >> ', ' 2> ', '>', ' <> ', ' &> ', ' >| ', ' >& ', ' <<< ', ' &>> '), word), joined(one(' < ', ' 2< ', '<'), one('f1.log', 'ab', '"a b.log"', 'f[1].log')), one(' 2>&1', ' >&2', ' < f1.log', ' > out', ' 2>out', ' 2>&-', ' <&-', ' {v}>out', ' 3>&1', '>out', ' 1>&2'));
}

function hereDocument(line: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.tuple(one('cat', 'p', 'bash', 'sh', 'tool', 'sudo bash', 'env sh -s'), one('<<E', "<<'E'", '<<\\E', '<<-E', '<<"E"', '<<-\'E\''), one('', ' a', ' | cat', ' > out', '; p'), line, one('E', 'E', 'E', 'E', 'E', 'E', 'E', '\tE', 'F', 'E '), one('', '\n', '\np'))
    .map(([program_, operator, rest, body, end, after]) => `${program_} ${operator}${rest}\n${body}\n${end}${after}`);
}

function quoteSingle(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Pieces without any grammar: short, so that a good part of them still parses. */
function soup(): fc.Arbitrary<CommandLine> {
  const piece = fc.oneof({ weight: 3, arbitrary: one('p', 'ls', 'rm', 'a', '-x', 'p', 'ls ', ' p', '1', 'in') }, { weight: 4, arbitrary: one(' ', ' ', ' ', '; ', '\n', '|', '&&', '&', ';', '||') }, { weight: 2, arbitrary: one(...variables, '"', "'", '\\', '`', '$(', ')', '(', '{ ', '; }', '"$(', ')"', '<', '>', '>&', '2>', '<<E', '\nE\n', "<<'E'", '<<<', '&>', '#', ' #', '$', "$'", '~', '*', '?', '[', ']', '=', 'x=', '!', '! ', '{', '}', ',', '[[ ', ' ]]', '((', '))', '$((', 'if ', '; then ', '; fi', 'case a in ', ') ', ';;', ' esac', 'time ', '<(', '>(', '\\\n', '-', '2', '2>&1', '>&-', '<&', 'E', '\t', 'a[1]=', '+=', '=(', '$"', '${', '""', "''", '{ p; }', '(p)', '$(p)', '`p`', '"$x"') });
  return fc.array(piece, { minLength: 2, maxLength: 12 }).map((pieces) => mutate(pieces.join(''), []));
}

interface Edit { readonly at: number; readonly kind: 'insert' | 'remove' | 'repeat'; readonly piece: string }

function edit(): fc.Arbitrary<Edit> {
  return fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }), kind: one('insert', 'insert', 'remove', 'repeat'),
    piece: one(...'\t\n\'"\\$(){}[];&|<>#!~*?=a-`,.: '.split(''), '$(', '${', '`', '<<', '<(', '$((', '\\\n', ';;', '&&', '||', '>&', '$\'', '$"', ' # ', 'if ', 'fi', ' do ', ' done', ' in ', '[[ ', ' ]]', '{ ', '; }', '<<E\n', '\nE\n', 'case ', 'esac', '\\\\', "''", '""', 'time ', '! ', 'exec ', 'eval '),
  });
}

function mutate(text: string, edits: readonly Edit[]): CommandLine {
  const changed = edits.reduce((before, { at, kind, piece }) => {
    const position = Math.floor(at * before.length);
    if (kind === 'insert') return before.slice(0, position) + piece + before.slice(position);
    if (kind === 'remove') return before.slice(0, position) + before.slice(position + 1);
    return before.slice(0, position) + before.slice(position - 3, position) + before.slice(position);
  }, text);
  // A function that an edit lets call itself could start processes without end.
  return { text: changed, runnable: !/\(\s*\)|function|coproc|\bfn\b|while|until|\bfor\b/u.test(changed) };
}
