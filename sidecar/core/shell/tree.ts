/**
 * The nodes of unbash 6.0.4 that inspection reads, after JSON: `sidecar/adapters/shell-parser.ts` makes them, this folder alone knows them.
 * Lists may be absent where JSON left out `undefined`.
 */
export type Node =
  | AndOr | Pipeline | Command | Redirected | Compound | FunctionDefinition | Coproc | CompoundList;

/** A whole text, or the text of one substitution. `source` is set where positions count in another text than the one around. */
export interface Script { readonly type: 'Script'; readonly pos: number; readonly end: number; readonly commands: readonly Statement[]; readonly errors?: readonly { readonly message: string }[]; readonly source?: string }
/** One entry of a list. */
export interface Statement { readonly type: 'Statement'; readonly command: Node; readonly background?: boolean }
/** `a && b || c`. */
export interface AndOr { readonly type: 'AndOr'; readonly commands: readonly Node[] }
/** `! time a | b`. */
export interface Pipeline { readonly type: 'Pipeline'; readonly pos: number; readonly end: number; readonly prefixes: readonly { readonly type: 'Time' | 'Negation'; readonly pos: number; readonly end: number }[]; readonly commands: readonly Node[]; readonly operators: readonly string[] }
/** Several statements in a compound command. */
export interface CompoundList { readonly type: 'CompoundList'; readonly pos: number; readonly commands: readonly Statement[] }
/** A simple command: assignments and redirections before the name, words, assignments and redirections after it. */
export interface Command { readonly type: 'Command'; readonly pos: number; readonly end: number; readonly name?: Word; readonly prefix: readonly (Assignment | Redirection)[]; readonly suffix: readonly (Word | Assignment | Redirection)[] }
/** A compound command with redirections of its own. */
export interface Redirected { readonly type: 'Redirected'; readonly pos: number; readonly end: number; readonly command: Node; readonly redirects: readonly Redirection[] }
/** `name() body`. */
export interface FunctionDefinition { readonly type: 'Function'; readonly pos: number; readonly end: number; readonly name: Word; readonly body: Node }
/** `coproc NAME body`. */
export interface Coproc { readonly type: 'Coproc'; readonly pos: number; readonly end: number; readonly body: Node }
/** Every compound command. */
export type Compound =
  | { readonly type: 'If'; readonly clause: CompoundList; readonly then: CompoundList; readonly elif: readonly { readonly clause: CompoundList; readonly then: CompoundList }[]; readonly else?: CompoundList }
  | { readonly type: 'For' | 'Select'; readonly pos: number; readonly end: number; readonly name: Word; readonly wordlist?: readonly Word[]; readonly body: CompoundList }
  | { readonly type: 'ArithmeticFor'; readonly pos: number; readonly end: number; readonly initialize?: Arithmetic; readonly test?: Arithmetic; readonly update?: Arithmetic; readonly body: CompoundList }
  | { readonly type: 'While'; readonly clause: CompoundList; readonly body: CompoundList }
  | { readonly type: 'Subshell' | 'BraceGroup'; readonly body: CompoundList }
  | { readonly type: 'Case'; readonly word: Word; readonly items: readonly { readonly pattern: readonly Word[]; readonly body: CompoundList; readonly terminator?: string }[] }
  | { readonly type: 'TestCommand'; readonly pos: number; readonly end: number; readonly expression: Test }
  | { readonly type: 'ArithmeticCommand'; readonly pos: number; readonly end: number; readonly body: string; readonly expression?: Arithmetic };

/** One word as written, with its parts where it has any. */
export interface Word { readonly type: 'Word'; readonly pos: number; readonly end: number; readonly text: string; readonly value: string; readonly parts?: readonly Part[] }
/** One piece of a word. */
export type Part =
  | { readonly type: 'Literal' | 'SingleQuoted' | 'AnsiCQuoted'; readonly text: string; readonly value: string }
  | { readonly type: 'Glob'; readonly text: string; readonly parts?: readonly Part[] }
  | { readonly type: 'DoubleQuoted' | 'LocaleString'; readonly text: string; readonly parts: readonly Part[] }
  | { readonly type: 'SimpleExpansion'; readonly text: string }
  | ParameterExpansion
  | { readonly type: 'CommandExpansion' | 'ProcessSubstitution'; readonly text: string; readonly script?: Script }
  | { readonly type: 'ArithmeticExpansion'; readonly text: string; readonly expression?: Arithmetic }
  | { readonly type: 'ExtendedGlob' | 'BraceExpansion'; readonly text: string; readonly parts?: readonly Part[] };
/** `${...}`. */
export interface ParameterExpansion { readonly type: 'ParameterExpansion'; readonly text: string; readonly parameter: string; readonly prefix?: '!' | '#'; readonly index?: Word; readonly operation?: ParameterOperation }
/** What `${x...}` does with the value. */
export type ParameterOperation =
  | { readonly type: 'Default'; readonly operator: string; readonly operand: Word }
  | { readonly type: 'Remove'; readonly operand: Word }
  | { readonly type: 'Replace'; readonly pattern: Word; readonly replacement: Word }
  | { readonly type: 'Slice'; readonly offset: Word; readonly length?: Word }
  | { readonly type: 'CaseModification'; readonly operand?: Word }
  | { readonly type: 'Transform' | 'Names' | 'Unknown' };
/** `name=value`, `name[index]+=value`, `name=(...)`. */
export interface Assignment { readonly type: 'Assignment'; readonly pos: number; readonly end: number; readonly text: string; readonly name: string; readonly append?: boolean; readonly index?: Word; readonly value: Word | { readonly type: 'ArrayValue'; readonly elements: readonly Word[] } }
/** Any redirection. */
export type Redirection =
  | { readonly type: 'Redirect'; readonly pos: number; readonly end: number; readonly operator: string; readonly descriptor?: Descriptor; readonly target?: Word }
  | { readonly type: 'HereString'; readonly pos: number; readonly end: number; readonly descriptor?: Descriptor; readonly target?: Word }
  | { readonly type: 'HereDoc'; readonly pos: number; readonly end: number; readonly operator: '<<' | '<<-'; readonly descriptor?: Descriptor; readonly delimiter?: { readonly quoted: boolean }; readonly body: { readonly pos: number; readonly end: number; readonly text: string; readonly parts?: readonly Part[] }; readonly closing?: { readonly pos: number; readonly end: number } };
/** `2` of `2>`, `{fd}` of `{fd}>`. */
export type Descriptor = { readonly type: 'FileDescriptor'; readonly value: number } | { readonly type: 'FileDescriptorVariable'; readonly name: string };
/** An arithmetic expression. */
export type Arithmetic =
  | { readonly type: 'ArithmeticBinary'; readonly operator: string; readonly left: Arithmetic; readonly right: Arithmetic }
  | { readonly type: 'ArithmeticUnary'; readonly operator: string; readonly operand: Arithmetic }
  | { readonly type: 'ArithmeticTernary'; readonly test: Arithmetic; readonly consequent: Arithmetic; readonly alternate: Arithmetic }
  | { readonly type: 'ArithmeticGroup'; readonly expression: Arithmetic }
  | { readonly type: 'ArithmeticWord'; readonly value: string; readonly parts?: readonly Part[] }
  | { readonly type: 'ArithmeticCommandExpansion'; readonly text: string; readonly script?: Script };
/** An expression of `[[ ]]`. */
export type Test =
  | { readonly type: 'TestUnary'; readonly operator: string; readonly operand: Word }
  | { readonly type: 'TestBinary'; readonly operator: string; readonly left: Word; readonly right: Word }
  | { readonly type: 'TestLogical'; readonly operands: readonly Test[] }
  | { readonly type: 'TestNot'; readonly operand: Test }
  | { readonly type: 'TestGroup'; readonly expression: Test };
