import { Environment, type ASTNode } from '@marcbachmann/cel-js';

/** What an expression says about one token's claims. `failed` denies the session (P10): it never counts as "does not match". */
export type ClaimVerdict = { readonly outcome: 'matched' } | { readonly outcome: 'not-matched' } | { readonly outcome: 'failed'; readonly problem: string };

/** An expression that can be evaluated, or why it cannot be accepted. */
export type ClaimExpression =
  | { readonly outcome: 'compiled'; readonly evaluate: (claims: Readonly<Record<string, unknown>>) => ClaimVerdict }
  | { readonly outcome: 'refused'; readonly problem: string };

/**
 * Compiles a CEL expression over the variable `claims`; the compile step and the proxy share it, so what one accepts the other runs.
 *
 * The library parses and type-checks. Evaluation is ours, for three reasons that the library cannot give: a budget of steps (20,000) that no text can
 * outrun, no regular expressions (`matches` is refused: a backtracking engine may take minutes), and one rule for absent claims: a claim that the token
 * lacks reads as `null`, so `claims.repository == 'bank/orders'` is false for a person's token, not an error; `has(claims.x)` tells the two apart (ADR 0012).
 *
 * At most 2,048 characters, 512 nodes, 32 levels. The supported subset is in docs/identity.md.
 */
export function compileClaimExpression(source: string): ClaimExpression {
  if (source.length > maxSourceLength) return { outcome: 'refused', problem: `longer than ${maxSourceLength} characters` };
  try {
    const checked = environment().check(source);
    if (!checked.valid) return { outcome: 'refused', problem: firstLine(checked.error) };
    if (checked.type !== 'bool' && checked.type !== 'dyn') return { outcome: 'refused', problem: `the expression gives ${checked.type ?? 'nothing'}, not true or false` };
    // Parsed anew: the type check writes into the tree it walks.
    const step = compile(environment().parse(source).ast, ['claims']);
    return { outcome: 'compiled', evaluate: (claims) => evaluate(step, claims) };
  } catch (error) {
    return { outcome: 'refused', problem: firstLine(error) };
  }
}

const maxSourceLength = 2048;
/** Steps of one evaluation. Measured: the worst of the tests that spends them all takes 0.3 ms, of the 10 ms that an evaluation may take. */
const maxSteps = 20_000;

function environment(): Environment {
  const limits = { maxAstNodes: 512, maxDepth: 32, maxListElements: 128, maxMapEntries: 0, maxCallArguments: 4 };
  return new Environment({ unlistedVariablesAreDyn: false, homogeneousAggregateLiterals: false, limits }).registerVariable('claims', 'map<string, dyn>');
}

function firstLine(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n')[0] ?? '') : 'unknown problem';
}

function evaluate(step: Step, claims: Readonly<Record<string, unknown>>): ClaimVerdict {
  const budget: Budget = { left: maxSteps };
  try {
    const value = step({ name: 'claims', value: claims, outer: null }, budget);
    if (typeof value !== 'boolean') return { outcome: 'failed', problem: `the expression gave ${kindOf(value)}, not true or false` };
    return { outcome: value ? 'matched' : 'not-matched' };
  } catch (error) {
    return { outcome: 'failed', problem: error instanceof EvaluationFailure ? error.message : 'the expression could not be evaluated' };
  }
}

/** JSON values only: what a token can hold. */
type Value = unknown;
interface Scope { readonly name: string; readonly value: Value; readonly outer: Scope | null }
interface Budget { left: number }
type Step = (scope: Scope, budget: Budget) => Value;

class EvaluationFailure extends Error {}

function spend(budget: Budget, steps: number): void {
  // What is overdrawn stays overdrawn: every later step fails too, so `|| true` rescues nothing.
  budget.left -= steps;
  if (budget.left < 0) throw new EvaluationFailure('the expression takes too many steps');
}

function compile(node: ASTNode, variables: readonly string[]): Step {
  const inner = compileNode(node, variables);
  return (scope, budget) => {
    spend(budget, 1);
    return inner(scope, budget);
  };
}

function compileNode(node: ASTNode, variables: readonly string[]): Step {
  switch (node.op) {
    case 'value': return literal(node.args);
    case 'id': return variable(node.args, variables);
    case '.': return member(compile(node.args[0], variables), () => node.args[1]);
    case '[]': return member(compile(node.args[0], variables), compile(node.args[1], variables));
    case 'list': return list(node.args.map((element) => compile(element, variables)));
    case '&&': return logical(compile(node.args[0], variables), compile(node.args[1], variables), false);
    case '||': return logical(compile(node.args[0], variables), compile(node.args[1], variables), true);
    case '!_': return negation(compile(node.args, variables));
    case '-_': return minus(compile(node.args, variables));
    case '?:': return ternary(compile(node.args[0], variables), compile(node.args[1], variables), compile(node.args[2], variables));
    case '==': case '!=': case '<': case '<=': case '>': case '>=': case 'in': case '+': case '-': case '*':
      return binary(node.op, compile(node.args[0], variables), compile(node.args[1], variables));
    case 'call': return call(node.args[0], node.args[1], variables);
    case 'rcall': return methodCall(node.args[0], node.args[1], node.args[2], variables);
    default: throw new Error(`the operator ${node.op} is not supported in claim expressions`);
  }
}

function literal(value: unknown): Step {
  if (typeof value === 'bigint') {
    const number = Number(value);
    if (!Number.isSafeInteger(number)) throw new Error('the number is too large');
    return () => number;
  }
  if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return () => value;
  throw new Error('only text, numbers, true, false and null are supported as literals');
}

function variable(name: string, variables: readonly string[]): Step {
  if (!variables.includes(name)) throw new Error(`unknown variable ${name}`);
  return (scope) => {
    for (let at: Scope | null = scope; at !== null; at = at.outer) if (at.name === name) return at.value;
    throw new EvaluationFailure(`unknown variable ${name}`);
  };
}

function member(holder: Step, key: Step): Step {
  return (scope, budget) => {
    const from = holder(scope, budget);
    const name = key(scope, budget);
    // Absent stays absent through a chain: claims.kubernetes.namespace of a person's token is null.
    if (from === null) return null;
    if (Array.isArray(from) && typeof name === 'number') {
      if (!Number.isInteger(name) || name < 0 || name >= from.length) throw new EvaluationFailure('the index is outside the list');
      return from[name] as unknown;
    }
    if (isRecord(from) && typeof name === 'string') return Object.hasOwn(from, name) ? from[name] : null;
    throw new EvaluationFailure(`${kindOf(from)} has no member`);
  };
}

function list(elements: readonly Step[]): Step {
  return (scope, budget) => elements.map((element) => element(scope, budget));
}

/** As CEL defines it: a side that decides wins over an error of the other side. */
function logical(left: Step, right: Step, deciding: boolean): Step {
  const truth = (step: Step, scope: Scope, budget: Budget): boolean | EvaluationFailure => {
    try {
      const value = step(scope, budget);
      return typeof value === 'boolean' ? value : new EvaluationFailure(`${kindOf(value)} is not true or false`);
    } catch (error) {
      if (error instanceof EvaluationFailure) return error;
      throw error;
    }
  };
  return (scope, budget) => {
    const first = truth(left, scope, budget);
    if (first === deciding) return deciding;
    const second = truth(right, scope, budget);
    if (second === deciding) return deciding;
    if (first instanceof EvaluationFailure) throw first;
    if (second instanceof EvaluationFailure) throw second;
    return !deciding;
  };
}

function negation(operand: Step): Step {
  return (scope, budget) => !asBoolean(operand(scope, budget));
}

function minus(operand: Step): Step {
  return (scope, budget) => -asNumber(operand(scope, budget));
}

function ternary(condition: Step, whenTrue: Step, whenFalse: Step): Step {
  return (scope, budget) => (asBoolean(condition(scope, budget)) ? whenTrue : whenFalse)(scope, budget);
}

type BinaryOperator = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | '+' | '-' | '*';

function binary(op: BinaryOperator, left: Step, right: Step): Step {
  return (scope, budget) => {
    const a = left(scope, budget);
    const b = right(scope, budget);
    switch (op) {
      case '==': return equals(a, b, budget);
      case '!=': return !equals(a, b, budget);
      case '<': return compare(a, b, budget) < 0;
      case '<=': return compare(a, b, budget) <= 0;
      case '>': return compare(a, b, budget) > 0;
      case '>=': return compare(a, b, budget) >= 0;
      case 'in': return isIn(a, b, budget);
      case '+': return typeof a === 'string' && typeof b === 'string' ? join(a, b, budget) : asNumber(a) + asNumber(b);
      case '-': return asNumber(a) - asNumber(b);
      case '*': return asNumber(a) * asNumber(b);
      default: return op satisfies never;
    }
  };
}

function join(a: string, b: string, budget: Budget): string {
  // Every character is paid for, so repeated doubling runs out of budget before it runs out of memory.
  spend(budget, a.length + b.length);
  return a + b;
}

function equals(a: Value, b: Value, budget: Budget): boolean {
  spend(budget, 1);
  if (typeof a === 'string' && typeof b === 'string') {
    spendText(budget, a, b);
    return a === b;
  }
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((element, index) => equals(element, b[index], budget));
  if (isRecord(a) && isRecord(b)) {
    const names = Object.keys(a);
    spend(budget, names.length);
    return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && equals(a[name], b[name], budget));
  }
  return a === b;
}

function compare(a: Value, b: Value, budget: Budget): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'string' && typeof b === 'string') {
    spendText(budget, a, b);
    return a < b ? -1 : a > b ? 1 : 0;
  }
  throw new EvaluationFailure(`${kindOf(a)} and ${kindOf(b)} have no order`);
}

function isIn(a: Value, b: Value, budget: Budget): boolean {
  if (b === null) return false;
  if (Array.isArray(b)) return b.some((element) => equals(a, element, budget));
  if (isRecord(b) && typeof a === 'string') return Object.hasOwn(b, a);
  throw new EvaluationFailure(`${kindOf(b)} is not a list`);
}

function call(name: string, args: readonly ASTNode[], variables: readonly string[]): Step {
  if (name === 'has' && args.length === 1) return presence(args[0], variables);
  if (name === 'size' && args[0] !== undefined && args.length === 1) return size(compile(args[0], variables));
  throw new Error(`the function ${name} is not supported in claim expressions`);
}

function presence(path: ASTNode | undefined, variables: readonly string[]): Step {
  if (path?.op !== '.') throw new Error('has() takes a claim, such as has(claims.email)');
  const holder = compile(path.args[0], variables);
  const name = path.args[1];
  return (scope, budget) => {
    const from = holder(scope, budget);
    return isRecord(from) && Object.hasOwn(from, name);
  };
}

function size(of: Step): Step {
  return (scope, budget) => {
    const value = of(scope, budget);
    if (typeof value === 'string' || Array.isArray(value)) return value.length;
    if (isRecord(value)) return Object.keys(value).length;
    throw new EvaluationFailure(`${kindOf(value)} has no size`);
  };
}

function methodCall(name: string, receiver: ASTNode, args: readonly ASTNode[], variables: readonly string[]): Step {
  const on = compile(receiver, variables);
  const [first, second] = args;
  if (isTextMethod(name) && first !== undefined && second === undefined) return textMethod(name, on, compile(first, variables));
  if (isMacro(name) && first?.op === 'id' && second !== undefined && args.length === 2) return macro(name, on, first.args, second, variables);
  if (name === 'size' && first === undefined) return size(on);
  if (name === 'lowerAscii' && first === undefined) return lowered(on);
  if (name === 'matches') throw new Error('matches is not supported: use ==, startsWith, endsWith or contains');
  throw new Error(`the method ${name} is not supported in claim expressions`);
}

type TextMethod = 'startsWith' | 'endsWith' | 'contains';
function isTextMethod(name: string): name is TextMethod {
  return name === 'startsWith' || name === 'endsWith' || name === 'contains';
}

function textMethod(name: TextMethod, on: Step, argument: Step): Step {
  return (scope, budget) => {
    const text = asText(on(scope, budget));
    const part = asText(argument(scope, budget));
    spendText(budget, text, part);
    if (name === 'startsWith') return text.startsWith(part);
    return name === 'endsWith' ? text.endsWith(part) : text.includes(part);
  };
}

function lowered(on: Step): Step {
  return (scope, budget) => {
    const text = asText(on(scope, budget));
    spend(budget, text.length);
    return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  };
}

type Macro = 'exists' | 'all' | 'exists_one' | 'filter';
function isMacro(name: string): name is Macro {
  return name === 'exists' || name === 'all' || name === 'exists_one' || name === 'filter';
}

function macro(name: Macro, on: Step, iterator: string, predicate: ASTNode, variables: readonly string[]): Step {
  if (variables.includes(iterator)) throw new Error(`the name ${iterator} is already taken`);
  const test = compile(predicate, [...variables, iterator]);
  return (scope, budget) => {
    const range = on(scope, budget);
    if (!Array.isArray(range)) throw new EvaluationFailure(`${kindOf(range)} is not a list`);
    const kept: Value[] = [];
    for (const element of range) if (asBoolean(test({ name: iterator, value: element, outer: scope }, budget))) kept.push(element);
    if (name === 'filter') return kept;
    if (name === 'exists') return kept.length > 0;
    return name === 'all' ? kept.length === range.length : kept.length === 1;
  };
}

function spendText(budget: Budget, a: string, b: string): void {
  spend(budget, (a.length + b.length) >> 5);
}

function asBoolean(value: Value): boolean {
  if (typeof value !== 'boolean') throw new EvaluationFailure(`${kindOf(value)} is not true or false`);
  return value;
}

function asNumber(value: Value): number {
  if (typeof value !== 'number') throw new EvaluationFailure(`${kindOf(value)} is not a number`);
  return value;
}

function asText(value: Value): string {
  if (typeof value !== 'string') throw new EvaluationFailure(`${kindOf(value)} is not text`);
  return value;
}

function isRecord(value: Value): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Never the value itself: it comes from a token. */
function kindOf(value: Value): string {
  if (value === null || value === undefined) return 'an absent claim';
  if (Array.isArray(value)) return 'a list';
  return { string: 'text', number: 'a number', boolean: 'true or false' }[typeof value as string] ?? 'an object';
}
