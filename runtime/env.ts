/** How one variable of the environment is read; made by `text`, `integer`, `seconds`, `choice`, `flag`. */
export interface EnvVariable<Value> {
  readonly name: string;
  readonly parse: (raw: string) => { readonly value: Value } | { readonly problem: string };
  /** Absent: the variable is required. */
  readonly fallback?: { readonly value: Value };
}

type EnvSpec = Readonly<Record<string, EnvVariable<unknown>>>;
/** The typed values of a specification, by its keys. */
export type EnvValues<Spec extends EnvSpec> = { readonly [Key in keyof Spec]: Spec[Key] extends EnvVariable<infer Value> ? Value : never };
/** All values, or all problems. */
export type EnvOutcome<Spec extends EnvSpec> = { readonly outcome: 'read'; readonly values: EnvValues<Spec> } | { readonly outcome: 'rejected'; readonly problems: readonly string[] };

/**
 * Reads the environment of a process once, at its start. A wrong value is never replaced by a default.
 *
 * @param prefix e.g. `SALLYPORT_`: a variable with this prefix that the spec does not name is a problem too, because a misspelt setting must not be ignored.
 * @param ignored names with the prefix that belong to somebody else.
 * @returns the values, or every problem as `NAME: what is wrong`. Problems never repeat a value: it may be a credential.
 */
export function readEnv<Spec extends EnvSpec>(spec: Spec, env: Readonly<Record<string, string | undefined>>, prefix: string | null = null, ignored: readonly string[] = []): EnvOutcome<Spec> {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [key, variable] of Object.entries(spec)) {
    const raw = env[variable.name];
    if (raw === undefined || raw === '') {
      if (variable.fallback === undefined) problems.push(`${variable.name}: required`);
      else values[key] = variable.fallback.value;
      continue;
    }
    const parsed = variable.parse(raw);
    if ('problem' in parsed) problems.push(`${variable.name}: ${parsed.problem}`);
    else values[key] = parsed.value;
  }
  const known = new Set([...Object.values(spec).map((variable) => variable.name), ...ignored]);
  if (prefix !== null) problems.push(...Object.keys(env).filter((name) => name.startsWith(prefix) && !known.has(name)).map((name) => `${name}: unknown variable`));
  return problems.length > 0 ? { outcome: 'rejected', problems: problems.sort() } : { outcome: 'read', values: values as EnvValues<Spec> };
}

/** Any text of at most `max` characters (default 4096). */
export function text(name: string, options: { readonly default?: string | null; readonly max?: number } = {}): EnvVariable<string | null> {
  const max = options.max ?? 4096;
  return variable(name, (raw) => (raw.length <= max ? { value: raw } : { problem: `longer than ${max} characters` }), options.default);
}

/** A decimal integer within limits, both included. */
export function integer(name: string, options: { readonly min: number; readonly max: number; readonly default?: number }): EnvVariable<number> {
  return variable(name, (raw) => parseInteger(raw, options.min, options.max, ''), options.default);
}

/** A whole number of seconds, `30` or `30s`. */
export function seconds(name: string, options: { readonly min?: number; readonly max: number; readonly default?: number }): EnvVariable<number> {
  return variable(name, (raw) => parseInteger(raw.replace(/s$/, ''), options.min ?? 0, options.max, ' seconds'), options.default);
}

/** One of a closed list. */
export function choice<const Choice extends string>(name: string, choices: readonly Choice[], options: { readonly default?: Choice } = {}): EnvVariable<Choice> {
  return variable(name, (raw) => {
    const value = choices.find((one) => one === raw);
    return value === undefined ? { problem: `must be one of ${choices.join(', ')}` } : { value };
  }, options.default);
}

/** `true` or `false`. */
export function flag(name: string, options: { readonly default?: boolean } = {}): EnvVariable<boolean> {
  return variable(name, (raw) => (raw === 'true' ? { value: true } : raw === 'false' ? { value: false } : { problem: 'must be true or false' }), options.default);
}

function variable<Value>(name: string, parse: EnvVariable<Value>['parse'], fallback: Value | undefined): EnvVariable<Value> {
  return fallback === undefined ? { name, parse } : { name, parse, fallback: { value: fallback } };
}

function parseInteger(raw: string, min: number, max: number, unit: string): { readonly value: number } | { readonly problem: string } {
  const value = /^-?\d{1,15}$/.test(raw) ? Number(raw) : Number.NaN;
  return value >= min && value <= max ? { value } : { problem: `must be a whole number from ${min} to ${max}${unit}` };
}
