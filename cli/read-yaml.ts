import { LineCounter, isAlias, isMap, isNode, isScalar, isSeq, parseAllDocuments, visit } from 'yaml';
import type { Document, ErrorCode, ScalarTag } from 'yaml';
import type { FieldPath } from '../contract/api/structural-schema.ts';
import type { FileProblem } from './file-problem.ts';

/** One YAML document as data, and where its fields stand. */
export interface YamlDocument {
  readonly value: unknown;
  /** The place of a field, or of the nearest field around it that exists. */
  readonly locate: (path: FieldPath) => { readonly line: number; readonly column: number };
}

const maxDocuments = 2_000;
/** Of one document; the first ones are what a person repairs. */
const maxProblems = 20;

/**
 * Reads all documents of a YAML text as the tools of Kubernetes do: YAML 1.2 core plus merge keys and the YAML 1.1 booleans yes, no, on, off;
 * no repeated keys, no unknown tags, at most 100 alias expansions.
 *
 * @returns the documents that could be read and the problems of the others; messages never repeat text of the file, which may hold a Secret.
 */
export function readYaml(text: string, file: string): { readonly documents: readonly YamlDocument[]; readonly problems: readonly FileProblem[] } {
  const lines = new LineCounter();
  const placeOf = (offset: number): { readonly line: number; readonly column: number } => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const problems: FileProblem[] = [];
  const report = (offset: number, message: string): void => void problems.push({ severity: 'rejected', file, ...placeOf(offset), field: '', message });
  let parsed: readonly Document.Parsed[];
  try {
    parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, merge: true, customTags: [yes, no], uniqueKeys: false });
  } catch {
    report(0, 'not readable as YAML: nested too deeply');
    return { documents: [], problems };
  }
  if (parsed.length > maxDocuments) {
    report(0, `${parsed.length} documents in one file, more than ${maxDocuments}`);
    return { documents: [], problems };
  }
  const documents = parsed.flatMap((document): YamlDocument[] => {
    const broken = [...document.errors, ...document.warnings];
    for (const error of broken.slice(0, maxProblems)) report(error.pos[0], wordings[error.code]);
    if (broken.length > 0 || document.contents === null || (isScalar(document.contents) && document.contents.value === null)) return [];
    try {
      const repeated = repeatedKeys(document);
      for (const offset of repeated.slice(0, maxProblems)) report(offset, wordings.DUPLICATE_KEY);
      const value: unknown = document.toJS({ maxAliasCount: 100 });
      return repeated.length > 0 ? [] : [{ value, locate: (path) => placeOf(offsetOf(document, path)) }];
    } catch {
      report(document.range[0], 'not readable as YAML: too many or circular aliases');
      return [];
    }
  });
  return { documents, problems };
}

/** The library's own check compares each key with each other one: 60,000 keys took 47 s (measured). */
function repeatedKeys(document: Document.Parsed): readonly number[] {
  const offsets: number[] = [];
  visit(document, {
    Map(_key, map) {
      const seen = new Set<string>();
      for (const { key } of map.items) {
        const name = isScalar(key) ? String(key.value) : null;
        if (name !== null && seen.has(name)) offsets.push(startOf(key) ?? document.range[0]);
        if (name !== null) seen.add(name);
      }
    },
  });
  return offsets;
}

/** Walks the tree along the path; the key stands for a field, because an editor's cursor belongs there. */
function offsetOf(document: Document.Parsed, path: FieldPath): number {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? document.range[0];
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(part));
      if (pair === undefined) return offset;
      offset = startOf(pair.key) ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof part === 'number') {
      node = node.items[part];
      offset = startOf(node) ?? offset;
    } else return offset;
  }
  return offset;
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}

const yes: ScalarTag = { tag: 'tag:yaml.org,2002:bool', default: true, test: /^(?:yes|Yes|YES|on|On|ON)$/, resolve: () => true };
const no: ScalarTag = { tag: 'tag:yaml.org,2002:bool', default: true, test: /^(?:no|No|NO|off|Off|OFF)$/, resolve: () => false };

/** The library's own messages repeat parts of the text. */
const wordings: Readonly<Record<ErrorCode, string>> = {
  ALIAS_PROPS: 'an alias cannot have an anchor or tag',
  BAD_ALIAS: 'an alias is empty, malformed or names no anchor',
  BAD_COLLECTION_TYPE: 'a tag does not fit its list or map',
  BAD_DIRECTIVE: 'a YAML directive is malformed',
  BAD_DQ_ESCAPE: 'an escape sequence in double quotes is not known',
  BAD_INDENT: 'the indentation is wrong',
  BAD_PROP_ORDER: 'an anchor or tag stands in the wrong place',
  BAD_SCALAR_START: 'a plain text cannot begin with this character: quote it',
  BLOCK_AS_IMPLICIT_KEY: 'a nested mapping on one line: write it on lines of its own, or in braces',
  BLOCK_IN_FLOW: 'a block cannot stand inside brackets or braces',
  DUPLICATE_KEY: 'a key stands here twice',
  IMPOSSIBLE: 'not readable as YAML',
  KEY_OVER_1024_CHARS: 'a key is longer than 1024 characters',
  MISSING_CHAR: 'a quote, bracket, comma, colon or space is missing',
  MULTILINE_IMPLICIT_KEY: 'a key extends over several lines: a colon may be missing',
  MULTIPLE_ANCHORS: 'a value has two anchors',
  MULTIPLE_DOCS: 'documents are not separated by ---',
  MULTIPLE_TAGS: 'a value has two tags',
  NON_STRING_KEY: 'a key is not a text',
  RESOURCE_EXHAUSTION: 'not readable as YAML: nested too deeply',
  TAB_AS_INDENT: 'a tab is used for indentation: use spaces',
  TAG_RESOLVE_FAILED: 'a value does not fit its tag, or the tag is not known',
  UNEXPECTED_TOKEN: 'unexpected text',
};
