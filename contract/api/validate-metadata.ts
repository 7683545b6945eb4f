import type { FieldProblem } from './structural-schema.ts';
import { isRecord } from './validate-schema.ts';

/**
 * Checks `metadata` as the API server does for every kind: name, namespace, labels, annotations; fields that it does not know are refused.
 *
 * @param scope a cluster-scoped object has no namespace.
 */
export function validateMetadata(metadata: unknown, scope: 'Namespaced' | 'Cluster'): readonly FieldProblem[] {
  if (!isRecord(metadata)) return [{ path: ['metadata'], message: metadata === undefined ? 'Required value' : 'Invalid value: must be of type object' }];
  return [
    ...Object.keys(metadata).filter((name) => !knownFields.includes(name)).map((name) => ({ path: ['metadata', name], message: `unknown field ${JSON.stringify(`metadata.${name}`)}` })),
    ...validateName(metadata['name']),
    ...validateNamespace(metadata['namespace'], scope),
    ...validateTexts(metadata['labels'], 'labels', (value) => value === '' || (value.length <= 63 && labelPart.test(value))),
    ...validateTexts(metadata['annotations'], 'annotations', () => true),
  ];
}

const knownFields = [
  'name', 'namespace', 'labels', 'annotations', 'generateName', 'uid', 'resourceVersion', 'generation', 'creationTimestamp', 'deletionTimestamp',
  'deletionGracePeriodSeconds', 'ownerReferences', 'finalizers', 'managedFields', 'selfLink',
];
const dnsLabel = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const dnsSubdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const labelPart = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const maxAnnotationBytes = 262_144;

/** Whether a text may be the name of an object: a DNS-1123 subdomain of at most 253 characters. */
export function isObjectName(name: unknown): name is string {
  return typeof name === 'string' && name.length <= 253 && dnsSubdomain.test(name);
}

/** Whether a text may be the name of a namespace: a DNS-1123 label of at most 63 characters. */
export function isNamespaceName(name: unknown): name is string {
  return typeof name === 'string' && name.length <= 63 && dnsLabel.test(name);
}

function validateName(name: unknown): readonly FieldProblem[] {
  if (name === undefined || name === null || name === '') return [{ path: ['metadata', 'name'], message: 'Required value' }];
  if (isObjectName(name)) return [];
  return [{ path: ['metadata', 'name'], message: "Invalid value: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character" }];
}

function validateNamespace(namespace: unknown, scope: 'Namespaced' | 'Cluster'): readonly FieldProblem[] {
  if (namespace === undefined || namespace === null) return [];
  if (scope === 'Cluster') return [{ path: ['metadata', 'namespace'], message: 'Forbidden: not allowed on this type' }];
  return isNamespaceName(namespace) ? [] : [{ path: ['metadata', 'namespace'], message: 'Invalid value: must be a lowercase RFC 1123 label of at most 63 characters' }];
}

function validateTexts(value: unknown, field: 'labels' | 'annotations', fits: (text: string) => boolean): readonly FieldProblem[] {
  if (value === undefined || value === null) return [];
  if (!isRecord(value)) return [{ path: ['metadata', field], message: 'Invalid value: must be of type object' }];
  const size = Object.entries(value).reduce((sum, [key, text]) => sum + key.length + (typeof text === 'string' ? text.length : 0), 0);
  if (size > maxAnnotationBytes) return [{ path: ['metadata', field], message: `Too long: may not be more than ${maxAnnotationBytes} bytes` }];
  return Object.entries(value).flatMap(([key, text]) => {
    const path = ['metadata', field, key];
    if (!isQualifiedName(key)) return [{ path, message: 'Invalid value: a key is a name of at most 63 characters, with an optional DNS subdomain and a slash before it' }];
    if (typeof text !== 'string') return [{ path, message: 'Invalid value: must be of type string (quote numbers, true and false)' }];
    return fits(text) ? [] : [{ path, message: "Invalid value: a label's value has at most 63 alphanumeric characters, '-', '_' or '.', and begins and ends with an alphanumeric one" }];
  });
}

function isQualifiedName(key: string): boolean {
  const [first, second, ...rest] = key.split('/');
  if (rest.length > 0 || first === undefined) return false;
  const name = second ?? first;
  return name.length <= 63 && labelPart.test(name) && (second === undefined || (first.length <= 253 && dnsSubdomain.test(first)));
}
