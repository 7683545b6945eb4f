import type { NameScope } from './catalog-snapshot.ts';
import { resolveRelation } from './names.ts';
import { defElemsOf, isTreeNode, listOf, namesOf, optionText, stringOf, type TreeNode, unwrap } from './parse-tree.ts';
import type { CopyOptions } from './statement-facts.ts';

/**
 * Reads how a COPY from or to the client writes its rows, with the server's defaults.
 * An option that is not known here, given twice or with a value of another form leaves `understood` false.
 */
export function readCopyOptions(copy: TreeNode, scope: NameScope): CopyOptions {
  const options = defElemsOf(copy['options']);
  const seen = new Set<string>();
  let understood = true;
  const texts: Record<string, string> = {};
  let forceQuote: CopyOptions['forceQuote'] = null;
  for (const { name, arg } of options) {
    if (seen.has(name)) understood = false;
    seen.add(name);
    if (name === 'force_quote') forceQuote = readColumns(arg);
    else if (textOptions.has(name) && (optionText(arg) !== null || (arg === undefined && booleanOptions.has(name)))) texts[name] = optionText(arg) ?? 'true';
    // They change how input is read, or what the server does with errors, not how a row is written.
    else if (!['force_not_null', 'force_null', 'default', 'on_error', 'reject_limit', 'log_verbosity'].includes(name) || copy['is_from'] !== true) understood = false;
  }
  const format = (texts['format'] ?? 'text').toLowerCase();
  const isCsv = format === 'csv';
  const header = (texts['header'] ?? 'false').toLowerCase();
  if (!['text', 'csv', 'binary'].includes(format) || !/^(true|false|on|off|1|0|match)$/.test(header)) understood = false;
  if (texts['encoding'] !== undefined && !/^utf-?8$/i.test(texts['encoding'])) understood = false;
  const quote = texts['quote'] ?? '"';
  const resolved = isTreeNode(copy['relation']) ? resolveRelation(copy['relation'], scope) : null;
  const relation = resolved?.outcome === 'candidates' && resolved.candidates.length === 1 ? resolved.candidates[0] : undefined;
  const columns = listOf(copy['attlist']).map(stringOf).filter((name) => name !== null);
  return {
    direction: copy['is_from'] === true ? 'in' : 'out',
    format: isCsv ? 'csv' : format === 'binary' ? 'binary' : 'text',
    delimiter: texts['delimiter'] ?? (isCsv ? ',' : '\t'),
    quote,
    escape: texts['escape'] ?? quote,
    nullString: texts['null'] ?? (isCsv ? '' : '\\N'),
    header: /^(true|on|1|match)$/.test(header),
    forceQuote,
    relation: relation === undefined ? null : { schema: relation.schema, name: relation.name },
    columns: columns.length === 0 ? null : columns,
    understood,
  };
}

const booleanOptions: ReadonlySet<string> = new Set(['header', 'freeze']);
const textOptions: ReadonlySet<string> = new Set(['format', 'delimiter', 'null', 'header', 'quote', 'escape', 'encoding', 'freeze']);

function readColumns(arg: unknown): readonly string[] | '*' {
  return unwrap(arg)?.kind === 'A_Star' ? '*' : namesOf(arg);
}
