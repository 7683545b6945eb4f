import { isMap, isScalar, parseDocument } from 'yaml';
import type { Pair, ParsedNode, YAMLMap } from 'yaml';
import { z } from 'zod';
import { operatorSettingsSchema } from '../contract/operator-settings.ts';

/** A JSON schema of draft 7, as Helm reads it. */
export interface ValueSchema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, ValueSchema>>;
  readonly [keyword: string]: unknown;
}

/** The part of a values file that one value is: its path, the comment above it and its default. */
export interface ValueRow {
  readonly path: string;
  readonly text: string;
  readonly value: unknown;
}

/**
 * Schema of the values of helm/sallyport: what values.yaml holds and nothing else, every object closed except `global`.
 *
 * Bounds of what the operator reads come from `contract/operator-settings.ts`; descriptions are the comments of values.yaml.
 *
 * @throws Error when values.yaml and the schema do not name the same values, or a value has no comment.
 */
export function valuesSchema(valuesYaml: string): ValueSchema {
  const schema = { $schema: 'http://json-schema.org/draft-07/schema#', title: 'Values of the chart sallyport', ...object(sallyportValues()) };
  return describe(schema, readValues(valuesYaml));
}

/** Schema of the values of helm/sallyport-crds. @throws Error as {@link valuesSchema}. */
export function crdsValuesSchema(valuesYaml: string): ValueSchema {
  const schema = { $schema: 'http://json-schema.org/draft-07/schema#', title: 'Values of the chart sallyport-crds', ...object({ global, keep: bool, commonLabels: strings, commonAnnotations: strings }) };
  return describe(schema, readValues(valuesYaml));
}

/** The values of a values file as rows of a Markdown table: each value that has a comment. */
export function valuesTable(valuesYaml: string): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const rows = readValues(valuesYaml).map((row) => `| \`${row.path}\` | \`${cell(JSON.stringify(row.value))}\` | ${cell(row.text)} |`);
  return ['| value | default | meaning |', '| --- | --- | --- |', ...rows].join('\n');
}

function sallyportValues(): Readonly<Record<string, ValueSchema>> {
  const settings = z.toJSONSchema(operatorSettingsSchema, { target: 'draft-7', io: 'input' }) as ValueSchema;
  const { watchNamespaces = {}, leaderElection = {}, logLevel = {}, identityAliases = {}, integrityProbeSeconds = {}, retention = {}, proxy = {} } = settings.properties ?? {};
  const { image: _image, imagePullPolicy = {}, imagePullSecrets: _secrets, stateClaim: _claim, resources: _resources, tolerations: _tolerations, ...proxyValues } = proxy.properties ?? {};
  const monitor = object({ create: bool, interval: { type: 'string', pattern: '^([0-9]+(ms|s|m|h))+$' }, labels: strings });
  return {
    global,
    image: object({
      repository: { type: 'string', minLength: 1, pattern: '^[^@\\s]+$' },
      tag: { type: 'string', pattern: '^([A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$' },
      digest: { type: 'string', pattern: '^(sha256:[0-9a-f]{64})?$' },
      pullPolicy: imagePullPolicy,
      pullSecrets: { type: 'array', items: dnsName },
    }),
    watchNamespaces: { ...watchNamespaces, items: dnsLabel },
    crds: object({ install: bool, keep: bool }),
    admission: object({ install: bool }),
    rbac: object({ create: bool, people: bool, aggregateToView: bool }),
    identity: object({ aliases: identityAliases }),
    operator: object({
      replicas: { type: 'integer', minimum: 1, maximum: 8 }, leaderElection, logLevel, integrityProbeSeconds, resources, nodeSelector: strings, tolerations, affinity: anything,
      topologySpreadConstraints: { type: 'array', items: anything }, priorityClassName: { type: 'string' }, podLabels: strings, podAnnotations: strings, serviceAccountAnnotations: strings,
      extraEnv: { type: 'array', items: { type: 'object', required: ['name'], properties: { name: { type: 'string', minLength: 1 }, value: { type: 'string' }, valueFrom: anything }, additionalProperties: false } },
      podDisruptionBudget: object({ create: bool }),
      networkPolicy: object({ create: bool, metricsNamespaces: { type: 'array', items: dnsLabel }, egress: { type: 'array', items: anything } }),
    }),
    retention,
    proxy: object({ ...proxyValues, stateClaim: { type: 'string', pattern: '^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$', maxLength: 253 }, resources, tolerations }),
    monitoring: object({
      service: object({ create: bool, annotations: strings }),
      serviceMonitor: monitor,
      podMonitor: monitor,
      alerts: object({ create: bool, labels: strings, alertLabels: strings }),
      dashboard: object({ create: bool, namespace: { type: 'string', pattern: '^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$', maxLength: 63 }, labels: strings, annotations: strings }),
    }),
    commonLabels: strings,
    commonAnnotations: strings,
  };
}

const bool: ValueSchema = { type: 'boolean' };
const strings: ValueSchema = { type: 'object', additionalProperties: { type: 'string' } };
const anything: ValueSchema = { type: 'object' };
const dnsLabel: ValueSchema = { type: 'string', pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$', maxLength: 63 };
const dnsName: ValueSchema = { type: 'string', pattern: '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$', maxLength: 253 };
const quantities: ValueSchema = { type: 'object', additionalProperties: { type: ['string', 'number'] } };
const resources: ValueSchema = object({ requests: quantities, limits: quantities });
const tolerations: ValueSchema = {
  type: 'array',
  items: object({ key: { type: 'string' }, operator: { enum: ['Exists', 'Equal'] }, value: { type: 'string' }, effect: { enum: ['NoSchedule', 'PreferNoSchedule', 'NoExecute'] }, tolerationSeconds: { type: 'integer' } }),
};
const global: ValueSchema = {
  type: 'object',
  properties: { imageRegistry: { type: 'string' }, imagePullSecrets: { type: 'array', items: { anyOf: [dnsName, { type: 'object', required: ['name'], properties: { name: dnsName } }] } } },
};

function object(properties: Readonly<Record<string, ValueSchema>>): ValueSchema {
  return { type: 'object', additionalProperties: false, properties };
}

/** Values with a comment; inside one that has a comment, everything belongs to it. */
function readValues(valuesYaml: string): readonly ValueRow[] {
  const { contents } = parseDocument(valuesYaml);
  if (!isMap(contents)) throw new Error('values.yaml: expected an object');
  return rowsOf(contents, contents.commentBefore, '');
}

function rowsOf(map: YAMLMap.Parsed, firstComment: string | null | undefined, prefix: string): readonly ValueRow[] {
  return map.items.flatMap((pair: Pair<ParsedNode, ParsedNode | null>, index) => {
    const path = `${prefix}${String(isScalar(pair.key) ? pair.key.value : pair.key)}`;
    const comment = pair.key.commentBefore ?? (index === 0 ? firstComment : undefined);
    if (typeof comment === 'string') return [{ path, text: comment.split('\n').map((line) => line.trim()).join(' '), value: pair.value?.toJSON() as unknown }];
    if (!isMap(pair.value)) throw new Error(`values.yaml: ${path} has no comment`);
    return rowsOf(pair.value, pair.value.commentBefore, `${path}.`);
  });
}

/** The schema with the comments as descriptions, and without defaults: those are in values.yaml. */
function describe(schema: ValueSchema, rows: readonly ValueRow[], path = ''): ValueSchema {
  const { default: _default, ...rest } = schema;
  const row = rows.find((candidate) => candidate.path === path);
  if (row !== undefined) return { ...withoutDefaults(rest), description: row.text };
  const inside = rows.filter((candidate) => path === '' || candidate.path.startsWith(`${path}.`)).map((candidate) => candidate.path.slice(path === '' ? 0 : path.length + 1).split('.')[0]);
  const named = Object.keys(schema.properties ?? {});
  const unequal = [...new Set([...inside.filter((name) => name === undefined || !named.includes(name)), ...named.filter((name) => !inside.includes(name))])];
  if (unequal.length > 0) throw new Error(`values.yaml and tools/helm-values.ts disagree about ${path === '' ? '' : `${path}.`}${unequal.join(', ')}`);
  return { ...rest, properties: Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, inner]) => [name, describe(inner, rows, path === '' ? name : `${path}.${name}`)])) };
}

function withoutDefaults(schema: ValueSchema): ValueSchema {
  const { default: _default, properties, ...rest } = schema;
  return properties === undefined ? rest : { ...rest, properties: Object.fromEntries(Object.entries(properties).map(([name, inner]) => [name, withoutDefaults(inner)])) };
}
