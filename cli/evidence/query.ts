import { isObject, objectAt, type RecordView, textAt } from '../../sidecar/core/recording/record-view.ts';

/** What an export asks for. Times are ms since 1970; `to` is excluded. Null filters nothing. */
export interface EvidenceQuery {
  readonly fromMs: number;
  readonly toMs: number;
  readonly namespace: string | null;
  readonly target: string | null;
  readonly subject: string | null;
}

/** The query as the pack states it. */
export function queryJson(query: EvidenceQuery): string {
  const { fromMs, toMs, namespace, target, subject } = query;
  return `${JSON.stringify({ from: new Date(fromMs).toISOString(), to: new Date(toMs).toISOString(), to_excluded: true, time_zone: 'UTC', namespace, target, subject }, null, 2)}\n`;
}

/** Reads it back; null when it has another form. */
export function parseQuery(text: string): EvidenceQuery | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isObject(value)) return null;
  const fromMs = Date.parse(textAt(value, 'from') ?? '');
  const toMs = Date.parse(textAt(value, 'to') ?? '');
  if (Number.isNaN(fromMs) || Number.isNaN(toMs)) return null;
  return { fromMs, toMs, namespace: textAt(value, 'namespace'), target: textAt(value, 'target'), subject: textAt(value, 'subject') };
}

/** True when the listings should show the record. The records themselves are all in the pack, whatever the filters say. */
export function isWanted(record: RecordView, query: EvidenceQuery): boolean {
  if (record.timeMs < query.fromMs || record.timeMs >= query.toMs) return false;
  const facts = objectAt(record.evidence, 'facts');
  const target = objectAt(record.evidence, 'target');
  const namespace = textAt(target, 'namespace') ?? textAt(facts, 'namespace') ?? textAt(objectAt(record.raw, 'metadata'), 'tenant_uid');
  if (query.namespace !== null && namespace !== query.namespace) return false;
  if (query.target !== null && (textAt(target, 'name') ?? textAt(facts, 'target')) !== query.target) return false;
  const user = textAt(objectAt(objectAt(record.raw, 'actor'), 'user'), 'name') ?? textAt(objectAt(record.raw, 'user'), 'name');
  return query.subject === null || user === query.subject || textAt(objectAt(facts, 'requester'), 'username') === query.subject;
}
