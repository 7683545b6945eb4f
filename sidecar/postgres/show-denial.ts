import { type Denial, errorTable } from '../core/errors.ts';
import type { DetectorSet } from '../core/masking/detectors.ts';
import { hiddenText, isName } from '../core/sql/redact-text.ts';

/**
 * A refusal as the client of a masked session may read it: quoted words that can be a value are hidden, and what a detector still hits gives way
 * to the table's own text.
 */
export function showDenial(denial: Denial, detectors: DetectorSet | null): Denial {
  const row = errorTable[denial.code];
  const shown = (text: string): string | null => {
    const hidden = text.replace(denial.code === 'SYNTAX_ERROR' ? quotedToken : quotedName, (quoted, name: string) => (isName(name) ? quoted : `"${hiddenText}"`));
    return detectors?.hits(hidden) === true ? null : hidden;
  };
  return { code: denial.code, message: shown(denial.message) ?? row.text, detail: denial.detail === null ? null : shown(denial.detail), hint: shown(denial.hint) ?? row.remedy };
}

const quotedName = /"([^"]*)"/g;
/** A token that the parser quotes may hold quotes itself. */
const quotedToken = /"(.*)"/s;
