import type { FieldProblem } from '../contract/api/structural-schema.ts';
import { isRecord } from '../contract/api/validate-schema.ts';
import { validateMetadata } from '../contract/api/validate-metadata.ts';

/** A Secret of a config directory; its values stay in memory. */
export interface Secret {
  readonly namespace: string;
  readonly name: string;
  readonly values: ReadonlyMap<string, Uint8Array>;
}

export type ReadSecret = { readonly outcome: 'read'; readonly secret: Secret } | { readonly outcome: 'problems'; readonly problems: readonly FieldProblem[] };

/**
 * Reads one v1 Secret: `data` in base64, `stringData` as it is (which wins, as in the API server). Problems name keys, never values.
 */
export function readSecret(value: Readonly<Record<string, unknown>>): ReadSecret {
  const problems: FieldProblem[] = [...validateMetadata(value['metadata'], 'Namespaced')];
  for (const field of Object.keys(value)) if (!knownFields.includes(field)) problems.push({ path: [field], message: `unknown field "${field}"` });
  const values = new Map<string, Uint8Array>();
  readValues('data', value['data'], (text) => (isBase64(text) ? Buffer.from(text, 'base64') : null), 'must be base64 (use stringData for plain text)', values, problems);
  readValues('stringData', value['stringData'], (text) => Buffer.from(text, 'utf8'), '', values, problems);
  if (problems.length > 0) return { outcome: 'problems', problems };
  const { name, namespace } = value['metadata'] as { readonly name: string; readonly namespace?: string | null };
  return { outcome: 'read', secret: { namespace: namespace ?? 'default', name, values } };
}

const knownFields = ['apiVersion', 'kind', 'metadata', 'type', 'data', 'stringData', 'immutable'];

function readValues(field: string, value: unknown, decode: (text: string) => Uint8Array | null, otherwise: string, values: Map<string, Uint8Array>, problems: FieldProblem[]): void {
  if (value === undefined || value === null) return;
  if (!isRecord(value)) return void problems.push({ path: [field], message: 'Invalid value: must be of type object' });
  for (const [key, text] of Object.entries(value)) {
    if (!/^[-._a-zA-Z0-9]{1,253}$/.test(key)) problems.push({ path: [field], message: "Invalid value: a key consists of alphanumeric characters, '-', '_' or '.'" });
    else if (typeof text !== 'string') problems.push({ path: [field, key], message: 'Invalid value: must be of type string (quote it)' });
    else {
      const bytes = decode(text);
      if (bytes === null) problems.push({ path: [field, key], message: `Invalid value: ${otherwise}` });
      else values.set(key, bytes);
    }
  }
}

function isBase64(text: string): boolean {
  const compact = text.replaceAll(/[\r\n]/g, '');
  return compact.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(compact);
}
