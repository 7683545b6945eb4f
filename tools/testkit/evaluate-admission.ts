import { Environment } from '@marcbachmann/cel-js';
import type { AdmissionObject } from '../../contract/api/expected-admission.ts';

/** One request as admission sees it; what it lacks is absent in CEL, as in the API server. */
export interface AdmissionRequest {
  readonly user: string;
  readonly groups?: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
  readonly operation: 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';
  readonly resource: string;
  readonly subResource?: string;
  readonly namespace?: string;
  readonly objectName?: string;
  readonly object?: unknown;
  readonly oldObject?: unknown;
  /** What the authorizer answers yes to; without a name: every name. Nothing else is allowed. */
  readonly authorizer?: readonly Grant[];
}

/** One permission of the caller. */
export interface Grant {
  readonly verb: string;
  readonly group?: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name?: string;
}

/** What one policy says; `unmatched` when it does not concern the request, `error` when an expression failed, which the API server takes for a denial. */
export type AdmissionVerdict =
  | { readonly verdict: 'allowed' | 'unmatched' }
  | { readonly verdict: 'denied'; readonly rule: string; readonly message: string }
  | { readonly verdict: 'error'; readonly at: string; readonly error: string };

/**
 * Evaluates one ValidatingAdmissionPolicy in process, for unit tests: match rules, match conditions, variables, validations in their order.
 * Budgets, defaulting and conversion are the API server's and are not modelled.
 */
export function evaluateAdmission(spec: AdmissionObject['policySpec'], request: AdmissionRequest): AdmissionVerdict {
  const policy = spec as unknown as PolicySpec;
  if (!policy.matchConstraints.resourceRules.some((rule) => rule.operations.includes(request.operation) && rule.resources.includes(resourceOf(request)))) return { verdict: 'unmatched' };
  const evaluate = evaluator(policy, request);
  let at = '';
  try {
    for (const condition of policy.matchConditions ?? []) {
      at = condition.name;
      if (evaluate(condition.expression) !== true) return { verdict: 'unmatched' };
    }
    for (const { expression, message, messageExpression } of policy.validations) {
      at = message;
      if (evaluate(expression) === true) continue;
      return { verdict: 'denied', rule: message.slice(0, message.indexOf(':')), message: messageExpression === undefined ? message : String(evaluate(messageExpression)) };
    }
    return { verdict: 'allowed' };
  } catch (error) {
    return { verdict: 'error', at, error: String(error) };
  }
}

interface PolicySpec {
  readonly matchConstraints: { readonly resourceRules: readonly { readonly operations: readonly string[]; readonly resources: readonly string[] }[] };
  readonly matchConditions?: readonly { readonly name: string; readonly expression: string }[];
  readonly variables?: readonly { readonly name: string; readonly expression: string }[];
  readonly validations: readonly { readonly expression: string; readonly message: string; readonly messageExpression?: string }[];
}

function resourceOf(request: AdmissionRequest): string {
  return request.subResource === undefined ? request.resource : `${request.resource}/${request.subResource}`;
}

function evaluator(policy: PolicySpec, request: AdmissionRequest): (expression: string) => unknown {
  const environment = admissionEnvironment();
  const variables = {};
  const context = {
    object: celValue(request.object ?? null), oldObject: celValue(request.oldObject ?? null), request: requestFields(request), variables,
    authorizer: new Authorizer({}, request.authorizer ?? []),
  };
  const evaluate = (expression: string): unknown => environment.evaluate(expression, context);
  // Lazy, as in the API server: a variable that reads oldObject is evaluated only where there is one.
  for (const { name, expression } of policy.variables ?? []) Object.defineProperty(variables, name, { enumerable: true, get: () => evaluate(expression) });
  return evaluate;
}

function requestFields(request: AdmissionRequest): unknown {
  const { user, groups, extra, operation, resource, subResource, namespace, objectName } = request;
  return {
    operation, resource: { resource }, ...(subResource === undefined ? {} : { subResource }), ...(namespace === undefined ? {} : { namespace }), ...(objectName === undefined ? {} : { name: objectName }),
    userInfo: { username: user, ...(groups === undefined ? {} : { groups }), ...(extra === undefined ? {} : { extra }) },
  };
}

function admissionEnvironment(): Environment {
  const environment = new Environment({ homogeneousAggregateLiterals: false }).registerType('Authorizer', Authorizer).registerType('Decision', Decision);
  for (const name of ['request', 'object', 'oldObject', 'variables']) environment.registerVariable(name, 'dyn');
  environment.registerVariable('authorizer', 'Authorizer');
  for (const step of ['group', 'resource', 'subresource', 'namespace', 'name'] as const) environment.registerFunction(`Authorizer.${step}(string): Authorizer`, (asked: Authorizer, value: string) => asked.with(step, value));
  environment.registerFunction('Authorizer.check(string): Decision', (asked: Authorizer, verb: string) => asked.check(verb));
  environment.registerFunction('Decision.allowed(): bool', (decision: Decision) => decision.isAllowed);
  return environment;
}

class Decision {
  readonly isAllowed: boolean;
  constructor(isAllowed: boolean) {
    this.isAllowed = isAllowed;
  }
}

class Authorizer {
  readonly #asked: Readonly<Record<string, string>>;
  readonly #grants: readonly Grant[];
  constructor(asked: Readonly<Record<string, string>>, grants: readonly Grant[]) {
    this.#asked = asked;
    this.#grants = grants;
  }

  with(step: string, value: string): Authorizer {
    return new Authorizer({ ...this.#asked, [step]: value }, this.#grants);
  }

  check(verb: string): Decision {
    const { group = '', resource = '', subresource = '', namespace = '', name = '' } = this.#asked;
    return new Decision(this.#grants.some((grant) => grant.verb === verb && (grant.group ?? '') === group && grant.resource === resource && (grant.subresource ?? '') === subresource &&
      (grant.namespace ?? '') === namespace && ((grant.name ?? '') === '' || grant.name === name)));
  }
}

/** CEL integers are BigInt in this library; a plain number would be a double. */
function celValue(value: unknown): unknown {
  if (typeof value === 'number') return BigInt(value);
  if (Array.isArray(value)) return value.map(celValue);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, celValue(inner)]));
}
