import { findGap } from './cover.ts';
import { findBashism } from './posix.ts';
import { readWord } from './read-word.ts';
import { interpretCommand } from './interpret-command.ts';
import { bashOnly, type Collected, leaf, nameVariable, type Place, slice, unknown } from './place.ts';
import type { LoginShellType, ShellWord, ShellWrite } from './shell-facts.ts';
import type { Arithmetic, Assignment, Node, ParameterExpansion, Part, Redirection, Script, Statement, Test, Word } from './tree.ts';
import { readHereDocument, readRedirect } from './read-redirection.ts';

/** Walks the whole tree of one text: every command at any depth, and everything that cannot be read for certain. */
export function collect(script: Script, text: string, shell: LoginShellType, writes: readonly ShellWrite[]): Collected {
  const found: Collected = { commands: [], unknowns: [], nested: [] };
  walkScript({ source: text, shell, found, writes, input: 'inherited', leaves: [] }, script);
  return found;
}

function walkScript(place: Place, script: Script): void {
  const inner: Place = { ...place, source: script.source ?? place.source, leaves: [] };
  for (const { message } of script.errors ?? []) unknown(inner, `the text does not parse: ${message}`, inner.source.slice(script.pos, script.end));
  const own = inner.source.slice(script.pos, script.end);
  if (/(?:^|[^\\])(?:\\\\)*\\$/u.test(own)) unknown(inner, 'the text ends in a backslash', own.slice(-200));
  walkStatements(inner, script.commands);
  const gap = (script.errors ?? []).length > 0 ? null : findGap(inner.source, script.pos, script.end, inner.leaves);
  if (gap !== null) unknown(inner, 'a part of the text is read in two ways', gap);
}

function walkStatements(place: Place, statements: readonly Statement[]): void {
  for (const { command } of statements) walk(place, command);
}

function walk(place: Place, node: Node): void {
  switch (node.type) {
    case 'CompoundList':
      return walkStatements(place, node.commands);
    case 'AndOr':
      return node.commands.forEach((command) => walk(place, command));
    case 'Pipeline':
      return walkPipeline(place, node);
    case 'Command':
      return walkCommand(place, node);
    case 'Redirected': {
      const redirected = walkRedirections(place, node.redirects);
      if (redirected.writes.length > place.writes.length) noteLostWrites(place, node.command, redirected.writes);
      // What an earlier command inside takes of a here-document is not known, so the rest is not either.
      return walk({ ...redirected, input: typeof redirected.input === 'string' ? redirected.input : 'other' }, node.command);
    }
    case 'If':
      walk(place, node.clause);
      walk(place, node.then);
      for (const branch of node.elif) {
        walk(place, branch.clause);
        walk(place, branch.then);
      }
      return node.else === undefined ? undefined : walk(place, node.else);
    case 'While':
      walk(place, node.clause);
      return walk(place, node.body);
    case 'For':
    case 'Select':
      if (node.type === 'Select') bashOnly(place, 'select', slice(place, node));
      nameVariable(place, node.name.text, slice(place, node));
      for (const word of [node.name, ...(node.wordlist ?? [])]) leaf(place, 'word', word);
      for (const word of node.wordlist ?? []) walkWord(place, word);
      return walk(place, node.body);
    case 'ArithmeticFor':
      unknown(place, 'arithmetic may run commands', slice(place, node));
      for (const expression of [node.initialize, node.test, node.update]) if (expression !== undefined) walkArithmetic(place, expression, slice(place, node));
      return walk(place, node.body);
    case 'Subshell':
    case 'BraceGroup':
      return walk(place, node.body);
    case 'Case':
      leaf(place, 'word', node.word);
      walkWord(place, node.word);
      for (const item of node.items) {
        if (item.terminator !== undefined && item.terminator !== ';;') bashOnly(place, item.terminator, node.word.text);
        for (const pattern of item.pattern) {
          leaf(place, 'word', pattern);
          walkWord(place, pattern);
        }
        walk(place, item.body);
      }
      return undefined;
    case 'TestCommand':
      bashOnly(place, '[[', slice(place, node));
      leaf(place, 'compound', node);
      return walkTest(place, node.expression, slice(place, node));
    case 'ArithmeticCommand':
      bashOnly(place, '((', slice(place, node));
      leaf(place, 'compound', node);
      if (node.expression === undefined) return unknown(place, 'arithmetic that cannot be read', slice(place, node));
      return walkArithmetic(place, node.expression, slice(place, node));
    case 'Function':
      // Its positional parameters are dynamic words in the body, so a call can hide nothing.
      if (node.name.parts !== undefined) unknown(place, 'the name of a function is an expansion', slice(place, node));
      leaf(place, 'function', node.name);
      if (place.source.slice(node.pos, node.pos + 8) === 'function') bashOnly(place, 'function', slice(place, node));
      return walk({ ...place, input: 'other' }, node.body);
    case 'Coproc':
      unknown(place, 'coproc runs a command beside the others', slice(place, node));
      return walk({ ...place, input: 'other' }, node.body);
    default:
      return unknown(place, 'syntax that is not read', place.source);
  }
}

function walkPipeline(place: Place, node: Extract<Node, { type: 'Pipeline' }>): void {
  for (const prefix of node.prefixes) leaf(place, 'prefix', prefix);
  const timed = node.prefixes.some(({ type }) => type === 'Time');
  if (node.prefixes.length > 1) bashOnly(place, 'more than one ! or time', slice(place, node));
  if ((timed && (node.commands[0]?.type !== 'Command' || node.commands[0].name === undefined || node.commands[0].prefix.length > 0)) || node.commands[0]?.type === 'Function') unknown(place, 'what stands behind ! or time is read in two ways', slice(place, node));
  if (node.operators.includes('|&')) bashOnly(place, '|&', slice(place, node));
  node.commands.forEach((command, index) => walk(index === 0 ? place : { ...place, input: 'other' }, command));
}

/** A compound command without any command inside still opens its files. */
function noteLostWrites(place: Place, command: Node, writes: readonly ShellWrite[]): void {
  if (command.type !== 'TestCommand' && command.type !== 'ArithmeticCommand' && command.type !== 'Function' && command.type !== 'Case' && command.type !== 'For' && command.type !== 'Select' && command.type !== 'ArithmeticFor') return;
  unknown(place, 'a file is written by a redirection without a command', writes.at(-1)?.source ?? '');
}

function walkCommand(place: Place, node: Extract<Node, { type: 'Command' }>): void {
  const source = slice(place, node);
  for (const item of [...node.prefix, ...(node.name === undefined ? [] : [node.name]), ...node.suffix]) if (item.type === 'Word' || item.type === 'Assignment') leaf(place, 'word', item);
  const redirections = [...node.prefix, ...node.suffix].filter((item): item is Redirection => item.type === 'Redirect' || item.type === 'HereString' || item.type === 'HereDoc');
  const redirected = walkRedirections(place, redirections);
  for (const item of node.prefix) if (item.type === 'Assignment') walkAssignment(place, item);
  if (node.name === undefined) {
    if (redirected.writes.length > place.writes.length) unknown(place, 'a file is written by a redirection without a command', source);
    return;
  }
  const name = walkWord(place, node.name);
  const words: ShellWord[] = [name];
  for (const item of node.suffix) {
    if (item.type === 'Word') words.push(walkWord(place, item));
    else if (item.type === 'Assignment') words.push(walkAssignedWord(place, item));
  }
  const effects = interpretCommand(words, { shell: place.shell, source, writes: redirected.writes, input: redirected.input });
  place.found.commands.push(...effects.commands);
  for (const { reason, source: part } of effects.unknowns) unknown(place, reason, part);
  place.found.nested.push(...effects.nested);
}

/** `A=$x` behind `export`: bash does not split its value; older POSIX shells do. */
function walkAssignedWord(place: Place, assignment: Assignment): ShellWord {
  const value = walkAssignment(place, assignment);
  if (value?.kind === 'static') return { kind: 'static', text: `${assignment.name}${assignment.append === true ? '+' : ''}=${value.text}` };
  if (assignment.index !== undefined || (place.shell === 'Posix' && value?.single !== true)) return { kind: 'dynamic', source: assignment.text };
  return { kind: 'dynamic', source: assignment.text, single: true, prefix: `${assignment.name}=`, dashless: true };
}

/** Reads a word and everything that runs inside it. */
function walkWord(place: Place, word: Word): ShellWord {
  const reading = readWord(word);
  if (reading.problem !== null) unknown(place, reading.problem, word.text);
  const bashism = place.shell === 'Posix' ? findBashism(word) : null;
  if (bashism !== null) bashOnly(place, bashism, word.text);
  for (const part of word.parts ?? []) walkPart(place, part);
  return reading.word;
}

function walkPart(place: Place, part: Part): void {
  // In a here-document the parser raises no error for an expansion without end.
  if (!endsAsItBegins(part.text)) unknown(place, 'an expansion has no end', part.text);
  switch (part.type) {
    case 'Literal':
    case 'SingleQuoted':
    case 'AnsiCQuoted':
    case 'SimpleExpansion':
      return;
    case 'LocaleString':
      unknown(place, 'a translated string may become anything', part.text);
      return walkQuoted(place, part.parts);
    case 'DoubleQuoted':
      return walkQuoted(place, part.parts);
    case 'Glob':
      return part.parts?.forEach((inner) => walkPart(place, inner));
    case 'ExtendedGlob':
    case 'BraceExpansion':
      if (part.type === 'ExtendedGlob') unknown(place, 'an extended pattern is read differently by different shells', part.text);
      return part.parts?.forEach((inner) => walkPart(place, inner));
    case 'ParameterExpansion':
      return walkParameter(place, part);
    case 'CommandExpansion':
    case 'ProcessSubstitution':
      if (part.script === undefined || part.text.startsWith('$((')) return unknown(place, 'a substitution that cannot be read', part.text);
      return walkScript({ ...place, writes: place.writes, input: 'other' }, part.script);
    case 'ArithmeticExpansion':
      if (part.expression === undefined) return unknown(place, 'arithmetic that cannot be read', part.text);
      return walkArithmetic(place, part.expression, part.text);
    default:
      return unknown(place, 'an expansion that is not read', (part as { readonly text: string }).text);
  }
}

function endsAsItBegins(text: string): boolean {
  if (/^(?:\$\(|[<>]\()/u.test(text)) return text.endsWith(')');
  if (text.startsWith('${')) return text.endsWith('}');
  return !text.startsWith('`') || (text.length > 1 && text.endsWith('`'));
}

/** Parts between double quotes or in a here-document, where no expansion may have been left in the text. */
function walkQuoted(place: Place, parts: readonly Part[]): void {
  for (const part of parts) {
    if (part.type === 'Literal' && /^(?:[^\\`$]|\\[^]|\$(?![({[]))*/u.exec(part.text)?.[0] !== part.text) unknown(place, 'an expansion is read in two ways', part.text);
    walkPart(place, part);
  }
}

function walkParameter(place: Place, part: ParameterExpansion): void {
  if (part.prefix === '!') unknown(place, 'an indirect expansion may run commands', part.text);
  if (part.index !== undefined) walkIndex(place, part.index, part.text);
  const operation = part.operation;
  if (operation === undefined) return;
  switch (operation.type) {
    case 'Default':
      if (operation.operator.includes('=')) nameVariable(place, part.parameter, part.text);
      walkOperand(place, operation.operand, part.text);
      return;
    case 'Remove':
      walkOperand(place, operation.operand, part.text);
      return;
    case 'Replace':
      walkOperand(place, operation.pattern, part.text);
      walkOperand(place, operation.replacement, part.text);
      return;
    case 'CaseModification':
      if (operation.operand !== undefined) walkOperand(place, operation.operand, part.text);
      return;
    case 'Slice':
      for (const bound of [operation.offset, operation.length]) {
        if (bound === undefined) continue;
        walkWord(place, bound);
        if (!isInteger(bound.text)) unknown(place, 'arithmetic in an expansion may run commands', part.text);
      }
      return;
    default:
      unknown(place, 'this expansion may run commands', part.text);
  }
}

/** Text inside `${x:-...}`: what it becomes is not known anyway, but what runs in it is. */
function walkOperand(place: Place, operand: Word, source: string): void {
  const bashism = place.shell === 'Posix' ? findBashism(operand) : null;
  if (bashism !== null) bashOnly(place, bashism, source);
  // Whether single quotes protect depends on the operator and on quotes around.
  if (/'[^]*[$`]|[$`][^]*'/u.test(operand.text)) unknown(place, 'quotes inside an expansion are read in two ways', source);
  else if ((operand.parts ?? []).length === 0 && /[$`]|[<>]\(/u.test(operand.text.replaceAll(/\\[^]/gu, ''))) unknown(place, 'an expansion inside an expansion is read in two ways', source);
  for (const part of operand.parts ?? []) walkPart(place, part);
}

function walkIndex(place: Place, index: Word, source: string): void {
  walkWord(place, index);
  if (!isInteger(index.text) && index.text !== '@' && index.text !== '*') unknown(place, 'a subscript is arithmetic and may run commands', source);
}

/** The shell evaluates what a variable holds: only integer literals are certain. */
function walkArithmetic(place: Place, expression: Arithmetic, source: string): void {
  if (!isLiteral(place, expression)) unknown(place, 'arithmetic on anything but whole numbers may run commands', source);
}

function isLiteral(place: Place, expression: Arithmetic): boolean {
  switch (expression.type) {
    case 'ArithmeticBinary':
      return [expression.left, expression.right].map((side) => isLiteral(place, side)).every(Boolean);
    case 'ArithmeticUnary':
      return isLiteral(place, expression.operand);
    case 'ArithmeticGroup':
      return isLiteral(place, expression.expression);
    case 'ArithmeticTernary':
      return [expression.test, expression.consequent, expression.alternate].map((side) => isLiteral(place, side)).every(Boolean);
    case 'ArithmeticCommandExpansion':
      if (expression.script === undefined) unknown(place, 'a substitution that cannot be read', expression.text);
      else walkScript({ ...place, input: 'other' }, expression.script);
      return false;
    case 'ArithmeticWord':
      for (const part of expression.parts ?? []) walkPart(place, part);
      return isInteger(expression.value);
    default:
      return false;
  }
}

function isInteger(text: string): boolean {
  return /^\s*-?\d{1,18}\s*$/u.test(text);
}

function walkTest(place: Place, test: Test, source: string): void {
  switch (test.type) {
    case 'TestUnary': {
      commentProblem(place, [test.operand], source);
      const operand = walkWord(place, test.operand);
      if ((test.operator === '-v' || test.operator === '-R') && (operand.kind === 'dynamic' || operand.text.includes('['))) unknown(place, 'a test of a variable by a name that is not plain may run commands', source);
      return;
    }
    case 'TestBinary': {
      commentProblem(place, [test.left, test.right], source);
      const sides = [walkWord(place, test.left), walkWord(place, test.right)];
      if (/^-(?:eq|ne|lt|le|gt|ge)$/u.test(test.operator) && !sides.every((side) => side.kind === 'static' && isInteger(side.text))) unknown(place, 'a comparison of numbers evaluates what variables hold and may run commands', source);
      return;
    }
    case 'TestLogical':
      return test.operands.forEach((operand) => walkTest(place, operand, source));
    case 'TestNot':
      return walkTest(place, test.operand, source);
    case 'TestGroup':
      return walkTest(place, test.expression, source);
    default:
      return unknown(place, 'a test that is not read', source);
  }
}

function commentProblem(place: Place, operands: readonly Word[], source: string): void {
  if (operands.some(({ text }) => text.startsWith('#'))) unknown(place, 'a # is read in two ways', source);
}

/** The value, null for a list. */
function walkAssignment(place: Place, assignment: Assignment): ShellWord | null {
  nameVariable(place, assignment.name, assignment.text);
  if (assignment.append === true) bashOnly(place, '+=', assignment.text);
  if (assignment.index !== undefined) {
    bashOnly(place, 'an array', assignment.text);
    walkIndex(place, assignment.index, assignment.text);
  }
  if (assignment.value.type === 'Word') return walkWord(place, assignment.value);
  bashOnly(place, 'an array', assignment.text);
  for (const element of assignment.value.elements) {
    walkWord(place, element);
    const index = /^\[(.*?)\]\+?=/su.exec(element.text)?.[1];
    if (element.text.startsWith('[') && (index === undefined || !isInteger(index))) unknown(place, 'a subscript is arithmetic and may run commands', assignment.text);
  }
  return null;
}

function walkRedirections(place: Place, redirections: readonly Redirection[]): Place {
  const writes = [...place.writes];
  let input = place.input;
  for (const redirection of redirections) {
    const source = slice(place, redirection);
    leaf(place, 'redirection', redirection);
    const descriptor = redirection.descriptor;
    if (descriptor?.type === 'FileDescriptorVariable') {
      bashOnly(place, '{name}>', source);
      nameVariable(place, descriptor.name, source);
    }
    // dash reads the first digit as a word.
    if (descriptor?.type === 'FileDescriptor' && descriptor.value > 9) bashOnly(place, 'a descriptor over 9', source);
    const standard = descriptor === undefined || (descriptor.type === 'FileDescriptor' && descriptor.value === 0);
    if (redirection.type === 'HereDoc') {
      if (redirection.closing === undefined) unknown(place, 'a here-document has no end', source);
      leaf(place, 'redirection', { pos: redirection.body.pos, end: redirection.closing?.end ?? redirection.body.end });
      walkQuoted(place, redirection.body.parts ?? (redirection.delimiter?.quoted === true ? [] : [{ type: 'Literal', text: redirection.body.text, value: '' }]));
      if (standard) input = input !== 'inherited' && input !== 'other' ? 'other' : readHereDocument(redirection);
      continue;
    }
    if (redirection.target === undefined) {
      unknown(place, 'a redirection without a target', source);
      continue;
    }
    const target = walkWord(place, redirection.target);
    // A number before the next redirection is that one's descriptor.
    if (/^\d+$/u.test(redirection.target.text) && /^(?:\\\n)*[<>]/u.test(place.source.slice(redirection.target.end)) && !(redirection.type === 'Redirect' && redirection.operator.endsWith('&'))) unknown(place, 'a redirection is read in two ways', source);
    if (redirection.type === 'HereString') {
      bashOnly(place, '<<<', source);
      if (standard) input = target.kind === 'static' ? { text: `${target.text}\n` } : 'other';
      continue;
    }
    if (standard && redirection.operator.startsWith('<')) input = 'other';
    const read = readRedirect(redirection.operator, target, redirection.target.text);
    for (const bashism of read.bashisms) bashOnly(place, bashism, source);
    for (const problem of read.problems) unknown(place, problem, source);
    if (read.write !== null) writes.push(read.write);
  }
  return { ...place, writes, input };
}
