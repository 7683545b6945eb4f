import { Refusal } from './answers.ts';
import { isJson, type Json, type Stored } from './json.ts';

/** Compiles the label and field selectors of a query. */
export function selectorOf(query: Readonly<Record<string, string>>): (object: Stored) => boolean {
  const labels = splitTerms(query['labelSelector'] ?? '').map(labelTerm);
  const fields = splitTerms(query['fieldSelector'] ?? '').map(fieldTerm);
  return (object) => labels.every((term) => term(object.metadata.labels ?? {})) && fields.every((term) => term(object));
}

function splitTerms(selector: string): readonly string[] {
  return selector.split(/,(?![^(]*\))/).map((term) => term.trim()).filter((term) => term !== '');
}

function labelTerm(term: string): (labels: Readonly<Record<string, string>>) => boolean {
  const set = /^(\S+)\s+(in|notin)\s+\(([^)]*)\)$/.exec(term);
  if (set !== null) {
    const [key = '', operator, values = ''] = set.slice(1);
    const wanted = values.split(',').map((value) => value.trim());
    return (labels) => (labels[key] !== undefined && wanted.includes(labels[key])) === (operator === 'in');
  }
  const equal = /^([^=!\s]+)\s*(==|=|!=)\s*(\S*)$/.exec(term);
  if (equal !== null) {
    const [key = '', operator, value] = equal.slice(1);
    return (labels) => (labels[key] === value) === (operator !== '!=');
  }
  if (term.startsWith('!')) return (labels) => labels[term.slice(1)] === undefined;
  if (/^[^\s=]+$/.test(term)) return (labels) => labels[term] !== undefined;
  throw new Refusal(400, 'BadRequest', `unable to parse requirement: ${term}`);
}

function fieldTerm(term: string): (object: Stored) => boolean {
  const [, path = '', operator, value] = /^([^=!]+)(==|=|!=)(.*)$/.exec(term) ?? [];
  const wanted = path.split('.');
  if (operator === undefined) throw new Refusal(400, 'BadRequest', `invalid field selector: ${term}`);
  return (object) => (String(wanted.reduce<unknown>((at, name) => (isJson(at) ? (at as Json)[name] : undefined), object) ?? '') === value) === (operator !== '!=');
}
