import { createHash, createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import type { ParameterRecord } from '../../contract/audit.ts';
import type { MaskingRule } from '../../contract/proxy-config.ts';
import { planRow } from '../core/masking/cross-check.ts';
import { compileDetectors, type DetectorSet } from '../core/masking/detectors.ts';
import { hmacToken } from '../core/masking/mask-key.ts';
import type { FieldDescription, MaskKey } from '../core/masking/masker.ts';
import { compileColumnMask } from '../core/masking/styles.ts';
import type { Denial } from '../core/errors.ts';
import type { SqlParser } from '../core/ports.ts';
import type { Session } from '../core/session/session.ts';
import type { CatalogSnapshot, NameScope } from '../core/sql/catalog-snapshot.ts';
import type { InspectionCache, InspectionKey } from '../core/sql/inspection-cache.ts';
import { inspectQuery } from '../core/sql/inspect-query.ts';
import { hiddenText } from '../core/sql/redact-text.ts';
import { judgeMasking } from '../core/sql/lineage.ts';
import { mayChangeSearchPath } from '../core/sql/path-change.ts';
import type { MaskClosure } from '../core/sql/mask-closure.ts';
import type { InspectedQuery, MaskJudgement, OutputMask, StatementFacts } from '../core/sql/statement-facts.ts';
import { copiedField, copyFields, lazyCopyMask } from './copy-plan.ts';
import type { CopyMaskPlan, SessionInspector } from './inspector.ts';
import { createCopyMask } from './mask-copy.ts';
import { compileRowMask } from './mask-rows.ts';
import { checkColumnName, checkParameterStatus, rebuildNotice } from './rebuild-notice.ts';
import { plainRowPlan, type RowPlan } from './relay/row-plan.ts';
import { showDenial } from './show-denial.ts';
import { maskParse, sharedClosure } from './shared-closure.ts';
import { showParameter } from './show-parameter.ts';
import type { BoundParameter } from './wire/bind.ts';

/** The catalog of the session's database. */
export interface CatalogView {
  /** Fresh enough, or a promise of it. Throws (or rejects with) CATALOG_UNAVAILABLE. */
  current(): CatalogSnapshot | Promise<CatalogSnapshot>;
  /** DDL ran: the next reading waits for a new snapshot. */
  invalidate(): void;
  release(): void;
}

export interface InspectorDeps {
  readonly session: Session;
  readonly parser: SqlParser;
  readonly cache: InspectionCache;
  readonly catalog: CatalogView;
  readonly maskKey: MaskKey;
  readonly digestKey: Uint8Array;
}

/** What is derived from one catalog snapshot and one permit; made anew when either changes. */
interface Basis {
  readonly snapshot: CatalogSnapshot;
  readonly permitVersion: number;
  readonly rules: readonly MaskingRule[];
  readonly rulesKey: string;
  readonly detectors: DetectorSet | null;
  readonly closure: MaskClosure;
}

const rememberedHmacs = 64;
const rememberedPlans = 200;

/** Nothing shorter is a regulated value: `a@b.co`. */
const shortestValue = 6;

/** Literals and parameters in records and requests are searched for these whatever the policy masks. */
const recordRules: readonly MaskingRule[] = [{ columns: null, detectors: ['us-ssn', 'payment-card', 'us-itin', 'iban', 'secret'], style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny' }];

/**
 * Opens the inspector of one session: reads the catalog, compiles the masking rules of the permit.
 *
 * @throws SallyportError CATALOG_UNAVAILABLE: without a catalog there is no session.
 */
export async function openSessionInspector(deps: InspectorDeps): Promise<SessionInspector> {
  // Other sessions may keep a snapshot that is seconds old: what was changed before a login holds for it.
  if (deps.session.permit.masking.length > 0) deps.catalog.invalidate();
  return new Inspector(deps, await deps.catalog.current());
}

class Inspector implements SessionInspector {
  readonly #deps: InspectorDeps;
  readonly #recordDetectors: DetectorSet;
  readonly #digestKey: KeyObject;
  readonly #textHmacs = new Map<string, string>();
  /** Of the basis of now: statements that differ in their literals only have one plan. */
  readonly #plans = new Map<string, RowPlan>();
  readonly #temporary = new Set<string>();
  #createdInTransaction = new Set<string>();
  #basis: Basis;
  #searchPath: readonly string[] | null = null;
  #pathKnown = false;
  #pathChangedInTransaction = false;
  #definedInTransaction = false;
  #key = '';

  constructor(deps: InspectorDeps, snapshot: CatalogSnapshot) {
    this.#deps = deps;
    this.#digestKey = createSecretKey(deps.digestKey);
    this.#basis = this.#makeBasis(snapshot);
    this.#recordDetectors = compileDetectors(recordRules) as DetectorSet;
  }

  get masked(): boolean {
    return this.#refreshed().rules.length > 0;
  }

  key(): string {
    this.#refreshed();
    return this.#key;
  }

  inspect(text: string): InspectedQuery | Promise<InspectedQuery> {
    const snapshot = this.#deps.catalog.current();
    if (snapshot instanceof Promise) return snapshot.then((fresh) => this.#inspectWith(fresh, text));
    return this.#inspectWith(snapshot, text);
  }

  refresh(): void | Promise<void> {
    const snapshot = this.#deps.catalog.current();
    if (snapshot instanceof Promise) return snapshot.then((fresh) => this.#adopt(fresh));
    return this.#adopt(snapshot);
  }

  searchPathUnknown(): boolean {
    return !this.#pathKnown;
  }

  setSearchPath(schemas: readonly string[] | null): void {
    this.#pathKnown = schemas !== null;
    this.#searchPath = schemas;
    this.#rekey();
  }

  sent(facts: StatementFacts): void {
    const { effect } = facts;
    if (mayChangeSearchPath(facts, this.#basis.snapshot) || effect?.kind === 'ddl' || effect?.kind === 'create-temp') this.#forgetPath();
    if (effect?.kind === 'transaction' && effect.what !== 'begin' && effect.what !== 'savepoint' && this.#pathChangedInTransaction) this.#pathKnown = false;
  }

  ran(facts: StatementFacts, completed: boolean): void {
    const { effect } = facts;
    this.sent(facts);
    switch (effect?.kind) {
      case 'discard':
        if (effect.what === 'ALL' || effect.what === 'TEMP') this.#temporary.clear();
        break;
      case 'create-temp':
        this.#temporary.add(effect.name);
        break;
      case 'ddl':
        for (const pair of facts.pairs) if (completed && pair.class === 'Create' && pair.object && pair.object !== '*') this.#createdInTransaction.add(pair.object.name);
        this.#definedInTransaction = true;
        break;
      default:
        break;
    }
    this.#rekey();
  }

  transactionOver(): void {
    if (!this.#definedInTransaction && this.#createdInTransaction.size === 0 && !this.#pathChangedInTransaction) return;
    this.#transactionEnded();
    this.#rekey();
  }

  planRow(fields: readonly FieldDescription[], judgement: MaskJudgement): { readonly outcome: 'planned'; readonly plan: RowPlan } | Extract<ReturnType<typeof planRow>, { outcome: 'refused' }> {
    const basis = this.#refreshed();
    if (basis.rules.length === 0) return { outcome: 'planned', plan: plainRowPlan(fields) };
    const key = planKey(fields, judgement);
    const known = this.#plans.get(key);
    if (known) return { outcome: 'planned', plan: known };
    const planned = planRow(fields, judgement, basis.closure, basis.rules);
    if (planned.outcome === 'refused') return planned;
    const plan = this.#maskedPlan(fields, planned.columns, basis);
    if (this.#plans.size >= rememberedPlans) this.#plans.clear();
    this.#plans.set(key, plan);
    return { outcome: 'planned', plan };
  }

  showParameters(parameters: readonly BoundParameter[], types: readonly number[], masked: readonly number[], limitBytes: number = 4_096): readonly ParameterRecord[] {
    const basis = this.#refreshed();
    return parameters.map((parameter, index) => showParameter(parameter, index + 1, types[index] ?? 0, {
      limitBytes,
      hidden: masked.includes(index + 1), hits: (text) => this.#recordDetectors.hits(text) || basis.detectors?.hits(text) === true, token: (value) => hmacToken(this.#deps.maskKey, 'parameter', value),
    }));
  }

  textHmac(text: string): string {
    const known = this.#textHmacs.get(text);
    if (known) return known;
    const made = `hmac-sha256:${createHmac('sha256', this.#digestKey).update(`sallyport/text/v1\0${text}`).digest('hex')}`;
    // A prepared statement asks for the same one at each execution; texts that come once must not fill the memory.
    if (this.#textHmacs.size >= rememberedHmacs) this.#textHmacs.clear();
    if (text.length <= 4_096) this.#textHmacs.set(text, made);
    return made;
  }

  searchPathText(): string {
    return this.shownName(this.#searchPath?.join(', ') ?? 'unknown');
  }

  shownName(name: string): string {
    if (name.length < shortestValue) return name;
    return this.#recordDetectors.hits(name) || this.#refreshed().detectors?.hits(name) === true ? hiddenText : name;
  }

  shownDenial(denial: Denial): Denial {
    const { rules, detectors } = this.#refreshed();
    return rules.length === 0 ? denial : showDenial(denial, detectors);
  }

  rebuild(fields: ReadonlyMap<string, string>, userText: string | null): ReadonlyMap<string, string> {
    const basis = this.#refreshed();
    return rebuildNotice(fields, { masked: basis.rules.length > 0, userText, detectors: basis.detectors, catalogNames: (name) => basis.snapshot.relationsByName.has(name) || basis.snapshot.schemas.has(name) });
  }

  parameterStatus(name: string, value: string): string | null {
    const basis = this.#refreshed();
    return basis.rules.length === 0 ? value : checkParameterStatus(name, value, basis.detectors);
  }

  columnNames(fields: readonly FieldDescription[]): readonly string[] | null {
    const { detectors } = this.#refreshed();
    if (!detectors) return null;
    const names = fields.map((field, index) => checkColumnName(field.name, index + 1, detectors));
    return names.every((name, index) => name === fields[index]?.name) ? null : names;
  }

  copyMask(facts: StatementFacts): CopyMaskPlan {
    const basis = this.#refreshed();
    const { copy, masking } = facts;
    if (basis.rules.length === 0 || !copy) return { outcome: 'plain' };
    if (masking.outcome === 'refused') return masking;
    const columns = masking.outcome === 'columns' ? masking.columns : null;
    const fields = copy.relation ? copyFields(copy.relation, copy.columns, basis.snapshot, copy.format === 'binary' ? 1 : 0) : null;
    const count = columns?.length ?? fields?.length ?? null;
    if (count === null && basis.detectors === null) return { outcome: 'plain' };
    const format = copy.format === 'binary' ? 1 : 0;
    return lazyCopyMask(format, count, (found) => {
      const plan = Array.from({ length: found }, (_unused, index) => this.#columnMask(fields?.[index] ?? copiedField(columns?.[index]?.type, format), columns?.[index] ?? null, basis));
      return {
        mask: createCopyMask(copy, plan, basis.detectors, fields, { typeBase: basis.snapshot.typeBase }),
        columns: plan.map((column, index) => ({ name: checkColumnName(fields?.[index]?.name ?? `column_${index + 1}`, index + 1, basis.detectors), style: column?.style ?? 'Redact' })),
      };
    });
  }

  close(): void {
    this.#deps.catalog.release();
  }

  #inspectWith(snapshot: CatalogSnapshot, text: string): InspectedQuery | Promise<InspectedQuery> {
    this.#adopt(snapshot);
    const known = this.#deps.cache.get(this.#cacheKey(text));
    if (known) return known;
    const parsed = this.#deps.parser.parse(text);
    if (parsed instanceof Promise) return parsed.then((done) => this.#inspectParsed(text, done));
    return this.#inspectParsed(text, parsed);
  }

  #adopt(snapshot: CatalogSnapshot): void {
    if (snapshot !== this.#basis.snapshot) this.#makeBasis(snapshot);
  }

  #inspectParsed(text: string, parsed: Awaited<ReturnType<SqlParser['parse']>>): InspectedQuery {
    const basis = this.#refreshed();
    const { parser, cache } = this.#deps;
    const scope: NameScope = { catalog: basis.snapshot, searchPath: this.#searchPath, temporaryRelations: this.#temporary, createdInTransaction: this.#createdInTransaction, database: this.#deps.session.permit.database, pathEndsWithTransaction: this.#pathChangedInTransaction };
    const inspected = inspectQuery(text, parsed, scope, {
      parser,
      detect: (literal) => this.#recordDetectors.hits(literal) || basis.detectors?.hits(literal) === true,
      masking: basis.rules.length === 0 ? null : {
        judge: (statement, names) => judgeMasking(statement, names, basis.closure, basis.rules, maskParse(parser)),
        touchesMasked: (schema, name) => touches(basis, schema, name),
      },
    });
    cache.set(this.#cacheKey(text), inspected);
    return inspected;
  }

  #cacheKey(text: string): InspectionKey {
    const { snapshot, rulesKey } = this.#refreshed();
    return {
      text, catalogEpoch: snapshot.epoch, database: this.#deps.session.permit.database, searchPath: this.#searchPath, temporaryRelations: this.#temporary, createdInTransaction: this.#createdInTransaction,
      pathEndsWithTransaction: this.#pathChangedInTransaction, maskingDigest: `${this.#deps.session.permit.target.uid} ${rulesKey}`,
    };
  }

  /** The permit may have been replaced since: rules, closure and detectors follow. */
  #refreshed(): Basis {
    if (this.#basis.permitVersion !== this.#deps.session.permitVersion) this.#basis = this.#makeBasis(this.#basis.snapshot);
    return this.#basis;
  }

  #makeBasis(snapshot: CatalogSnapshot): Basis {
    const { session, maskKey, parser } = this.#deps;
    const rules = session.permit.masking;
    const basis: Basis = {
      snapshot, permitVersion: session.permitVersion, rules, rulesKey: rules.length === 0 ? '' : createHash('sha256').update(JSON.stringify(rules)).digest('base64'), detectors: compileDetectors(rules, maskKey), closure: sharedClosure(snapshot, rules, parser),
    };
    this.#basis = basis;
    this.#plans.clear();
    this.#rekey();
    return basis;
  }

  #rekey(): void {
    const { snapshot, rulesKey } = this.#basis;
    this.#key = `${snapshot.epoch}|${JSON.stringify(this.#searchPath)}|${[...this.#temporary].join(',')}|${[...this.#createdInTransaction].join(',')}|${rulesKey}`;
  }

  #forgetPath(): void {
    this.#pathKnown = false;
    this.#pathChangedInTransaction = true;
  }

  #transactionEnded(): void {
    // A rollback takes settings back, and so does a commit with those of SET LOCAL.
    if (this.#pathChangedInTransaction) this.#pathKnown = false;
    this.#pathChangedInTransaction = false;
    this.#createdInTransaction = new Set();
    // Only now: the side connection cannot see what is not committed, and would wait for the locks of this very session.
    if (this.#definedInTransaction) this.#deps.catalog.invalidate();
    this.#definedInTransaction = false;
  }

  #maskedPlan(fields: readonly FieldDescription[], outputs: readonly (OutputMask | null)[], basis: Basis): RowPlan {
    const columns = fields.map((field, index) => this.#columnMask(field, outputs[index] ?? null, basis));
    const mask = compileRowMask(columns, basis.detectors, fields, { typeBase: basis.snapshot.typeBase });
    const recorded = fields.map((field, index) => ({ name: checkColumnName(field.name, index + 1, basis.detectors), typeOid: field.typeOid, style: columns[index]?.style ?? null, format: field.format }));
    return {
      fields, recorded, mask: mask.isActive ? mask : null,
      counters: () => [...mask.maskedCells, ...mask.detectorHits],
      maskedCells: (before) => ({
        columns: recorded.flatMap(({ name, style }, index) => {
          const cells = (mask.maskedCells[index] ?? 0) - (before[index] ?? 0);
          return cells > 0 ? [{ name, style: style ?? 'Redact', cells }] : [];
        }),
        detectorHits: mask.detectorHits.reduce((sum, hits, index) => sum + hits - (before[fields.length + index] ?? 0), 0),
      }),
    };
  }

  #columnMask(field: FieldDescription, output: OutputMask | null, basis: Basis): ReturnType<typeof compileColumnMask> | null {
    const rule = output ? basis.rules[output.rule] : undefined;
    if (!output || !rule) return null;
    return compileColumnMask(field, { rule, ruleIndex: output.rule, bare: output.bare, hidesNull: output.hidesNull === true }, this.#deps.maskKey, basis.snapshot.typeBase);
  }
}

/** What a row plan depends on, beside the basis. */
function planKey(fields: readonly FieldDescription[], judgement: MaskJudgement): string {
  const outputs = judgement.outcome === 'columns' ? judgement.columns.map((column) => (column ? `${column.rule}${column.bare ? 'b' : 'e'}${column.hidesNull === true ? 'n' : ''}` : '-')).join(',') : judgement.outcome;
  return `${outputs}|${fields.map((field) => `${field.tableOid}.${field.attnum}.${field.typeOid}.${field.typeModifier}.${field.format}${field.name}`).join('\u0000')}`;
}

function touches(basis: Basis, schema: string, name: string): boolean {
  return (basis.snapshot.relationsByName.get(name) ?? []).some((oid) => basis.snapshot.relations.get(oid)?.schema === schema && basis.closure.isTouched(oid));
}
