import { type DetectorName, detectorNames } from '../../../../contract/detectors.ts';

const words = (alternatives: string): RegExp => new RegExp(`(?<![a-z])(?:${alternatives})(?![a-z])`);

/** Words that make bare digits suspicious, in lower case, whole words only. Null: the detector needs none. No pattern repeats, so each is linear. */
export const contextWords: Readonly<Record<DetectorName, RegExp | null>> = {
  'us-ssn': words('ssn|ssns|social|tax[ _-]?id|tin'),
  'us-itin': words('itin|taxpayer|tax[ _-]?id|tin'),
  'us-ein': words('ein|fein|employer|tax[ _-]?id|tin'),
  'payment-card': null,
  'card-security': words('cvv2?|cvc2?|cid|pin|security[ _-]?code'),
  'us-bank-routing': words('aba|routing|rtn|transit'),
  'us-bank-account': words('account|accounts|acct|accountno|acctno'),
  iban: null,
  email: null,
  phone: words('phone|telephone|tel|mobile|cell|fax|msisdn'),
  'date-of-birth': words('dob|birth|birthday|birthdate|born'),
  'us-driver-license': words('license|licence|dl|driver'),
  passport: words('passport'),
  'ip-address': null,
  'device-id': words('imei|meid|device'),
  secret: words('password|passwd|passphrase|pwd|secret|secrets|token|api[ _-]?key|apikey|access[ _-]?key|private[ _-]?key|credential|credentials'),
};

/** Detectors for which the name of a column or a JSON key (`customerSSN`, `acct_no`) is context. */
export function contextOfName(name: string): ReadonlySet<DetectorName> {
  // customerSSN, SSNumber and ssn_1 have their words apart after this. Names longer than PostgreSQL's 63 bytes are JSON keys; their first 200 characters decide.
  const spaced = name.slice(0, 200).replace(/([a-z\d])([A-Z])/g, '$1_$2').replace(/([A-Z])([A-Z][a-z])/g, '$1_$2').toLowerCase();
  return new Set(detectorNames.filter((detector) => contextWords[detector]?.test(spaced) === true));
}
