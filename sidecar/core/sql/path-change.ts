import type { CatalogSnapshot } from './catalog-snapshot.ts';
import { isComputingLibrary } from './lineage/refused-names.ts';
import type { StatementFacts } from './statement-facts.ts';

/**
 * Whether unqualified names may mean something else once the statement has run: it sets the search path or the role, or runs code that could.
 *
 * A function may call set_config wherever it stands, so each counts whose language or library does not rule that out. EXECUTE counts as the statement that it
 * runs; when that is not joined yet (`runs`), it counts.
 */
export function mayChangeSearchPath(facts: StatementFacts, catalog: CatalogSnapshot): boolean {
  if (facts.kind === 'Do' || facts.kind === 'Call' || facts.calls.some((call) => !onlyComputes(call, catalog))) return true;
  const { effect } = facts;
  switch (effect?.kind) {
    case 'set':
    case 'reset':
      return effect.name === null || settings.has(effect.name);
    case 'discard':
      return effect.what === 'ALL' || effect.what === 'TEMP';
    case 'execute':
      return facts.runs === undefined || mayChangeSearchPath(facts.runs, catalog);
    default:
      return false;
  }
}

const settings: ReadonlySet<string> = new Set(['search_path', 'role', 'session_authorization']);

/** System functions with side effects that are not on settings; every other one with a side effect might run SQL that is. */
const harmlessSystem = /^pg_catalog\.(?:pg_sleep|pg_(?:try_)?advisory_|pg_notify|nextval|setval|lo_)/;

function onlyComputes(call: string, catalog: CatalogSnapshot): boolean {
  if (harmlessSystem.test(call)) return true;
  const dot = call.indexOf('.');
  const functions = (catalog.functionsByName.get(call.slice(dot + 1)) ?? []).filter((candidate) => candidate.schema === call.slice(0, dot));
  return functions.length > 0 && functions.every(({ language, library }) => language === 'c' && library !== undefined && isComputingLibrary(library));
}
