import { type Denial, deny } from '../core/errors.ts';
import { judgeSetting } from '../core/sql/settings.ts';

/** What a client asked for at startup, checked. */
export interface StartupParameters {
  /** As asked for; recorded, used for nothing else. */
  readonly user: string;
  readonly database: string;
  /** Settings for the target: allow-listed, lower-case names, `client_encoding` always among them. */
  readonly parameters: ReadonlyMap<string, string>;
  readonly applicationName: string | null;
}

/** Longer than any name a server takes (63 bytes), short enough to be recorded whole. */
const limitNameBytes = 255;

/**
 * Reads the pairs of a StartupMessage by allow-list.
 *
 * `options` is split by the server's own rule and may hold only `-c name=value` and `--name=value` of the same list; like in the server, a pair beside it wins.
 *
 * @returns what to use, or the denial that names what was refused. A token that stands where a name belongs is refused without naming it (I11).
 */
export function readStartupParameters(pairs: ReadonlyMap<string, string>): { readonly outcome: 'read'; readonly startup: StartupParameters } | { readonly outcome: 'refused'; readonly denial: Denial } {
  if ([...pairs].some(([name, value]) => holdsToken(name) || holdsToken(value))) return refuse(tokenInTheWrongPlace);
  const settings = new Map<string, string>();
  let [user, database] = ['', ''];
  for (const [name, value] of splitOptions(pairs.get('options') ?? '')) {
    if (name === null) return refuse(deny('STARTUP_PARAMETER_REFUSED', { message: `options may hold only -c name=value: "${printable(value)}" is not that` }));
    settings.set(name.replaceAll('-', '_').toLowerCase(), value);
  }
  for (const [name, value] of pairs) {
    if (name === 'user') user = value;
    else if (name === 'database') database = value;
    else if (name === 'replication') {
      if (!isOff(value)) return refuse(deny('REPLICATION_UNSUPPORTED'));
    } else if (name !== 'options') settings.set(name.toLowerCase(), value);
  }
  if (user === '') return refuse(deny('USER_REQUIRED'));
  if (database === '') return refuse(deny('DATABASE_REQUIRED'));
  if (Buffer.byteLength(user) > limitNameBytes || Buffer.byteLength(database) > limitNameBytes) {
    return refuse(deny('STARTUP_PARAMETER_REFUSED', { message: `a user or database name is longer than ${limitNameBytes} bytes` }));
  }
  return checkSettings(settings, user, database);
}

function checkSettings(settings: Map<string, string>, user: string, database: string): ReturnType<typeof readStartupParameters> {
  const applicationName = settings.get('application_name') ?? null;
  settings.delete('application_name');
  // Without it the server would use the database's own encoding, which our parser may not read.
  if (!settings.has('client_encoding')) settings.set('client_encoding', 'UTF8');
  for (const [name, value] of settings) {
    const denial = reasonAgainst(name, value);
    if (denial !== null) return refuse(denial);
  }
  return { outcome: 'read', startup: { user, database, parameters: settings, applicationName } };
}

/** What SET may change without a rule may be set at startup too; the policy is not known yet, so nothing that needs a rule. */
function reasonAgainst(name: string, value: string): Denial | null {
  // A masked session may not go below, and whether this will be one is not known yet.
  if (name === 'client_min_messages' && !/^(?:notice|warning|error)$/i.test(value)) return deny('STARTUP_PARAMETER_REFUSED', { message: 'client_min_messages must be notice, warning or error' });
  // pgjdbc sends the offset of the machine in this form when it knows no name for its zone.
  if (name === 'timezone' && /^(?:GMT|UTC)[+-]\d{1,2}(?::\d{2})?$/.test(value)) return null;
  const judged = judgeSetting(name, value);
  if (judged.outcome === 'free') return null;
  if (name === 'client_encoding') return deny('ENCODING_REFUSED');
  return deny('STARTUP_PARAMETER_REFUSED', { message: judged.outcome === 'refused' ? judged.denial.message : `the startup parameter "${printable(name)}" is not allowed` });
}

/**
 * Splits `options` as the server does: at white space, where a backslash takes the next character as it is.
 *
 * @returns pairs; a null name marks what is not `-c name=value` or `--name=value`, with the argument as value.
 * @see PostgreSQL 18, pg_split_opts and ParseLongOption
 */
export function splitOptions(options: string): readonly (readonly [string | null, string])[] {
  const words = splitWords(options);
  const settings: (readonly [string | null, string])[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    const assignment = word === '-c' ? (words[++i] ?? '') : word.startsWith('-c') || word.startsWith('--') ? word.slice(2) : '';
    const equals = assignment.indexOf('=');
    // An empty name is refused, never skipped or looped on (CVE-2026-107349).
    settings.push(equals > 0 ? [assignment.slice(0, equals), assignment.slice(equals + 1)] : [null, word]);
  }
  return settings;
}

function splitWords(options: string): readonly string[] {
  const words: string[] = [];
  let word: string | null = null;
  let escaped = false;
  for (const character of options) {
    if (!escaped && /[ \t\n\v\f\r]/.test(character)) {
      if (word !== null) words.push(word);
      word = null;
    } else if (!escaped && character === '\\') {
      word ??= '';
      escaped = true;
    } else {
      word = (word ?? '') + character;
      escaped = false;
    }
  }
  if (word !== null) words.push(word);
  return words;
}

function isOff(value: string): boolean {
  return ['false', 'off', 'no', '0'].includes(value.toLowerCase());
}

/** Three base64url parts of which the first is a JSON object: a JWT, whole or inside something else. */
function holdsToken(text: string): boolean {
  return /eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}/.test(text);
}

const tokenInTheWrongPlace = deny('STARTUP_PARAMETER_REFUSED', { message: 'a token stands where a name belongs', hint: 'send the token as the password (PGPASSWORD), and treat this one as seen by others' });

/** A name of the client's in our text: short, and no control or direction characters. */
function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 63);
}

function refuse(denial: Denial): { readonly outcome: 'refused'; readonly denial: Denial } {
  return { outcome: 'refused', denial };
}
